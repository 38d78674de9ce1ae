"""What the audit's page shows of a row of its sheet: each turn with what it adds, in plain words, beside its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from turnswap.tasks.multiif.dataset import TURNS

from .equivalent import questions_words
from .instructions.making import listed, text_kwargs
from .plain_words import PlainWords, called
from .records import DraftConversation, Turn
from .vocabulary import direction_of


def checks_of(conversation: DraftConversation, plain: PlainWords) -> list[str]:
    """By turn what it adds to what a reply must be, in plain words: an instruction a line."""
    made, before = [], 0
    for turn in conversation.turns:
        new = (plain.statement(id_, kwargs) for id_, kwargs in turn.instructions[before:])
        made.append("\n".join(" ".join(statement.split()) for statement in new))
        before = len(turn.instructions)
    return made


def shown(row: Mapping[str, str], plain: PlainWords) -> dict[str, Any]:
    """The turns of a row, and how its texts run.

    Returns:
        ``turns``, each with its ``number``, its ``texts`` (source and translation, each with the statements of
        ``checks``) and the ``words`` that a reviewer may edit: what stands for each in the source, what it is called,
        and its ``path`` in the kwargs. ``langs`` has name, code and direction of the two languages.
    """
    codes = {"source": row["source_language"], "translation": row["language"]}
    ids = row["instructions"].split(", ")
    kwargs = {name: json.loads(row[column] or "null") for name, column in _KWARGS.items()}
    asked = _asked(row, ids, kwargs)
    turns, done = [], 0
    for number in TURNS:
        if not row[f"translation_{number}"]:
            continue
        new = range(done, done + len(row[f"checks_{number}"].splitlines()))
        done = new.stop
        texts = {
            name: {
                "text": row[f"{name}_{number}"],
                "checks": [_isolated(plain, codes[name]).statement(ids[at], kwargs[name][at]) for at in new],
            }
            for name in codes
            if kwargs[name]
        }
        words = [word for at in new if asked[at] for word in _words(at, ids[at], kwargs)]
        turns.append({"number": number, "texts": texts, "words": words, "back": row[f"back_translation_{number}"]})
    langs = {name: {"name": called(code), "code": code, "dir": direction_of(code)} for name, code in codes.items()}
    return {"turns": turns, "langs": langs}


_KWARGS = {"source": "source_kwargs", "translation": "kwargs"}


def _isolated(plain: PlainWords, code: str) -> PlainWords:
    """The same, each quoted word by itself where it may run from right to left: a list would be turned round."""
    if direction_of(code) == "ltr":
        return plain
    return replace(plain, sayings={**plain.sayings, "quoted": plain.sayings["quoted"].format("\u2068{}\u2069")})


def _asked(row: Mapping[str, str], ids: list[str], kwargs: Mapping[str, Any]) -> list[bool]:
    """By instruction, whether its words are edited by themselves: not where they are lines of a prompt."""
    name = "source" if kwargs["source"] else "translation"
    prompts = (row[f"{name}_{number}"] for number in TURNS if row[f"translation_{number}"])
    return list(
        map(bool, questions_words([Turn(prompt, tuple(ids), tuple(kwargs[name][: len(ids)])) for prompt in prompts]))
    )


def _words(at: int, id_: str, kwargs: Mapping[str, Any]) -> list[dict[str, Any]]:
    before, here = (kwargs["source"] or kwargs["translation"])[at], kwargs["translation"][at]
    return [
        {"for": of, "path": json.dumps([at, name, *([place] if isinstance(here[name], list) else [])])}
        for name in text_kwargs(id_, here)
        for place, of in enumerate(listed(before[name]))
    ]
