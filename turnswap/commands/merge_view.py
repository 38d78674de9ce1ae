"""Plans, checks and suggestions of layer swaps as people see them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal as size
from rich.table import Column, Table
from rich.text import Text

from turnswap.core.errors import UserError, visible
from turnswap.merge_methods.swap_plan import letter_of

if TYPE_CHECKING:  # they bring torch and mergekit, which take seconds
    from turnswap.merge_methods.analysis import TensorChange
    from turnswap.merge_methods.planning import Planned
    from turnswap.merge_methods.proposal import Proposal
    from turnswap.merge_methods.recipe import Recipe
    from turnswap.merge_methods.verify import Report

STYLES = {"R": "blue", "D": "green", "b": "yellow", "P": "magenta", "*": "red"}
PARTS = {
    "embeddings": "embeddings",
    "tied": "embeddings (tied)",
    "slices": "slices of layers",
    "shared": "shared by layers",
    "head": "head",
    "prediction": "layers beyond the last",
    "outside": "outside the decoder",
}


def style_of(letter: str) -> str:
    """The colour of a letter; further donors have that of the first, brighter."""
    return STYLES.get(letter, "bright_green")


def show_plan(console: Console, recipe: Recipe, with_tensors: bool, changes: Sequence[TensorChange] | None) -> None:
    """Print what will come from where: models, a cell per layer, zones, sizes, notes and warnings."""
    for role, model in recipe.models.items():
        letter = letter_of(role)
        console.print(Text.assemble((f"{letter} {role:11}", style_of(letter)), str(model)), soft_wrap=True)
    console.print()
    console.print(Text(f"layer  {ruler(recipe.n_layers)}", style="dim"))
    console.print(Text("       ") + coloured(recipe.letters))
    if "*" in recipe.letters:
        console.print(Text("       * a filter gives its components different sources", style="dim"))
    console.print()
    console.print(_zones(recipe))
    if with_tensors:
        console.print(_tensors(recipe.tensors.values()))
    if changes is not None:
        console.print(_changes(recipe, changes))
    total = sum(tensor.n_bytes for tensor in recipe.tensors.values())
    types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in recipe.tensors.values()})
    console.print(f"Output: {len(recipe.tensors)} tensors, {size(total)}, {', '.join(types)}")
    for note in recipe.notes:
        console.print(f"Note: {note}", soft_wrap=True, markup=False)
    _warn(console, recipe.warnings)


def show_report(console: Console, report: Report) -> None:
    """Print whether a folder is what it declares, and what is wrong."""
    style = "green" if report.status == "verified" else "red"
    counts = ", ".join(f"{count} {origin}" for origin, count in sorted(report.tensors.items()))
    found = f": {sum(report.tensors.values())} tensors ({counts}), {size(report.n_bytes)}" if counts else ""
    status = "not verified" if report.status == "differs" else report.status
    console.print(Text.assemble((status, f"bold {style}"), f" {report.folder}{found}"), soft_wrap=True)
    if report.n_loaded is not None and not report.problems:
        console.print(f"Loaded by transformers: {report.n_loaded} tensors in memory are as declared")
    for problem in report.problems[:20]:
        console.print(f"  {problem}", soft_wrap=True, markup=False)
    if len(report.problems) > 20:
        console.print(f"  … and {len(report.problems) - 20} more: --json lists all")
    for note in report.notes:
        console.print(f"Note: {note}", soft_wrap=True, markup=False)


def coloured(letters: str) -> Text:
    """A recipe's letters, each in its colour."""
    return Text.assemble(*((letter, f"bold {style_of(letter)}") for letter in letters))


def ruler(n_layers: int) -> str:
    """The number of every tenth layer, to stand above letters."""
    return "".join(f"{layer:<10}" for layer in range(0, n_layers, 10))


def _zones(recipe: Recipe) -> Table:
    """A row per run of equal layers and source; then what is not in a layer. After ``blend``: the donor's share."""
    words = (Column(heading, overflow="fold") for heading in ("zone", "components", "from", "why"))
    table = Table(*words, Column("size", justify="right"), box=None, padding=(0, 1, 0, 0))
    for part in ("embeddings", "tied", "slices", "shared"):
        _add_part(table, recipe, part)
    by_layer: list[list[tuple[str, Planned]]] = [[] for _ in range(recipe.n_layers)]
    for tensor in recipe.tensors.values():
        layer = tensor.weight.place.layer
        if layer is not None:  # ``self_attn.q_proj.weight`` of ``model.layers.3.self_attn.q_proj.weight``
            by_layer[layer].append((tensor.name.partition(f".{layer}.")[2], tensor))
    for _, run in groupby(range(recipe.n_layers), key=lambda layer: [(name, t.source) for name, t in by_layer[layer]]):
        layers = list(run)
        label = f"layers {layers[0]}-{layers[-1]}" if len(layers) > 1 else f"layer {layers[0]}"
        first = by_layer[layers[0]]
        for source in dict.fromkeys(tensor.source for _, tensor in first):
            mine = [name for name, tensor in first if tensor.source == source]
            modules = dict.fromkeys(name.partition(".")[0] for name in mine)  # ``self_attn``, ``mlp``, …
            chosen = [tensor for layer in layers for _, tensor in by_layer[layer] if tensor.source == source]
            _add_row(table, label, "all" if len(mine) == len(first) else ", ".join(modules), chosen)
    for part in ("head", "prediction", "outside"):
        _add_part(table, recipe, part)
    return table


def _add_part(table: Table, recipe: Recipe, part: str) -> None:
    tensors = [tensor for tensor in recipe.tensors.values() if tensor.weight.place.part == part]
    for source in dict.fromkeys(tensor.source for tensor in tensors):
        chosen = [tensor for tensor in tensors if tensor.source == source]
        names = [tensor.name.removesuffix(".weight") for tensor in chosen]
        _add_row(table, PARTS[part], ", ".join(names) if len(names) < 4 else f"{len(names)} tensors", chosen)


def _add_row(table: Table, zone: str, components: str, tensors: Sequence[Planned]) -> None:
    source = tensors[0].source
    share = f" {source.mix.told}" if source.mix else ""
    origin = Text(source.origin + share, style_of(letter_of(source.origin)))
    table.add_row(zone, components, origin, source.why, size(sum(tensor.n_bytes for tensor in tensors)))


def _tensors(tensors: Iterable[Planned]) -> Table:
    whole = (Column(heading, no_wrap=True) for heading in ("from", "share", "shape"))
    columns = (Column("name", overflow="fold"), *whole, Column("size", justify="right", no_wrap=True))
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), title="tensors", title_justify="left")
    for tensor in tensors:
        shape = "×".join(map(str, tensor.weight.header.shape))
        origin = Text(tensor.source.origin, style_of(letter_of(tensor.source.origin)))
        table.add_row(tensor.name, origin, f"{tensor.source.donor_share:g}", shape, size(tensor.n_bytes))
    return table


def _changes(recipe: Recipe, changes: Sequence[TensorChange]) -> Table:
    """The mean change per layer, from the ancestor to each expert."""
    experts = [role for role in recipe.models if role != "pretrained"]
    cosines = [f"cosine with {role}" for role in experts[1:]] if experts[2:] else ["cosine of the two"]
    columns, title = ("layer", *experts, *cosines), "change from the ancestor, ‖Δ‖/‖base‖"
    figures_of = (Column(heading, justify="right") for heading in columns)
    table = Table(*figures_of, box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for layer, group in groupby(sorted(changes, key=lambda change: change.layer), lambda change: change.layer):
        figures = zip(*([*change.relative.values(), *change.cosine.values()] for change in group), strict=True)
        known = ([figure for figure in each if not math.isnan(figure)] for each in figures)
        table.add_row(str(layer), *(f"{fmean(each):.4f}" if each else "×" for each in known))
    return table


def show_proposals(console: Console, proposals: Mapping[str, Proposal | UserError], warnings: Sequence[str]) -> None:
    """Print a line of letters per rule, then the reasons of each."""
    plans = [made.recipe for made in proposals.values() if not isinstance(made, UserError)]
    if plans:
        console.print(Text(f"{'layer':12}{ruler(plans[0].n_layers)}", style="dim"), soft_wrap=True)
    for rule, made in proposals.items():
        letters = Text("nothing") if isinstance(made, UserError) else coloured(made.recipe.letters)
        console.print(Text(f"{rule:12}") + letters, soft_wrap=True)
    donors = [item for item in plans[0].models.items() if item[0].startswith("donor")] if plans else []
    named = ", ".join(f"{letter_of(role)} {model}" for role, model in donors) if donors[1:] else "D donor"
    legend = f"{visible(named)}, R recipient, b blended, * its modules differ\n"
    console.print(Text(legend, style="dim"), soft_wrap=bool(donors[1:]))
    for rule, made in proposals.items():
        told = [str(made)] if isinstance(made, UserError) else [made.suggestion.source, *made.suggestion.reasons]
        console.print(Text(f"{rule}: {visible(told[0])}"), soft_wrap=True)
        for line in told[1:]:
            console.print(Text(f"  {visible(line)}"), soft_wrap=True)
    _warn(console, warnings)
    console.print("Nothing is written. To write one of them: --rule NAME -o layerswap.yml", markup=False)


def show_proposal(console: Console, made: Proposal) -> None:
    """Print the reasons of one suggestion, then its plan as ``turnswap plan`` does."""
    for line in (*made.suggestion.reasons, *(f"Note: {note}" for note in made.suggestion.notes)):
        console.print(Text(visible(line)), soft_wrap=True)
    _warn(console, [said for said in made.warnings if said not in made.recipe.warnings])
    console.print()
    show_plan(console, made.recipe, False, None)


def _warn(console: Console, warnings: Sequence[str]) -> None:
    for warning in warnings:
        console.print(Text(f"Warning: {visible(warning)}", style="yellow"), soft_wrap=True)
