"""An instruction that has a check and nothing else: every step knows what to do with it, and says what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.constructors import construct
from turnswap.construction.equivalent import equivalent, questions_words, unsuitable
from turnswap.construction.extend import Extend, ExtendSettings, draw_instruction, find_problem, weights
from turnswap.construction.instructions import find_conflicts, must_contain
from turnswap.construction.instructions.making import MAKINGS, making
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.prove import Prove, ProveSettings
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.translate import warnings
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.corrected import grade_corrected
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.instructions import INSTRUCTIONS, instruction
from turnswap.tasks.multiif.instructions.spec import COUNT, PHRASE, RELATION, Relation, compares

ID = "keywords:refrain"
KWARGS: dict[str, Any] = {"refrain": "la la", "num_times": 2, "relation": "at least"}
FEW: dict[str, Any] = {**KWARGS, "relation": "less than"}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    @instruction(ID, refrain=PHRASE, num_times=COUNT, relation=RELATION)
    def refrain(reply: str, refrain: str, num_times: int, relation: Relation) -> bool:
        return compares(reply.count(refrain), relation, num_times)

    yield
    del INSTRUCTIONS[ID]
    MAKINGS.pop(ID, None)


def conversation(kwargs: dict[str, Any] = KWARGS) -> DraftConversation:
    return DraftConversation("k", "en", (Turn('Write a song. Sing "la la" at least twice.', (ID,), (kwargs,)),))


def llm(folder: Path) -> LLM:
    (folder / "recording.jsonl").write_text("")
    return LLM(LLMSettings("turnswap-recorded", {"path": str(folder / "recording.jsonl")}), folder / "cache")


def test_it_is_graded_by_both_sets_of_rules() -> None:
    for reply, holds in (("la la, la la", True), ("la la", False)):
        assert grade_reply(reply, [ID], [KWARGS])[0].strict is holds
        assert grade_corrected(reply, [ID], [KWARGS], "en")[0].strict is holds
    assert grade_corrected("la", [ID], [{**FEW, "num_times": 0}], "en")[0].unsatisfiable
    assert grade_corrected("la", [ID], [{**KWARGS, "refrain": " "}], "en")[0].unsatisfiable


def test_it_is_not_drawn_and_whoever_asks_for_it_is_told(tmp_path: Path) -> None:
    assert ID not in weights()
    assert draw_instruction(0, conversation(), {ID: 1.0}) is None
    assert draw_instruction(0, conversation(), weights()) is not None
    with pytest.raises(UserError, match=f"'{ID}' cannot be drawn: nothing says how"):
        Extend(ExtendSettings(weights={ID: 1.0}), llm(tmp_path))


def test_a_request_must_name_its_texts_relations_and_numbers() -> None:
    assert must_contain(ID, KWARGS) == ["la la", "2", "at least"]
    assert find_problem('Sing "la la" at least twice.', ID, KWARGS, "en", [], 300) is None
    assert find_problem('Sing "la la" twice.', ID, KWARGS, "en", [], 300) == "the wording lacks 'at least'"


def test_bounds_of_its_own_exclude_each_other_and_nothing_else_does() -> None:
    assert find_conflicts([ID, "punctuation:no_comma"], [KWARGS, {}]) == []
    assert [each.rule.name for each in find_conflicts([ID, ID], [KWARGS, FEW])] == ["bounds that exclude each other"]
    assert find_conflicts([ID, ID], [KWARGS, {**FEW, "refrain": "hey"}]) == []


def test_its_text_is_translated_with_the_prompt() -> None:
    turns = conversation().turns
    assert unsuitable(turns, "sw") is None
    assert warnings(turns, "ko") == []
    assert questions_words(turns) == [["la la"]]
    (made,) = equivalent(turns, ['Andika wimbo. Imba "ole ole" angalau mara mbili.'], [["ole ole"]])
    assert made.kwargs == ({**KWARGS, "refrain": "ole ole"},)


def test_the_proof_says_that_no_reply_can_be_constructed_for_it(tmp_path: Path) -> None:
    assert construct([ID], [KWARGS], ["Write a song."], "en", attempts=5).failed == [0]
    ((outcome,),) = Prove(ProveSettings(attempts=5, llm=False), llm(tmp_path)).run([conversation()])  # type: ignore[misc]
    assert outcome.reason == (
        f"no reply was found that follows all: the best fails {ID}; no reply can be constructed for {ID} yet"
    )


def test_a_record_of_its_own_closes_the_gaps(tmp_path: Path) -> None:
    making(
        ID,
        named=lambda kwargs: [kwargs["refrain"], "line"],
        draw=lambda draw: {"refrain": "la la", **draw.relation("relation", (2, 3), (2,), "num_times")},
        shape=lambda shape, kwargs: shape.at_least("repeated", kwargs["refrain"], kwargs["num_times"]),
    )
    drawn = draw_instruction(0, DraftConversation("k", "en", (Turn("Sing.", (), ()),)), {ID: 1.0})
    assert drawn is not None
    assert drawn[0] == ID
    assert find_problem('Sing "la la" in two lines.', ID, KWARGS, "en", [], 300) is None
    ((outcome,),) = Prove(ProveSettings(llm=False), llm(tmp_path)).run([conversation()])  # type: ignore[misc]
    assert outcome.reason is None
