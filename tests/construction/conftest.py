"""An LLM that is gone half-way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest
from lm_eval.api.instance import Instance

from turnswap.construction.llm import RecordedLM
from turnswap.core.errors import UserError

GoneAt = Callable[[str], AbstractContextManager[list[str]]]


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
