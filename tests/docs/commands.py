"""The commands that documents show: where they stand, and whether the programs would take them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

REPOSITORY = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)(`{3,}) *(\w*)[^\n]*\n(.*?)^\1\2 *$", re.M | re.S)
INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
BEGINS = re.compile(
    r"(?:[A-Z_]+=\S* )*(?:accelerate|bash|cd|curl|docker|every_eval_ever|export|git|hf|llama-server|lm[_-]eval|make"
    r"|mergekit-\w+|mkdocs|optuna-dashboard|pip|podman|pre-commit|pytest|python|sbatch|sha256sum|srun|trl|turnswap"
    r"|twine|uv|vllm)(?: |$)"
)
HOSTS = ("lm-eval", "mergekit-yaml", "mergekit-multi")  # after turnswap, too
SCRIPT = re.compile(r"#!|.*^srun ", re.M | re.S)  # a block of which no line can run alone


@dataclass(frozen=True)
class Command:
    """One command; ``whole`` where it stands in a block, and not in a sentence that may only name it."""

    page: str
    line: int
    text: str
    whole: bool = True

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[str]:
    """Every document with commands; CHANGELOG.md tells of commands that are no more."""
    globs = (
        "*.md",
        "docs/**/*.md",
        "docs/**/*.ipynb",
        "benchmarks/**/*.md",
        "configs/**/*.md",
        "configs/*.y*ml",
        "docs/**/*.y*ml",
    )
    found = {str(path.relative_to(REPOSITORY)) for pattern in globs for path in REPOSITORY.glob(pattern)}
    return sorted(page for page in found - {"CHANGELOG.md"} if commands_of(page))


def text_of(page: str) -> str:
    """The text of a page as Markdown: of a YAML its first comment, of a notebook its cells."""
    text = (REPOSITORY / page).read_text("utf-8")
    if page.endswith(".ipynb"):
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
        shell = ["\n".join(re.findall(r"^!(.*)", source, re.M)) for _, source in cells]
        parts = [source if kind == "markdown" else f"```sh\n{shell[n]}\n```" for n, (kind, source) in enumerate(cells)]
        return "\n\n".join(parts)
    if page.endswith((".yml", ".yaml")):
        comment = re.match(r"(?:#.*\n)*", text).group()  # type: ignore[union-attr]
        comment = re.sub(r"^# ?", "", comment, flags=re.M)
        return re.sub(rf"\A({BEGINS.pattern}.*)\n", r"`\1`\n", comment)
    return text


@functools.cache
def commands_of(page: str) -> list[Command]:
    """The commands of a page, in its order."""
    text, found = text_of(page), []
    for block in FENCE.finditer(text):
        _, _, language, body = block.groups()
        first = text.count("\n", 0, block.start()) + 2
        found += [Command(page, first + number, command) for number, command in _block(language, body)]
    prose = FENCE.sub(lambda block: re.sub(r"[^\n]", "", block[0]), text)
    for code in INLINE.finditer(prose):
        command = " ".join(code[1].split())
        if BEGINS.match(command) and " " in command:
            found.append(Command(page, prose.count("\n", 0, code.start()) + 1, command, whole=False))
    return sorted(found, key=lambda command: command.line)


def _block(language: str, body: str) -> Iterator[tuple[int, str]]:
    """The commands of a block, each with its line in it; a script is one command."""
    if language in ("yaml", "yml"):  # the steps of a workflow
        for step in re.finditer(r"run: (?!\|)(.+)", body):
            yield body.count("\n", 0, step.start()), step[1]
        return
    prompted = "$ " in (line[:2] for line in body.splitlines())
    if language not in ("sh", "bash", "console", "") or not (
        language in ("sh", "bash") or prompted or BEGINS.match(body)
    ):
        return
    if SCRIPT.match(body):
        yield 0, body
        return
    begun, command = 0, ""
    for number, line in enumerate(body.splitlines()):
        if not command and prompted and not line.startswith("$ "):
            continue
        begun = begun if command else number
        command = f"{command}\n{line}" if command else line.removeprefix("$ ").strip()
        if not command or command.startswith("#"):
            command = ""
        elif not line.endswith("\\") and _complete(command):
            yield begun, command
            command = ""
    if command:
        yield begun, command


def _complete(text: str) -> bool:
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return checked.returncode == 0 and not checked.stderr


def simple_commands(text: str) -> list[list[str]]:
    """The words of each simple command of a shell text, without assignments, redirections and what only launches."""
    text = re.sub(r"\\\n", " ", text)
    words: list[list[str]] = [[]]
    for line in re.sub(r" \d?[<>]+&?\d? ?\S*", "", text).splitlines():
        tokens = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
        tokens.whitespace_split = True
        words.append([])
        for token in tokens:
            if re.fullmatch(r"[;|&]+", token):
                words.append([])
            else:
                words[-1].append(token)
    return [command for given in words if (command := _launched(given))]


def _launched(words: list[str]) -> list[str]:
    while words and (re.match(r"\w+=", words[0]) or words[0] in ("srun", "time", "exec", "then", "do", "!")):
        words = words[1:]
    if words[:2] == ["accelerate", "launch"] and "-m" in words:
        return words[words.index("-m") + 1 :]
    return [word for word in words if word != "…"]


class Named(Exception):
    """The command is only named: what it needs beside is not said."""


def check(command: Command) -> None:
    """Raise ValueError with a reason where a program would refuse the command, Named where it is only named."""
    if not _complete(command.text):
        raise ValueError("bash cannot read it")
    for program, *arguments in simple_commands(command.text):
        if program in PARSERS:
            with contextlib.redirect_stdout(io.StringIO()):
                PARSERS[program](arguments)
        if not command.whole and program != "make" and re.fullmatch("((build|label) )?[a-z-]*", " ".join(arguments)):
            raise Named


def _click(command: click.Command, arguments: list[str]) -> None:
    """Have click read the arguments; what does not exist yet may be named."""
    context: click.Context | None = None
    try:
        context = command.make_context(command.name or "", list(arguments))
        while isinstance(command, click.Group):
            if not (rest := [*context._protected_args, *context.args]):
                raise Named
            _, found, arguments = command.resolve_command(context, rest)
            assert found is not None
            command, context = found, found.make_context(found.name, list(arguments), parent=context)
    except click.exceptions.Exit:  # --help
        return
    except (click.MissingParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError):
        raise Named from None
    except click.UsageError as error:
        if "does not exist" not in error.format_message():
            raise ValueError(error.format_message()) from None
    else:
        if context.parent and command.name in HOSTS:
            PARSERS[command.name](arguments)


def _turnswap(arguments: list[str]) -> None:
    from turnswap.commands.main import main

    _click(main, arguments)


def _mergekit(module: str, arguments: list[str]) -> None:
    _click(importlib.import_module(f"mergekit.scripts.{module}").main, arguments)


def _lm_eval(arguments: list[str]) -> None:
    from lm_eval._cli.harness import HarnessCLI

    if not arguments:
        raise Named
    if arguments[0].startswith("--"):
        arguments = ["run", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            HarnessCLI()._parser.parse_args(arguments)
    except SystemExit as end:
        if end.code:
            raise ValueError(said.getvalue().splitlines()[-1]) from None
    if arguments[0] == "run" and not {"--tasks", "--config", "-t", "-C"} & set(arguments):
        raise Named


def _make(arguments: list[str]) -> None:
    for target in (word for word in arguments if "=" not in word and not word.startswith("-")):
        if not re.search(rf"^{re.escape(target)}:", (REPOSITORY / "Makefile").read_text("utf-8"), re.M):
            raise ValueError(f"the Makefile has no target {target}")


def _pip(arguments: list[str]) -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for asked in re.findall(r"(?:turnswap|^\.)\[([\w,]+)\]", "\n".join(arguments), re.M):
        if missing := set(asked.split(",")) - set(extras):
            raise ValueError(f"pyproject.toml has no extra {', '.join(missing)}")


def _files(arguments: list[str]) -> None:
    for word in arguments:
        if "/" in word and word.endswith((".py", ".sh")) and not (REPOSITORY / word).exists():
            raise ValueError(f"there is no {word}")
        if word.startswith("benchmarks.") and importlib.util.find_spec(word) is None:
            raise ValueError(f"there is no module {word}")


PARSERS = {
    "turnswap": _turnswap,
    "lm_eval": _lm_eval,
    "lm-eval": _lm_eval,
    "mergekit-yaml": lambda arguments: _mergekit("run_yaml", arguments),
    "mergekit-multi": lambda arguments: _mergekit("multimerge", arguments),
    "make": _make,
    "pip": _pip,
    "python": _files,
    "pytest": _files,
    "bash": _files,
}
