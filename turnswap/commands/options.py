"""What several commands share: how they are listed, the files and folders they take, and their options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeAlias

import click

from turnswap.core.errors import UserError, format_error

ANYTHING = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
FOLDER.name = "folder"  # click says DIRECTORY
Command: TypeAlias = Callable[..., None]
Names: TypeAlias = tuple[str, ...]


class Commands(click.Group):
    """Commands in the order of the source, perhaps under headings; a user's error ends in a message, no traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headings: dict[str, str] = {}

    def add_under(self, heading: str, *commands: click.Command) -> None:
        """Add commands, which the help lists together."""
        for command in commands:
            self.add_command(command)
            self.headings[command.name or ""] = heading
            heading = ""

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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, which names similar commands from its version 8.4 on."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if "Did you mean" not in error.format_message() and (near := get_close_matches(args[0], self.commands, 1)):
                raise click.UsageError(f"{error.format_message()} Did you mean {near[0]!r}?", ctx) from None
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands; under headings they leave no room for the options, which the epilog names."""
        if not self.headings:
            super().format_options(ctx, formatter)
            return
        width = 2 + max(map(len, self.headings.values()))
        room = formatter.width - width - max(map(len, self.headings)) - 4  # as write_dl spaces it
        rows = [
            (f"{heading:{width}}{name}", self.commands[name].get_short_help_str(room))
            for name, heading in self.headings.items()
        ]
        formatter.write_paragraph()
        formatter.write_dl(rows)


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """A decorator that gives a command several options, shown in this order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def format_option(*formats: str, default: str) -> Callable[[Any], Any]:
    """``--format``, handed on as ``format_``, and ``--json`` where JSON is one of the formats.

    Args:
        formats: their names.
        default: what is taken where none is named.
    """
    said = f"Format of the output.  [default: {default}]"
    named = click.option("--format", "format_", type=click.Choice(formats), help=said)
    short = click.option("--json", "format_", flag_value="json", help="Short for --format json.")
    return together(named, short) if "json" in formats else named


def _parted(_ctx: click.Context, _option: click.Parameter, values: Iterable[str]) -> Names:
    return tuple(name.strip() for value in values for name in value.split(","))


#: An option that takes several names: parted by commas, or given again.
names_option = partial(click.option, multiple=True, callback=_parted)
accept_option = names_option("--accept", metavar="NAME,...", help="Accept these differences instead of refusing them.")


def expert_options(*, required: bool = False) -> Callable[[Any], Any]:
    """The models of a swap, as ``base``, ``recipient`` and ``donor``."""
    return together(
        click.option("--base", required=required, metavar="MODEL", help="The pretrained model of the experts."),
        click.option(
            "--recipient", required=required, metavar="MODEL", help="The task expert, which keeps its middle."
        ),
        click.option(
            "--donor",
            required=required,
            multiple=True,
            metavar="MODEL",
            help="The language expert; repeat it for several.",
        ),
    )


anyway_option = click.option(
    "--anyway", is_flag=True, default=None, help="Go on where an expert does not seem to come from the base."
)
#: Options of mergekit's that tell how models are read.
mergekit_options = together(
    click.option(
        "--transformers-cache",
        type=click.Path(file_okay=False),
        metavar="FOLDER",
        help="Where models are downloaded to, as in mergekit.",
    ),
    click.option(
        "--lora-merge-cache",
        type=click.Path(file_okay=False),
        metavar="FOLDER",
        help="Where merged LoRA models lie, as in mergekit.",
    ),
    click.option(
        "--trust-remote-code", is_flag=True, default=None, help="Run code that comes with a model, as in mergekit."
    ),
)
