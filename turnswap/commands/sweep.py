"""The command that tries many swaps: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from turnswap.core.errors import UserError, require_packages, visible

from .options import FILE, FOLDER


@click.command()
@click.argument("config", required=False, type=FILE)
@click.option("-o", "--output", required=True, type=FOLDER, help="A folder, to go on in too.")
@click.option("--recipient", metavar="MODEL", help="The task expert: keeps its middle.")
@click.option("--donor", metavar="MODEL", multiple=True, help="The language expert; several for swaps in CONFIG.")
@click.option("--base", metavar="MODEL", help="The pretrained model of both, which is then checked.")
@click.option("--bottom", metavar="0-8", help="Of the grid: the donor's layers at the bottom.")
@click.option("--top", metavar="0-4", help="Of the grid: the donor's layers at the top.")
@click.option("--transition", metavar="0,1", help="Of the grid: blended layers at each inner edge.")
@click.option("--embeddings", metavar="donor,recipient", help="Of the grid: where the embeddings come from.")
@click.option("--head", metavar="donor,recipient", help="Of the grid: where final norm and lm_head come from.")
@click.option("--accept", metavar="NAMES", help="Differences between the models to put up with, as in layerswap.yml.")
@click.option("--select-on", metavar="TASKS", help="lm-eval's tasks to choose by: TASK,TASK:0-99 (documents from 0).")
@click.option("--report-on", metavar="TASKS", help="Other tasks or documents, for figures to quote.")
@click.option("--metric", metavar="NAME", help="To choose by: acc; exact_match,strict-match names a filter too.")
@click.option("--limit", type=click.IntRange(1), help="The first documents of each task alone.")
@click.option("--controls", type=click.IntRange(0), metavar="N", help="Random placements as wide as the best swap.")
@click.option(
    "--halving", type=click.IntRange(2), is_flag=False, flag_value=3, metavar="[ETA]",
    help="Try all on few documents, the best 1/ETA of them on ETA times as many, and so on.",
)  # fmt: skip
@click.option("--seed", type=int, help="Of the controls and of halving.")
@click.option(
    "--unrelated-because", metavar="REASON", help="Why experts that seem unrelated are compared all the same."
)
@click.option("--model-args", metavar="A=B,...", help="Of lm-eval's hf: dtype=bfloat16.")
@click.option("--device", help="As in lm-eval.")
@click.option("--batch-size", help="As in lm-eval.")
@click.option("--num-fewshot", type=click.IntRange(0), help="As in lm-eval.")
@click.option("--gen-kwargs", metavar="A=B,...", help="As in lm-eval.")
@click.option("--apply-chat-template", is_flag=False, flag_value=True, metavar="[NAME]", help="As in lm-eval.")
@click.option("--system-instruction", help="As in lm-eval.")
@click.option("--include-path", type=click.Path(), help="As in lm-eval: a folder with tasks.")
@click.option("--metadata", metavar="JSON", help="As in lm-eval.")
@click.option("--confirm-run-unsafe-code", is_flag=True, default=None, help="As in lm-eval.")
@click.option("--trust-remote-code", is_flag=True, default=None, help="As in mergekit.")
@click.option("--lora-merge-cache", type=click.Path(), help="As in mergekit: where merged LoRA models lie.")
@click.option("--transformers-cache", type=click.Path(), help="As in mergekit.")
@click.pass_context
def sweep(ctx: click.Context, /, config: Path | None, output: Path, **options: Any) -> None:
    """Try many layer swaps on lm-eval's tasks, in one process and without writing a merge.

    \b
      turnswap sweep configs/sweep.yml -o sweep
      turnswap sweep --recipient R --donor D --bottom 0-8 --top 0-4 --transition 0,1 \\
          --select-on TASK:0-99 --report-on TASK:100-249 --metric acc --controls 3 -o sweep

    CONFIG is a YAML file with the same settings, which options override; only there swaps can be listed by name. The
    recipient, each donor and their plain average are always among the rows. Several tasks count by their mean.

    Choosing on the documents that one reports makes figures too good: what --select-on and --report-on name must not
    overlap. Without --report-on every figure is marked as selected on.

    OUTPUT gets sweep.jsonl (every evaluation, as soon as it is done: run the same command again to go on after an
    interruption), sweep.json, sweep.csv, sweep.html with heat maps, and layerswap.yml: the best swap for mergekit-yaml.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    require_packages("A sweep needs", ("mergekit", "transformers"), "hf,merge")
    from turnswap.sweeps import outputs
    from turnswap.sweeps.settings import AXES, read_settings
    from turnswap.sweeps.sweep import run

    from .sweep_view import show_sweep

    grid = {axis: value for axis in AXES if (value := options.pop(axis, None)) is not None}
    settings = read_settings(config, options | {"grid": grid})
    try:
        done = run(settings, output, lambda line: click.echo(visible(line), err=True))
    except KeyboardInterrupt:
        click.echo("\nInterrupted. What was evaluated is kept: run the same command again to go on.", err=True)
        ctx.exit(130)
    show_sweep(Console(), done)
    written = outputs.write_outputs(done, output)
    try:
        written += outputs.write_pictures(done, output)
    except UserError as error:  # what was computed for hours must not end in an error about a picture
        click.echo(visible(f"No pictures: {error}"), err=True)
    for path in written:
        click.echo(f"Written: {path}")
