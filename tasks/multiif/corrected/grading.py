"""A reply and its instructions in, corrected verdicts out: beside :mod:`turnswap.tasks.multiif.grading`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ..grading import Verdict, holds, loose_variants, parsed
from ..instructions.spec import Asked
from ..morphology import morphology
from ..segmentation import segmenter

# To be raised by whoever changes a verdict.
VERSION = 2


def rules_in_use() -> str:
    """What corrected figures must be shown with, such as ``2,icu:78.3,simplemma:2.0.0``.

    The rules' version, the segmenter, and what knows the forms of words.
    """
    return f"{VERSION},{segmenter() or 'no segmenter'},{morphology()}"


def asked_of(
    instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, object]], language: str, prompts: Sequence[str] = ()
) -> Asked:
    """What a reply is read with: in the conversation's language, or the last one that the turn asks for."""
    asked = [
        str(kwarg.get("language"))
        for id_, kwarg in zip(instruction_ids, kwargs, strict=True)
        if id_ == "language:response_language" and kwarg.get("language")
    ]
    return Asked(asked[-1] if asked else language, prompts)


def grade_corrected(
    reply: str,
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, object]],
    language: str,
    prompts: Sequence[str] = (),
    without: frozenset[str] = frozenset(),
) -> list[Verdict]:
    """Grade one reply against its instructions by the corrected rules.

    Args:
        reply: what the model answered in this turn, reasoning already set aside; stripped here.
        instruction_ids: the ids of the turn's instructions, such as ``keywords:existence``.
        kwargs: the keyword arguments of each instruction, in the same order.
        language: the code of the conversation's language, such as ``zh``. Where the turn asks for a reply in another
            one, that one decides.
        prompts: the user's turns so far. In Chinese and Japanese they tell whether a number is of words or characters;
            without them it is of characters.
        without: names of corrections that are switched off, to measure what each does (docs/reference/corrected.md).

    Returns:
        One verdict per instruction, in order. An empty or blank reply follows none.

    Raises:
        MalformedInstruction: as :func:`turnswap.tasks.multiif.grading.grade_reply`.
    """
    instructions, variants, verdicts = parsed(instruction_ids, kwargs), loose_variants(reply.strip()), []
    asked = asked_of(instruction_ids, kwargs, language, prompts)._replace(without=without)
    for instruction, given in instructions:
        check = partial(instruction.corrected, asked=asked) if instruction.corrected else instruction.check
        strict, loose = holds(variants, partial(check, **given))
        hopeless = instruction.why_unsatisfiable(given) is not None
        verdicts.append(Verdict(strict, loose, unsatisfiable=hopeless))
    return verdicts
