"""The step that translates: what is asked, what is rejected and why, what is noted, and what a stop loses."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.equivalent import equivalent, unsuitable
from turnswap.construction.pipeline import Pipeline
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.statements import sentences
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.construction.translate import Translate, TranslateSettings, warnings
from turnswap.core.errors import UserError

from .auditing import BACK, EN, GOOD, KO, SW, WORDS, answer, back, forth, one_turn, recorded, source, translate, turns
from .conftest import GoneAt
from .test_pipeline import Seeds


def test_a_conversation_becomes_one_in_every_language_with_its_words_in_prompts_and_kwargs(tmp_path: Path) -> None:
    outcomes = translate(recorded(tmp_path, GOOD), "sw", "ko")
    assert [outcome.reason for outcome in outcomes] == [None, None]
    swahili, korean = (outcome.conversation for outcome in outcomes)
    assert (swahili.key, swahili.language) == ("seed-1:sw", "sw")
    assert swahili.turns == turns(SW, WORDS["sw"])
    assert korean.turns == turns(KO, WORDS["ko"])
    assert [len(turn.kwargs) for turn in korean.turns] == [1, 2, 3]
    assert DraftConversation.from_json(swahili.as_json()) == swahili


def test_the_note_has_source_back_translation_scores_and_signatures(tmp_path: Path) -> None:
    (outcome,) = translate(recorded(tmp_path, GOOD))
    note = outcome.conversation.notes["translate"]
    assert note["source"]["language"] == "en"
    assert [turn["prompt"] for turn in note["source"]["turns"]] == list(EN)
    assert note["back"] == list(BACK)
    figures = note["figures"]
    assert figures["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:yes|tok:13a|smooth:exp|version:")
    assert figures["signatures"]["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert "|nw:2|" in figures["signatures"]["chrf_plus_plus"]
    assert figures["turn_chrf"][0] == 100.0 > figures["chrf"] > 45


NONSENSE = [
    ("I am a language model.", "the LLM's answer is no JSON object: 'I am a language model.'"),
    ('{"turns": ["Andika', """the LLM's answer is no JSON object: '{"turns": ["Andika'"""),
    ('{"turns": "x", "kwargs": []}', """the LLM's answer has no turns (list): '{"turns": "x", "kwargs": []}'"""),
    (answer(SW[:2]), "turns are missing: 3 in the source, 2 in the translation"),
]
WRONG: list[tuple[str, Sequence[str], Any]] = [
    ("'2' occurs 1 times in turn 2 of the source and 0", [SW[0], SW[1].replace("2", "mbili"), SW[2]], None),
    ("'*' occurs 2 times in turn 2", [SW[0], SW[1].replace("*", "_"), SW[2]], None),
    ("'*' occurs 0 times in turn 1 of the source and 2", [SW[0].replace("fupi", "*fupi*"), *SW[1:]], None),
    ("'manyunyu', for 'rain', does not occur in turn 1", SW, [["manyunyu"], [], ["Tutaonana kesho"]]),
    ("'tutaonana kesho', for 'See you tomorrow', does not", SW, [["mvua"], [], ["tutaonana kesho"]]),
    ("kwargs do not match", SW, [["mvua"], [], []]),
    ("kwargs do not match", SW, [["mvua"], ["2"], ["Tutaonana kesho"]]),
    ("a text is missing: turn 2", [SW[0], " ", SW[2]], None),
    ("a text is missing: turn 2", [SW[0], 3, SW[2]], None),  # type: ignore[list-item]
    ("U+D83D in turn 1", [SW[0] + " \ud83d", *SW[1:]], None),
]


@pytest.mark.parametrize(("reason", "prompts", "words"), WRONG)
def test_a_translation_that_does_not_fit_is_rejected_after_one_repetition(
    tmp_path: Path, reason: str, prompts: Sequence[str], words: Any
) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as problem:
        equivalent(source().turns, prompts, WORDS["sw"] if words is None else words)
    # Half a character cannot stand in a file in UTF-8, only as JSON's escape.
    given = answer(prompts, words) if "D83D" not in reason else _escaped(answer(prompts, words))
    llm = recorded(tmp_path, [(forth(), given), (forth(problem=str(problem.value)), given)])
    (outcome,) = translate(llm)
    assert outcome.reason == str(problem.value)
    assert outcome.conversation.key == "seed-1:sw"
    assert not outcome.conversation.notes["translate"]["translated"]


def _escaped(content: Mapping[str, Any]) -> str:
    return json.dumps(content)


@pytest.mark.parametrize(("given", "reason"), NONSENSE)
def test_nonsense_and_half_answers_are_rejected_in_words(tmp_path: Path, given: Any, reason: str) -> None:
    llm = recorded(tmp_path, [(forth(), given), (forth(problem=reason), given)])
    (outcome,) = translate(llm)
    assert outcome.reason == reason


def test_a_repetition_that_mends_it_is_taken(tmp_path: Path) -> None:
    bad = answer([SW[0], SW[1].replace("2", "mbili"), SW[2]])
    with pytest.raises(ValueError, match="a protected span is lost: '2'") as problem:
        equivalent(source().turns, bad["turns"], bad["kwargs"])
    llm = recorded(tmp_path, [(forth(), bad), (forth(problem=str(problem.value)), answer()), GOOD[1]])
    (outcome,) = translate(llm)
    assert outcome.reason is None


def test_a_back_translation_of_fewer_turns_is_rejected(tmp_path: Path) -> None:
    half = answer(BACK[:2], [])
    problem = f"the back-translation is not whole: 3 turns were asked for, {list(BACK[:2])!r:.80} came"
    (outcome,) = translate(recorded(tmp_path, [GOOD[0], (back(), half), (back(problem=problem), half)]))
    assert outcome.reason == problem
    assert outcome.conversation.turns == turns(SW, WORDS["sw"])  # what was translated can be looked at


def test_a_far_back_translation_is_rejected_with_the_figures(tmp_path: Path) -> None:
    far = [BACK[0], BACK[1], "The cat sleeps on the mat."]
    (outcome,) = translate(recorded(tmp_path, [GOOD[0], (back(), answer(far, []))]))
    assert outcome.reason is not None
    figures = outcome.conversation.notes["translate"]["figures"]
    assert f"chrf {figures['turn_chrf'][2]} < 30.0 in turn 3" in outcome.reason


@pytest.mark.parametrize(
    ("id_", "kwargs", "language", "words"),
    [
        ("change_case:english_capital", {}, "sw", "replies that are not English"),
        ("change_case:english_lowercase", {}, "ko", "replies that are not English"),
        ("detectable_format:constrained_response", {}, "sw", "answers are English"),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 2, "capital_relation": "at least"},
            "ko",
            "capital",
        ),
        ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "at least"}, "te", "Latin"),
    ],
)
def test_an_instruction_that_does_not_suit_the_language_is_rejected_before_anything_is_asked(
    tmp_path: Path, id_: str, kwargs: dict[str, Any], language: str, words: str
) -> None:
    conversation = DraftConversation("k", "en", one_turn(id_, **kwargs))
    (outcome,) = translate(recorded(tmp_path, []), language, conversation=conversation)
    assert words in str(outcome.reason)
    if "english" not in id_ and "constrained" not in id_:
        assert unsuitable(conversation.turns, "sw") is None


def test_turns_that_do_not_extend_each_other_are_rejected_before_anything_is_asked(tmp_path: Path) -> None:
    first, *others = source().turns
    conversation = dataclasses.replace(
        source(), turns=(dataclasses.replace(first, kwargs=({"keywords": ["x"]},)), *others)
    )
    (outcome,) = translate(recorded(tmp_path, []), conversation=conversation)
    assert "the instructions of turn 2 do not start with those of the turn before" in str(outcome.reason)


def test_what_published_rules_make_of_an_instruction_is_told() -> None:
    forbidden = one_turn("keywords:forbidden_words", forbidden_words=["비"])
    assert "particle" in warnings(forbidden, "ko")[0]
    assert warnings(forbidden, "sw") == []
    assert "ASCII comma" in warnings(one_turn("punctuation:no_comma"), "ja")[0]


def build(languages: Sequence[str] = ("sw",), **section: Any) -> BuildSettings:
    return BuildSettings("n", Path("f"), None, tuple(languages), translate=section)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (build(chrff=40), "chrff is no setting of translate"),
        (build(chrf="high"), "translate: chrf cannot be 'high'"),
        (build(chrf=140), "translate: chrf cannot be 140"),
        (build(chunk=16), "translate.chunk is no setting any more"),
        (build(length_ratio={"sw": [2, 1]}), "translate.length_ratio.sw cannot be"),
        (build(length_ratio={"ko": [1, 2]}), "ko is not among languages"),
        (build(["swahili"]), "'swahili' is no code"),
        (build(["sw", "sw"]), "names one twice"),
        (build([]), "languages is empty"),
    ],
)
def test_a_mistake_in_the_yaml_is_refused(tmp_path: Path, settings: BuildSettings, words: str) -> None:
    with pytest.raises(UserError) as raised:
        make_step("translate", settings, recorded(tmp_path, []))
    assert words in str(raised.value)


def test_a_language_that_the_source_is_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed-1 is in it already"):
        translate(recorded(tmp_path, []), "en")


def test_a_stop_half_way_loses_nothing_that_was_asked(tmp_path: Path, gone_at: GoneAt) -> None:
    """The LLM is gone at the first questions; with it back, all is done."""
    other = dataclasses.replace(source("seed-2"), turns=turns([EN[0] + " Be kind.", *EN[1:]], WORDS["en"]))
    seeds = Seeds([source(), other])
    settings = TranslateSettings()
    more = [SW[0] + " Uwe mpole.", *SW[1:]]
    added = [
        (forth(prompts=[turn.prompt for turn in other.turns]), answer(more)),
        (back(prompts=more), answer([BACK[0] + " Be gentle.", *BACK[1:]], [])),
    ]
    llm = recorded(tmp_path, [*GOOD, *added])
    with gone_at("Be kind.") as asked:
        list(Pipeline(tmp_path, seeds, [Translate(settings, ["sw"], llm)]).run())
    assert len(asked) == 2
    *_, count = Pipeline(tmp_path, seeds, [Translate(settings, ["sw"], llm)]).run()
    assert (count.kept, count.done_now) == (2, 2)


def test_a_source_that_misstates_an_instruction_is_told_in_the_warnings_and_kept(tmp_path: Path) -> None:
    words = {"relation": "less than", "num_words": 80}
    english, german = "Write at least 80 words about rain.", "Schreibe mindestens 80 Wörter über Regen."
    seed = DraftConversation("k", "en", (Turn(english, ("length_constraints:number_words",), (words,)),))
    asked = {"task": "translate", "turns": [english], "protected": ["80"], "from": "en", "to": "de", "kwargs": [[]]}
    home = {**asked, "turns": [german], "from": "de", "to": "en", "kwargs": []}
    wording = sentences("length_constraints:number_words", words, "de", blanks=True)
    llm = recorded(tmp_path, [({**asked, "wording": wording}, answer([german], [[]])), (home, answer([english], []))])
    (outcome,) = translate(llm, "de", conversation=seed)
    assert outcome.reason is None
    (warned,) = outcome.conversation.notes["translate"]["warnings"]
    assert warned.startswith("turn 1 of the source: length_constraints:number_words: the prompt states ")


def test_a_language_of_which_nothing_is_read_is_told_in_the_warnings(tmp_path: Path) -> None:
    english, swedish = "Write about rain in May.", "Skriv om regn i maj."
    seed = DraftConversation("k", "en", (Turn(english, ("punctuation:no_comma",), ({},)),))
    asked = {"task": "translate", "turns": [english], "protected": [], "from": "en", "to": "sv", "kwargs": [[]]}
    home = {**asked, "turns": [swedish], "from": "sv", "to": "en", "kwargs": []}
    llm = recorded(tmp_path, [(asked, answer([swedish], [[]])), (home, answer([english], []))])
    (outcome,) = translate(llm, "sv", conversation=seed)
    assert outcome.conversation.notes["translate"]["warnings"] == [
        "no constraint was read in this language (sv): only the back-translation was checked"
    ]
