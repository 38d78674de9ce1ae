"""Numbers and their bounds as English says them, in one way of the many; and numbers that a text says otherwise."""

from __future__ import annotations

from itertools import combinations

import regex

# What says a number without it: units, and ranks beside the cardinal ("paragraph four").
_SAID_BY_UNITS = {
    2: "both|pairs?|couple|double|twin|half|second",
    3: "third|triple|thrice|quarter",
    4: "fourth|quarter",
    5: "fifth",
    6: "half a dozen|half a year|half-year|sixth",
    7: "week|seventh",
    8: "eighth",
    9: "ninth",
    10: "decade|tenth|ten years",
    12: "dozen|year",
    14: "fortnight|(?:two|2) weeks",
    15: "quarter",
    18: "year and a half",
    24: "day|dozen",
    30: "half an hour|half-hour|half past|month",
    52: "year",
    60: "hour|minute",
    90: "hour and a half",
    100: "century|hundred",
}
_CANNOT = r"(?:(?:can|must|may|should|do|does|shall|will|could|is|are)(?:n['’]t| ?not)|never|not)(?: to| allowed to)?"
_EXCEED = r"(?:exceed|surpass|go (?:over|beyond|past|above)|be (?:more|longer) than|be over)"
_NOTHING = r"(?:nothing|none|no)(?: (?:of|them|\w+) (?:be|is|are|exceeding))?"
_UNITS = "word|sentence|line|paragraph|page|minute|hour|day|week|month|year"
_PLAINLY = [
    (regex.compile(pattern, regex.IGNORECASE), plainly)
    for pattern, plainly in (
        (rf"\b{_CANNOT} {_EXCEED}\b", "at most"),
        (rf"\b{_NOTHING} (?:longer|more|greater|larger|later) than\b", "at most"),
        (r"\b(?:no|nothing) (?:fewer|less|shorter) than\b", "at least"),
        (rf"(?<=at (?:least|most)) an? (?=(?:{_UNITS})\b)", " one "),
        (r"\btwo dozen\b", "24"),
        (r"\bthree dozen\b", "36"),
        (r"\bhalf a dozen\b", "6"),
    )
]


def said_plainly(text: str) -> str:
    """English in which "cannot exceed" is "at most", "at least a page" is of one page, and two dozen are 24."""
    for pattern, plainly in _PLAINLY:
        text = pattern.sub(plainly, text)
    return text


def parts_of(value: int, numbers: frozenset[int]) -> frozenset[int]:
    """The two numbers that are this one together, where a language puts it so: hundreds two."""
    pairs = combinations(sorted(numbers), 2)
    return frozenset(next((pair for pair in pairs if value in (pair[0] * pair[1], pair[0] + pair[1])), ()))


def said_by_units(value: int, text: str) -> bool:
    """Whether an English text has a word for so many: a dozen, both."""
    words = f"{_SAID_BY_UNITS.get(value, '(?!)')}|{value}(?:st|nd|rd|th)\\b"
    return regex.search(rf"\b(?:{words})", text, regex.IGNORECASE) is not None
