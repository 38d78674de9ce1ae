"""Questions to the LLM and its answers: a task in words and a JSON object of inputs; a JSON object back."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

MARK = "INPUT:"
_WORDINGS: dict[str, str] = tomllib.loads((files(__package__) / "questions.toml").read_text("utf-8"))


@dataclass(frozen=True)
class Question:
    """Something to ask.

    Attributes:
        task: a short name of what is asked, such as ``translate``; part of the input.
        wording: what to do and what JSON object to answer with, in words.
        payload: the input, JSON values only.
        name: what messages to the user call it.
    """

    task: str
    wording: str
    payload: Mapping[str, Any]
    name: str = ""

    def prompt(self) -> str:
        """The user message: wording, then the input as JSON."""
        content = json.dumps({"task": self.task, **self.payload}, ensure_ascii=False, indent=1)
        return f"{self.wording}\nAnswer with one JSON object and nothing else.\n\n{MARK}\n{content}"


def question_of(task: str, payload: Mapping[str, Any], name: str) -> Question:
    """A question of ours, worded as ``questions.toml`` has it."""
    return Question(task, _WORDINGS[task], payload, name)


def read_prompt(prompt: str) -> dict[str, Any]:
    """The input of a question from its prompt: for models that answer from a recording."""
    return json.loads(prompt.rpartition(f"{MARK}\n")[2])  # type: ignore[no-any-return]


def read_answer(answer: str, **kinds: type) -> dict[str, Any]:
    """The JSON object of an answer, which must hold each name with a value of its kind.

    A code fence or words around the object are put up with.

    Raises:
        ValueError: in words fit for a reason of rejection.
    """
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", answer):
        try:
            content, _ = decoder.raw_decode(answer, match.start())
        except ValueError:
            continue
        for name, kind in kinds.items():
            if not isinstance(content.get(name), kind):
                raise ValueError(f"the LLM's answer has no {name} ({kind.__name__}): {_short(answer)}")
        return content  # type: ignore[no-any-return]
    raise ValueError(f"the LLM's answer is no JSON object: {_short(answer)}")


def _short(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 80 else words[:77] + "...")
