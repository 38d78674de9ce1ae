"""The help of every command: on one screen, in whole sentences, with an example; and one name for one thing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from turnswap.commands.main import PASS_THROUGH, main

FORMATS = {"terminal", "json", "md", "yaml", "csv", "html", "latex"}


def every(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command by its words."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every(command, (*path, name))


COMMANDS = dict(every(main))
SHOWN = {path: command for path, command in COMMANDS.items() if command.context_settings != PASS_THROUGH}
OPTIONS = [
    (path, option)
    for path, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option) and not option.hidden
]


def shown_by(*path: str) -> list[str]:
    """The lines of a command's help in a terminal of 80 columns."""
    result = CliRunner().invoke(main, [*path, "--help"], terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


@pytest.mark.parametrize("path", [(), *SHOWN], ids=lambda path: " ".join(path) or "turnswap")
def test_help_fits_80_columns_and_lists_whole_sentences(path: tuple[str, ...]) -> None:
    lines = shown_by(*path)
    assert [line for line in lines if len(line) > 80] == []
    command = COMMANDS[path] if path else main
    if isinstance(command, click.Group):
        rows = [
            line
            for line in lines
            if (found := re.search(r"  ([a-z-]+)  +[A-Z]", line)) and found[1] in command.commands
        ]
        assert len(rows) == len(command.commands)
        assert all(row.endswith(".") and not row.endswith("..") for row in rows), rows


def test_the_first_help_is_one_screen_with_the_commands_in_groups_and_says_where_the_manual_is() -> None:
    lines = shown_by()
    assert len(lines) <= 30
    assert lines[-1].strip() == "The manual: docs/index.md in the repository."
    assert [line.split("  ")[0] for line in lines[4:] if line[:1].isupper()] == [
        "Evaluate", "Merge", "Search", "Data", "Set up"
    ]  # fmt: skip


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: " ".join(path) or "turnswap")
def test_help_opens_with_a_sentence_and_an_example_that_names_the_command(path: tuple[str, ...]) -> None:
    _usage, _, sentence, _, example, *_ = shown_by(*path)
    assert sentence.strip().endswith(".")
    assert f"turnswap {' '.join(path)}" in example


def test_options_are_told_in_sentences_and_metavars_in_capitals() -> None:
    for path, option in OPTIONS:
        said = re.sub(r"  \[default: [^]]+]$", "", option.help or "")
        assert re.fullmatch(r"[A-Z].*\.", said), (path, option.opts, said)
        shown = "" if option.is_flag else option.make_metavar(click.Context(COMMANDS[path]))
        assert shown.startswith("[") or shown == shown.upper(), (path, option.opts, shown)


def test_one_name_means_one_thing_everywhere() -> None:
    assert {tuple(option.opts) for _, option in OPTIONS if option.name == "output"} == {("-o", "--output")}
    said: dict[str, set[str]] = {}
    for _, option in OPTIONS:
        said.setdefault(option.opts[-1], set()).add(option.help or "")
    differ = {name for name, texts in said.items() if len(texts) > 1}
    # These differ by their command's purpose alone.
    assert differ <= {"--output", "--format", "--metric", "--seed", "--push", "--anyway"}
    for path, option in OPTIONS:
        if option.opts == ["--format"] and isinstance(option.type, click.Choice) and path != ("export",):
            assert set(option.type.choices) <= FORMATS
            names = {each.opts[0] for each in COMMANDS[path].params}
            assert ("--json" in names) == ("json" in option.type.choices)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["serch"], "search"),
        (["build", "staus"], "status"),
        (["report", "results", "--regrad"], "--regrade"),
        (["sweep", "--batch_size", "4"], "--batch-size"),
    ],
)
def test_a_slip_is_answered_with_what_may_be_meant(typed: list[str], meant: str) -> None:
    result = CliRunner().invoke(main, typed)
    assert result.exit_code == 2
    # Older releases of click say it in other words.
    assert re.search(rf"(Did you mean|Possible options).*{meant}", result.output), result.output
