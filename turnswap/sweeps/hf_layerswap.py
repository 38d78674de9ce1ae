"""lm-eval's model ``hf-layerswap``: a layer swap evaluated in memory, without merging it to a folder.

``lm_eval run --model hf-layerswap --model_args pretrained=R,donor=D,bottom=5,top=2,transition=1 --tasks …``
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError, show_without_traceback

try:
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.utils import simple_parse_args_string
    from mergekit.options import MergeOptions

    from turnswap.merge_methods.checkpoint import first_line
    from turnswap.merge_methods.configuration import SHARED, parse_configuration, read_configuration, roles_of
    from turnswap.merge_methods.recipe import Recipe
    from turnswap.merge_methods.references import same_model
    from turnswap.merge_methods.weights import plain_folder, weights_folder

    from .capacity import check_free, check_memory, is_out_of_memory, model_bytes, out_of_memory_explained
    from .hf_arguments import check_arguments, find_device
    from .in_memory import SwapInMemory, checked_plan, content_of, told
except ImportError as missing:
    show_without_traceback()
    raise UserError(
        f"hf-layerswap needs transformers, accelerate and mergekit ({missing}).",
        "Install them: pip install 'turnswap[hf,merge]'",
    ) from missing

LOG = logging.getLogger(__name__)
LM_EVALS = {"device": "cuda:0", "batch_size": "1"}  # what lm-eval's command says where its user says nothing


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
        check_arguments(given, arguments)
        configuration, parameters = _configuration(pretrained, donor, ancestor, swap, given)
        self._options = MergeOptions(
            trust_remote_code=bool(arguments.get("trust_remote_code")),
            lora_merge_cache=lora_merge_cache,
            transformers_cache=transformers_cache,
        )
        asked = ", ".join(f"{name}={value}" for name, value in arguments.items() if name not in LM_EVALS)
        device = find_device(arguments.get("device"))
        arguments["device"] = str(device)
        declared = configuration.get("out_dtype") or configuration.get("dtype")
        if declared and arguments.get("dtype", "auto") == "auto":
            arguments["dtype"] = declared  # what the merged folder's configuration would say
        recipe = checked_plan(configuration, parameters, self._options)
        check_memory(recipe, _loading_type(recipe, arguments), device)
        # An adapter is merged without its tokenizer.
        arguments.setdefault("tokenizer", str(plain_folder(recipe.recipient, self._options)))
        weights = str(weights_folder(recipe.recipient, self._options))
        with out_of_memory_explained(device):
            with _loading_explained(recipe, asked):
                super().__init__(pretrained=weights, **arguments)
            self.pretrained = str(recipe.recipient)
            self._swap = SwapInMemory(self.model, functools.partial(self._load, recipe), configuration, self._options)
            self.compose(parameters)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> HFLayerSwap:
        """The model of ``--model_args``, and of what lm-eval says besides."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> HFLayerSwap:
        """Likewise, of arguments that are parsed; they come before what lm-eval says of its own accord.

        Raises:
            UserError: an argument is given twice, with two values.
        """
        given = {name: value for name, value in (additional_config or {}).items() if value is not None}
        for name in given.keys() & arg_dict.keys():
            if str(given[name]) not in (LM_EVALS.get(name), str(arg_dict[name])):
                raise UserError(
                    f"{name} is given twice: {arg_dict[name]} in --model_args, and --{name} {given[name]}.",
                    "Remove one of the two.",
                )
        if given.get("device") == LM_EVALS["device"] and not torch.cuda.is_available():
            del given["device"]
            if "device" not in arg_dict:
                LOG.warning("There is no GPU that torch could use: hf-layerswap runs on the CPU.")
        return cls(**given | arg_dict)

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


@contextlib.contextmanager
def _loading_explained(recipe: Recipe, asked: str) -> Iterator[None]:
    """Say in words why transformers does not load the recipient as it was asked to."""
    try:
        yield
    except Exception as error:  # of many kinds
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        raise UserError(
            f"{recipe.recipient} cannot be loaded ({type(error).__name__}: {first_line(error).rstrip('.')}).",
            f"Change or remove what does not fit in {asked}." if asked else "Check that lm-eval's hf loads it.",
        ) from error


def _loading_type(recipe: Recipe, arguments: Mapping[str, Any]) -> torch.dtype | None:
    """The type in which HFLM will load the recipient; None where only the weights tell."""
    asked = arguments.get("dtype") or "auto"
    if isinstance(asked, str) and asked != "auto":
        asked = getattr(torch, asked, None)
    if asked != "auto" and not (isinstance(asked, torch.dtype) and asked.is_floating_point):
        raise UserError(f"dtype: {arguments['dtype']} is no type to load a model in.", "Use bfloat16 or float32.")
    return recipe.recipient.config.dtype if asked == "auto" else asked
