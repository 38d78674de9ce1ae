"""Every instruction's verdict, from the replies in the samples.

lm-eval's samples hold how many instructions each reply followed, not which. Grading is deterministic, so the
replies are graded again, and what comes out must add up to what the samples say.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, starmap
from typing import Any, NamedTuple

import pandas as pd

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.tasks.multiif import corrected
from turnswap.tasks.multiif.grading import Verdict, grade_reply
from turnswap.tasks.multiif.instructions import MalformedInstruction, parse_kwargs
from turnswap.tasks.multiif.metrics import conversation_values, pool, ratios
from turnswap.tasks.multiturn import Reply

from .runs import LanguageRun, LoggedConversation, LoggedTurn, Model

# Below this many replies a second process costs more than it saves: it imports for seconds.
_WORTH_A_PROCESS = 2_000
_CHUNK = 200


class GradedTurn(NamedTuple):
    """One turn and the verdicts on each repeat's reply: ``verdicts[repeat][instruction]``."""

    turn: LoggedTurn
    verdicts: Sequence[Sequence[Verdict]]


# From a reply, its instructions' ids and kwargs, the language, and the prompts up to it.
_Grade = Callable[..., list[Verdict]]
# language -> key of the conversation -> its turns
Graded = dict[str, dict[str, list[GradedTurn]]]


def grade_again(model: Model) -> Graded:
    """The published verdicts of all of a model's replies.

    Raises:
        UserError: the model has no samples, or verdicts do not add up to those that the samples were written with.
    """
    graded = _graded(model, _by_published_rules)
    for code, run in model.languages.items():
        for conversation in run.conversations or ():
            _require_same(run, conversation, graded[code][conversation.key])
    return graded


def grade_by_corrected_rules(model: Model) -> Graded:
    """The corrected verdicts of all of a model's replies (:mod:`turnswap.tasks.multiif.corrected`).

    Raises:
        UserError: the model has no samples.
    """
    return _graded(model, corrected.grade_corrected)


def tabulate(graded: Graded) -> pd.DataFrame:
    """A row per verdict: ``language``, ``key``, ``turn``, ``repeat``, ``slot``, ``instruction``, and the verdict."""
    rows = [
        (language, key, number, repeat, slot, id_, verdict.strict, verdict.unsatisfiable)
        for language, conversations in graded.items()
        for key, turns in conversations.items()
        for number, turn in enumerate(turns, 1)
        for repeat, verdicts in enumerate(turn.verdicts)
        for slot, (id_, verdict) in enumerate(zip(turn.turn.instruction_ids, verdicts, strict=True))
    ]
    names = ["language", "key", "turn", "repeat", "slot", "instruction", "strict", "unsatisfiable"]
    return pd.DataFrame(rows, columns=names)


def followed_by(graded: Graded, *columns: str) -> pd.DataFrame:
    """How often instructions were ``asked`` and ``followed`` (strictly), by columns of :func:`tabulate`."""
    groups = tabulate(graded).groupby(list(columns))["strict"]
    return pd.DataFrame({"asked": groups.size(), "followed": groups.sum()})


def _graded(model: Model, grade: _Grade) -> Graded:
    for run in model.languages.values():
        if run.conversations is None:
            raise UserError(
                f"{run.files[0]} has no samples beside it for {run.language}.",
                "Replies and single instructions are only known from a run with --log_samples.",
            )
        for conversation in run.conversations:
            _require_gradeable(conversation)
    replies = [
        (reply, turn.instruction_ids, turn.kwargs, code, [t.prompt for t in conversation.turns[:number]])
        for code, run in model.languages.items()
        for conversation in run.conversations or ()
        for number, turn in enumerate(conversation.turns, 1)
        for reply in turn.replies
    ]
    verdicts = iter(_grade_all(replies, grade))
    return {
        code: {
            conversation.key: [
                GradedTurn(turn, list(islice(verdicts, len(turn.replies)))) for turn in conversation.turns
            ]
            for conversation in run.conversations or ()
        }
        for code, run in model.languages.items()
    }


def _grade_all(replies: list[tuple[Any, ...]], grade: _Grade) -> Iterable[list[Verdict]]:
    workers = min(os.cpu_count() or 1, 1 + len(replies) // _WORTH_A_PROCESS)
    if workers == 1:
        return starmap(grade, replies)
    # A fresh interpreter per worker: forking one in which libraries have started threads may hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.map(grade, *zip(*replies, strict=True), chunksize=_CHUNK)


def _by_published_rules(reply: str, instruction_ids: Any, kwargs: Any, *_: object) -> list[Verdict]:
    return grade_reply(reply, instruction_ids, kwargs)


def _require_gradeable(conversation: LoggedConversation) -> None:
    try:
        for turn in conversation.turns:
            for instruction_id, kwargs in zip(turn.instruction_ids, turn.kwargs, strict=True):
                parse_kwargs(instruction_id, kwargs)
    except MalformedInstruction as error:
        raise UserError(
            f"{conversation.where}: conversation {conversation.key} cannot be graded: {error}.",
            "The samples were changed, or are of other instructions than turnswap's; run the evaluation again.",
        ) from None


def by_repeat(turns: Sequence[GradedTurn]) -> list[list[tuple[Reply, Sequence[Verdict]]]]:
    """A conversation as the metrics take it: each repeat's replies, with their verdicts."""
    repeats = range(len(turns[0].verdicts) if turns else 0)
    return [[(Reply(turn.turn.replies[n]), turn.verdicts[n]) for turn in turns] for n in repeats]


def _require_same(run: LanguageRun, conversation: LoggedConversation, turns: Sequence[GradedTurn]) -> None:
    """Refuse a conversation whose figures by these verdicts are not those that were logged."""
    pooled = pool([conversation_values(graded) for graded in by_repeat(turns)] or [{}])
    for name in (name for name in ratios() if "overall" not in name):
        turn = int(name[len("turn")])
        if turn > len(turns):
            continue
        found, logged = pooled[name], tuple(conversation.values[name])
        if found != logged:
            raise UserError(
                f"{conversation.where}: conversation {conversation.key}, turn {turn}: by its replies {name} is "
                f"{found[0]} of {found[1]} as turnswap {__version__} grades them, the samples say "
                f"{logged[0]} of {logged[1]}.",
                f"They were graded by turnswap {run.facts['turnswap']}, or changed afterwards; install that "
                "version, or run the evaluation again.",
            )
