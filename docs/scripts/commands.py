"""Every command with its arguments and options, from what --help shows: a page that pages.py writes."""

from __future__ import annotations

import html
import inspect
import itertools
import re
from collections.abc import Iterator

import click
from tables import cell

from turnswap.commands.main import main

_HEAD = """\
# The command line

Made by `python docs/scripts/pages.py` from the code. `turnswap COMMAND --help` shows the same in a terminal.

| command | what it does |
|---|---|
"""


def page() -> str:
    """The page in Markdown."""
    top = click.Context(main, info_name="turnswap", max_content_width=10**6)
    listed = list(_commands(top))
    rows = [f"| [`{ctx.command_path}`](#{_anchor(ctx)}) | {_short(ctx)} |\n" for ctx in listed]
    return _HEAD + "".join(rows) + "".join(map(_section, listed))


def _commands(ctx: click.Context) -> Iterator[click.Context]:
    """All commands below one, in the order in which --help lists them."""
    group = ctx.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, parent=ctx, info_name=name)
        yield inner
        if isinstance(command, click.Group):
            yield from _commands(inner)


def _anchor(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _short(ctx: click.Context) -> str:
    """The first sentence of a command's help, whole."""
    first = " ".join((ctx.command.help or "").split("\n\n")[0].split())
    return cell(_prose(first))


def _section(ctx: click.Context) -> str:
    """A command: how it is called, what it says of itself, and its options."""
    usage = f"{ctx.command_path} {' '.join(ctx.command.collect_usage_pieces(ctx))}"
    parts = [f"## {ctx.command_path}", f"```text\n{usage}\n```", *_paragraphs(inspect.cleandoc(ctx.command.help or ""))]
    rows = []
    for option in ctx.command.get_params(ctx):
        record = option.get_help_record(ctx)
        if record and record[1] and "--help" not in record[0]:
            rows.append(f"| {_names(record[0])} | {cell(_meaning(' '.join(record[1].split()), record[0]))} |")
    if rows:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    return "\n" + "\n\n".join(parts) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a help text; one that keeps its lines stays as it is."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.removeprefix("\b").strip("\n").split("\n")
            indent = min(len(line) - len(line.lstrip()) for line in lines)
            yield "```text\n" + "\n".join(line[indent:].rstrip() for line in lines) + "\n```"
        elif paragraph.strip():
            yield _prose(" ".join(paragraph.split()))


_CHOICES = re.compile(r" ?\[([^\[\]]*\|[^\[\]]*)\]")


def _names(text: str) -> str:
    """How an option is written; which choices and numbers there are stands behind its meaning."""
    return f"`{_CHOICES.sub('', text).replace(' RANGE', '')}`"


def _meaning(text: str, names: str) -> str:
    """What an option means; its choices, and what click appends in brackets, follow in words."""
    said, extras = text, []
    while found := re.search(r" ?\[((?:default: |required|x[<>]|[\d.]+<)[^\[\]]*)\]$", said):
        said = said[: found.start()]
        extras[:0] = found[1].split("; ")
    told = [_prose(said)] if said else []
    if choices := _CHOICES.search(names):
        told.append(f"One of {', '.join(f'`{each}`' for each in choices[1].split('|'))}.")
    for extra in extras:
        name, _, value = extra.partition(": ")
        plain = f"Default: {_prose(value) if ' ' in value else f'`{value}`'}." if value else f"`{extra}`."
        told.append("**Needed.**" if name == "required" else plain)
    return " ".join(told)


def _prose(text: str) -> str:
    """A sentence of a terminal's in Markdown: commands and options are code, and no character means anything else."""
    parts = re.split(r"(\"turnswap [^\"]*\"|(?<![\w`-])--?[a-z][\w-]*)", text)
    code = [f"`{part.strip(chr(34))}`" for part in parts[1::2]]
    prose = [html.escape(re.sub(r"([*\[\]\\])", r"\\\1", part), quote=False) for part in parts[::2]]
    return "".join(itertools.chain(*itertools.zip_longest(prose, code, fillvalue="")))
