"""A rule's suggestion made ready to merge: checked against the models, written as a configuration with its reasons."""

from __future__ import annotations

import dataclasses
import math
import shlex
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from mergekit.common import ModelReference
from mergekit.options import MergeOptions

from turnswap import __version__
from turnswap.core.errors import UserError, visible

from . import layer_figures as figures
from .analysis_file import Analysis, kinship
from .checkpoint import type_name
from .compatibility import Model, open_model
from .layout import Layout, cells_of
from .recipe import Recipe, read_recipe
from .suggest import BLEND, RULES, Decision, Suggestion, as_layers, ends_of
from .swap_plan import NAME, layer_sources
from .zones import SwapParameters, ranges

WIDTH = 118


@dataclass(frozen=True)
class Experts:
    """What a suggestion is for: analyses of each donor with the one recipient, and what to know of their descent.

    ``opened``: the models as the rules' recipes name them, so that each is read once.
    """

    analyses: Sequence[Analysis]
    options: MergeOptions
    recipient: Model
    donors: Sequence[Model]
    warnings: tuple[str, ...]
    opened: dict[ModelReference, Model] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """A suggestion, its plan, and ``text``: the layerswap.yml."""

    suggestion: Suggestion
    recipe: Recipe
    warnings: tuple[str, ...]
    text: str

    def as_json(self) -> dict[str, Any]:
        """Everything but the tensors' sources, which ``turnswap plan --json`` lists."""
        return dataclasses.asdict(self.suggestion) | {"warnings": self.warnings, "configuration": self.text}


def open_experts(analysis: Analysis | Sequence[Analysis], options: MergeOptions, anyway: bool = False) -> Experts:
    """The experts of an analysis, where it says that they are: relative folders are taken from here.

    Args:
        analysis: made now or read back; several are of as many donors with the same ancestor and recipient.
        options: mergekit's, for how models are read.
        anyway: go on where an expert does not seem to come from the ancestor.

    Raises:
        UserError: an expert is not there, is not what was analysed, or does not seem to come from the ancestor; several
            analyses have different recipients.
    """
    analyses = [analysis] if isinstance(analysis, Analysis) else list(analysis)
    for role in ("base", "recipient"):
        named = list(dict.fromkeys(one.models[role] for one in analyses))
        if named[1:]:
            raise UserError(
                f"The analyses have different models as {role}: {named[0]} and {named[1]}.",
                "Donors of one swap are each compared with the same recipient and its ancestor.",
            )
    compared = [("recipient", analyses[0]), *(("donor", one) for one in analyses)]
    warnings = [said for role, one in compared for said in _kinship_warnings(one, role, anyway)]
    models = []
    for role, one in compared:
        try:
            models.append(open_model(one.models[role], options))
        except UserError as error:
            raise UserError(
                f"The {role} of the analysis: {error.message}",
                f"{error.advice} Relative folders are taken from where turnswap analyze ran: run this there.".strip(),
            ) from error
        _check_layout(one, role, models[-1].layout)
    return Experts(analyses, options, models[0], models[1:], tuple(warnings))


def propose(
    experts: Experts,
    rule: str,
    settings: Mapping[str, Any] | None = None,
    *,
    accept: str | None = None,
    origin: str | None = None,
    output: str = "layerswap.yml",
) -> Proposal:
    """What a rule suggests, as a configuration that has been read as the merge will read it.

    Args:
        experts: from :func:`open_experts`.
        rule: one of :data:`turnswap.merge_methods.suggest.RULES`.
        settings: shin-hwang's own: ``granularity``, ``threshold`` and ``blend``; other rules have none.
        accept: differences between the experts to put up with, as in a layerswap.yml.
        origin: where the analysis lies, for the comments.
        output: the configuration's file, for the comments.

    Raises:
        UserError: the rule has nothing to suggest, or the experts do not fit each other.
    """
    given = settings or {} if rule == "shin-hwang" else {}
    layout, several = experts.recipient.layout, len(experts.analyses) > 1
    suggestions = []
    for analysis in experts.analyses:
        try:
            suggestions.append(RULES[rule](analysis, layout, **given))
        except UserError as error:
            of = f"{analysis.models['donor']}: " if several else ""
            raise UserError(f"{of}{error.message}", error.advice) from error
    suggestion = united(suggestions, experts.analyses, layout) if several else suggestions[0]
    donors: list[dict[str, Any]] = [{"model": analysis.models["donor"]} for analysis in experts.analyses]
    if several:
        donors = [donor | {"parameters": suggestion.parameters[donor["model"]]} for donor in donors]
    recipient = experts.analyses[0].models["recipient"]
    content: dict[str, Any] = {"merge_method": NAME, "base_model": recipient, "models": donors}
    shared = ({} if several else dict(suggestion.parameters)) | ({"accept": accept} if accept else {})
    if shared:
        content["parameters"] = shared
    stored = [  # the type of every tensor that a merge can take from any expert
        {name: weight.header.dtype for name, weight in model.layout.weights.items() if weight.place.part != "outside"}
        for model in (experts.recipient, *experts.donors)
    ]
    notes = []
    if any(types != stored[0] for types in stored):
        content["dtype"] = type_name(experts.recipient.layout.main_type)
        notes.append(f"The experts are stored in different types: dtype is the recipient's, {content['dtype']}.")
    body = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=10**6)
    recipe = read_recipe(yaml.safe_load(body), experts.options, experts.opened)
    warnings = (*experts.warnings, *recipe.warnings)
    file = shlex.quote(output)
    adapters = any(model.reference.lora for model in (experts.recipient, *experts.donors))
    cache = " --lora-merge-cache ./merged-adapters" if adapters else ""
    commands = (
        f"mergekit-yaml {file} ./merged{cache}",
        f"Before: turnswap plan {file}; after: turnswap verify ./merged{cache}",
    )
    told = [*(f"Note: {note}" for note in (*suggestion.notes, *notes)), *(f"Warning: {said}" for said in warnings)]
    comments = [*_opening(experts, suggestion, origin), *suggestion.reasons, *told, *_table(suggestion)]
    # Commands are not wrapped: they are there to be copied.
    lines = [*(f"# {visible(command)}" for command in commands), *map(_comment, comments), body]
    return Proposal(suggestion, recipe, warnings, "\n".join(lines))


def united(suggestions: Sequence[Suggestion], analyses: Sequence[Analysis], layout: Layout) -> Suggestion:
    """One suggestion of several by the same rule; ``parameters`` holds those of each donor by its name.

    A layer that several donors would give comes from the one whose share of change there is the largest: ||change|| /
    ||ancestor|| of the layer's matrices, divided by the sum over the layers. ``layout`` is the recipient's.
    """
    names = [analysis.models["donor"] for analysis in analyses]
    if any(isinstance(one.parameters.get("layers"), list) for one in suggestions):
        raise UserError("With several donors, each gives whole layers.", "Leave out --granularity module.")
    claims = [layer_sources(SwapParameters(**one.parameters), layout.n_layers) for one in suggestions]
    shares = [figures.shares(figures.matrices(one)[0], figures.change)["donor"] for one in analyses]
    taken: list[dict[int, Decision]] = [dict.fromkeys(range(layout.n_layers), "recipient") for _ in names]
    contested: dict[tuple[str, str], list[int]] = {}
    for layer in range(layout.n_layers):
        wanting = [donor for donor, _ in enumerate(names) if claims[donor][layer].donor_share]
        wanting.sort(key=lambda donor: -shares[donor][layer])
        if wanting:
            taken[wanting[0]][layer] = "blend" if claims[wanting[0]][layer].origin == "blend" else "donor"
        for loser in wanting[1:]:
            contested.setdefault((names[wanting[0]], names[loser]), []).append(layer)
    parameters: dict[str, Any] = {}
    notes = [note for one in suggestions for note in one.notes]
    for name, suggestion, claimed, decisions in zip(names, suggestions, claims, taken, strict=True):
        touching, more = ends_of(decisions[0], decisions[layout.n_layers - 1], layout)
        notes += more
        parameters[name] = as_layers(decisions) | touching
        if "blend" in decisions.values():
            share = parameters[name]["blend"] = suggestion.parameters.get("blend", BLEND)
            if any(source.origin == "blend" and source.donor_share != share for source in claimed):
                notes.append(f"{name}: every blended layer takes {share:g} from the donor, also in transitions.")
    reasons = [f"{name}: {said}" for name, one in zip(names, suggestions, strict=True) for said in one.reasons]
    reasons += [
        f"{winner} and {loser} would both give layers {ranges(layers)}: {winner} gives them, since its share of change "
        "there is larger."
        for (winner, loser), layers in contested.items()
    ]
    rows = [{"donor": name, **row} for name, one in zip(names, suggestions, strict=True) for row in one.figures]
    first = suggestions[0]
    return Suggestion(first.rule, first.source, parameters, tuple(reasons), tuple(rows), tuple(dict.fromkeys(notes)))


def _kinship_warnings(analysis: Analysis, role: str, anyway: bool) -> list[str]:
    """What must be known of an expert's descent, which every rule supposes to be from one ancestor."""
    found = kinship(analysis, role)
    if found.verdict == "yes":
        return []
    told = f"whether the {role} comes from {analysis.models['base']} is judged {found.verdict!r}: {found.reason}"
    if found.verdict != "likely" and not anyway:
        raise UserError(
            f"The rules need experts of one ancestor, and {told}.",
            "Name their pretrained model in turnswap analyze --base. If you know better: --anyway.",
        )
    return [told]


def _check_layout(analysis: Analysis, role: str, layout: Layout) -> None:
    """Refuse an analysis of other models than the one with this layout."""
    held: Counter[tuple[int | None, str]] = Counter()
    for weight in layout.compared:
        cells = cells_of(weight, layout.n_layers)
        for cell in cells:
            held[cell] += math.prod(weight.header.shape) // len(cells)
    analysed = Counter({(cell.layer, cell.component): cell.parameters for cell in analysis.cells})
    if layout.n_layers != analysis.n_layers or held != analysed:
        raise UserError(
            f"The {role}, {analysis.models[role]}, is not the model that was analysed: it has "
            f"{layout.n_layers} layers and {held.total()} parameters, the analysis {analysis.n_layers} and "
            f"{analysed.total()}.",
            "Run turnswap analyze again, with -o.",
        )


def _opening(experts: Experts, suggestion: Suggestion, origin: str | None) -> list[str]:
    """Who made the file of what, and by which rule."""
    models = experts.analyses[0].models
    analysis = f"the analysis {origin}" if origin else "an analysis"
    return [
        f"Written by turnswap {__version__}, suggest --rule {suggestion.rule}, from {analysis}:",
        f"  recipient {models['recipient']}",
        *(f"  donor     {analysis.models['donor']}" for analysis in experts.analyses),
        f"  ancestor  {models['base']} (every weight was compared with it; the swap takes nothing of it)",
        f"The rule {suggestion.rule}: {suggestion.source}",
    ]


def _table(suggestion: Suggestion) -> list[str]:
    """The figures as lines of text, a row per layer or module."""
    if not suggestion.figures:
        return []
    import pandas as pd  # a merge, which reads plans too, does without

    floats = [name for name, value in suggestion.figures[0].items() if isinstance(value, float)]
    formatters = {name: ("{:.5f}" if name.startswith("p_") else "{:+.5f}").format for name in floats}
    return pd.DataFrame(suggestion.figures).to_string(index=False, formatters=formatters).splitlines()


def _comment(line: str) -> str:
    """A line as a comment that nothing in it can end: what does not print is written out."""
    return textwrap.fill(
        visible(line), WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
