"""What one turn of a translation and of its back-translation say otherwise than the source, in sentences for people."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from ..data_audit.stated import sentences_of
from ..equivalent import without_spans
from ..quoted import QUOTED, quoted_in
from . import alignment, content, demands, homographs, sentences, turned

_TITLE = regex.compile(r"<<[^<>\n]*>>")
_STAND_IN = "X"  # for what is of no language
_ENGLISH = "en"


def own_words(text: str) -> str:
    """A text with a letter in place of what is quoted or protected, which may differ or is checked elsewhere."""
    return without_spans(_TITLE.sub(_STAND_IN, QUOTED.sub(_STAND_IN, text)), _STAND_IN, numbers=False)


def differences(
    source: str, translation: str, back: str, source_language: str, language: str, most: int
) -> Iterator[str]:
    """Each difference of meaning in one turn; what is not known of a language is not looked at.

    Args:
        source: the turn's prompt.
        translation: it, translated.
        back: that, translated back.
        source_language: the code of the source's language.
        language: the code of the translation's.
        most: see :func:`.content.differences`.
    """
    one, two, three = map(own_words, (source, translation, back))
    # Of a free rendering of a long text, lists of words tell nothing: numbers and what is graded do.
    freely = source_language.startswith(_ENGLISH) and content.is_free(one, three)
    first, second = (code.partition("-")[0] for code in (source_language, language))
    for each in _demands(one, three, first, freely):
        yield f"the back-translation says something else: the source has {each.mine!r}, it has {each.theirs!r}"
    for each in demands.differences(one, two, first, second, three):
        does = "means" if each.of_poles else "says"
        yield f"the translation {does} something else: the source has {each.mine!r}, it has {each.theirs!r}"
    for what, sentence in sentences.differences(one, two, language, source_language):
        yield f"the translation is not all in its language: {what}: {sentence}"
    if lost := alignment.left_out(one, two):
        yield f"the translation leaves a sentence out: {lost}"
    if sentences.answered(source, translation, back, language):
        yield f"the translation asks nothing: {translation.strip()}"
    if first == _ENGLISH:
        for mine, theirs in () if freely else content.differences(one, three, f"{two} {_poles(one, three)}", most):
            yield f"the content is another: the source has {mine!r}, the back-translation {theirs!r}"
        for mine, theirs in () if freely else turned.differences(one, three):
            yield f"the back-translation turns it round: the source has {mine!r}, it has {theirs!r}"
        for mine, theirs in content.quoted(quoted_in(source), quoted_in(back)):
            yield f"the quoted words are others: the source has {mine!r}, the back-translation {theirs!r}"
        for word, taken in homographs.differences(one, two, second):
            yield f"a word of two meanings is taken in the wrong one: {word!r} is {taken!r} in the translation"


def _demands(source: str, back: str, language: str, freely: bool) -> list[demands.Difference]:
    """Those of the whole, and of each sentence where both have as many, numbers that stand in another one aside."""
    found = list(demands.differences(source, back, language, language, freely=freely))
    ones, others = sentences_of(source), sentences_of(back)
    if not found and not freely and 1 < len(ones) == len(others):
        for one, other in zip(ones, others, strict=True):
            found += demands.differences(one, other, language, language, whole=False)
    return found


def _poles(source: str, back: str) -> str:
    """The words of poles where each names one of a group: they are compared there."""
    readings = [demands.read(text, _ENGLISH).poles for text in (source, back)]
    both = [name for name, here in readings[0].items() if len(here) == 1 == len(readings[1].get(name, ()))]
    return " ".join(word for poles in readings for group in both for word in poles[group].values() if group != "verse")
