"""The commands that bring results to others: export, leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from turnswap.core.errors import UserError

from . import results as common
from .options import ANYTHING, FOLDER, Names, accept_option, format_option, names_option

BOARD_FORMATS = ("terminal", "md", "csv", "json", "html")
EXPORT_FORMATS = ("model-index", "eval-results", "open-llm-leaderboard", "every-eval-ever")


@click.command()
@common.results_argument
@click.option("-o", "--output", type=ANYTHING, help="Write to this folder or model card.")
@click.option("--format", "format_", type=click.Choice(EXPORT_FORMATS), required=True, help="Format of the output.")
@click.option("--push", metavar="ORG/NAME", help="Open a pull request to this model on the Hub.")
@click.option("--source", metavar="URL", help="Link to more about the run, in eval-results and every-eval-ever.")
@common.results_options
def export(
    results: Names, output: Path | None, format_: str, push: str | None, source: str | None, **options: Any
) -> None:
    """Write figures in a format that others read.

    \b
      turnswap export results --format model-index -o MODEL_FOLDER

    \b
    model-index           a model card: -o is the model's folder or README.md
    eval-results          .eval_results/multiif.yaml in the model's folder
    open-llm-leaderboard  requests/ and results/ for the leaderboard template
    every-eval-ever       data/multi-if/ with every conversation

    RESULT holds one model. The rest of a card stays as it is. A second export replaces the first. Nothing leaves this
    machine without --push, which opens a pull request.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    from turnswap.reports import export as exports

    if output is None and push is None:
        raise UserError("Name where to write: a folder with -o FOLDER, or a model on the Hub with --push ORG/NAME.")
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
@click.option("-o", "--output", type=ANYTHING, metavar="FILE", help="Write this .md, .csv, .json or .html file.")
@format_option(*BOARD_FORMATS, default=common.BY_NAME)
@click.option("--site", type=FOLDER, help="Write a site here, which grows with every folder put below its results/.")
@names_option("--languages", metavar="CODE,...", help="Rank over these alone, such as en,zh.  [default: all]")
@accept_option
@common.results_options
def leaderboard(
    results: Names,
    output: Path | None,
    format_: str | None,
    site: Path | None,
    languages: Names,
    accept: Names,
    **options: Any,
) -> None:
    """Rank models by their average accuracy.

    \b
      turnswap leaderboard small=results-a large=results-b
      turnswap leaderboard results-a results-b --site board

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT gives its model this name. The
    average is over turns and languages. Models that were not run alike are refused. Ranks come from paired differences,
    corrected for all pairs of models. -o board.html writes a page that needs no network, where one picks languages.
    --site FOLDER writes a site with a page per model; it grows with every folder put below FOLDER/results. For settings
    that never change, run the group leaderboard_multiif.
    """  # noqa: D301
    from turnswap.reports import leaderboard_formats as formats
    from turnswap.reports import site as sites
    from turnswap.reports.leaderboard import build_board
    from turnswap.reports.sheets import title_of
    from turnswap.reports.words import say_board

    new = {} if site is None else sites.new_results(site, results)
    if site is not None:
        results = (*sites.submissions(site), *new)
    elif not results:
        raise UserError("Name the results to rank: folders that lm_eval wrote, or --site FOLDER for those of a site.")
    else:
        format_ = common.format_of(format_, output, BOARD_FORMATS)
    summaries = common.read_summaries(results, **options)
    board = build_board(summaries, list(languages) or None, accept)
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
