"""The commands that try many swaps, search and sweep, its simple form; and their results in a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from turnswap.core.errors import UserError, require_packages, visible
from turnswap.core.heat_maps import heat_table

from .merge_view import coloured
from .options import FILE, FOLDER, accept_option, anyway_option, expert_options, mergekit_options, together

if TYPE_CHECKING:  # it brings torch and lm-eval, which take seconds
    from turnswap.sweeps.rows import Search

PRUNERS = ["none", "halving", "hyperband", "median"]
_IN_A_FILE = 180  # columns of output that no terminal shows
_NAME, _LAYERS = 1, 2  # columns of the table
_BEST = 10  # ranks that are shown
_LONGEST = 200  # characters of documents' numbers
_BESIDE_LAYERS = 90  # what the other columns need; where there is less, the letter per layer gives way
#: What a search and its simple form have in common.
search_options = together(
    click.option("-o", "--output", required=True, type=FOLDER, help="Write here; go on with what is there."),
    expert_options(),
    accept_option,
    anyway_option,
    click.option("--select-on", metavar="TASK,...", help="Choose by these tasks of lm-eval: TASK,TASK:0-99 (from 0)."),
    click.option("--report-on", metavar="TASK,...", help="Report on these other tasks or documents."),
    click.option(
        "--held-out", type=click.FloatRange(0, 1, max_open=True), metavar="SHARE",
        help="Hold out this share of documents to report on, without --report-on.  [default: 0.5]",
    ),
    click.option("--metric", metavar="NAME", help="Choose by this metric, or METRIC,FILTER."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Use the first N documents of each task."),
    click.option(
        "--controls", type=click.IntRange(0), metavar="N",
        help="Try N random placements as wide as the best swap.  [default: as many as swaps]",
    ),
    click.option("--pruner", type=click.Choice(PRUNERS), help="Drop bad swaps early.  [default: none]"),
    click.option("--storage", metavar="WHERE", help="Optuna's storage: sqlite, or postgresql://….  [default: journal]"),
    click.option("--evaluator", type=click.Choice(["hf", "vllm"]), help="Evaluate with this.  [default: hf]"),
    click.option("--seed", type=click.IntRange(0), metavar="N", help="Seed of everything that is drawn.  [default: 0]"),
    click.option("--model-args", metavar="A=B,...", help="Arguments of lm-eval's model, such as dtype=bfloat16."),
    click.option("--device", metavar="NAME", help="Device, such as cuda:0, as in lm-eval."),
    click.option("--batch-size", metavar="N", help="Batch size, or auto, as in lm-eval.  [default: 1]"),
    click.option("--num-fewshot", type=click.IntRange(0), metavar="N", help="Number of examples in the prompt."),
    click.option("--gen-kwargs", metavar="A=B,...", help="How to generate, as in lm-eval."),
    click.option(
        "--apply-chat-template", is_flag=False, flag_value=True, metavar="[NAME]",
        help="Apply the model's chat template, or the one of this name.",
    ),
    click.option("--system-instruction", metavar="TEXT", help="System message of every prompt."),
    click.option("--include-path", type=click.Path(), metavar="FOLDER", help="Find tasks here too, as in lm-eval."),
    click.option("--metadata", metavar="JSON", help="Settings of the tasks, as in lm-eval."),
    click.option("--confirm-run-unsafe-code", is_flag=True, default=None, help="Allow tasks that run replies as code."),
    mergekit_options,
)  # fmt: skip


@click.command()
@click.argument("config", type=FILE)
@click.option(
    "--sampler",
    type=click.Choice(["tpe", "cmaes", "nsgaii", "random", "list", "grid"]),
    help="Draw swaps from the space with this.  [default: tpe]",
)
@click.option("--trials", type=click.IntRange(1), metavar="N", help="Draw N swaps, by all processes together.")
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="Draw for X hours in this process; controls and reports take as long again.",
)
@search_options
@click.pass_context
def search(ctx: click.Context, /, config: Path, output: Path, **options: Any) -> None:
    """Search for good swaps, on one machine or many.

    \b
      turnswap search configs/search.yml -o search

    CONFIG declares the space (zones, shares per layer or module, donors, blend methods), the objectives (tasks of
    lm-eval, or zero-shot ones that never look at the target task), the constraints, and the budget. To share the work,
    start the same command in several processes that all reach the output folder; they also take up what a killed one
    left. To go on after an interruption, run the command again.

    The output folder gets search.json, search.csv, search.html, documents.parquet (every document's result),
    layerswap.yml (the chosen swap) and front/*.yml (the Pareto front), for mergekit-yaml. optuna-dashboard shows the
    search while it runs.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    _run(ctx, "search", config, output, options)


@click.command()
@click.argument("config", required=False, type=FILE)
@click.option("--bottom", metavar="N-N", help="Grid: the donor's layers at the bottom.")
@click.option("--top", metavar="N-N", help="Grid: the donor's layers at the top.")
@click.option("--transition", metavar="N,...", help="Grid: blended layers at each inner edge.")
@click.option("--embeddings", metavar="ROLE,...", help="Grid: where the embeddings come from.")
@click.option("--head", metavar="ROLE,...", help="Grid: where the final norm and lm_head come from.")
@search_options
@click.pass_context
def sweep(ctx: click.Context, /, config: Path | None, output: Path, **options: Any) -> None:
    """Try all swaps of a grid; none is written.

    \b
      turnswap sweep configs/sweep.yml -o sweep
      turnswap sweep --recipient TASK_EXPERT --donor LANGUAGE_EXPERT \\
        --bottom 0-8 --top 0-4 --transition 0,1 --metric acc \\
        --select-on TASK:0-99 --report-on TASK:100-249 -o sweep

    This is the simple form of search. CONFIG is a YAML file with the same settings; options override it, and only there
    swaps can be listed by name. The recipient, each donor and averages of all are always among the rows. Several tasks
    count by their mean. --embeddings and --head take donor and recipient.

    Figures are too good on the documents that a swap was chosen by, so --select-on and --report-on must not overlap.
    Without --report-on, half of the documents are held out for it.

    The output folder gets what search writes, under the name sweep.*, with heat maps.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    from turnswap.sweeps.settings import AXES

    options["grid"] = {axis: value for axis in AXES if (value := options.pop(axis, None)) is not None}
    _run(ctx, "sweep", config, output, options | {"sampler": "grid"})


def _run(ctx: click.Context, name: str, config: Path | None, output: Path, options: dict[str, Any]) -> None:
    require_packages("A search needs", ("mergekit", "transformers", "optuna", "cmaes"), "hf,merge,search")
    from turnswap.sweeps.settings import read_settings

    options["accept"] = ",".join(options["accept"]) or None
    settings = read_settings(config, options)  # before what takes long to load
    click.echo("Reading tasks and models.", err=True)
    from turnswap.sweeps import outputs
    from turnswap.sweeps.pictures import write_pictures
    from turnswap.sweeps.search import run

    try:
        done = run(settings, output, lambda line: click.echo(visible(line), err=True))
    except KeyboardInterrupt:
        click.echo("\nInterrupted. What was evaluated is kept: run the same command again to go on.", err=True)
        ctx.exit(130)
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _IN_A_FILE
    show_search(console, done)
    written = outputs.write_outputs(done, output, name)
    try:
        written += write_pictures(done, output, name)
    except UserError as error:  # what was computed for hours must not end in an error about a picture
        click.echo(visible(f"No pictures are written: {error}"), err=True)
    for path in written:
        click.echo(f"Written: {path}")


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
