"""Requests that a server refuses: they reject their conversation alone, are told, and are asked again on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnswap.construction.steps import assemble
from turnswap.core.errors import UserError

from .conftest import Serving
from .example_build import Body, Refusal, also, asked, built, config, refusing, rejected

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")


def test_a_refused_request_rejects_its_conversation_alone_and_is_asked_again_only_on_request(
    tmp_path: Path, serving: Serving
) -> None:
    with serving(refusing("guitar")) as server:
        made, counts = built(tmp_path, server, "conflicts")
        assert (counts[-1].kept, counts[-1].rejected) == (20, 1)
        ((key, reason),) = rejected(made, "conflicts").items()
        assert key == "guitar"
        assert reason == "the LLM gave no answer: HTTP 400: Against our policy."
        before = len(server.requests)
        assert built(tmp_path, server, "conflicts")[1][-1].done_now == 0
        assert len(server.requests) == before
    with serving() as server:
        _, counts = built(tmp_path, server, "conflicts", redo="failed")
        assert (counts[-1].kept, counts[-1].done_now) == (21, 1)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}, "content filter"),
        ({"message": {"role": "assistant", "content": None, "refusal": "No."}}, "the model refused: No."),
        ({"message": {"role": "assistant", "content": ""}, "finish_reason": "length"}, "it has no text, and used up"),
    ],
)
def test_an_answer_without_a_text_is_a_refusal_that_is_not_kept(
    tmp_path: Path, serving: Serving, choice: Body, words: str
) -> None:
    def refuse(body: Body) -> Refusal | None:
        return (200, {}, {"choices": [choice]}) if refusing("guitar")(body) else None

    with serving(refuse) as server:
        made, _ = built(tmp_path, server, "conflicts")
        assert words in rejected(made, "conflicts")["guitar"]
        assert sum("guitar" in each for each in asked(server)) == 1  # not repeated as a poor answer is
    with serving() as server:
        assert built(tmp_path, server, "conflicts", redo="failed")[1][-1].kept == 21


@pytest.mark.parametrize("most", [0, 2, 0.1])
def test_too_many_refusals_end_the_run_and_nothing_is_lost(tmp_path: Path, serving: Serving, most: float) -> None:
    some = ("guitar", "eclipse", "farewell")
    with serving(refusing(*some)) as server:
        with pytest.raises(UserError, match="conflicts: too many requests failed") as raised:
            built(tmp_path, server, "conflicts", max_failed=most)
        assert "HTTP 400" in raised.value.message
        assert f"now {most}" in raised.value.advice
        answered = {record.conversation for record in server.requests if record.status == 200}
    with serving() as server:
        _, counts = built(tmp_path, server, "conflicts", max_failed=most)
        assert counts[-1].kept == 21
        assert not answered & set(asked(server))


def test_failed_requests_are_told_one_a_line_by_what_was_asked(tmp_path: Path, serving: Serving) -> None:
    def refuse(body: Body) -> Refusal | None:
        return 400, {}, {"error": {"message": "Against our policy."}}

    with serving(refuse) as server:
        path = also(config(tmp_path, server, max_failed=1), extend={"words": "topic"})
        with pytest.raises(UserError) as raised:
            list(assemble(path).pipeline.run("extend"))
    head, *lines = raised.value.message.splitlines()
    assert head == "extend: too many requests failed, 2 so far:"
    assert len(lines) == 2
    for line in lines:
        assert line.endswith(": HTTP 400: Against our policy.")
        assert " (words by the topic): " in line or " (request of turn " in line
