"""The commands that read lm-eval's results: table, report, compare, leaderboard, export."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from rich.console import Console

from turnswap.core.errors import UserError, visible
from turnswap.core.files import write_whole
from turnswap.core.heat_maps import drawing_packages

from .options import ANYTHING, together

if TYPE_CHECKING:  # they bring lm-eval, which takes seconds
    from turnswap.reports.runs import Model
    from turnswap.reports.sheets import Sheet
    from turnswap.reports.table import Summary
    from turnswap.reports.verdicts import Graded

Names: TypeAlias = tuple[str, ...]
ELSEWHERE = "Name another file with -o."
REPORT_FORMATS = ("terminal", "md", "html")
COMPARE_FORMATS = ("terminal", "md", "json", "html")
BOARD_FORMATS = ("terminal", "md", "csv", "json", "html")
EXPORT_FORMATS = ("model-index", "eval-results", "open-llm-leaderboard")
ACCURACIES = ("overall_acc", "prompt_strict_acc", "inst_strict_acc", "prompt_loose_acc", "inst_loose_acc")
METRICS = (*ACCURACIES, "forgetting", "correction", "forgetting_loose", "correction_loose")

# Of every command that reads results; see :func:`read_summaries`.
results_options = together(
    click.option("--latest", is_flag=True, help="Of several runs of one model and language take the newest."),
    click.option("--allow-partial", is_flag=True, help="Use the whole lines of a samples file that was cut off."),
    click.option("--filter", "filter_name", metavar="NAME", help="Which of lm-eval's filters, where several ran."),
    click.option("--group", metavar="NAME", help="Whose tasks, where several groups ran: leaderboard_multiif."),
    click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(100), help="Bootstrap."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap."),
)
accept_option = click.option("--accept", multiple=True, metavar="NAME", help="A part of the signature that may differ.")
results_argument = click.argument("results", nargs=-1, required=True, metavar="RESULT...")


def read_summaries(paths: Names, resamples: int, seed: int, **how: Any) -> list[Summary]:
    """Every model's figures; what a reader must know is printed to standard error. ``how`` is ``Reading``'s."""
    from turnswap.reports.figures import Resampling
    from turnswap.reports.reading import Reading, read_models
    from turnswap.reports.table import summarise

    reading = Reading(**how)
    models = read_models(paths, reading)
    for warning in reading.warnings:
        click.echo(visible(f"Warning: {warning}"), err=True)
    return summarise(models, Resampling(resamples, seed))


def both_sets(models: Iterable[Model]) -> tuple[dict[str, Graded], dict[str, Graded]]:
    """By model, the published verdicts, which must be those that its samples were written with, and the corrected."""
    from turnswap.reports.verdicts import grade_again, grade_by_corrected_rules

    graded, corrected = {}, {}
    for model in models:
        graded[model.name], corrected[model.name] = grade_again(model), grade_by_corrected_rules(model)
    return graded, corrected


@click.command()
@results_argument
@click.option("-o", "--output", type=ANYTHING, help="A .csv, .parquet, .json or .tex file.")
@click.option("--format", "format_", type=click.Choice(["latex"]), help="A table for a paper; also of a .tex file.")
@click.option("--corrected", is_flag=True, help="Add the figures by corrected verdicts, named …_corrected.")
@results_options
def table(results: Names, output: Path | None, format_: str | None, corrected: bool, **options: Any) -> None:
    """Write every figure of RESULT... as one tidy table, or overall accuracy as a table in LaTeX.

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT names its model. A row is a model,
    language, turn and metric, with value, 95 % interval, n and what identifies the run. "macro" among the languages is
    their plain mean, "pooled" takes all conversations together. --format latex is language by turn, for a paper.
    """
    import pandas as pd

    from turnswap.reports.latex import as_latex
    from turnswap.reports.table import tidy, write_table
    from turnswap.reports.two_sets import tidy_corrected

    if format_ == "latex" or (output is not None and output.suffix == ".tex"):
        if corrected:
            raise UserError("--corrected is not for a table in LaTeX.", "Leave it out, or write a .csv.")
        emit(as_latex(read_summaries(results, **options)), output)
        return
    if output is None:
        raise UserError("A table needs a file.", "Name it: -o figures.parquet; or print one with --format latex.")
    summaries = read_summaries(results, **options)
    frame = tidy(summaries)
    if corrected:
        _, verdicts = both_sets(summary.model for summary in summaries)
        frame = pd.concat([frame, tidy_corrected(summaries, verdicts)], ignore_index=True)
    write_table(frame, output)
    click.echo(f"{len(frame)} rows: {output}")
    for summary in summaries:
        click.echo(visible(f"{summary.model.name}  {summary.signature}"))


@click.command()
@results_argument
@click.option("-o", "--output", type=ANYTHING, help="A .html or .md file.")
@click.option("--format", "format_", type=click.Choice(REPORT_FORMATS), help="[default: by the file's name]")
@click.option("--charts", type=ANYTHING, metavar="DIR", help="Write its charts here too, as SVG and PDF for a paper.")
@results_options
def report(results: Names, output: Path | None, format_: str | None, charts: Path | None, **options: Any) -> None:
    """Show RESULT...: accuracy from turn to turn, by language and instruction, and every transcript.

    With samples, the corrected verdicts stand beside the published ones, which are the benchmark's.

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT names its model. With -o
    report.html it is a page that needs no network: charts, and the transcripts with every instruction's verdict.
    """
    from turnswap.reports.terminal import report_sheets

    format_ = format_of(format_, output, REPORT_FORMATS)
    summaries = read_summaries(results, **options)
    graded, corrected = both_sets(summary.model for summary in summaries if summary.model.has_samples)
    if charts is not None:
        drawing_packages("; or leave --charts out")
        from turnswap.reports.charts import write_charts

        click.echo(f"Written: {len(write_charts(summaries, graded, charts))} charts in {charts}", err=True)
    if format_ == "html":
        from turnswap.reports.page import build_page

        emit(build_page(summaries, graded, corrected), output)
    else:
        show(report_sheets(summaries, graded, corrected), format_, output)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--metric", type=click.Choice(METRICS), default="overall_acc", show_default=True, help="Of the table.")
@click.option("--format", "format_", type=click.Choice(COMPARE_FORMATS), help="[default: terminal]")
@click.option("-o", "--output", type=ANYTHING, help="A .html, .md or .json file.")
@accept_option
@results_options
def compare(
    a: str, b: str, metric: str, format_: str | None, output: Path | None, accept: Names, **options: Any
) -> None:
    """Tell whether model B beats model A, paired by conversation.

    A and B are results of one model each, with samples. Per language and turn: the difference with its interval and
    p-value, corrected for the number of comparisons; then which instructions were gained and lost, and conversations to
    look at. Runs that were not made alike are refused; --format json has every metric and every conversation, and
    -o page.html shows both models' replies side by side.
    """
    from turnswap.reports.compare import compare as compare_models
    from turnswap.reports.terminal import comparison_sheets

    format_ = format_of(format_, output, COMPARE_FORMATS)
    one, other = (one_model(read_summaries((path,), **options), path) for path in (a, b))
    comparison = compare_models(one.model, other.model, one.resampling, accept)
    if format_ == "json":
        emit(json.dumps(comparison.as_json(), indent=1, ensure_ascii=False), output)
    elif format_ == "html":
        from turnswap.reports.page import build_page

        both = (comparison.a, comparison.b)
        verdicts = both_sets(summary.model for summary in both)
        emit(build_page(both, *verdicts, comparison=comparison, metric=metric), output)
    else:
        show(comparison_sheets(comparison, metric), format_, output)


@click.command()
@results_argument
@click.option("--format", "format_", type=click.Choice(EXPORT_FORMATS), required=True)
@click.option("-o", "--output", type=ANYTHING, help="The model's folder, its card, or a folder.")
@click.option("--push", metavar="REPO", help="Open a pull request to this model repository on the Hub.")
@results_options
def export(results: Names, format_: str, output: Path | None, push: str | None, **options: Any) -> None:
    """Write one model's figures of RESULT... in a format that others read.

    \b
    model-index           metadata of a model card: -o is the model's folder, or its README.md
    eval-results          .eval_results/multiif.yaml in the model's folder, for the Hub
    open-llm-leaderboard  requests/ and results/ in a folder, for Spaces made from the leaderboard template

    What else a card holds stays as it is; exporting again replaces what was exported before. Nothing leaves this
    machine without --push, and then as a pull request.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    from turnswap.reports import export as exports

    if output is None and push is None:
        raise UserError("Name where to write: a folder with -o, or a model repository with --push.")
    if push is not None:
        exports.require_pushable(format_, push)
    summaries = read_summaries(results, **options)
    summary = one_model(summaries, " ".join(results))
    if output is not None:
        for path in exports.export(summary, format_, output):
            click.echo(f"Written: {path}")
    for remark in exports.remarks(summary, format_):
        click.echo(f"Note: {remark}")
    click.echo(summary.signature)
    if push is not None:
        address = exports.propose(summary, format_, push)
        click.echo(f"Pull request: {address}" if address else f"{push} has these figures already: no pull request.")


@click.command()
@results_argument
@click.option("-o", "--output", type=ANYTHING, help="A .md, .csv, .json or .html file.")
@click.option("--format", "format_", type=click.Choice(BOARD_FORMATS), help="[default: by the file's name]")
@click.option("--languages", metavar="CODES", help="Rank over these alone, such as en,zh.  [default: all]")
@accept_option
@results_options
def leaderboard(
    results: Names, output: Path | None, format_: str | None, languages: str | None, accept: Names, **options: Any
) -> None:
    """Rank the models of RESULT... by their average over turns and languages.

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT names its model. Models that were
    not run alike are refused; those whose intervals overlap are ties. With -o board.html a page that needs no network,
    with a language picker. For settings that never change, run the group leaderboard_multiif.
    """
    from turnswap.reports import leaderboard_formats as formats
    from turnswap.reports.leaderboard import build_board
    from turnswap.reports.sheets import title_of

    format_ = format_of(format_, output, BOARD_FORMATS)
    codes = None if languages is None else [code.strip() for code in languages.split(",")]
    summaries = read_summaries(results, **options)
    board = build_board(summaries, codes, accept)
    if format_ == "html":
        emit(formats.as_page(board, title_of(formats.TITLE, [summary.model for summary in summaries])), output)
    elif format_ == "json":
        emit(json.dumps(formats.as_json(board), indent=1, ensure_ascii=False, allow_nan=False), output)
    elif format_ == "csv":
        emit(formats.as_csv(board).rstrip(), output)
        for note in (*board.notes, *board.signatures):
            click.echo(note, err=True)
    else:
        show(formats.as_sheets(board, wide=format_ == "md"), format_, output)


def one_model(summaries: list[Summary], path: str) -> Summary:
    """The only model there; UserError where there are several."""
    if len(summaries) > 1:
        names = ", ".join(summary.model.name for summary in summaries)
        raise UserError(f"{path} holds results of {len(summaries)} models: {names}.", "Name the folder of one of them.")
    return summaries[0]


def format_of(format_: str | None, output: Path | None, known: Names) -> str:
    """The format asked for, else the one that the file's name says, else the first. A page needs a file."""
    if output is None:
        if format_ == "html":
            raise UserError("A page needs a file.", "Name it: -o page.html")
        return format_ or known[0]
    suffix = output.suffix.removeprefix(".")
    if format_ is None and suffix not in known:
        raise UserError(
            f"{output} does not say which format.", f"Use --format, or a name that ends in .{', .'.join(known[1:])}."
        )
    return format_ or suffix


def emit(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file."""
    if output is None:
        click.echo(text)
        return
    write_whole(output, text if text.endswith("\n") else text + "\n", ELSEWHERE)
    click.echo(f"Written: {output}")


def show(sheets: list[Sheet], format_: str, output: Path | None) -> None:
    """Show tables in the terminal or as Markdown."""
    from turnswap.reports.sheets import as_markdown, print_sheets

    if format_ == "md":
        emit(as_markdown(sheets).rstrip(), output)
    elif output is None:
        print_sheets(Console(), sheets)
    else:
        text = io.StringIO()
        print_sheets(Console(file=text, width=120), sheets)
        emit(text.getvalue(), output)
