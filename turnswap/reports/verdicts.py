"""Every instruction's verdict: those that the samples keep, or, where there are none, from the replies.

The samples hold a mark per verdict (:mod:`turnswap.tasks.multiif.kept`). They must add up to the figures that were
logged with them, and those of a sample of replies are held against grading again. Samples of an earlier version hold
none: grading is deterministic, so all their replies are graded again, and what comes out must add up likewise.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, starmap
from random import Random
from typing import Any, NamedTuple

import pandas as pd

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.tasks.multiif import corrected
from turnswap.tasks.multiif.grading import Verdict, grade_reply
from turnswap.tasks.multiif.instructions import MalformedInstruction, parse_kwargs
from turnswap.tasks.multiif.kept import CORRECTED, KEPT, PUBLISHED, judge, verdicts_of
from turnswap.tasks.multiif.metrics import VERDICTS, pool, verdict_pairs

from .runs import LanguageRun, LoggedConversation, LoggedTurn, Model

# Below this many replies a second process costs more than it saves: it imports for seconds.
_WORTH_A_PROCESS = 2_000
_CHUNK = 200
# So many replies of a model, spread over its languages, are graded again to prove the verdicts that are kept.
_LOOKED_AT = 200


class GradedTurn(NamedTuple):
    """One turn and the verdicts on each repeat's reply: ``verdicts[repeat][instruction]``."""

    turn: LoggedTurn
    verdicts: Sequence[Sequence[Verdict]]


# From a reply, its instructions' ids and kwargs, the language, and the prompts up to it.
_Grade = Callable[..., list[Verdict]]
# language -> key of the conversation -> its turns
Graded = dict[str, dict[str, list[GradedTurn]]]


def rules_of(model: Model) -> str:
    """The corrected rules that a model's corrected verdicts are by."""
    return _kept_rules(model) or corrected.rules_in_use()


def _kept_rules(model: Model) -> str | None:
    """The corrected rules of the verdicts that are kept, one for all; None where replies are to be graded again."""
    (rules, *others) = {run.rules for run in model.languages.values()}
    return None if others else rules


def published_verdicts(model: Model) -> Graded:
    """The published verdicts of all of a model's replies.

    Raises:
        UserError: the model has no samples; the verdicts do not add up to the figures in them; or, by both sets of
            rules, they are not those of the replies.
    """
    _require_gradeable(model)
    kept = _kept_rules(model)
    graded = _kept(model, PUBLISHED) if kept else _graded(model, _by_published_rules)
    for code, run in model.languages.items():
        for conversation in run.conversations or ():
            _require_same(run, conversation, graded[code][conversation.key])
    if kept:
        _require_same_again(model, kept == corrected.rules_in_use())
    return graded


def corrected_verdicts(model: Model) -> Graded:
    """The corrected verdicts of all of a model's replies, by :func:`rules_of`.

    Those that are kept are held against the replies by :func:`published_verdicts`.

    Raises:
        UserError: the model has no samples.
    """
    _require_gradeable(model)
    return _kept(model, CORRECTED) if _kept_rules(model) else _graded(model, corrected.grade_corrected)


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


def _require_gradeable(model: Model) -> None:
    for run in model.languages.values():
        if run.conversations is None:
            raise UserError(
                f"{run.files[0]} has no samples beside it for {run.language}.",
                "Replies and single instructions are only known from a run with --log_samples.",
            )
        for conversation in run.conversations:
            try:
                for turn in conversation.turns:
                    for instruction_id, kwargs in zip(turn.instruction_ids, turn.kwargs, strict=True):
                        parse_kwargs(instruction_id, kwargs)
            except MalformedInstruction as error:
                raise UserError(
                    f"{conversation.where}: conversation {conversation.key} cannot be graded: {error}.",
                    "The samples were changed, or are of other instructions than turnswap's; run the evaluation again.",
                ) from None


def _kept(model: Model, rules: str) -> Graded:
    return {
        code: {
            conversation.key: [
                GradedTurn(turn, [verdicts_of(turns[number], rules) for turns in conversation.values[VERDICTS]])
                for number, turn in enumerate(conversation.turns)
            ]
            for conversation in run.conversations or ()
        }
        for code, run in model.languages.items()
    }


def _graded(model: Model, grade: _Grade) -> Graded:
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


def by_repeat(turns: Sequence[GradedTurn]) -> list[list[Sequence[Verdict]]]:
    """The verdicts of each repeat of a conversation, by turn."""
    repeats = range(len(turns[0].verdicts) if turns else 0)
    return [[turn.verdicts[n] for turn in turns] for n in repeats]


def _require_same(run: LanguageRun, conversation: LoggedConversation, turns: Sequence[GradedTurn]) -> None:
    """Refuse a conversation whose figures by these verdicts are not those that were logged."""
    pooled = pool([verdict_pairs(verdicts) for verdicts in by_repeat(turns)] or [{}])
    for name, found in pooled.items():
        turn, logged = int(name[len("turn")]), conversation.values[name]
        if turn <= len(turns) and "overall" not in name and found != tuple(logged):
            raise _differ(run, conversation, turn, f"{name} is {found[0]} of {found[1]}", f"{logged[0]} of {logged[1]}")


def _require_same_again(model: Model, by_same_rules: bool) -> None:
    """Refuse kept verdicts that are not those of the replies, of as many as are looked at in each language."""
    each = -(-_LOOKED_AT // len(model.languages))
    for code, run in model.languages.items():
        replies = [
            (conversation, number, repeat)
            for conversation in run.conversations or ()
            for number in range(len(conversation.turns))
            for repeat in range(conversation.repeats)
        ]
        for conversation, number, repeat in Random(code).sample(replies, min(each, len(replies))):
            turn, kept = conversation.turns[number], conversation.values[VERDICTS][repeat][number]
            prompts = [t.prompt for t in conversation.turns[: number + 1]]
            found = judge(turn.replies[repeat], turn.instruction_ids, turn.kwargs, code, prompts).kept
            # Thai is counted by a package that may not be installed here.
            for name in (*KEPT, "language", "counts") if kept["language"] != "th" else ():
                if found.get(name) != kept.get(name) and (by_same_rules or name in ("language", PUBLISHED)):
                    what = f"{name} verdicts (strict S, loose L, none N)" if name in KEPT else name
                    raise _differ(run, conversation, number + 1, f"{what}: {found.get(name)}", str(kept.get(name)))


def _differ(run: LanguageRun, conversation: LoggedConversation, turn: int, found: str, logged: str) -> UserError:
    return UserError(
        f"{conversation.where}: conversation {conversation.key}, turn {turn}: by its replies {found} as turnswap "
        f"{__version__} grades them, the samples say {logged}.",
        f"They were graded by turnswap {run.facts['turnswap']}, or changed afterwards; install that version, or run "
        "the evaluation again.",
    )
