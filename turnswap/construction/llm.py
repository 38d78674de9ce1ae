"""The LLM that words, translates and checks: any model of lm-eval, on the schedule that runs evaluations.

Every question is a task in words and a JSON object of inputs; every answer is a JSON object. A question that was
answered once is never asked again: answers are in lm-eval's own cache, one per step, each written as it comes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM
from lm_eval.api.registry import get_model, register_model
from pydantic import AfterValidator, BeforeValidator

from turnswap.core.errors import UserError
from turnswap.core.files import set_aside
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiturn.identity import NO_OTHER_MODEL, fingerprint

from .asking import MARK, Asking, Interview, Item, Question, T, UnderWay
from .records import digest, json_text

RECORDED = "turnswap-recorded"
HELP = ("sentence", "wording", "may_translate")  # in the input of a question: what an answer may use
_MOST_TOKENS = 1024  # of an answer, where gen_kwargs do not say


def read_prompt(prompt: str) -> dict[str, Any]:
    """The input of a question from its prompt: for models that answer from a recording."""
    return json.loads(prompt.rpartition(f"{MARK}\n")[2])  # type: ignore[no-any-return]


def _without_help(asked: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in asked.items() if name not in HELP})


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


def _usable(given: Mapping[str, Any]) -> Mapping[str, Any]:
    if given.get("temperature") not in (None, 0):
        raise ValueError("temperature must be 0: with sampling, a second run would give other answers")
    tokens = given.get("max_gen_toks", _MOST_TOKENS)
    if type(tokens) is not int or tokens < 1:
        raise ValueError("max_gen_toks must be a whole number, 1 or more")
    return given


def _allowance(given: object) -> object:
    number = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    if not number and not (isinstance(given, float) and 0 <= given <= 1):
        raise ValueError("expected a share from 0 to 1 or a whole number")
    return given


@dataclass(frozen=True)
class LLMSettings:
    """The sections ``llm`` and ``judge`` of the YAML: as in ``lm_eval run``.

    Attributes:
        model: a name of lm-eval's, such as ``local-chat-completions``.
        model_args: what the model takes.
        gen_kwargs: settings to generate with. Greedy: ``do_sample`` and a ``temperature`` above 0 are refused, as a
            second run would be another one.
        batch_size: conversations per batch of models that run in process.
        max_failed: requests of a step that may fail for good, as a number or as a share of its conversations (of which
            one may always fail, if the share is not 0); one more stops the run.
    """

    model: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    gen_kwargs: Annotated[Mapping[str, Any], AfterValidator(_usable)] = field(default_factory=dict)
    batch_size: int | str | None = None
    max_failed: Annotated[int | float, BeforeValidator(_allowance)] = 0.05

    @property
    def named(self) -> str:
        """What the model goes by, wherever it runs: its weights, the server's name for it, or its recording."""
        given = self.model_args
        return str(given.get("pretrained") or given.get("model") or given.get("path") or self.model)

    def may_fail(self, number: int) -> int:
        """How many of so many askings may fail."""
        if isinstance(self.max_failed, int):
            return self.max_failed
        return max(int(self.max_failed * number), int(self.max_failed > 0))


class _Model:
    """The model of the settings, loaded when it is first needed, and once for all steps."""

    def __init__(self, settings: LLMSettings, section: str) -> None:
        self.settings, self.section = settings, section

    @cached_property
    def lm(self) -> LM:
        try:
            size = {"batch_size": self.settings.batch_size}
            return get_model(self.settings.model).create_from_arg_obj(dict(self.settings.model_args), size)
        except UserError:
            raise
        except Exception as error:  # each model of lm-eval's has its own ways to fail
            raise UserError(
                f"{self.section}: {self.settings.model} could not be loaded ({type(error).__name__}: {error}).",
                "Check model and model_args: they are those of lm_eval run.",
            ) from error


class LLM:
    """Asks a model of lm-eval's, loaded when the first question is asked; answers are kept in the folder ``cache``.

    ``section`` of the YAML is where its settings stand: what messages call it.
    """

    def __init__(self, settings: LLMSettings, cache: Path, step: str = "llm", section: str = "llm") -> None:
        self.settings, self.cache, self.step, self.section = settings, cache, step, section
        self._model = _Model(settings, section)
        self.gen_kwargs = {"do_sample": False, "max_gen_toks": _MOST_TOKENS, **settings.gen_kwargs}
        if self.gen_kwargs["do_sample"]:
            raise UserError(
                f"{section}: gen_kwargs asks for samples, which lm-eval does not cache: a second run would give "
                "other answers.",
                "Remove do_sample.",
            )

    def of(self, step: str) -> LLM:
        """The same model with the cache of a step."""
        other = copy.copy(self)
        other.step = step
        return other

    @property
    def identity(self) -> Any:
        """What answers depend on beside the question: the model and its settings, not where or how fast it runs.

        A recording or a folder of weights is its content, not its name alone. An address counts only where no model is
        named.
        """
        given = self.settings.model_args
        facts = {name: value for name, value in given.items() if name not in NO_OTHER_MODEL}
        if given.get("model") or given.get("pretrained"):
            facts.pop("base_url", None)
        path = Path(str(given.get("path", "")))
        if self.settings.model == "turnswap-recorded" and path.is_file():
            facts["path"] = hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("pretrained", "model", "peft", "delta"):
            if isinstance(folder := given.get(name), str) and Path(folder).is_dir():
                facts[f"weights of {name}"] = fingerprint(Path(folder))
        return [self.settings.model, facts, dict(self.settings.gen_kwargs)]

    @property
    def file(self) -> Path:
        """Of the answers to the step's questions."""
        return self.cache / f"{self.step}-{digest(self.identity)}.db"

    def set_aside(self) -> None:
        """Keep the answers so far beside (see :func:`.files.set_aside`): every question of the step is asked anew."""
        set_aside(self.file)

    def run(self, groups: Sequence[Sequence[Asking[T]]]) -> list[list[T]]:
        """Bring askings to their ends, all at once: each goes on as soon as its own answer is in.

        Args:
            groups: the askings, such as a conversation's.

        Returns:
            What they return, in the same order.

        Raises:
            UserError: the model cannot be loaded, or too many requests failed for good. Answers that came are cached.
        """
        under_way = [[UnderWay(asking) for asking in group] for group in groups]
        askings = [each for group in under_way for each in group]
        if any(each.question for each in askings):
            self._interview(len(askings)).run(askings)
        return [[each.result for each in group] for group in under_way]

    def lookup(self) -> Callable[[Question], str | None]:
        """Finds the answer to a question in the cache of the step, if it is there; without one no model is loaded."""
        return self._interview(0).cached if self.file.exists() else lambda _: None

    def _interview(self, number: int) -> Interview:
        allowed = self.settings.may_fail(number)
        limit = f"{self.section} (now {self.settings.max_failed}, so {allowed} of {number})"
        named = self.step if self.section == "llm" else f"{self.step}, {self.section}"
        return Interview(self._caching, self.gen_kwargs, named, allowed, limit)

    @property
    def _caching(self) -> CachingLM:
        self.cache.mkdir(parents=True, exist_ok=True)
        return CachingLM(self._model.lm, str(self.file))


@register_model(RECORDED)
class RecordedLM(LM):
    """Answers from the recording at ``path``: deterministic, for examples and tests.

    The recording is JSONL, one object per line: ``input``, the JSON object of a question, and ``answer``, a JSON object
    (or a string, given as it is). How a question is worded does not matter, nor what it offers as a help with the
    answer (``HELP``), so that recordings outlive better wordings.
    A question that it does not hold is a UserError.
    """

    def __init__(self, path: str, **_: Any) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"There is no recording {path}.", "Name one: model_args: {path: recording.jsonl}.")
        self.answers = {_without_help(line["input"]): line["answer"] for line in read_jsonl(self.path)}

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
            answer = self.answers.get(_without_help(asked))
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
