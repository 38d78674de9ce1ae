"""Every command in every document runs here, or parses here and is run by what elsewhere.toml names."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from filelock import FileLock

from ..multiturn.fault_server import FaultServer
from ..started_host import StartedHost
from .commands import REPOSITORY, Command, Named, check, commands_of, pages, simple_commands, text_of
from .playground import Shell, make, started_shell

TABLE = tomllib.loads((Path(__file__).parent / "elsewhere.toml").read_text("utf-8"))
FILES = re.compile(r"`([\w./-]+\.(?:py|ya?ml|jsonl|csv|sh))`[^\n`]*:\n+```\w*\n(.*?)^```", re.M | re.S)
PAGES = pages()


def filled_in(command: Command, port: int = 8000) -> Command:
    """The command with something in the place of each placeholder."""
    text = command.text
    for pattern, value in TABLE["placeholders"].items():
        text = re.sub(pattern, value.replace("PORT", str(port)).replace("CHECKOUT", str(REPOSITORY)), text)
    return Command(command.page, command.line, text, command.whole)


def who_runs(command: Command) -> str | None:
    """What elsewhere.toml names."""
    return next((by for begin, by in TABLE["elsewhere"].items() if concerns(begin, command)), None)


def concerns(begin: str, command: Command) -> bool:
    return bool(re.match(begin, command.page if begin.startswith("docs/") else command.text))


def outputs(command: Command) -> list[str]:
    """The files and folders that a command says it writes."""
    found = re.findall(r" > (\S+)", command.text.partition("\n")[0])
    for words in simple_commands(command.text):
        found += [value for name, value in pairwise(words) if name in ("-o", "--output", "--output_path", "--site")]
        if "mergekit-yaml" in words[:2]:
            found.append(words[words.index("mergekit-yaml") + 2])
    return [path for path in found if path not in (".", "/dev/null")]


def redundant(page: str) -> bool:
    """Whether a page with more commands has all of this one's, as README has those of most configs."""

    def run(page: str) -> set[str]:
        return {str(simple_commands(command.text)) for command in commands_of(page) if not who_runs(command)}

    return any(run(page) < run(other) or (run(page) == run(other) and other < page) for other in PAGES)


@pytest.fixture(scope="session")
def shell(started_host: StartedHost) -> Iterator[Shell]:
    with started_shell(started_host) as shell:
        yield shell


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server of conversations, for what is asked of an address."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def playground(tiny_model: Path, shell: Shell, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Made once, by whichever worker needs it first."""
    root = tmp_path_factory.getbasetemp()
    folder = (root if worker_id == "master" else root.parent) / "playground"
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            make(folder, tiny_model, shell)
            (folder / "made").touch()
    return folder


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("turnswap plan --colour layerswap.yml", "No such option"),
        ("turnswap merge layerswap.yml", "No such command"),
        ("turnswap lm-eval run --tusks multiif", "--tusks"),
        ("TURNSWAP_MULTIIF=sample lm_eval run --tasks multiif --limits 3", "--limits"),
        ("cd merged && mergekit-yaml layerswap.yml ./merged --nothing", "No such option"),
        ("make nothing", "no target nothing"),
        ("pip install '.[hf,nothing]'", "no extra nothing"),
        ("python docs/scripts/nothing.py > page.md", "no docs/scripts/nothing.py"),
        ("for name in a b; do turnswap status", "bash"),
    ],
)
def test_a_wrong_command_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        check(Command("page.md", 1, text))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses_and_is_run_by_somebody(page: str) -> None:
    wrong = []
    for command in map(filled_in, commands_of(page)):
        try:
            check(command)
        except Named:
            if command.whole and not who_runs(command):
                wrong.append(f"{command}\n  It lacks an argument: write the whole command.")
        except ValueError as error:
            wrong.append(f"{command}\n  Refused ({error}): correct the command, or its placeholder in elsewhere.toml.")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", [page for page in PAGES if not redundant(page)])
def test_commands_run_in_the_order_of_the_page(
    page: str, playground: Path, shell: Shell, server: FaultServer, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    shutil.copytree(playground, folder, symlinks=True)
    for name, content in FILES.findall(text_of(page)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, "utf-8")
    wrong, before = [], ""
    for command in commands_of(page):
        if who_runs(command):
            continue
        command = filled_in(command, server.port)
        try:
            check(command)
        except (Named, ValueError):
            continue  # the test above tells
        if re.match("export |cd [^&]*$", command.text):
            before += f"{command.text}\n"
            continue
        written = [folder / path for path in outputs(command)]
        for cache in re.findall(r"--use_cache (\w+)", command.text):  # of another model, on a page of alternatives
            shutil.rmtree(folder / cache, ignore_errors=True)
        for path in written:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        done = shell.run(before + command.text, folder)
        missing = [str(path.relative_to(folder)) for path in written if not path.exists()]
        if done.returncode or missing:
            said = "\n".join(f"{done.stdout}{done.stderr}".rstrip().splitlines()[-12:])
            ended = f"ended with {done.returncode}" if done.returncode else f"wrote no {', '.join(missing)}"
            wrong.append(f"{command}\n  It {ended}. Correct it, or name in elsewhere.toml who runs it.\n{said}")
    assert not wrong, "\n\n".join(wrong)


def test_what_runs_elsewhere_is_true() -> None:
    """Every entry has a command, and what is named to run it exists."""
    everything = [command for page in PAGES for command in commands_of(page)]
    for begin, by in TABLE["elsewhere"].items():
        assert any(concerns(begin, command) for command in everything), (
            f"No document has {begin!r} any more: remove it."
        )
        file, _, name = by.partition("::")
        text = (REPOSITORY / file).read_text("utf-8") if (REPOSITORY / file).is_file() else ""
        assert by.startswith("nobody: ") or (name and name in text), (
            f"{begin!r} is said to be run by {by!r}, which does not exist."
        )
