"""Layer swaps evaluated on vLLM: one engine, whose weights become another swap's without a reload.

Its workers read what differs from the models' own files (``vllm_worker``). Where an engine turns out not to follow, or
when asked to, each swap is merged to a folder, which is deleted when an engine has loaded it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import gc
import inspect
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from lm_eval.models.vllm_causallms import VLLM
from mergekit.options import MergeOptions
from vllm import LLM, EngineArgs, SamplingParams, TokensPrompt

from turnswap.core.errors import UserError, show_without_traceback
from turnswap.merge_methods.checkpoint import first_line
from turnswap.merge_methods.configuration import parse_configuration
from turnswap.merge_methods.recipe import Recipe, read_recipe
from turnswap.merge_methods.weights import plain_folder, weights_folder

from .in_memory import checked_plan, content_of, swap_content, told

LOG = logging.getLogger(__name__)
PROBE = tuple(range(3, 19))  # tokens that every vocabulary has
NOISE = 0.1  # by which the log-likelihoods of equal weights may differ on a GPU
REFUSED = {
    "revision": "write MODEL@REVISION: there are several models",
    "lora_local_path": "write MODEL+ADAPTER for a model with a LoRA adapter",
    "data_parallel_size": "lm-eval would load vLLM anew for every call; start several processes instead",
    "device": "vLLM has no such setting; name the GPUs in the environment variable CUDA_VISIBLE_DEVICES",
}
MEMORY = (
    "If memory ran out: lower max_model_len or max_num_seqs, set gpu_memory_utilization to what other processes leave, "
    "or take several GPUs (tensor_parallel_size)."
)


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn vLLM's errors into words; what its own processes say stands in the log.

    Raises:
        UserError: whatever vLLM raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # vLLM raises errors of many kinds
        unknown = "architecture" in f"{error}" and "not supported" in f"{error}"
        advice = "Evaluate this model with hf." if unknown else f"The cause may stand above, in vLLM's words. {MEMORY}"
        raise UserError(f"vLLM cannot {doing} ({type(error).__name__}: {first_line(error)}).", advice) from error


class VLLMLayerSwap(VLLM):
    """lm-eval's ``vllm`` model of a swap; gives what it gives for the merged folder.

    Attributes:
        refusal: why swaps are written to folders; empty where the engine takes other weights.
    """

    loglikelihood = _explained("answer")(VLLM.loglikelihood)
    loglikelihood_rolling = _explained("answer")(VLLM.loglikelihood_rolling)
    generate_until = _explained("answer")(VLLM.generate_until)

    def __init__(
        self,
        swap: Mapping[str, Any],
        written: bool = False,
        cache: str | None = None,
        lora_merge_cache: str | None = None,
        transformers_cache: str | None = None,
        **arguments: Any,
    ) -> None:
        """Start vLLM and compose the swap.

        Args:
            swap: what a layerswap.yml holds.
            written: merge every swap to a folder, which a new engine loads.
            cache: the folder to write those folders in, if not the system's for temporary files.
            lora_merge_cache: a folder for models merged with their adapters.
            transformers_cache: where models from the Hub are kept, if not in the usual place.
            arguments: of lm-eval's ``vllm``, and through it vLLM's own.

        Raises:
            UserError: the merge would refuse the swap; arguments are unknown; vLLM cannot load the model.
        """
        show_without_traceback()
        _check_arguments(arguments)
        self._configuration, parameters = content_of(parse_configuration(swap))
        self._merging = {
            "lora_merge_cache": lora_merge_cache,
            "transformers_cache": transformers_cache,
            "trust_remote_code": bool(arguments.get("trust_remote_code")),
        }
        options = self._options = MergeOptions(**self._merging)
        self._opened: dict[Any, Any] = {}
        self._present: dict[str, Any] = {}  # what the engine has of each tensor
        self._cache = cache
        self.refusal = "asked for" if written else ""
        recipe = checked_plan(self._configuration, parameters, options)
        self._recipe: Recipe | None = recipe
        self._parameters = parameters
        declared = self._configuration.get("out_dtype") or self._configuration.get("dtype")
        if declared and arguments.get("dtype", "auto") == "auto":
            arguments["dtype"] = declared  # what the merged folder's configuration would say
        arguments.setdefault("tokenizer", str(plain_folder(recipe.recipient, options)))
        if not written:
            arguments["worker_extension_cls"] = "turnswap.sweeps.vllm_worker.SwapWorker"
        plain = contextlib.nullcontext(weights_folder(recipe.recipient, options))
        with self._merged(recipe, parameters) if written else plain as folder, _explained(f"load {recipe.recipient}"):
            super().__init__(pretrained=str(folder), **arguments)
        if not written and (found := self._try_other_weights(parameters)):
            LOG.warning("vLLM does not take other weights without a reload: %s. Each swap is merged to a folder", found)
            self.refusal = found
            self._recipe = None
            self.compose(parameters)
        LOG.warning("Swaps are evaluated in vLLM %s, %s", version("vllm"), self._way)

    @property
    def model(self) -> Any:
        """vLLM's ``LLM``, with the weights of what is composed.

        Raises:
            UserError: the last composition failed.
        """
        _ = self.recipe
        return self._engine

    @model.setter
    def model(self, engine: Any) -> None:
        self._engine = engine

    @property
    def recipe(self) -> Recipe:
        """The plan of what is composed now.

        Raises:
            UserError: the last composition failed.
        """
        if self._recipe is None:
            raise UserError("Nothing is composed: the last composition failed.", "Compose again.")
        return self._recipe

    def compose(self, parameters: Mapping[str, Any]) -> Recipe:
        """Make the model another swap of the same models, whatever it was before.

        Args:
            parameters: as :func:`.in_memory.swap_content` takes them.

        Raises:
            UserError: the merge would refuse it, and the composition stays as it was; or a blend is not finite, or vLLM
                fails, and nothing is composed.
        """
        recipe = read_recipe(swap_content(self._configuration, parameters), self._options, self._opened)
        before, self._recipe = self._recipe, None
        with _explained("take the weights of another swap"):
            if not self.refusal:
                self._send(recipe, parameters)
            elif before is None or before.digest != recipe.digest:
                with self._merged(recipe, parameters) as folder:
                    if self._engine is not None:
                        self._engine.llm_engine.engine_core.shutdown()
                    self._engine = None  # what it holds must be free for the next
                    gc.collect()
                    self._engine = LLM(**self.model_args | {"model": str(folder)})
        self._recipe, self._parameters = recipe, dict(parameters)
        return recipe

    def _send(self, recipe: Recipe, parameters: Mapping[str, Any]) -> None:
        """Have the workers load the layers in which the engine's weights are not the recipe's."""
        wanted = {name: (one.source.same, one.matched) for name, one in recipe.tensors.items()}
        layers = {
            one.weight.place.layer for name, one in recipe.tensors.items() if self._present.get(name) != wanted[name]
        }
        names = [name for name, one in recipe.tensors.items() if one.weight.place.layer in layers]
        self._present = {}
        content = swap_content(self._configuration, parameters)
        asked = (content, self._merging, names, recipe.digest)
        for failed in self._engine.collective_rpc("turnswap_load", args=asked) if names else ():
            if failed:
                raise UserError(*failed)
        self._forget()
        self._present = wanted

    def _forget(self) -> None:
        """Drop the keys and values of prompts that other weights have read."""
        if self._engine.reset_prefix_cache() is False:
            raise UserError("vLLM still answers requests.", "Compose again when they are finished.")

    def _try_other_weights(self, parameters: Mapping[str, Any]) -> str:
        """Compose the first swap; in words, how it turned out that the engine's weights cannot be replaced."""
        loaded = self._probe()
        try:
            self._engine.collective_rpc("reload_weights")  # its own, from its own folder
            if max(abs(one - other) for one, other in zip(loaded, self._probe(), strict=True)) > NOISE:
                return "its own weights, loaded again, give other likelihoods"
            recipe = self.compose(parameters)
        except UserError as error:
            if error.__cause__ is None:  # of ours, and no failure of vLLM's
                raise
            return error.message
        except Exception as error:  # another version's
            return f"{type(error).__name__}: {first_line(error)}"
        others = any(one.source.origin != "recipient" for one in recipe.tensors.values())
        return "other weights give the same likelihoods" if others and self._probe() == loaded else ""

    def _probe(self) -> list[float]:
        """The log-likelihoods of some tokens."""
        self._forget()
        asked = SamplingParams(temperature=0, prompt_logprobs=0, max_tokens=1, detokenize=False)
        (found,) = self._engine.generate([TokensPrompt(prompt_token_ids=list(PROBE))], asked, use_tqdm=False)
        each = zip(PROBE[1:], found.prompt_logprobs[1:], strict=True)
        return [likelihoods[token].logprob for token, likelihoods in each]

    @contextlib.contextmanager
    def _merged(self, recipe: Recipe, parameters: Mapping[str, Any]) -> Iterator[Path]:
        """A folder with the merged model, as mergekit-yaml writes it; it is deleted in the end."""
        with tempfile.TemporaryDirectory(prefix=f"turnswap-{recipe.digest}-", dir=self._cache) as scratch:
            file, out = Path(scratch, "layerswap.yml"), Path(scratch, "model")
            file.write_text(yaml.safe_dump(swap_content(self._configuration, parameters)), "utf-8")
            options = [f"--{name.replace('_', '-')}={value}" for name, value in self._merging.items() if value]
            options = [option.removesuffix("=True") for option in options]
            # A process of its own gives all its memory back.
            command = [sys.executable, "-m", "turnswap", "mergekit-yaml", str(file), str(out), "--quiet", *options]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                raise UserError(
                    "The swap cannot be merged to a folder: " + done.stderr.rpartition("turnswap: ")[2].strip()
                )
            yield out

    @property
    def _way(self) -> str:
        return "each merged to a folder" if self.refusal else "each in the place of the one before"

    def get_model_info(self) -> dict[str, Any]:
        """Under ``layer_swap`` what is composed, and how: goes into ``config`` of the results."""
        way = {"vllm": version("vllm"), "weights": self._way, "refusal": self.refusal}
        return {"layer_swap": told(self.recipe, self._parameters) | way}

    def turnswap_identity(self) -> str:
        """What tells this composition from others of the same recipient, for a cache of replies."""
        return f"swap {self.recipe.digest}"


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse what is for other models, and what neither lm-eval's vllm nor vLLM knows."""
    known = {name for name in inspect.signature(VLLM.__init__).parameters if name not in ("self", "kwargs")}
    known |= {field.name for field in dataclasses.fields(EngineArgs)}
    known -= {"pretrained", "model", "worker_extension_cls"}  # given here
    for name in arguments:
        if name in REFUSED:
            raise UserError(f"{name} is not for swaps on vLLM: {REFUSED[name]}.", f"Remove {name}.")
        if name not in known:
            near = difflib.get_close_matches(name, known)
            raise UserError(
                f"{name} is no argument of lm-eval's vllm or of vLLM.",
                (f"Did you mean {' or '.join(near)}? " if near else "")
                + "Arguments of hf are only for evaluations by hf.",
            )
