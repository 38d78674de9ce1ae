"""Writes seeds.jsonl and recording.jsonl, here and in build_de_ja: python configs/build_sw_ko/make.py

Of this folder from conversations.yaml; of build_de_ja from the same seeds and its own translations.yaml.

The seeds are the English conversations, a few of them without the third turn, which the step ``extend`` adds. The
recording is what an LLM would answer to the questions of the steps: the wording of those turns, translations and
back-translations as they stand in conversations.yaml, and that nothing conflicts or is sensitive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from turnswap.construction.equivalent import distinct_spans, equivalent, questions_words
from turnswap.construction.extend import word_request
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.statements import sentences
from turnswap.core.journal import as_line

HERE = Path(__file__).parent
GERMAN_JAPANESE = HERE.parent / "build_de_ja"
LANGUAGES = ("sw", "ko", "de", "ja")
SEED = 124  # of the step extend


def read_texts(folder: Path = HERE) -> list[dict[str, Any]]:
    """The entries of conversations.yaml; for another folder, with its translations in place of those."""
    entries: list[dict[str, Any]] = yaml.safe_load((HERE / "conversations.yaml").read_text("utf-8"))
    if folder == HERE:
        return entries
    others = yaml.safe_load((folder / "translations.yaml").read_text("utf-8"))
    return [{"key": each["key"], "en": each["en"], **others[each["key"]]} for each in entries if each["key"] in others]


def seed(entry: Mapping[str, Any]) -> DraftConversation:
    """The English conversation: the instructions of each turn are those of the turn before and its own."""
    turns, sofar = [], []
    for prompt, added in zip(entry["en"]["prompts"], entry["en"]["instructions"], strict=True):
        sofar += added
        kwargs = [{name: value for name, value in each.items() if name != "id"} for each in sofar]
        turns.append({"prompt": prompt, "instruction_ids": [each["id"] for each in sofar], "kwargs": kwargs})
    return DraftConversation.from_json({"key": entry["key"], "language": "en", "turns": turns})


def given(entry: Mapping[str, Any]) -> DraftConversation:
    """What stands in seeds.jsonl: without the third turn where it is said to be drawn."""
    whole = seed(entry)
    return replace(whole, turns=whole.turns[:2]) if entry["en"].get("third_turn") == "drawn" else whole


def words_in(entry: Mapping[str, Any], language: str, turns: tuple[Turn, ...]) -> list[list[str]]:
    """The kwargs' words in a language, as the step ``translate`` asks for them."""
    words = entry[language].get("words", {})
    return [[words[word] for word in each] for each in questions_words(turns)]


def translated(entry: Mapping[str, Any], language: str) -> tuple[Turn, ...]:
    """The turns in a language."""
    turns = seed(entry).turns
    return equivalent(turns, entry[language]["prompts"], words_in(entry, language, turns))


def answers(entry: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Questions about a conversation with their answers."""
    turns = seed(entry).turns
    prompts = [turn.prompt for turn in turns]
    whole = seed(entry)
    for turn, added in enumerate(turns[len(given(entry).turns) :], len(given(entry).turns)):
        asked = word_request(SEED, replace(whole, turns=turns[:turn]), *added.instructions[-1])
        yield ({"task": asked.task, **asked.payload}, {"request": added.prompt})
    instructions = [
        {"id": id_, "kwargs": dict(kwargs)}
        for id_, kwargs in zip(turns[-1].instruction_ids, turns[-1].kwargs, strict=True)
    ]
    yield ({"task": "find_conflict", "turns": prompts, "instructions": instructions}, {"conflict": False, "reason": ""})
    protected = distinct_spans(prompts)
    for language in LANGUAGES:
        if language not in entry:
            continue
        made = [turn.prompt for turn in translated(entry, language)]
        wording = [said for each in turns[-1].instructions for said in sentences(*each, language, blanks=True)]
        yield (
            {
                "task": "translate",
                "from": "en",
                "to": language,
                "turns": prompts,
                "kwargs": questions_words(turns),
                "protected": protected,
                "wording": wording,
            },
            {"turns": made, "kwargs": words_in(entry, language, turns)},
        )
        yield (
            {"task": "translate", "from": language, "to": "en", "turns": made, "kwargs": [], "protected": protected},
            {"turns": entry[language]["back"], "kwargs": []},
        )
        yield ({"task": "find_sensitive", "language": language, "turns": made}, {"sensitive": False, "reason": ""})


def files(folder: Path = HERE) -> dict[str, str]:
    """What to write into a folder, by name."""
    entries = read_texts(folder)
    return {
        "seeds.jsonl": "".join(as_line(given(entry).as_json()) for entry in entries),
        "recording.jsonl": "".join(
            as_line({"input": asked, "answer": answer}) for entry in entries for asked, answer in answers(entry)
        ),
    }


if __name__ == "__main__":
    for place in (HERE, GERMAN_JAPANESE):
        for name, content in files(place).items():
            (place / name).write_text(content, "utf-8")
