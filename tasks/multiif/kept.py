"""What was decided about each reply, as the samples keep it under ``verdicts``, and read back.

It is a list per repeat of an object per turn, up to the last reply that came::

    {"language": "en", "published": "SLN", "corrected": "SSn", "counts": {"1": [212, 209]}}

``language`` is what langdetect finds in the reply, null where it finds nothing. ``published`` and ``corrected`` hold a
mark per instruction of the turn, by the published and by the corrected rules: S where the reply follows it strictly
(and so loosely), L where loosely alone, N where it does not. A small letter is a verdict that says nothing: the
published grader would have judged at random or failed on; or, by the corrected rules, no reply can follow it, or it is
among those that are to be left out (:mod:`.left_out`).
The data may say of an instruction that the corrected rule grades it (see :mod:`.dataset`): then that is what
``published`` holds of it too, as what the first figures are made of.
``counts`` tells of some instructions, by their place in the turn counted from 0, how many words, sentences, paragraphs
or bullets there are by the published and by the corrected rules; it is absent where there are none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from .corrected import asked_of, grade_corrected
from .grading import Verdict, grade_reply, parsed
from .text import detect_language

PUBLISHED, CORRECTED = "published", "corrected"
KEPT = (PUBLISHED, CORRECTED)
_HELD = {"S": Verdict(True, True), "L": Verdict(False, True), "N": Verdict(False, False)}
# What a small letter says is the one thing by the published rules, the other by the corrected ones.
_VERDICTS = {
    PUBLISHED: _HELD | {mark.lower(): replace(held, ungradeable=True) for mark, held in _HELD.items()},
    CORRECTED: _HELD | {mark.lower(): replace(held, unsatisfiable=True) for mark, held in _HELD.items()},
}
_MARKS = {verdict: mark for verdicts in _VERDICTS.values() for mark, verdict in verdicts.items()}


class Judged(NamedTuple):
    """One reply's verdicts by both sets of rules, and what is kept of them."""

    published: Sequence[Verdict]
    corrected: Sequence[Verdict]
    kept: dict[str, Any]


def judge(
    reply: str,
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    language: str,
    prompts: Sequence[str],
    left_out: Collection[int] = (),
    graded_by: Sequence[str] = (),
) -> Judged:
    """Everything that is decided about one reply; arguments and errors as of :func:`.corrected.grade_corrected`.

    ``left_out`` are places of instructions, from 0, whose corrected verdicts are to say nothing; ``graded_by`` as in
    :func:`grade_as_named`.
    """
    corrected = grade_corrected(reply, instruction_ids, kwargs, language, prompts)
    published = _chosen(graded_by, grade_reply(reply, instruction_ids, kwargs), corrected)
    corrected = [replace(v, unsatisfiable=True) if n in left_out else v for n, v in enumerate(corrected)]
    text, asked = reply.strip(), asked_of(instruction_ids, kwargs, language, prompts)
    kept: dict[str, Any] = {"language": detect_language(text)}
    for name, verdicts in zip(KEPT, (published, corrected), strict=True):
        kept[name] = "".join(_MARKS[verdict] for verdict in verdicts)
    counts = {
        str(slot): [instruction.counted(text, by, **given) for by in (None, asked)]
        for slot, (instruction, given) in enumerate(parsed(instruction_ids, kwargs))
        if instruction.counted
    }
    return Judged(published, corrected, kept | ({"counts": counts} if counts else {}))


def grade_as_named(
    reply: str,
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    language: str,
    prompts: Sequence[str],
    graded_by: Sequence[str],
) -> list[Verdict]:
    """Each instruction's verdict by the rule that the data name for it, one of :data:`KEPT`; published for no names.

    Further arguments and errors as of :func:`.corrected.grade_corrected`.
    """
    published = grade_reply(reply, instruction_ids, kwargs)
    if CORRECTED not in graded_by:
        return published
    return _chosen(graded_by, published, grade_corrected(reply, instruction_ids, kwargs, language, prompts))


def _chosen(graded_by: Sequence[str], published: list[Verdict], corrected: Sequence[Verdict]) -> list[Verdict]:
    if CORRECTED not in graded_by:
        return published
    pairs = zip(graded_by, published, corrected, strict=True)
    return [replace(ours, unsatisfiable=False) if by == CORRECTED else theirs for by, theirs, ours in pairs]


def verdicts_of(turn: Mapping[str, Any], rules: str) -> list[Verdict]:
    """The verdicts in what is kept of one turn, by one of :data:`KEPT`."""
    verdicts = _VERDICTS[rules]
    return [verdicts[mark] for mark in turn[rules]]


def require_well_formed(kept: Any, repeats: int, sizes: Sequence[int]) -> None:
    """Raise an ordinary error where this is not what is kept of a conversation with so many instructions by turn."""
    if len(kept) != repeats:
        raise ValueError(f"verdicts are of {len(kept)} repeats, not {repeats}")
    for turns in kept:
        for rules in KEPT:
            marks = [turn[rules] for turn in turns if "language" in turn]
            if "".join(marks).strip("SLNsln") or [*map(len, marks)][: len(sizes)] != [*sizes]:
                raise ValueError(f"{rules} verdicts are {marks}")
