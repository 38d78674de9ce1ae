"""The LLM that words, translates and checks: any model of lm-eval, run by the runner that runs evaluations.

Every question is a task in words and a JSON object of inputs; every answer is a JSON object. A question that was
answered once is never asked again: answers are in lm-eval's own cache, each written as it comes.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM
from lm_eval.api.registry import get_model, register_model

from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiturn import runner
from turnswap.tasks.multiturn.conversation import Script

from .records import digest, json_text

MARK = "INPUT:"
_WORDINGS: dict[str, str] = tomllib.loads((files(__package__) / "questions.toml").read_text("utf-8"))
T = TypeVar("T")
Item = TypeVar("Item", bound=Any)  # a dataclass with a ``reason``


@dataclass(frozen=True)
class Question:
    """Something to ask.

    Attributes:
        task: a short name of what is asked, such as ``translate``; part of the input.
        payload: the input, JSON values only.
        name: what messages to the user call it.
        wording: what to do and what JSON object to answer with, in words; by default the task's of ``questions.toml``.
    """

    task: str
    payload: Mapping[str, Any]
    name: str = ""
    wording: str = ""

    def prompt(self) -> str:
        """The user message: wording, then the input as JSON."""
        content = json.dumps({"task": self.task, **self.payload}, ensure_ascii=False, indent=1)
        wording = self.wording or _WORDINGS[self.task]
        return f"{wording}\nAnswer with one JSON object and nothing else.\n\n{MARK}\n{content}"


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


def read_finding(name: str, told: str, item: Item, answer: str) -> Item:
    """The item, rejected for the LLM's ``reason`` if what ``name`` says holds of it; ``told`` opens the reason."""
    content = read_answer(answer, **{name: bool}, reason=str)
    return replace(item, reason=f"{told}: {content['reason']}" if content[name] else None)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 80 else words[:77] + "...")


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
    """Asks a model of lm-eval's, loaded when the first question is asked; answers are kept in the folder ``cache``."""

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
        try:
            size = {"batch_size": self.settings.batch_size}
            made = get_model(self.settings.model).create_from_arg_obj(dict(self.settings.model_args), size)
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
                script=Script((question.prompt(),), name=question.name or question.task),
            )
            for number, question in enumerate(questions)
        ]
        runner.generate_until_multi_turn(self._lm, instances)
        return [str(instance.replies[0]) for instance in instances]

    def ask_checked(self, asked: Mapping[int, tuple[Question, Callable[[str], T]]]) -> dict[int, T | ValueError]:
        """What the checks make of the answers, by the numbers given; the last ValueError where two were no good.

        A question whose answer fails its check is repeated once, with the reason as ``problem`` in its payload.

        Raises:
            UserError: see :meth:`ask`.
        """
        answers = self.ask([question for question, _ in asked.values()])
        made = {n: _made_of(answer, asked[n][1]) for n, answer in zip(asked, answers, strict=True)}
        failed = {n: str(problem) for n, problem in made.items() if isinstance(problem, ValueError)}
        again = [replace(asked[n][0], payload={**asked[n][0].payload, "problem": failed[n]}) for n in failed]
        for n, answer in zip(failed, self.ask(again), strict=True):
            made[n] = _made_of(answer, asked[n][1])
        return made

    def ask_open(
        self, items: Sequence[Item], question: Callable[[Item], Question], read: Callable[[Item, str], Item]
    ) -> list[Item]:
        """The items in order, those without a reason of rejection after a question each; see :meth:`ask_checked`.

        Items are dataclasses with a ``reason``, such as outcomes; ``read`` tells what an answer makes of one, and its
        ValueError becomes the reason.
        """
        asked = {n: (question(item), partial(read, item)) for n, item in enumerate(items) if item.reason is None}
        done = list(items)
        for n, made in self.ask_checked(asked).items():
            done[n] = replace(items[n], reason=str(made)) if isinstance(made, ValueError) else made
        return done


def _made_of(answer: str, check: Callable[[str], T]) -> T | ValueError:
    try:
        return check(answer)
    except ValueError as error:
        return error


@register_model("turnswap-recorded")
class RecordedLM(LM):
    """Answers from the recording at ``path``: deterministic, for examples and tests.

    The recording is JSONL, one object per line: ``input``, the JSON object of a question, and ``answer``, a JSON object
    (or a string, given as it is). How a question is worded does not matter, so that recordings outlive better wordings.
    A question that it does not hold is a UserError.
    """

    def __init__(self, path: str, **_: Any) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"There is no recording {path}.", "Name one: model_args: {path: recording.jsonl}.")
        self.answers = {digest(line["input"]): line["answer"] for line in read_jsonl(self.path)}

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache: no tokenizer, but a template of its own."""
        return "turnswap-recorded"

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Messages as they are."""
        return "last user message"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The last message alone."""
        return chat_history[-1]["content"]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """The recorded answers."""
        answers = []
        for request in requests:
            asked = read_prompt(request.args[0])
            answer = self.answers.get(digest(asked))
            if answer is None:
                raise UserError(
                    f"{self.path} holds no answer to: {json_text(asked)[:2000]}",
                    "Record it, or use a model that can answer.",
                )
            answers.append(answer if isinstance(answer, str) else json_text(answer))
            self.cache_hook.add_partial("generate_until", request.args, answers[-1])
        return answers

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Any]:
        """Not for a recording."""
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood
