"""What is wrong with an LLM's wording of an instruction: a reader of it must find all that the grader looks for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .equivalent import foreign
from .instructions import making_of, must_contain
from .instructions.draw import ENGLISH, OF_WORDS, strings
from .meaning.instructions import otherwise
from .statements import stating
from .vocabulary import times

_NUMBER_WORDS, _ORDINALS = ENGLISH["numbers"].split(), ENGLISH["ordinals"].split()
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)")
_ACCEPTED = ENGLISH["accepted"]
# The opposite of what is meant: another relation, or a relation where the number is exact.
_RELATIONS = (
    r"at least|at most|or more|or fewer|fewer than|less than|more than|up to|no more than|a minimum of|a maximum of"
)
_SECOND_CONVERSATION = re.compile(
    r"^\W*(?:user|assistant|system|human|ai|bot|model|turn \d|(?:my |the )?(?:reply|response|answer))\s*:|<\|",
    re.IGNORECASE | re.MULTILINE,
)


def find_problem(
    wording: str, id_: str, kwargs: Mapping[str, Any], language: str, earlier: Sequence[str], longest: int
) -> str | None:
    """What is wrong with the wording of an instruction, fit for a reason of rejection; None where nothing is.

    A sentence of the templates tells all that a reader must find; beside it no number may stand that is new. Other
    wordings must name what they must contain, notions in English alone, and state nothing otherwise than the kwargs as
    far as their language is read. ``earlier`` are the prompts before, ``longest`` is how many characters a wording may
    have beside what it must contain.
    """
    needed, said = must_contain(id_, kwargs), stating(wording, id_, kwargs, language)
    if not wording.strip():
        return "the wording is empty"
    must = len(said) if said else sum(map(len, needed)) + sum(len(value) for value in strings(kwargs))
    if len(wording) > longest + must:
        return f"the wording has {len(wording)} characters, far more than an instruction needs"
    if _SECOND_CONVERSATION.search(wording):
        return "the wording holds a conversation of its own"
    if wording.strip() in (prompt.strip() for prompt in earlier):
        return "the wording repeats an earlier prompt"
    if said:
        return _wrong_number(unicodedata.normalize("NFC", wording).replace(said, " "), {}, frozenset(), earlier)
    for each in needed:
        # What ends in a letter or digit may be told in other words; texts, markers and sentences stand as they are.
        verbatim = each in strings(kwargs) or not each[-1:].isalnum()
        tells = language == "en" or verbatim or each.isdigit()
        if tells and not _finder(each, verbatim, language)(wording):
            return f"the wording lacks {each!r}"
    own_words = wording
    for text in sorted(strings(kwargs), key=len, reverse=True):
        own_words = own_words.replace(text, " ")
    own = making_of(id_).own_numbers
    problem = _wrong_number(own_words, kwargs, own, earlier)
    problem = problem or (_wrong_relation(own_words, id_, kwargs) if language == "en" else None)
    return problem or next((f"the wording {each}" for each in otherwise(wording, id_, kwargs, language)), None)


def said_beside(wording: str, id_: str, kwargs: Mapping[str, Any], language: str) -> str | None:
    """What a wording has beside the instruction: a keyword a second time, or words of another language.

    A reply would have a keyword that the request says in its own words as a matter of course.
    """
    for word in strings(kwargs) if id_ in OF_WORDS else ():
        if times(word, wording) > 1:
            return f"the wording says {word!r} once more than it names it"
    another = foreign(wording, language, strings(kwargs))
    return f"the wording: {another}" if another else None


def _finder(needed: str, verbatim: bool, language: str) -> Callable[[str], object]:
    if re.fullmatch(r"\*+", needed):
        return re.compile(rf"(?<!\*){re.escape(needed)}(?!\*)" if len(needed) > 1 else r"\*").search
    if verbatim:
        before = r"(?<!\w)" if language == "en" and needed[:1].isalnum() else ""
        behind = r"(?!\w)" if language == "en" and needed[-1:].isalnum() else ""
        return re.compile(before + re.escape(needed) + behind).search
    if needed.isdigit():
        return re.compile(_number(int(needed), language), re.IGNORECASE).search
    if _ORDINAL.fullmatch(needed):
        number = int(needed[:-2])
        words = [rf"\b{number}-?(?:st|nd|rd|th)\b", rf"\bparagraph (?:number )?{number}\b"]
        if number < len(_ORDINALS):
            words += [rf"\b{_ORDINALS[number]}\b", rf"\bparagraph {_NUMBER_WORDS[number]}\b"]
        return re.compile("|".join(words), re.IGNORECASE).search
    whole_words = "" if needed in ("avoid", "square brackets") else r"\b"
    return re.compile(rf"{whole_words}(?:{_ACCEPTED.get(needed, re.escape(needed))})", re.IGNORECASE).search


def _number(number: int, language: str) -> str:
    """A pattern of the number in digits (``1,200`` too), or in English words."""
    ways = [rf"(?<![\d.,])(?:{number}|{number:,})(?!\d|,\d|\.\d|-?(?:st|nd|rd|th)\b)"]
    if language == "en" and number < len(_NUMBER_WORDS):
        ways.append(rf"\b{_NUMBER_WORDS[number]}\b")
        ways += {1: [r"\bonce\b", r"\ban?\b", r"\bsingle\b"], 2: [r"\btwice\b"]}.get(number, [])
    return "|".join(ways)


def _wrong_number(wording: str, kwargs: Mapping[str, Any], own: frozenset[int], earlier: Sequence[str]) -> str | None:
    """A number that neither the kwargs nor the conversation hold: the LLM has made up a demand."""
    known = {value for value in kwargs.values() if isinstance(value, int)} | own
    known |= set(map(int, _digits(" ".join(earlier))))
    made_up = [number for number in _digits(wording) if int(number) not in known]
    return f"the wording holds the number {made_up[0]}, which the kwargs do not" if made_up else None


def _digits(text: str) -> list[str]:
    return re.findall(r"\d+", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text))


def _wrong_relation(wording: str, id_: str, kwargs: Mapping[str, Any]) -> str | None:
    found = re.search(rf"\b(?:{_RELATIONS})\b", wording, re.IGNORECASE)
    if making_of(id_).exact and found:
        return f"the wording says {found[0]!r}, but the number is exact"
    relation = next((value for name, value in kwargs.items() if name.endswith("relation")), None)
    opposite = {"at least": "less than", "less than": "at least"}.get(str(relation))
    if opposite and re.search(rf"\b(?:{_ACCEPTED[opposite]})", wording, re.IGNORECASE):
        return f"the wording says {opposite!r} in some way, but {relation!r} is meant"
    return None
