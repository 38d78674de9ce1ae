"""What a search is asked to do: a YAML file and the options that override it, checked before anything is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from turnswap.core import settings
from turnswap.core.errors import UserError
from turnswap.merge_methods.zones import DEPTHS, PARAMETER_NAMES

EXAMPLE = "See configs/search.yml for an example."
AXES = (
    "bottom", "top", "transition", "bottom_transition", "top_transition", "blend", "invert", "embeddings", "head",
)  # fmt: skip
# What would contradict the search's own settings, and where it is said.
_SAID_ELSEWHERE = {"pretrained": "--recipient", "donor": "--donor", "ancestor": "--base", "swap": "swaps in the YAML"}
_SAID_ELSEWHERE |= dict.fromkeys(PARAMETER_NAMES, "--bottom, --top or swaps in the YAML")
_SAID_ELSEWHERE |= {
    name: f"--{name.replace('_', '-')}"
    for name in ("accept", "device", "batch_size", "lora_merge_cache", "transformers_cache", "trust_remote_code")
}


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
    if name in DEPTHS and isinstance(values, str):
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
    if name in DEPTHS and not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
        raise ValueError(f"{name}: expected numbers of layers, got {values}")
    if not values:
        raise ValueError(f"{name}: no values")
    return list(dict.fromkeys(values))


def _not_said_elsewhere(arguments: dict[str, Any]) -> dict[str, Any]:
    if said := [name for name in arguments if name in _SAID_ELSEWHERE]:
        raise ValueError(f"the search itself sets {said[0]}: use {_SAID_ELSEWHERE[said[0]]}")
    return arguments


Names = Annotated[list[str], BeforeValidator(_listed)]
Arguments = Annotated[dict[str, Any], BeforeValidator(_mapping)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Measure(BaseModel):
    """What is measured: a metric of lm-eval's tasks, or a zero-shot figure, which never looks at the target task.

    ``tasks``: lm-eval's tasks, groups, tags or globs, each perhaps with documents, ``TASK:0-99`` (counted from 0, both
    ends belong to it); several count by their mean. ``perplexity``: a file of general text, with empty lines between
    texts. ``replies_in``: the code of a language in which replies to the texts of the file ``prompts`` should be.
    ``optimize: false``: only constraints look at it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: Names = Field(default_factory=list)
    metric: str | None = None
    perplexity: Path | None = None
    replies_in: str | None = None
    prompts: Path | None = None
    optimize: bool = True

    @model_validator(mode="after")
    def _one_thing(self) -> Measure:
        kinds = [bool(self.tasks), self.perplexity is not None, self.replies_in is not None]
        if sum(kinds) != 1:
            raise ValueError("expected one of tasks (with metric), perplexity, replies_in (with prompts)")
        if (self.metric is None) == bool(self.tasks):
            raise ValueError("tasks need a metric, such as acc, and nothing else has one")
        if (self.prompts is None) != (self.replies_in is None):
            raise ValueError("replies_in needs prompts, a file, and nothing else has any")
        return self


class ZeroShot(BaseModel):
    """What the named zero-shot objectives look at.

    ``target_perplexity``: the file ``text`` (general text in the target language). ``source_skill``: ``source``, tasks
    in the language that the skill was learned in, and ``metric``. ``reply_language``: ``language`` and ``prompts``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Path | None = None
    source: Names = Field(default_factory=list)
    metric: str | None = None
    language: str | None = None
    prompts: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> ZeroShot:
        if bool(self.source) != (self.metric is not None) or (self.language is None) != (self.prompts is None):
            raise ValueError("source needs a metric, and language needs prompts")
        return self

    def measures(self) -> dict[str, Measure]:
        """The objectives that can be had from what is given, by name."""
        found = {}
        if self.text is not None:
            found["target_perplexity"] = Measure(perplexity=self.text)
        if self.source:
            found["source_skill"] = Measure(tasks=self.source, metric=self.metric)
        if self.language is not None:
            found["reply_language"] = Measure(replies_in=self.language, prompts=self.prompts)
        return found


class Settings(BaseModel):
    """A search's settings, under the names that the YAML file has.

    Models: ``recipient``; ``donor``, one or a list; ``base``, their ancestor. What is tried: ``grid``, values per
    parameter of a swap, all combinations of them; ``swaps``, named ones, each what stands under ``parameters:`` in a
    layerswap.yml and under ``donor``, ``donor2``, … what is that model's own, or the path of such a file; ``space``,
    which ``sampler`` draws from until there were ``trials`` of them or ``hours`` are over. ``pruner`` drops swaps that
    do badly on few documents.

    What is wanted: ``objectives``, and ``constraints`` such as ``english >= recipient - 2``; ``select_on`` and
    ``metric`` are one objective in short. Objectives may also be a list of names of :class:`ZeroShot`. The winner is
    the best by the first objective, or ``choose``, of those within the constraints. ``report_on``: other tasks, for
    figures to quote (a list, of the same ``metric``, or measures by name); without it ``held_out``, a share of the
    documents, is kept for that. ``limit``: the first documents of each task alone.

    ``controls``: random placements as wide as the winner, as many as swaps were tried unless a number is given;
    ``averages``: the donor's shares in averages of whole models. The best of each is compared with the winner.
    ``anyway``: go on where an expert seems unrelated to ``base``. The rest is lm-eval's and mergekit's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipient: str
    donor: Annotated[str | Annotated[list[str], Field(min_length=2)], BeforeValidator(_one_or_several)]
    base: str | None = None
    grid: Annotated[dict[str, list[Any]], BeforeValidator(_axes)] = Field(default_factory=dict)
    swaps: dict[str, dict[str, Any] | str] = Field(default_factory=dict)
    space: dict[str, Any] = Field(default_factory=dict)
    sampler: Literal["grid", "list", "tpe", "cmaes", "nsgaii", "random"] = "tpe"
    pruner: Literal["none", "halving", "hyperband", "median"] = "none"
    trials: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
    storage: str = "journal"
    accept: str | None = None
    anyway: bool = False
    select_on: Names = Field(default_factory=list)
    metric: str | None = None
    objectives: dict[str, Measure] | list[str] = Field(default_factory=dict)
    zero_shot: ZeroShot = ZeroShot()
    constraints: list[str] = Field(default_factory=list)
    choose: str | None = None
    report_on: Annotated[dict[str, Measure] | Names, BeforeValidator(_listed)] = Field(default_factory=list)
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.5
    limit: Annotated[int, Field(ge=1)] | None = None
    controls: Annotated[int, Field(ge=0)] | None = None
    averages: list[Share] = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]
    seed: int = 0
    evaluator: Literal["hf", "vllm"] = "hf"
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

    @property
    def is_zero_shot(self) -> bool:
        """Whether the target task is only reported, and the objectives are those of ``zero_shot``."""
        return isinstance(self.objectives, list) or not (self.objectives or self.select_on)

    def measures(self) -> dict[str, Measure]:
        """The objectives by name, in their order.

        Raises:
            UserError: there are none, or a zero-shot one is named whose files or tasks are not given.
        """
        if isinstance(self.objectives, dict) and self.objectives:
            return self.objectives
        if self.select_on and not self.objectives:
            name = str(self.metric)
            return {name: Measure(tasks=self.select_on, metric=name)}
        offered = self.zero_shot.measures()
        for name in self.objectives:
            if name not in offered:
                raise UserError(
                    f"The objective {name} is not described.",
                    "Under zero_shot: text for target_perplexity, source with metric for source_skill, language with "
                    f"prompts for reply_language. {EXAMPLE}",
                )
        return {name: offered[name] for name in self.objectives or offered}

    def reported(self) -> dict[str, Measure]:
        """What is reported on, by name; empty where documents of the objectives are held out for that."""
        if isinstance(self.report_on, dict):
            return self.report_on
        name = str(self.metric) if self.select_on else "target"
        return {name: Measure(tasks=self.report_on, metric=self.metric)} if self.report_on else {}


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
    content |= given
    if content.pop("halving", None):
        raise UserError("halving is no setting of a search any more.", "Write pruner: halving (--pruner halving).")
    advice = f"Give it as an option (--select-on for select_on) or in a YAML file. {EXAMPLE}"
    found = settings.read_settings(Settings, content, "a search", advice)
    _check(found)
    return found


def _check(found: Settings) -> None:
    """Refuse settings that say too little, or contradict each other."""
    if not (found.grid or found.swaps or found.space):
        raise UserError(
            "There is nothing to try.",
            "Give a grid (--bottom 0-8 --top 0-4), or swaps or a space in a YAML: configs/search.yml.",
        )
    if found.space and found.sampler in ("grid", "list"):
        raise UserError(
            f"sampler: {found.sampler} draws nothing from a space.",
            "Leave space out, or use tpe, cmaes, nsgaii, random.",
        )
    if found.space and not (found.trials or found.hours):
        raise UserError("A search of a space needs trials or hours.", "Set how much it may try: --trials 100.")
    if found.grid and "donor2" in found.models:
        raise UserError(
            "A grid takes one donor, and there are several.",
            'List swaps in the YAML: swaps: {both: {donor: {layers: "0-4"}, donor2: {layers: "30-31"}}}.',
        )
    if found.select_on and found.objectives:
        raise UserError("select_on and objectives both say what to choose by.", "Leave one of them out.")
    needs_metric = found.select_on or (isinstance(found.report_on, list) and found.report_on)
    if needs_metric and found.metric is None:
        raise UserError("a search needs metric.", f"Name the metric of the tasks: --metric acc. {EXAMPLE}")
    measures = found.measures()
    if not measures:
        raise UserError(
            "Nothing says what a good swap is.",
            f"Give --select-on TASK --metric NAME, objectives, or zero_shot with a text or a source. {EXAMPLE}",
        )
    optimized = [name for name, measure in measures.items() if measure.optimize]
    if not optimized:
        raise UserError("No objective is optimized.", "Remove optimize: false from one of them.")
    if found.pruner != "none" and len(optimized) > 1:
        raise UserError(
            f"pruner: {found.pruner} needs one objective, and there are {len(optimized)}: {', '.join(optimized)}.",
            "Leave it out, or write optimize: false for all but one, and name those in constraints.",
        )
    if found.sampler == "cmaes" and len(optimized) > 1:
        raise UserError("sampler: cmaes needs one objective.", "Use tpe or nsgaii.")
    if found.choose is not None and found.choose not in optimized:
        raise UserError(f"choose: {found.choose} is no objective.", f"There are: {', '.join(optimized)}.")
