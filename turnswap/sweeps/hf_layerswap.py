"""lm-eval's model ``hf-layerswap``: a layer swap evaluated in memory, without merging it to a folder.

``lm_eval run --model hf-layerswap --model_args pretrained=R,donor=D,bottom=5,top=2,transition=1 --tasks …``
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError, show_without_traceback

try:
    import torch
    from lm_eval.models.huggingface import HFLM
    from mergekit.options import MergeOptions

    from turnswap.merge_methods.configuration import SHARED, parse_configuration, read_configuration, roles_of
    from turnswap.merge_methods.recipe import Recipe
    from turnswap.merge_methods.references import same_model
    from turnswap.merge_methods.weights import plain_folder, weights_folder

    from .capacity import check_free, check_memory, model_bytes, out_of_memory_explained
    from .in_memory import SwapInMemory, checked_plan, content_of, told
except ImportError as missing:
    show_without_traceback()
    raise UserError(
        f"hf-layerswap needs transformers, accelerate and mergekit ({missing}).",
        "Install them: pip install 'turnswap[hf,merge]'",
    ) from missing

# Arguments of HFLM that replace or wrap weights, or spread them over devices, with the words that refuse them.
_OTHER_WEIGHTS = "a swap takes whole models in one type, on one device"
REFUSED = {
    "peft": "write MODEL+ADAPTER for a model with a LoRA adapter",
    "delta": "give the model with its delta applied",
    "revision": "write MODEL@REVISION: there are several models",
    "subfolder": "there are several models; name folders",
    "config": _OTHER_WEIGHTS,
} | dict.fromkeys(
    (
        "autogptq", "gptqmodel", "gguf_file", "quantization_config", "load_in_4bit", "load_in_8bit", "parallelize",
        "device_map", "tp_plan", "max_memory_per_gpu", "max_cpu_memory", "offload_folder", "backend",
    ),
    _OTHER_WEIGHTS,
)  # fmt: skip
DEFAULTS = {"revision": "main", "subfolder": "", "backend": "causal"}  # HFLM's own, of what is refused
MODEL_CLASS = ("attn_implementation",)  # what may be handed on to transformers


def _explained(request: Callable[..., Any]) -> Callable[..., Any]:
    """A request of HFLM's that raises a UserError where memory runs out, or where nothing is composed."""

    @functools.wraps(request)
    def run(lm: HFLayerSwap, *args: Any, **kwargs: Any) -> Any:
        _ = lm.recipe  # raises, or the recipient would be evaluated in place of a composition that failed
        with out_of_memory_explained(lm.device):
            return request(lm, *args, **kwargs)

    return run


class HFLayerSwap(HFLM):
    """lm-eval's ``hf`` model of a swap that is composed in memory; gives the same logits as the merged folder."""

    def __init__(
        self,
        pretrained: str | None = None,
        donor: str | None = None,
        ancestor: str | None = None,
        swap: str | Mapping[str, Any] | None = None,
        lora_merge_cache: str | None = None,
        transformers_cache: str | None = None,
        **arguments: Any,
    ) -> None:
        """Load the models and compose the swap.

        Args:
            pretrained: the recipient, a folder or an id on the Hub, as mergekit writes them: ``MODEL@REVISION``,
                ``MODEL+ADAPTER``.
            donor: the donor, likewise.
            ancestor: the pretrained model that ``revert`` takes layers from; loaded when one does.
            swap: a layerswap.yml that says what to compose, instead of parameters, or what such a file holds. It names
                the models too, perhaps several donors.
            lora_merge_cache: a folder for models merged with their adapters.
            transformers_cache: where models from the Hub are kept, if not in the usual place.
            arguments: the parameters of a swap (``bottom``, ``layers``, …, ``accept``), and HFLM's own arguments. A
                value with commas needs quotes or JSON: ``'layers="0-4,30-31"'``, ``'{"layers": "0-4,30-31", …}'``.

        Raises:
            UserError: the swap is refused, as the merge would refuse it; arguments that are unknown or for other
                weights; too little memory.
        """
        show_without_traceback()
        given = {name: arguments.pop(name) for name in SHARED if name in arguments}
        _check_arguments(given, arguments)
        configuration, parameters = _configuration(pretrained, donor, ancestor, swap, given)
        self._options = MergeOptions(
            trust_remote_code=bool(arguments.get("trust_remote_code")),
            lora_merge_cache=lora_merge_cache,
            transformers_cache=transformers_cache,
        )
        device = _device(arguments.get("device"))
        arguments["device"] = str(device)
        declared = configuration.get("out_dtype") or configuration.get("dtype")
        if declared and arguments.get("dtype", "auto") == "auto":
            arguments["dtype"] = declared  # what the merged folder's configuration would say
        recipe = checked_plan(configuration, parameters, self._options)
        check_memory(recipe, _loading_type(recipe, arguments), device)
        # An adapter is merged without its tokenizer.
        arguments.setdefault("tokenizer", str(plain_folder(recipe.recipient, self._options)))
        with out_of_memory_explained(device):
            super().__init__(pretrained=str(weights_folder(recipe.recipient, self._options)), **arguments)
            self.pretrained = str(recipe.recipient)
            self._swap = SwapInMemory(self.model, functools.partial(self._load, recipe), configuration, self._options)
            self.compose(parameters)

    @property
    def recipe(self) -> Recipe:
        """The plan of what is composed now.

        Raises:
            UserError: the last composition failed.
        """
        if self._swap.recipe is None:
            raise UserError("Nothing is composed: the last composition failed.", "Compose again.")
        return self._swap.recipe

    def compose(self, parameters: Mapping[str, Any]) -> Recipe:
        """Make the model another swap of the same models, whatever it was before.

        Args:
            parameters: what stands under ``parameters:`` in a layerswap.yml, and by its role (``donor``, ``donor2``)
                what stands under a model.

        Raises:
            UserError: the merge would refuse it, and the composition stays as it was; or a blend is not finite or does
                not fit into memory, and nothing is composed.
        """
        self.batch_sizes: dict[Any, Any] = {}  # found for another composition: a fresh run would look again
        with out_of_memory_explained(self.device):
            composed = self._swap.compose(parameters)
        self._parameters = dict(parameters)
        return composed

    def get_model_info(self) -> dict[str, Any]:
        """HFLM's facts, and under ``layer_swap`` what was composed: goes into ``config`` of the results."""
        recipe = self.recipe
        found: dict[str, Any] = super().get_model_info()
        # No revision or hash names a composition.
        found |= {"model_sha": "", "model_revision": None}
        found["layer_swap"] = told(recipe, self._parameters)
        return found

    def turnswap_identity(self) -> str:
        """What tells this composition from others of the same recipient, for a cache of replies."""
        return f"swap {self.recipe.digest}"

    loglikelihood = _explained(HFLM.loglikelihood)
    loglikelihood_rolling = _explained(HFLM.loglikelihood_rolling)
    generate_until = _explained(HFLM.generate_until)
    tok_batch_encode = _explained(HFLM.tok_batch_encode)  # for generation request by request

    def _load(self, recipe: Recipe, role: str) -> Any:
        """The donor or the pretrained model, in the recipient's type and on its device."""
        check_free(model_bytes(recipe.models[role], self.model.dtype), self.device, f"the {role}'s weights")
        model = self.AUTO_MODEL_CLASS.from_pretrained(
            str(weights_folder(recipe.models[role], self._options)),
            dtype=self.model.dtype,
            trust_remote_code=self._options.trust_remote_code,
            device_map={"": str(self.device)},
        )
        model.tie_weights()  # as HFLM does with the recipient
        return model.requires_grad_(False)


def _configuration(
    pretrained: str | None,
    donor: str | None,
    ancestor: str | None,
    swap: str | Mapping[str, Any] | None,
    given: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The models by role and the types that are declared, and the swap's parameters."""
    for name, value in (("pretrained", pretrained), ("donor", donor), ("ancestor", ancestor)):
        if value is not None and not isinstance(value, str):
            raise UserError(f"{name}: expected a path or an id, got {type(value).__name__}.", "Name a folder.")
    named = {"recipient": pretrained, "donor": donor, "pretrained": ancestor}
    if swap is not None:
        if given:
            raise UserError(
                f"{next(iter(given))} cannot be given beside swap={swap}: the file holds all parameters.", "Remove one."
            )
        config = read_configuration(Path(swap)) if isinstance(swap, str) else parse_configuration(swap)
        if config.chat_template:
            raise UserError(
                f"{swap}: chat_template changes the tokenizer's files, and none are written here.", "Merge it."
            )
        for role, reference in roles_of(config).items():
            theirs = named.get(role)
            if theirs is not None and not same_model(theirs, reference):
                raise UserError(f"{swap} is for another {role}: {reference}, not {theirs}.", "Remove one of the two.")
        return content_of(config)
    if named["recipient"] is None or named["donor"] is None:
        raise UserError(
            "hf-layerswap needs a recipient and a donor.",
            "Write --model_args pretrained=RECIPIENT,donor=DONOR,bottom=5,top=2,transition=1, or swap=layerswap.yml.",
        )
    return {"models": {role: model for role, model in named.items() if model is not None}}, dict(given)


def _check_arguments(given: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Refuse what HFLM or transformers would take for something else than the user means."""
    for name, value in given.items():
        if value is None:  # lm-eval makes this of layers=None
            raise UserError(f"{name}: got None.", "Leave it out, or write none in small letters for no layers.")
    known = [name for name in inspect.signature(HFLM.__init__).parameters if name not in ("self", "kwargs", *REFUSED)]
    known += MODEL_CLASS
    for name, value in arguments.items():
        if name in REFUSED and value not in (None, False, DEFAULTS.get(name)):
            raise UserError(f"{name} is not for hf-layerswap: {REFUSED[name]}.", f"Remove {name}.")
        if name not in (*known, *REFUSED):
            ours = ("donor", "ancestor", "swap", "lora_merge_cache", "transformers_cache", *SHARED)
            raise UserError(
                f"{name} is no argument of hf-layerswap. There are: {', '.join((*ours, *known))}.",
                "lm-eval splits model_args at commas: a value with commas needs quotes, such as "
                "'layers=\"0-4,30-31\"', or JSON.",
            )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("hf-layerswap runs in one process, on one device.", "Start lm_eval without a launcher.")


def _device(name: str | None) -> torch.device:
    """Where to put the models: lm-eval's command names the first GPU even where there is none."""
    if name is None or (name.startswith("cuda") and not torch.cuda.is_available()):
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _loading_type(recipe: Recipe, arguments: Mapping[str, Any]) -> torch.dtype | None:
    """The type in which HFLM will load the recipient; None where only the weights tell."""
    asked = arguments.get("dtype") or "auto"
    if isinstance(asked, str) and asked != "auto":
        asked = getattr(torch, asked, None)
    if asked != "auto" and not (isinstance(asked, torch.dtype) and asked.is_floating_point):
        raise UserError(f"dtype: {arguments['dtype']} is no type to load a model in.", "Take bfloat16 or float32.")
    return recipe.recipient.config.dtype if asked == "auto" else asked
