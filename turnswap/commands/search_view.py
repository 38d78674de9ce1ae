"""A search's results in a terminal: a table, and heat maps of bottom by top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from turnswap.core.errors import visible
from turnswap.core.heat_maps import heat_table

from .merge_view import coloured

if TYPE_CHECKING:  # it brings torch and lm-eval, which take seconds
    from turnswap.sweeps.rows import Search

_NAME, _LAYERS = 1, 2  # columns of the table
_BEST = 10  # ranks that are shown
_LONGEST = 200  # characters of documents' numbers
_BESIDE_LAYERS = 90  # what the other columns need; where there is less, the letter per layer gives way


def show_search(console: Console, search: Search) -> None:
    """Print every row, a heat map per combination of the grid's other axes, the comparisons, and the notes."""
    from turnswap.sweeps.documents import describe, in_words
    from turnswap.sweeps.outputs import SAID, difference_text, grid_maps, leading, span, table

    # The references, the winner, the front and its rivals, and the best of the others.
    shown = [row for row in search.rows if row.report or (row.rank is not None and row.rank <= _BEST)]
    header, rows = table(search, shown)
    objective = search.roles["select"].objectives[search.objective]
    direction = "higher" if objective.higher_is_better else "lower"
    title = f"Chosen by {objective.name} ({direction} is better); differences are to the recipient"
    layers = len(search.best.configuration.layers)
    if left_out := len(search.rows) - len(shown):
        title += f"; {left_out} more rows are in the files"
    console.print(_table(title, header, rows, with_layers=console.width >= _BESIDE_LAYERS + layers))
    console.print(Text.assemble("best swap  ", coloured(search.best.configuration.layers)), soft_wrap=True)
    role = list(search.roles.values())[-1]
    for other, difference in search.against.items():
        said = f"{search.best.configuration.name} - {other}: {difference_text(difference)}"
        console.print(Text(visible(f"{leading(search, role)}, {SAID[role.name]}: {said}")), soft_wrap=True)
    maps = grid_maps(search)
    for title, values in maps.items():
        console.print(_heat_map(title, values, span(maps), objective.higher_is_better))
    for role in search.roles.values():
        said = in_words(describe(role.documents))
        short = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
        console.print(Text(f"{SAID[role.name]} {visible(short)}"), soft_wrap=True)
        if len(role.documents) > len(role.objectives):
            console.print(f"{SAID[role.name]}: the mean over the tasks or groups named", soft_wrap=True, markup=False)
    for note in search.notes:
        console.print(Text(f"Note: {visible(note)}"), soft_wrap=True)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], with_layers: bool) -> Table:
    shown = Text(visible(title), style="bold")
    table = Table(title=shown, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = [number for number in range(len(header)) if number != _LAYERS or with_layers]
    for number in columns:
        justify: JustifyMethod = "left" if number in (_NAME, _LAYERS) else "right"
        needed = max((len(cells[number]) for cells in rows), default=0)
        needed = min(needed, 16) if number == _NAME else needed
        table.add_column(Text(header[number]), justify=justify, overflow="fold", min_width=needed)
    for cells in rows:
        table.add_row(*(coloured(cells[n]) if n == _LAYERS else Text(visible(cells[n])) for n in columns))
    return table


def _heat_map(
    title: str, values: Sequence[Mapping[str, Any]], domain: tuple[float, float], higher_is_better: bool
) -> Table:
    """Bottom down, top across; the stronger the colour, the better. A cross: dropped by a pruner."""
    low, high = domain

    def share(figure: float) -> float:
        share = (figure - low) / (high - low) if high > low else 0.0
        return share if higher_is_better else 1 - share

    ordered = sorted(values, key=itemgetter("top", "bottom"))
    return heat_table(title, "bottom \\ top", ordered, ("bottom", "top"), share, ".4f", 8)
