"""Every instruction's verdict: those that the samples keep, or, in samples of an earlier version, from the replies.

They must add up to the figures that were logged with them; those of some replies are held against grading again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from random import Random
from typing import Any, NamedTuple

import pandas as pd

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.core.processes import call_many
from turnswap.core.progress import progress
from turnswap.tasks.multiif import corrected
from turnswap.tasks.multiif.dataset import content_sha256
from turnswap.tasks.multiif.grading import Verdict, grade_reply, parsed
from turnswap.tasks.multiif.instructions import MalformedInstruction
from turnswap.tasks.multiif.kept import CORRECTED, KEPT, PUBLISHED, grade_as_named, judge, verdicts_of
from turnswap.tasks.multiif.left_out import graded_by
from turnswap.tasks.multiif.metrics import VERDICTS, pool, verdict_pairs

from .runs import LanguageRun, LoggedConversation, LoggedTurn, Model

# So many replies of a model, spread over its languages, are graded again to prove the verdicts that are kept.
_LOOKED_AT = 200


class GradedTurn(NamedTuple):
    """One turn and the verdicts on each repeat's reply: ``verdicts[repeat][instruction]``."""

    turn: LoggedTurn
    verdicts: Sequence[Sequence[Verdict]]


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
    graded, kept = _graded(model, PUBLISHED), _kept_rules(model)
    for code, run in model.languages.items():
        _require_content(run)
        for conversation in run.conversations or ():
            _require_same(run, conversation, graded[code][conversation.key])
    if kept:
        # Slots may have been left out by a file that is not here: their verdicts say nothing, but are known.
        _require_same_again(model, graded_by(kept) == corrected.rules_in_use())
    return graded


def corrected_verdicts(model: Model) -> Graded:
    """The corrected verdicts of all of a model's replies, by :func:`rules_of`.

    Those that are kept are held against the replies by :func:`published_verdicts`.

    Raises:
        UserError: the model has no samples.
    """
    _require_gradeable(model)
    return _graded(model, CORRECTED)


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


def followed_by(verdicts: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """How often instructions were ``asked`` and ``followed`` (strictly), by columns of :func:`tabulate`."""
    groups = verdicts.groupby(list(columns))["strict"]
    return pd.DataFrame({"asked": groups.size(), "followed": groups.sum()})


def _require_content(run: LanguageRun) -> None:
    """Refuse samples of other conversations than the results name by hash; of a part of the data it is not known."""
    conversations = run.conversations or ()
    if run.content and len(conversations) == run.of and not run.failures:
        told = ({"key": c.key, "turns": [turn.asked for turn in c.turns]} for c in conversations)
        if content_sha256(told) != run.content:
            raise UserError(
                f"The samples beside {run.files[0]} hold other conversations in {run.language} than it names by hash.",
                "The two do not belong together, or one was changed; run the evaluation again.",
            )


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
                    parsed(turn.instruction_ids, turn.kwargs)
            except MalformedInstruction as error:
                raise UserError(
                    f"{conversation.where}: conversation {conversation.key} cannot be graded: {error}.",
                    "The samples were changed, or are of other instructions than turnswap's; run the evaluation again.",
                ) from None


def _graded(model: Model, rules: str) -> Graded:
    """The verdicts by one of ``KEPT``: those that are kept, or by grading again."""
    kept = _kept_rules(model) is not None
    again = iter([] if kept else _graded_again(model, rules))

    def verdicts(conversation: LoggedConversation, number: int) -> list[list[Verdict]]:
        if kept:
            return [verdicts_of(turns[number], rules) for turns in conversation.values[VERDICTS]]
        return [next(again) for _ in conversation.turns[number].replies]

    return {
        code: {
            c.key: [GradedTurn(turn, verdicts(c, number)) for number, turn in enumerate(c.turns)]
            for c in progress(run.conversations or (), f"{rules.capitalize()} verdicts, {code}")
        }
        for code, run in model.languages.items()
    }


def _graded_again(model: Model, rules: str) -> list[list[Verdict]]:
    """The verdicts on every reply, in order, by grading it."""
    named = any(turn.graded_by for _, conversation in model.conversations for turn in conversation.turns)
    grade: Any = grade_as_named if named else grade_reply
    if rules == CORRECTED:
        grade = corrected.grade_corrected
    calls = []
    for code, run in model.languages.items():
        for conversation in run.conversations or ():
            for number, turn in enumerate(conversation.turns, 1):
                prompts = [asked.prompt for asked in conversation.turns[:number]]
                further: tuple[Any, ...] = () if grade is grade_reply else (code, prompts)
                further += (turn.graded_by,) if grade is grade_as_named else ()
                calls += [(str(reply), turn.instruction_ids, turn.kwargs, *further) for reply in turn.replies]
    return call_many(grade, calls)


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
    for code, run in progress(model.languages.items(), "Grading some replies again"):
        every = run.conversations or ()
        replies = [(c, *place) for c in every for place in product(range(len(c.turns)), range(c.repeats))]
        for conversation, number, repeat in Random(code).sample(replies, min(each, len(replies))):
            turn, kept = conversation.turns[number], conversation.values[VERDICTS][repeat][number]
            prompts = [t.prompt for t in conversation.turns[: number + 1]]
            asked = (turn.replies[repeat], turn.instruction_ids, turn.kwargs, code, prompts)
            found = judge(*asked, (), turn.graded_by).kept
            fixed = ("language", *(() if CORRECTED in turn.graded_by else (PUBLISHED,)))
            # Thai is counted by a package that may not be installed here.
            for name in (*KEPT, "language") if kept["language"] != "th" else ():
                same = found.get(name) == kept.get(name) or (name == CORRECTED and _same_but_left_out(found, kept))
                if not same and (by_same_rules or name in fixed):
                    what = f"the {name} verdicts (S strict, L loose alone, N neither)" if name in KEPT else name
                    raise _differ(run, conversation, number + 1, f"{what} are {found.get(name)}", str(kept.get(name)))


def _same_but_left_out(found: Mapping[str, str], kept: Mapping[str, str]) -> bool:
    """Whether the corrected verdicts differ only in that some of those kept say nothing."""
    return found[CORRECTED].upper() == kept[CORRECTED].upper() and all(
        mark.isupper() or also.islower() for mark, also in zip(found[CORRECTED], kept[CORRECTED], strict=True)
    )


def _differ(run: LanguageRun, conversation: LoggedConversation, turn: int, found: str, logged: str) -> UserError:
    return UserError(
        f"{conversation.where}: conversation {conversation.key}, turn {turn}: turnswap {__version__} grades the "
        f"replies, and {found}; the samples say {logged}.",
        f"They were graded by turnswap {run.facts['turnswap']}, or changed afterwards; install that version, or run "
        "the evaluation again.",
    )
