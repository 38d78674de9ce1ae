"""What a sweep is asked to do: a YAML file and the options that override it, checked before anything is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from turnswap.core import settings
from turnswap.core.errors import UserError
from turnswap.merge_methods.zones import PARAMETER_NAMES

EXAMPLE = "See configs/sweep.yml for an example."
ETA = 3  # of successive halving, where it is only said that there should be one
AXES = (
    "bottom", "top", "transition", "bottom_transition", "top_transition", "blend", "invert", "embeddings", "head",
)  # fmt: skip
# What would contradict the sweep's own settings, and where it is said.
_SAID_ELSEWHERE = {"pretrained": "--recipient", "donor": "--donor", "ancestor": "--base", "swap": "swaps in the YAML"}
_SAID_ELSEWHERE |= dict.fromkeys(PARAMETER_NAMES, "--bottom, --top or swaps in the YAML")
_SAID_ELSEWHERE |= {
    name: f"--{name.replace('_', '-')}"
    for name in ("accept", "device", "batch_size", "lora_merge_cache", "transformers_cache", "trust_remote_code")
}
_DEPTHS = ("bottom", "top", "transition", "bottom_transition", "top_transition")


def _listed(value: Any) -> Any:
    """``a,b`` as a list; commas inside brackets of a glob stay."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _mapping(value: Any) -> Any:
    """Arguments as lm-eval's command line takes them: JSON, or ``a=b,c=d``."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"it is no JSON: {error}") from error
    from lm_eval.utils import simple_parse_args_string

    return simple_parse_args_string(value)


def _eta(value: Any) -> Any:
    return ETA if value is True else None if value is False else value


def _one_or_several(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value


def _axes(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if unknown := [name for name in value if name not in AXES]:
        raise ValueError(
            f"{unknown[0]} is no axis of a grid; there are {', '.join(AXES)}; other swaps are listed under swaps"
        )
    return {name: _axis(name, values) for name, values in value.items()}


def _axis(name: str, values: Any) -> list[Any]:
    """The values of one axis: a list, one value, or for depths ``0-4,6``."""
    if name in _DEPTHS and isinstance(values, str):
        found: list[Any] = []
        for part in values.split(","):
            match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
            if not match or int(match[2] or match[1]) < int(match[1]):
                raise ValueError(f"{name}: expected numbers such as 0-4,6, got {values!r}")
            found += range(int(match[1]), int(match[2] or match[1]) + 1)
        values = found
    elif isinstance(values, str):
        values = _listed(values)
    elif not isinstance(values, list):
        values = [values]
    if name in _DEPTHS and not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
        raise ValueError(f"{name}: expected numbers of layers, got {values}")
    if not values:
        raise ValueError(f"{name}: no values")
    return list(dict.fromkeys(values))


def _not_said_elsewhere(arguments: dict[str, Any]) -> dict[str, Any]:
    if said := [name for name in arguments if name in _SAID_ELSEWHERE]:
        raise ValueError(f"the sweep itself sets {said[0]}: use {_SAID_ELSEWHERE[said[0]]}")
    return arguments


Names = Annotated[list[str], BeforeValidator(_listed)]
Arguments = Annotated[dict[str, Any], BeforeValidator(_mapping)]


class Settings(BaseModel):
    """A sweep's settings, under the names that the YAML file has.

    ``donor``: one, or a list. ``grid``: values per parameter of a swap, all combinations of which are tried. ``swaps``:
    named swaps, each what stands under ``parameters:`` in a layerswap.yml and under ``donor``, ``donor2``, … what is
    that model's own, or the path of such a file. ``select_on``, ``report_on``: lm-eval's tasks, groups, tags or globs,
    each perhaps with documents, ``TASK:0-99`` (counted from 0, both ends belong to it). ``limit``: the first documents
    of each task, after that. ``halving``: eta, or true for 3. ``unrelated_because``: why experts that do not seem to
    come from ``base`` are compared all the same. The rest is lm-eval's and mergekit's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipient: str
    donor: Annotated[str | Annotated[list[str], Field(min_length=2)], BeforeValidator(_one_or_several)]
    base: str | None = None
    grid: Annotated[dict[str, list[Any]], BeforeValidator(_axes)] = Field(default_factory=dict)
    swaps: dict[str, dict[str, Any] | str] = Field(default_factory=dict)
    accept: str | None = None
    unrelated_because: str | None = None
    select_on: Names = Field(min_length=1)
    report_on: Names = Field(default_factory=list)
    metric: str
    limit: Annotated[int, Field(ge=1)] | None = None
    controls: Annotated[int, Field(ge=0)] = 0
    halving: Annotated[Annotated[int, Field(ge=2)] | None, BeforeValidator(_eta)] = None
    seed: int = 0
    model_args: Annotated[Arguments, AfterValidator(_not_said_elsewhere)] = Field(default_factory=dict)
    device: str | None = None
    batch_size: Annotated[int | str, Field(union_mode="left_to_right")] = 1  # "8" is a number, "auto" a word
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    gen_kwargs: Arguments = Field(default_factory=dict)
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    include_path: str | None = None
    metadata: Arguments = Field(default_factory=dict)
    confirm_run_unsafe_code: bool = False
    trust_remote_code: bool = False
    lora_merge_cache: str | None = None
    transformers_cache: str | None = None

    @property
    def models(self) -> dict[str, str]:
        """The models by role."""
        donors = [self.donor] if isinstance(self.donor, str) else self.donor
        named = {f"donor{number if number > 1 else ''}": model for number, model in enumerate(donors, 1)}
        return {"recipient": self.recipient} | named | ({"pretrained": self.base} if self.base else {})


def read_settings(path: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """The settings of a YAML file, overridden; a ``grid`` is overridden axis by axis.

    Args:
        path: the file; None where the options say everything.
        overrides: by the names of :class:`Settings`; what is None says nothing.

    Raises:
        UserError: the file cannot be read, a name is unknown, a value is missing or of the wrong kind.
    """
    content = settings.read_yaml(path, EXAMPLE) if path is not None else {}
    given = {name: value for name, value in overrides.items() if value not in (None, {}, ())}
    if "grid" in given and isinstance(content.get("grid"), dict):
        given["grid"] = content["grid"] | given["grid"]
    advice = f"Give it as an option (--select-on for select_on) or in a YAML file. {EXAMPLE}"
    found = settings.read_settings(Settings, content | given, "a sweep", advice)
    if not found.grid and not found.swaps:
        raise UserError(
            "There is nothing to try.", "Give a grid (--bottom 0-8 --top 0-4), or swaps in a YAML: configs/sweep.yml."
        )
    if found.grid and "donor2" in found.models:
        raise UserError(
            "A grid is of one donor, and there are several.",
            'List swaps in the YAML: swaps: {both: {donor: {layers: "0-4"}, donor2: {layers: "30-31"}}}.',
        )
    return found
