"""What tests of building share: LLMs that answer or are gone, conversations to review, pages in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lm_eval.api.instance import Instance

from turnswap.construction.instructions.making import MAKINGS
from turnswap.construction.llm import RecordedLM, read_prompt
from turnswap.construction.records import DraftConversation, digest
from turnswap.construction.sheet import row_of, write_sheets
from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiif.instructions import INSTRUCTIONS, own

from ..conftest import REPOSITORY
from ..multiturn.fault_server import FaultServer
from .auditing import translated
from .example_build import RECORDING, Body, Refusal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GoneAt = Callable[[str], AbstractContextManager[list[str]]]
Serving = Callable[..., FaultServer]


@pytest.fixture
def gone_at(monkeypatch: pytest.MonkeyPatch) -> GoneAt:
    """A block in which the recorded LLM is gone as soon as a question holds a text; gives all that it was asked."""
    answers = RecordedLM.generate_until

    @contextmanager
    def block(text: str) -> Iterator[list[str]]:
        asked: list[str] = []

        def generate_until(lm: RecordedLM, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
            asked.extend(request.args[0] for request in requests)
            if any(text in request.args[0] for request in requests):
                raise UserError("The server has gone.", "Start it again.")
            return answers(lm, requests, disable_tqdm)

        with monkeypatch.context() as patch:
            patch.setattr(RecordedLM, "generate_until", generate_until)
            with pytest.raises(UserError, match="The server has gone"):
                yield asked

    return block


@pytest.fixture
def at_the_root_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the paths of the examples' YAML start."""
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """Of the example in Swahili and Korean, per question's digest."""
    return {digest(line["input"]): json.dumps(line["answer"], ensure_ascii=False) for line in read_jsonl(RECORDING)}


@pytest.fixture
def serving(answers: dict[str, str]) -> Serving:
    """A server that answers from the example's recording, but what it refuses."""

    def make(refuse: Callable[[Body], Refusal | None] = lambda body: None, **config: Any) -> FaultServer:
        def reply(messages: Any) -> Any:
            return answers[digest(read_prompt(messages[-1]["content"]))]

        return FaultServer(config, reply=reply, refuse=refuse)

    return make


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[DraftConversation]:
    """Conversations in Swahili, to be reviewed."""
    return translated(tmp_path_factory.mktemp("translated"), "a", "b", "c")


@pytest.fixture
def open_form(browser: Browser) -> Iterator[Any]:
    """Opens a sheet's page; at the end it must not have complained, asked, or loaded anything."""
    complaints: list[str] = []
    requests: list[str] = []
    opened: set[str] = set()
    context = browser.new_context(accept_downloads=True)

    def open_(path: Path) -> Page:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: requests.append(request.url))
        opened.add(path.as_uri())
        page.goto(path.as_uri())
        return page

    yield open_
    context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith("blob:")} == opened


@pytest.fixture
def open_sheet(open_form: Any, tmp_path: Path) -> Any:
    """Opens the audit's page of some conversations."""

    def open_(conversations: list[DraftConversation], returned: dict[str, str] | None = None) -> Page:
        rows = [row_of(each, (returned or {}).get(each.key, "")) for each in conversations]
        write_sheets(tmp_path / "audit", rows)
        page: Page = open_form(tmp_path / "audit" / "audit.html")
        return page

    return open_


@pytest.fixture
def own_instructions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test loads of instructions of a data set's own is forgotten behind it."""
    monkeypatch.setattr(own, "_loaded", {})
    monkeypatch.setenv(own.VARIABLE, "")
    known, made = dict(INSTRUCTIONS), dict(MAKINGS)
    yield
    for registry, before in ((INSTRUCTIONS, known), (MAKINGS, made)):
        for id_ in [*registry]:
            if id_ not in before:
                del registry[id_]  # type: ignore[attr-defined]
