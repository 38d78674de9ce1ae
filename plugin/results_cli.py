"""The commands that read lm-eval's results: table, report, compare, leaderboard, export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # they bring lm-eval, which takes seconds
    from turnswap.reports.runs import Reading
    from turnswap.reports.table import Summary


def results_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that reads results; see :func:`read_summaries`."""
    for option in (
        click.option("--seed", default=0, show_default=True, help="Of the bootstrap."),
        click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(100), help="Bootstrap."),
        click.option("--filter", "filter_name", metavar="NAME", help="Which of lm-eval's filters, where several ran."),
        click.option("--allow-partial", is_flag=True, help="Use the whole lines of a samples file that was cut off."),
        click.option("--latest", is_flag=True, help="Of several runs of one model and language take the newest."),
    ):
        command = option(command)
    return command


def read_summaries(
    paths: tuple[str, ...], latest: bool, allow_partial: bool, filter_name: str | None, resamples: int, seed: int
) -> tuple[list[Summary], Reading]:
    """Every model's figures; what a reader must know is printed to standard error as it is found."""
    from turnswap.reports.figures import Resampling
    from turnswap.reports.runs import Reading, read_models
    from turnswap.reports.table import summarise

    reading = Reading(latest, allow_partial, filter_name)
    models = read_models(paths, reading)
    for warning in reading.warnings:
        click.echo(f"Warning: {warning}", err=True)
    return summarise(models, Resampling(resamples, seed)), reading


@click.command()
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .csv, .parquet or .json file.")
@results_options
def table(results: tuple[str, ...], output: Path, **options: Any) -> None:
    """Write every figure of RESULT... as one tidy table.

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT names its model. A row is a model,
    language, turn and metric, with value, 95 % interval, n and what identifies the run. "macro" among the languages is
    their plain mean, "pooled" takes all conversations together.
    """
    from turnswap.reports.table import tidy, write_table

    summaries, _ = read_summaries(results, **options)
    frame = tidy(summaries)
    write_table(frame, output)
    click.echo(f"{len(frame)} rows: {output}")
    for summary in summaries:
        click.echo(f"{summary.model.name}  {summary.signature}")


COMMANDS = (table,)
