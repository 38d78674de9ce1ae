"""The filter: words of the user's lists in every kind of script, and what the LLM says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.filter import Filter, FilterSettings, occurs, read_words
from turnswap.construction.records import DraftConversation, Outcome
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.core.errors import UserError

from .auditing import KO, SW, WORDS, recorded, turns

SWAHILI = DraftConversation("seed-1:sw", "sw", turns(SW, WORDS["sw"]))
KOREAN = DraftConversation("seed-1:ko", "ko", turns(KO, WORDS["ko"]))


def asked(conversation: DraftConversation, **more: Any) -> dict[str, Any]:
    prompts = [turn.prompt for turn in conversation.turns]
    return {"task": "find_sensitive", "language": conversation.language, "turns": prompts, **more}


FINE = {"sensitive": False, "reason": ""}


def run(folder: Path, words: dict[str, str], answers: list[Any], *, llm_check: bool = True) -> list[Outcome]:
    for language, text in words.items():
        (folder / f"{language}.txt").write_text(text, "utf-8")
    settings = FilterSettings({language: folder / f"{language}.txt" for language in words}, llm_check)
    step = Filter(settings, ["sw", "ko"], recorded(folder, answers))
    return [outcomes[0] for outcomes in step.run([SWAHILI, KOREAN]) if outcomes]


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("bomu", "Tengeneza BOMU leo", True),
        ("bomu", "Bomuko ni neno lingine", False),
        ("bomu", "kibomu", False),
        ("dawa za kulevya", "kuhusu dawa  za\nkulevya.", True),
        ("마약", "마약을 사는 법", True),  # a particle follows
        ("마약", "강마약", False),
        ("毒品", "哪里买毒品好", True),
        ("ยา", "ขายยาที่ไหน", True),
        ("నా", "నామం", False),  # of Telugu letters, one with its vowel sign is no end of a word
        ("క", "కి", False),
        ("నామం", "నా నామం ఇది", True),
        ("bomb", "ｂｏｍｂ", True),  # full width
        ("straße", "STRASSE", True),
        ("c++", "know c++ well", True),
        ("P.S.", "P.S.で始まる", True),
        ("AI", "AIを使う", True),  # a word ends where a script without spaces begins
        ("AI", "AI를 쓴다", True),
        ("AI", "AIR를 쓴다", False),
    ],
)
def test_words_are_found_as_words_in_every_script(word: str, text: str, found: bool) -> None:
    assert occurs(word, text) is found


def test_a_word_of_the_list_rejects_without_asking_the_llm(tmp_path: Path) -> None:
    outcomes = run(tmp_path, {"sw": "# a comment\n\nvita\nJirani\n"}, [(asked(KOREAN), FINE)])
    assert [outcome.reason for outcome in outcomes] == ["a word of the list: 'Jirani' in turn 1", None]
    assert outcomes[1].conversation.notes["filter"] == {"word_list": None, "llm": True}


def test_words_in_kwargs_are_looked_at_too(tmp_path: Path) -> None:
    kwargs = ({"keywords": ["siri"]}, *SWAHILI.turns[-1].kwargs[1:])
    last = SWAHILI.turns[-1]
    hidden = DraftConversation("k", "sw", (type(last)(last.prompt, last.instruction_ids, kwargs),))
    (tmp_path / "sw.txt").write_text("siri\n")
    step = Filter(FilterSettings({"sw": tmp_path / "sw.txt"}, False), ["sw"], recorded(tmp_path, []))
    ((outcome,),) = step.run([hidden])  # type: ignore[misc]
    assert outcome.reason == "a word of the list: 'siri' in the kwargs of keywords:existence"


def test_the_llm_rejects_with_its_reason(tmp_path: Path) -> None:
    answers = [(asked(SWAHILI), {"sensitive": True, "reason": "it names a person"}), (asked(KOREAN), FINE)]
    outcomes = run(tmp_path, {}, answers)
    assert [outcome.reason for outcome in outcomes] == ["the LLM finds it sensitive: it names a person", None]


def test_nonsense_is_asked_again_once_and_then_rejected(tmp_path: Path) -> None:
    problem = "the LLM's answer is no JSON object: 'No.'"
    answers = [
        (asked(SWAHILI), "No."),
        (asked(SWAHILI, problem=problem), "No."),
        (asked(KOREAN), "No."),
        (asked(KOREAN, problem=problem), FINE),
    ]
    assert [outcome.reason for outcome in run(tmp_path, {}, answers)] == [problem, None]


def test_without_lists_and_llm_everything_passes_and_the_note_says_that_nothing_was_looked_at(tmp_path: Path) -> None:
    outcomes = run(tmp_path, {}, [], llm_check=False)
    assert [outcome.reason for outcome in outcomes] == [None, None]
    assert outcomes[0].conversation.notes["filter"] == {"word_list": None, "llm": False}


def test_another_list_is_another_identity(tmp_path: Path) -> None:
    path = tmp_path / "sw.txt"
    seen = []
    for text in ("vita\n", "vita\nbomu\n"):
        path.write_text(text)
        seen.append(Filter(FilterSettings({"sw": path}), ["sw"], recorded(tmp_path, [])).identity)
    assert seen[0] != seen[1]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"word_lists": {"sw": "nowhere.txt"}}, "nowhere.txt cannot be read"),
        ({"word_lists": {"fr": "x.txt"}}, "fr is not among languages"),
        ({"wordlists": {}}, "wordlists is no setting of filter"),
        ({"chunk": 32}, "filter.chunk is no setting any more"),
    ],
)
def test_a_mistake_in_the_yaml_is_refused(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    build = BuildSettings("n", tmp_path, None, ("sw", "ko"), filter=section)  # type: ignore[arg-type]
    with pytest.raises(UserError) as raised:
        make_step("filter", build, recorded(tmp_path, []))
    assert words in str(raised.value)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sw.txt").write_text("# nothing yet\n")
    with pytest.raises(UserError, match="holds no words"):
        read_words(tmp_path / "sw.txt")
