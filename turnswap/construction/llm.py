"""The LLM that words, translates and checks: any model of lm-eval, run by the runner that runs evaluations.

Every question is a task in words and a JSON object of inputs; every answer is a JSON object. A question that was
answered once is never asked again: answers are in lm-eval's own cache, each written as it comes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM, CachingLM
from lm_eval.api.registry import get_model

from turnswap.core.errors import UserError
from turnswap.tasks.multiturn import runner
from turnswap.tasks.multiturn.conversation import Script
from turnswap.tasks.multiturn.conversation import Settings as RunSettings

from .records import digest

MARK = "INPUT:"


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


def read_prompt(prompt: str) -> dict[str, Any]:
    """The input of a question from its prompt: for models that answer from a recording."""
    content: dict[str, Any] = json.loads(prompt.rpartition(f"{MARK}\n")[2])
    return content


@dataclass(frozen=True)
class LLMSettings:
    """The section ``llm`` of the YAML: as in ``lm_eval run``.

    Attributes:
        model: a name of lm-eval's, such as ``local-chat-completions``.
        model_args: what the model takes.
        gen_kwargs: settings to generate with. Greedy by default: sampled answers are not cached by lm-eval.
        batch_size: conversations per batch of models that run in process.
    """

    model: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | str | None = None


class LLM:
    """Asks a model of lm-eval's; it is loaded when the first question is asked.

    Args:
        settings: see :class:`LLMSettings`.
        cache: a folder for answers.
    """

    def __init__(self, settings: LLMSettings, cache: Path) -> None:
        self.settings, self.cache = settings, cache
        if settings.gen_kwargs.get("do_sample"):
            raise UserError(
                "llm: gen_kwargs asks for samples, which lm-eval does not cache: a second run would be another one.",
                "Remove do_sample.",
            )

    @property
    def identity(self) -> Any:
        """What answers depend on beside the question. A recording is its content, not its name."""
        facts: list[Any] = [self.settings.model, dict(self.settings.model_args), dict(self.settings.gen_kwargs)]
        recording = Path(str(self.settings.model_args.get("path", "")))
        if self.settings.model == "turnswap-recorded" and recording.is_file():
            facts.append(hashlib.sha256(recording.read_bytes()).hexdigest())
        return facts

    @cached_property
    def _lm(self) -> LM | CachingLM:
        from . import recorded  # noqa: F401 - registers itself; it needs this module

        try:
            made = get_model(self.settings.model).create_from_arg_obj(
                dict(self.settings.model_args),
                {"batch_size": self.settings.batch_size} if self.settings.batch_size is not None else {},
            )
        except UserError:
            raise
        except Exception as error:  # each model of lm-eval's has its own ways to fail
            raise UserError(
                f"llm: {self.settings.model} could not be loaded ({type(error).__name__}: {error}).",
                "Check model and model_args: they are those of lm_eval run.",
            ) from error
        self.cache.mkdir(parents=True, exist_ok=True)
        return CachingLM(made, str(self.cache / f"{digest(self.identity)}.db"))

    def ask(self, questions: Sequence[Question]) -> list[str]:
        """The answers as they came, reasoning set aside, in the order of the questions. Empty where none came.

        Raises:
            UserError: the model cannot be loaded, or requests failed for good. Answers that came are cached.
        """
        if not questions:
            return []
        # What ends an answer is left to the model: stop strings are the user's to name, where a server wants some.
        gen_kwargs = {"do_sample": False, "max_gen_toks": 1024, **self.settings.gen_kwargs}
        instances = [
            runner.TurnInstance(
                request_type=runner.REQUEST_TYPE,
                doc={},
                arguments=(question.prompt(), dict(gen_kwargs)),
                idx=0,
                metadata=("construction", number, 1),
                script=Script((question.prompt(),), settings=RunSettings(), name=question.name or question.task),
            )
            for number, question in enumerate(questions)
        ]
        runner.generate_until_multi_turn(self._lm, instances)
        return [str(instance.replies[0]) for instance in instances]


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
