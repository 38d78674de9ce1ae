"""The command ``turnswap audit``: prompts held against what is graded."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from turnswap.core.errors import visible

from .options import FILE, Names, names_option

if TYPE_CHECKING:
    from turnswap.construction.data_audit.findings import Audit, Finding

_SHOWN = 3  # findings of a kind in the terminal


@click.command()
@click.argument("data", type=FILE)
@click.option("-o", "--output", type=FILE, help="Write the findings to this CSV, one a line.")
@names_option("--kind", "kinds", metavar="KIND,...", help="Look at these kinds alone.  [default: all but tension]")
def audit(data: Path, output: Path | None, kinds: Names) -> None:
    """Find prompts that differ from what is graded.

    \b
      turnswap audit multiIF_20241018.csv -o audit.csv
      lm_eval run --model hf --model_args pretrained=MODEL --tasks multiif \\
        --metadata '{"verdicts": "both", "leave_out": "audit.csv"}'

    DATA is a CSV in the published format, or the word sample for the packaged conversations. A finding is a slot
    whose prompt asks for something else than its kwargs grade, instructions that exclude each other, or a slot that
    no reply can follow or none can fail. docs/how_to/audit.md has the kinds. A run that is given the file of findings
    leaves these slots out of its corrected figures, never out of the published ones.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    from turnswap.construction.data_audit.findings import KINDS, audit_data, write_audit
    from turnswap.tasks.multiif.dataset import SAMPLE

    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise click.BadParameter(f"{unknown[0]!r} is no kind of finding. Kinds: {', '.join(KINDS)}.")
    found = audit_data(SAMPLE if data == Path("sample") else data)
    chosen = kinds or [kind for kind in KINDS if kind != "tension"]
    Console().print(_counts(found, KINDS))
    for kind in chosen if output is None else ():
        _show(found.only([kind]), kind)
    click.echo(f"{found.conversations} conversations, {found.slots} slots.")
    if found.by_digits:
        click.echo(
            f"Prompts in {', '.join(found.by_digits)} are compared by digits and the kwargs' own words: how these "
            "languages count in words is not known here, or nobody checked it."
        )
    if output is not None:
        write_audit(found.only(chosen), output)
        click.echo(f"{len(found.only(chosen))} findings written: {output}")
        for kind in KINDS:
            if kind not in chosen and (left := len(found.only([kind]))):
                click.echo(f"Not written: {left} of {kind} (--kind {kind})")
        asked = shlex.quote(json.dumps({"verdicts": "both", "leave_out": str(output)}, ensure_ascii=False))
        click.echo(f"Leave these slots out of corrected figures: --metadata {asked}")
    elif found.only(chosen):
        click.echo(
            "To see all of them, with the two texts side by side, run this again with -o audit.csv and open that file."
        )


def _counts(found: Audit, kinds: dict[str, str]) -> Table:
    counts = (Column(what, justify="right") for what in ("findings", "conversations"))
    table = Table("kind", *counts, "meaning", box=box.SIMPLE_HEAD)
    for kind, meaning in kinds.items():
        here = found.only([kind])
        table.add_row(kind, str(len(here)), str(len({each.key for each in here})), meaning)
    return table


def _show(findings: list[Finding], kind: str) -> None:
    if not findings:
        return
    title = f"{kind}: {len(findings)}" if len(findings) <= _SHOWN else f"{kind}: {_SHOWN} of {len(findings)}"
    columns = ("key", "turn", "position", "the prompt says", "the kwargs grade")
    folded = (Column(column, overflow="fold") for column in columns)
    table = Table(*folded, box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for each in findings[:_SHOWN]:
        places = " ".join(map(str, each.positions))
        says, grades = (Text(visible(text)) for text in (each.prompt_says, each.kwargs_grade))
        table.add_row(Text(visible(each.key)), str(each.turn), places, says, grades)
    Console().print(table)
