"""``turnswap suggest``: what the rules suggest, in a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from turnswap.core.errors import UserError, visible

from .merge_view import coloured, ruler, show_plan

if TYPE_CHECKING:  # they bring torch and mergekit, which take seconds
    from turnswap.merge_methods.proposal import Proposal


def show_proposals(console: Console, proposals: Mapping[str, Proposal | UserError], warnings: Sequence[str]) -> None:
    """Print a line of letters per rule, then the reasons of each."""
    plans = [made.recipe for made in proposals.values() if not isinstance(made, UserError)]
    if plans:
        console.print(Text(f"{'layer':12}{ruler(plans[0].n_layers)}", style="dim"), soft_wrap=True)
    for rule, made in proposals.items():
        letters = Text("nothing") if isinstance(made, UserError) else coloured(made.recipe.letters)
        console.print(Text(f"{rule:12}") + letters, soft_wrap=True)
    console.print(Text("D donor, R recipient, b blended, * its modules differ\n", style="dim"))
    for rule, made in proposals.items():
        told = [str(made)] if isinstance(made, UserError) else [made.suggestion.source, *made.suggestion.reasons]
        console.print(Text(f"{rule}: {visible(told[0])}"), soft_wrap=True)
        for line in told[1:]:
            console.print(Text(f"  {visible(line)}"), soft_wrap=True)
    _warn(console, warnings)
    console.print("Nothing is written. With --rule NAME -o layerswap.yml one of them is.", markup=False)


def show_proposal(console: Console, made: Proposal) -> None:
    """Print the reasons of one suggestion, then its plan as ``turnswap plan`` does."""
    for line in (*made.suggestion.reasons, *(f"Note: {note}" for note in made.suggestion.notes)):
        console.print(Text(visible(line)), soft_wrap=True)
    _warn(console, [said for said in made.warnings if said not in made.recipe.warnings])
    console.print()
    show_plan(console, made.recipe, False, None)


def as_json_of_all(proposals: Mapping[str, Proposal | UserError]) -> list[dict[str, Any]]:
    """An entry per rule: what it suggests, or ``refused`` and why."""
    return [
        {"rule": rule, "refused": str(made)} if isinstance(made, UserError) else made.as_json()
        for rule, made in proposals.items()
    ]


def _warn(console: Console, warnings: Sequence[str]) -> None:
    for warning in warnings:
        console.print(Text(f"Warning: {visible(warning)}", style="yellow"), soft_wrap=True)
