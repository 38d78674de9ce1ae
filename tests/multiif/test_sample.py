"""The packaged conversations check themselves: for every turn a hand-written reply that passes and one that fails."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnswap.tasks.multiif.dataset import LANGUAGES, SAMPLE, Source, load_conversations
from turnswap.tasks.multiif.grading import grade_reply

from ..published_ids import PUBLISHED

CONVERSATIONS = {
    code: load_conversations(Source("sample", str(SAMPLE)), language) for code, language in LANGUAGES.items()
}


def replies(code: str) -> dict[str, list[dict[str, str]]]:
    path = Path(__file__).parent / "sample_replies" / f"{code}.yaml"
    return yaml.safe_load(path.read_text("utf-8"))  # type: ignore[no-any-return]


def new_instructions(conversation: dict[str, Any], turn: int) -> slice:
    before = len(conversation["turns"][turn - 1]["instruction_ids"]) if turn else 0
    return slice(before, None)


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_turn_can_be_passed_and_failed(code: str) -> None:
    written = replies(code)
    assert list(written) == [conversation["key"] for conversation in CONVERSATIONS[code]]
    for conversation in CONVERSATIONS[code]:
        pairs = written[conversation["key"]]
        assert len(pairs) == len(conversation["turns"])
        for number, (turn, pair) in enumerate(zip(conversation["turns"], pairs, strict=True)):
            where = (conversation["key"], number + 1)
            passed = grade_reply(pair["passes"], turn["instruction_ids"], turn["kwargs"])
            failed = grade_reply(pair["fails"], turn["instruction_ids"], turn["kwargs"])
            assert all(verdict.strict and not verdict.ungradeable for verdict in passed), where
            assert not any(verdict.loose for verdict in failed[new_instructions(conversation, number)]), where


def test_each_turn_extends_the_turn_before() -> None:
    for conversation in sum(CONVERSATIONS.values(), []):
        for before, after in zip(conversation["turns"], conversation["turns"][1:], strict=False):
            size = len(before["instruction_ids"])
            assert after["instruction_ids"][:size] == before["instruction_ids"]
            assert after["kwargs"][:size] == before["kwargs"]
            assert len(after["instruction_ids"]) > size


def test_the_sample_is_large_enough_to_show_everything() -> None:
    conversations = sum(CONVERSATIONS.values(), [])
    added = Counter(
        id_
        for conversation in conversations
        for number, turn in enumerate(conversation["turns"])
        for id_ in turn["instruction_ids"][new_instructions(conversation, number)]
    )
    assert all(len(some) >= 6 for some in CONVERSATIONS.values())
    assert sum(len(conversation["turns"]) == 2 for conversation in conversations) == 2
    # All of the benchmark; an instruction that was added since may do with its cases.
    assert {id_ for id_ in PUBLISHED if added[id_] < 2} == set()
