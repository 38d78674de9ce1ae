"""The commands that bring results to others: export, leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from turnswap.core.errors import UserError

from . import results as common
from .options import ANYTHING, FOLDER

BOARD_FORMATS = ("terminal", "md", "csv", "json", "html")
EXPORT_FORMATS = ("model-index", "eval-results", "open-llm-leaderboard", "every-eval-ever")


@click.command()
@common.results_argument
@click.option("--format", "format_", type=click.Choice(EXPORT_FORMATS), required=True)
@click.option("-o", "--output", type=ANYTHING, help="The model's folder, its card, or a folder.")
@click.option("--push", metavar="REPO", help="Open a pull request to this model repository on the Hub.")
@click.option("--source", metavar="URL", help="Link to more about it, in eval-results and every-eval-ever.")
@common.results_options
def export(
    results: tuple[str, ...], format_: str, output: Path | None, push: str | None, source: str | None, **options: Any
) -> None:
    """Write one model's figures of RESULT... in a format that others read.

    \b
    model-index           metadata of a model card: -o is the model's folder, or its README.md
    eval-results          .eval_results/multiif.yaml in the model's folder, for the Hub
    open-llm-leaderboard  requests/ and results/ in a folder, for Spaces made from the leaderboard template
    every-eval-ever       data/multi-if/ in a folder, with every conversation, for that project's data set

    What else a card holds stays as it is; exporting again replaces what was exported before. Nothing leaves this
    machine without --push, and then as a pull request.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    from turnswap.reports import export as exports

    if output is None and push is None:
        raise UserError("Name where to write: a folder with -o, or a model repository with --push.")
    if push is not None:
        exports.require_pushable(format_, push)
    if source is not None:
        exports.require_source(format_, source)
    summaries = common.read_summaries(results, **options)
    summary = common.one_model(summaries, " ".join(results))
    if output is not None:
        for path in exports.export(summary, format_, output, source):
            click.echo(f"Written: {path}")
    for remark in exports.remarks(summary, format_):
        click.echo(f"Note: {remark}")
    click.echo(summary.signature)
    if push is not None:
        address = exports.propose(summary, format_, push, source)
        click.echo(f"Pull request: {address}" if address else f"{push} has these figures already: no pull request.")


@click.command()
@click.argument("results", nargs=-1, metavar="[RESULT]...")
@click.option("-o", "--output", type=ANYTHING, help="A .md, .csv, .json or .html file.")
@click.option("--format", "format_", type=click.Choice(BOARD_FORMATS), help="[default: by the file's name]")
@click.option("--site", type=FOLDER, help="A folder: a site that grows with what is put below its results/.")
@click.option("--languages", metavar="CODES", help="Rank over these alone, such as en,zh.  [default: all]")
@common.accept_option
@common.results_options
def leaderboard(
    results: tuple[str, ...],
    output: Path | None,
    format_: str | None,
    site: Path | None,
    languages: str | None,
    accept: tuple[str, ...],
    **options: Any,
) -> None:
    """Rank the models of RESULT... by their average over turns and languages.

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT names its model. Models that were
    not run alike are refused. Ranks come from paired differences, corrected for all pairs of models. With -o board.html
    a page that needs no network, with a language picker; with --site DIR a site, a page per model, that grows with
    every folder put below DIR/results. For settings that never change, run the group leaderboard_multiif.
    """
    from turnswap.reports import leaderboard_formats as formats
    from turnswap.reports import site as sites
    from turnswap.reports.leaderboard import build_board
    from turnswap.reports.sheets import title_of
    from turnswap.reports.words import say_board

    codes = None if languages is None else [code.strip() for code in languages.split(",")]
    new = {} if site is None else sites.new_results(site, results)
    if site is not None:
        results = (*sites.submissions(site), *new)
    elif not results:
        raise UserError("Name results to rank: a folder that lm_eval wrote, or --site DIR for those of a site.")
    else:
        format_ = common.format_of(format_, output, BOARD_FORMATS)
    summaries = common.read_summaries(results, **options)
    board = build_board(summaries, codes, accept)
    if site is not None:  # nothing is written before all of them are ranked
        sites.require_samples(summaries)
        common.require_verdicts(summaries)
        sites.take_in(new, summaries)
        for path in sites.write_site(site, board, summaries):
            click.echo(f"Written: {path}")
        click.echo(say_board(board))
    elif format_ == "html":
        title = title_of(formats.TITLE, [summary.model for summary in summaries])
        common.emit(formats.as_page(board, title), output)
    elif format_ == "json":
        common.emit(json.dumps(formats.as_json(board), indent=1, ensure_ascii=False, allow_nan=False), output)
    elif format_ == "csv":
        common.emit(formats.as_csv(board).rstrip(), output)
        for note in (say_board(board), *board.notes, *board.signatures):
            click.echo(note, err=True)
    else:
        common.show(formats.as_sheets(board, wide=format_ == "md"), format_, output)
