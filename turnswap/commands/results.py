"""The commands that show lm-eval's results: table, report, compare; and what all that read them share."""

from __future__ import annotations

import gc
import io
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from turnswap.core.errors import UserError, visible
from turnswap.core.files import write_whole
from turnswap.core.heat_maps import drawing_packages

from .options import ANYTHING, Names, accept_option, format_option, together

if TYPE_CHECKING:  # they bring lm-eval, which takes seconds
    from turnswap.reports.sheets import Sheet
    from turnswap.reports.table import Summary

WATCH_EVERY = 3.0  # seconds
ELSEWHERE = "Name another file with -o."
BY_NAME = "what the file's name says, else terminal"
REPORT_FORMATS = ("terminal", "md", "html")
COMPARE_FORMATS = ("terminal", "md", "json", "html")
ACCURACIES = ("overall_acc", "prompt_strict_acc", "inst_strict_acc", "prompt_loose_acc", "inst_loose_acc")
METRICS = (*ACCURACIES, "forgetting", "correction", "forgetting_loose", "correction_loose")

# Which of the results to read, and how.
reading_options = together(
    click.option("--latest", is_flag=True, help="Take the newest run where one model and language has several."),
    click.option("--allow-partial", is_flag=True, help="Read a samples file that was cut off, as far as it is whole."),
    click.option("--filter", "filter_name", metavar="NAME", help="Read this filter of lm-eval's where several ran."),
    click.option("--group", metavar="NAME", help="Read this group where several ran, such as leaderboard_multiif."),
)
# Of every command that shows results; see :func:`read_summaries`.
results_options = together(
    reading_options,
    click.option("--regrade", is_flag=True, help="Grade every reply again, instead of using the samples' verdicts."),
    click.option(
        "--resamples", default=10_000, type=click.IntRange(100), metavar="N", help="Resamples of the bootstrap."
    ),
    click.option("--seed", default=0, type=click.IntRange(0), metavar="N", help="Seed of the bootstrap."),
)
results_argument = click.argument("results", nargs=-1, required=True, metavar="RESULT...")


def read_summaries(paths: Names, resamples: int, seed: int, **how: Any) -> list[Summary]:
    """Every model's figures; what a reader must know is printed to standard error. ``how`` is ``Reading``'s."""
    from turnswap.reports.figures import Resampling
    from turnswap.reports.reading import Reading, read_models
    from turnswap.reports.table import summarise

    gc.disable()  # millions of objects and no garbage: looking for some takes a fifth of the time
    click.get_current_context().call_on_close(gc.enable)
    reading = Reading(**how)
    models = read_models(paths, reading)
    for warning in reading.warnings:
        click.echo(visible(f"Warning: {warning}"), err=True)
    return summarise(models, Resampling(resamples, seed))


def require_verdicts(summaries: Iterable[Summary]) -> None:
    """Refuse verdicts that are not those that the samples were written with; warn of corrected ones by other rules."""
    from turnswap.reports.verdicts import rules_of
    from turnswap.tasks.multiif.corrected import rules_in_use
    from turnswap.tasks.multiif.left_out import graded_by

    graded = [summary.model for summary in summaries if summary.graded and summary.corrected]
    if others := {graded_by(rules_of(model)) for model in graded} - {rules_in_use()}:
        made = f"Corrected verdicts in the samples were made by the rules {' and '.join(sorted(others))}"
        click.echo(f"Warning: {made}, not by {rules_in_use()}, which are installed; see --regrade.", err=True)


@click.command()
@results_argument
@click.option("-o", "--output", type=ANYTHING, metavar="FILE", help="Write this .csv, .parquet, .json or .tex file.")
@format_option("latex", default="what the name of the file says")
@click.option("--corrected", is_flag=True, help="Add the figures by corrected verdicts, named …_corrected.")
@results_options
def table(results: Names, output: Path | None, format_: str | None, corrected: bool, **options: Any) -> None:
    """Write every figure as a tidy table, or as LaTeX.

    \b
      turnswap table results -o figures.csv
      turnswap table small=results-a large=results-b --format latex

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT gives its model this name. A row is
    a model, language, turn and metric, with the value, its 95 % interval, n and what identifies the run. Among the
    languages, "macro" is their plain mean; "pooled" takes all conversations together. --format latex writes the overall
    accuracy, language by turn, for a paper.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    import pandas as pd

    from turnswap.reports.latex import as_latex
    from turnswap.reports.table import tidy, write_table
    from turnswap.reports.two_sets import tidy_corrected

    if format_ == "latex" or (output is not None and output.suffix == ".tex"):
        if corrected:
            raise UserError("A table in LaTeX has no corrected figures.", "Leave --corrected out, or write a .csv.")
        emit(as_latex(read_summaries(results, **options)), output)
        return
    if output is None:
        raise UserError("A table needs a file.", "Name the file: -o figures.parquet. To print a table: --format latex.")
    summaries = read_summaries(results, **options)
    frame = tidy(summaries)
    if corrected:
        require_verdicts(summaries)
        frame = pd.concat([frame, tidy_corrected(summaries)], ignore_index=True)
    write_table(frame, output)
    click.echo(f"{len(frame)} {'row' if len(frame) == 1 else 'rows'}: {output}")
    for summary in summaries:
        click.echo(visible(f"{summary.model.name}  {summary.signature}"))


@click.command()
@results_argument
@click.option("-o", "--output", type=ANYTHING, metavar="FILE", help="Write this .html or .md file.")
@format_option(*REPORT_FORMATS, default=BY_NAME)
@click.option(
    "--charts", type=ANYTHING, metavar="FOLDER", help="Write the charts here too, as SVG and PDF for a paper."
)
@click.option("--watch", is_flag=True, help="Show a run's figures so far; RESULT is its --use_cache or its results.")
@results_options
def report(
    results: Names, output: Path | None, format_: str | None, charts: Path | None, watch: bool, **options: Any
) -> None:
    """Show results in a terminal or on a page.

    \b
      turnswap report results
      turnswap report small=results-a large=results-b -o report.html

    RESULT is a folder that lm_eval wrote, or one results_*.json in it; NAME=RESULT gives its model this name. The
    report shows the accuracy from turn to turn, by language and by instruction. With samples (lm_eval --log_samples),
    the corrected verdicts stand beside the published ones, which are the benchmark's, and report.html has every
    transcript with each instruction's verdict. The page needs no network.
    """  # noqa: D301
    if watch:
        watch_run(results)
        return
    from turnswap.reports.terminal import report_sheets

    format_ = format_of(format_, output, REPORT_FORMATS)
    summaries = read_summaries(results, **options)
    require_verdicts(summary for summary in summaries if summary.model.has_samples)
    if charts is not None:
        drawing_packages("; or leave --charts out")
        from turnswap.reports.charts import write_charts

        click.echo(f"Written: {len(write_charts(summaries, charts))} charts in {charts}", err=True)
    if format_ == "html":
        from turnswap.reports.page import build_page

        emit(build_page(summaries), output)
    else:
        show(report_sheets(summaries), format_, output)


def watch_run(paths: Names) -> None:
    """Show a run's figures so far until it is through or Ctrl-C; once where standard output is no terminal."""
    from rich.live import Live

    from turnswap.reports.sheets import print_sheets
    from turnswap.reports.watch import Watch

    run, console = Watch(paths), Console()
    run.refresh()  # of a run that is far this takes a minute, with a bar of its own
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            run.refresh()
            shown = Console(file=io.StringIO(), width=console.width, force_terminal=console.is_terminal)
            with shown.capture() as text:
                print_sheets(shown, [run.sheet(), *run.finished()])
            live.update(Text.from_ansi(text.get().rstrip()), refresh=True)
            if not console.is_terminal or len(run.replies) >= len(run.expected) > 0:
                return
            time.sleep(WATCH_EVERY)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("-o", "--output", type=ANYTHING, metavar="FILE", help="Write this .html, .md or .json file.")
@format_option(*COMPARE_FORMATS, default=BY_NAME)
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    metavar="NAME",
    default=METRICS[0],
    help=f"What the table compares: {', '.join(METRICS)}.",
)
@accept_option
@results_options
def compare(
    a: str, b: str, metric: str, format_: str | None, output: Path | None, accept: Names, **options: Any
) -> None:
    """Tell whether model B beats model A.

    \b
      turnswap compare results-a results-b
      turnswap compare results-a results-b -o comparison.html

    A and B are results of one model each, with samples (lm_eval --log_samples). They are compared conversation by
    conversation. Per language and turn, the table shows the difference with its interval and p-value, corrected for the
    number of comparisons. Then follow the instructions that were gained and lost, and conversations to look at. Runs
    that were not made alike are refused. --format json has every metric and every conversation; the page shows both
    models' replies side by side.
    """  # noqa: D301
    from turnswap.reports.compare import compare as compare_models
    from turnswap.reports.terminal import comparison_sheets
    from turnswap.reports.words import say_comparison

    format_ = format_of(format_, output, COMPARE_FORMATS)
    one, other = (one_model(read_summaries((path,), **options), path) for path in (a, b))
    comparison = compare_models(one.model, other.model, one.resampling, accept)
    if format_ == "json":
        content = {"says": say_comparison(comparison), **comparison.as_json()}
        emit(json.dumps(content, indent=1, ensure_ascii=False), output)
    elif format_ == "html":
        from turnswap.reports.page import build_page

        both = (comparison.a, comparison.b)
        require_verdicts(both)
        emit(build_page(both, comparison, metric), output)
    else:
        show(comparison_sheets(comparison, metric), format_, output)


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
            raise UserError("A page needs a file.", "Name the file: -o page.html")
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


def show(sheets: list[Sheet], format_: str | None, output: Path | None) -> None:
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
