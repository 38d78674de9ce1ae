"""Who was measured, on what, how, and each conversation: what :mod:`.reading` finds in lm-eval's result files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from turnswap.core.errors import UserError
from turnswap.tasks.multiif import metrics
from turnswap.tasks.multiif.dataset import LANGUAGES, source_prompt
from turnswap.tasks.multiif.kept import require_well_formed
from turnswap.tasks.multiturn.lm_eval_contract import WithStandardError

from .folders import whole_lines
from .signature import content_of_all


@dataclass(frozen=True)
class LoggedTurn:
    """One turn: the user's prompt, its instructions, and the model's reply in each repeat (reasoning set aside).

    ``graded_by`` names the rule of each instruction where the data do: ``published`` or ``corrected``.
    """

    prompt: str
    instruction_ids: Sequence[str]
    kwargs: Sequence[Mapping[str, Any]]
    replies: Sequence[str]
    graded_by: Sequence[str] = ()

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked and is graded, as the data holds it."""
        asked = {"prompt": self.prompt, "instruction_ids": self.instruction_ids, "kwargs": self.kwargs}
        return asked | ({"graded_by": self.graded_by} if self.graded_by else {})


@dataclass(frozen=True)
class LoggedConversation:
    """One conversation: its key, its turns, and the value of each metric as lm-eval logged it.

    Turns that no reply came for, because a request failed for good, are not among ``turns``. ``source`` is its source
    prompt, which variants and translations share: the unit of inference.
    """

    key: str
    turns: Sequence[LoggedTurn]
    values: Mapping[str, Any]
    where: str = ""
    source: str = ""

    @property
    def repeats(self) -> int:
        """How many replies there are to each turn."""
        return int(self.values.get("repeats", 1))

    def differs(self, other: LoggedConversation) -> bool:
        """Whether the other one asks something else, in the turns that both have."""
        return any(one.asked != two.asked for one, two in zip(self.turns, other.turns, strict=False))

    @property
    def failed(self) -> bool:
        """Whether a request of it failed for good."""
        return any(self.values.get(f"turn{turn}_failed") for turn in metrics.TURNS)


@dataclass(frozen=True)
class LanguageRun:
    """One model's results in one language: ``n`` conversations were run, of ``of`` in the data.

    Attributes:
        model: the name it goes by in what we show.
        facts: what identifies the run, see :mod:`.signature`; ``identity`` what is told of the model itself.
        reported: metric -> lm-eval's value and standard error; empty where parts were put together.
        conversations: sorted by key; None without samples.
        when: when the evaluation started, in Unix seconds.
        content: the hash of what its data holds in the language; None of earlier versions.
        rules: the corrected rules by which the verdicts in the samples were made; None where they hold none, or are not
            to be trusted: then all replies are graded again.
    """

    model: str
    language: str
    task: str
    facts: Mapping[str, str]
    identity: Mapping[str, Any]
    files: tuple[Path, ...]
    n: int
    of: int
    reported: Mapping[str, tuple[float, float | None]]
    conversations: Sequence[LoggedConversation] | None
    when: float
    content: str | None = None
    is_benchmark: bool = False
    rules: str | None = None

    @cached_property
    def failures(self) -> int:
        """How many of its conversations failed for good, in a request."""
        return sum(conversation.failed for conversation in self.conversations or ())


@dataclass(frozen=True)
class Model:
    """One model's results in all its languages, in the benchmark's order of languages."""

    name: str
    languages: Mapping[str, LanguageRun]

    @property
    def facts(self) -> Mapping[str, str]:
        """What identifies its runs: the same in every language, but for the content, which is of all of them."""
        runs = self.languages.values()
        contents = content_of_all(run.facts.get("content", "unknown") for run in runs)
        facts = {**next(iter(runs)).facts, "content": contents}
        graded_by = [run.facts["graded_by"] for run in runs if "graded_by" in run.facts]
        return facts | ({"graded_by": graded_by[0]} if graded_by else {})

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the results tell of the model itself."""
        return next(iter(self.languages.values())).identity

    @property
    def conversations(self) -> Iterator[tuple[str, LoggedConversation]]:
        """Each that there are samples of, with the code of its language."""
        return ((code, c) for code, run in self.languages.items() for c in run.conversations or ())

    @property
    def failures(self) -> int:
        """How many of its conversations failed for good, in a request."""
        return sum(run.failures for run in self.languages.values())

    @property
    def repeats(self) -> int:
        """How many replies there are to each turn, all of them pooled in the figures."""
        run = next(iter(self.languages.values()))
        return run.conversations[0].repeats if run.conversations else int(run.reported.get("repeats", (1, None))[0])

    @property
    def in_all_languages(self) -> bool:
        """Whether there are results in each of the benchmark's languages, and in no other."""
        return set(self.languages) == set(LANGUAGES)

    @property
    def is_benchmark(self) -> bool:
        """Whether the data was the published Multi-IF, in every language that was run."""
        return all(run.is_benchmark for run in self.languages.values())

    @property
    def when(self) -> float:
        """When its last evaluation started, in Unix seconds."""
        return max(run.when for run in self.languages.values())

    @property
    def has_samples(self) -> bool:
        """Whether every language's conversations are at hand."""
        return all(run.conversations is not None for run in self.languages.values())


def in_order(codes: Iterable[str]) -> list[str]:
    """Codes of languages, the benchmark's eight first and in its order."""
    found = set(codes)
    return [code for code in LANGUAGES if code in found] + sorted(found - set(LANGUAGES))


def read_samples(
    path: Path, filter_name: str, allow_partial: bool, warnings: list[str]
) -> tuple[list[LoggedConversation], bool]:
    """The conversations of one samples file, sorted by key, and whether the file was whole.

    Args:
        path: the JSON lines that lm-eval wrote.
        filter_name: whose lines to take: lm-eval writes each conversation once per filter.
        allow_partial: go on with the whole lines where one is broken, and say so in ``warnings``.
        warnings: what a reader of the figures must know.

    Raises:
        UserError: a line is broken or lacks what we read, or a conversation occurs twice.
    """
    conversations: dict[str, LoggedConversation] = {}
    broken: list[int] = []
    with closing(whole_lines(path)) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                sample = json.loads(line.decode("utf-8"))
            except ValueError as error:  # no UTF-8, or no JSON
                if not allow_partial:
                    raise UserError(
                        f"{where} is broken JSON ({error}).",
                        "A run that was stopped while it wrote leaves such a line. Run it again (with --use_cache it "
                        "asks only for what is missing), or use the whole lines with --allow-partial.",
                    ) from None
                broken.append(number)
                continue
            try:
                if sample["filter"] != filter_name:
                    continue
                conversation = _conversation(sample, where)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise UserError(
                    f"{where} is no sample of Multi-IF: {type(error).__name__}: {error}.",
                    "Expected what lm_eval writes with --log_samples for a task such as multiif_en.",
                ) from None
            if conversation.key in conversations:
                raise UserError(
                    f"{where}: conversation {conversation.key} occurs a second time.",
                    "The file was changed, or two were put together; run the evaluation again.",
                )
            conversations[conversation.key] = conversation
    if broken:
        warnings.append(
            f"{path.name}: line {', '.join(map(str, broken))} is broken; figures are from the "
            f"{len(conversations)} whole ones."
        )
    if not conversations:
        raise UserError(f"{path} has no whole line.", "Run the evaluation again.")
    if len({conversation.repeats for conversation in conversations.values()}) > 1:
        raise UserError(f"{path}: not every conversation has as many repeats.", "Run the evaluation again.")
    return [conversations[key] for key in sorted(conversations)], not broken


def _conversation(sample: Mapping[str, Any], where: str) -> LoggedConversation:
    doc = sample["doc"]
    if not isinstance(doc["key"], str):
        raise TypeError(f"key {doc['key']!r}")
    values = {name: sample[name] for name in sample["metrics"]}
    repeats = values.get("repeats", 1)
    for name, (fits, wanted) in _kinds(repeats > 1).items():
        # Of others that are missing nothing is known, in samples of an earlier version.
        if (wanted or name in values) and not fits(values[name]):
            raise TypeError(f"{name} is {values[name]!r}")
    turns = []
    for number, (turn, answer) in enumerate(zip(doc["turns"], sample["filtered_resps"], strict=True), 1):
        replies = [str(text) for text in (answer if isinstance(answer, list) else [answer])]
        # Absent replies (lm-eval writes them as the text "None") count in no denominator.
        if values[f"turn{number}_prompt_strict_acc"][1] != len(replies):
            break
        asked = (turn["prompt"], turn["instruction_ids"], turn["kwargs"])
        turns.append(LoggedTurn(*asked, replies, turn.get("graded_by", ())))
    if metrics.VERDICTS in values:
        require_well_formed(values[metrics.VERDICTS], repeats, [len(turn.instruction_ids) for turn in turns])
    # Samples of earlier versions do not tell the source prompt: it is in the key.
    return LoggedConversation(doc["key"], turns, values, where, doc.get("source") or source_prompt(doc["key"]))


@cache
def _kinds(repeated: bool) -> dict[str, tuple[Callable[[Any], bool], bool]]:
    """Of each metric, what its values must fulfil, and whether every sample has it."""
    kinds = metrics.aggregations(repeats=1 + repeated, priced=True)
    return {
        name: (_fits(figure), name in metrics.ratios() or figure is metrics.spread) for name, figure in kinds.items()
    }


def _fits(figure: Any) -> Callable[[Any], bool]:
    """Whether a value is of the kind that lm-eval makes the figure from: pairs of counts; or a number, or None."""
    if figure in (metrics.count, metrics.total, max):
        number = (int, float) if figure is metrics.total else int
        return lambda value: value is None or isinstance(value, number)
    if figure is metrics.verdicts_made:
        return lambda value: isinstance(value, list)
    if figure is metrics.spread:
        return lambda value: (pairs := np.asarray(value)).shape[1:][-1:] == (2,) and pairs.dtype.kind == "i"
    if figure == WithStandardError(metrics.ratio):
        return _is_pair
    return lambda value: isinstance(value, list) and len(value) == len(metrics.ACCURACIES) and all(map(_is_pair, value))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) is type(value[1]) is int
