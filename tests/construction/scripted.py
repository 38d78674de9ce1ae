"""An LLM that answers by a function of the question's input, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from turnswap.construction.asking import NO_ANSWER, NoAnswer, Question, UnderWay
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.core.journal import as_line


class Scripted(LLM):
    """Answers with what the function makes of the payload: JSON, or None for a request that fails."""

    def __init__(self, answer: Callable[[Question], Mapping[str, Any] | str | None]) -> None:
        super().__init__(LLMSettings("none"), Path("none"))
        self.answer, self.asked = answer, list[Question]()

    def run(self, groups: Any) -> Any:
        return [[self._end(UnderWay(asking)) for asking in group] for group in groups]

    def _end(self, asking: UnderWay[Any]) -> Any:
        while question := asking.question:
            self.asked.append(question)
            given = self.answer(question)
            text = given if isinstance(given, str) else as_line(given)
            asking.give(NoAnswer(NO_ANSWER) if given is None else text)
        return asking.result
