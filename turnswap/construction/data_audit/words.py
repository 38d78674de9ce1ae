"""Words that a prompt names otherwise than the kwargs grade them, and things that it asks otherwise or not at all."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import regex

from turnswap.tasks.multiif.languages import NAMES

from ..instructions import ids
from ..instructions.making import listed
from ..quoted import QUOTED, quoted_in
from .numbers import WORDING, numbers_in, values_of
from .quotes import quote_of
from .slots import Slot
from .stated import sentences_of

_BETWEEN_LISTED = regex.compile(
    r"[\s,;，、；]*(?:and|or|nor|&|和|或|与|及|以及|et|ou|y|o|e|и|или|और|या)?[\s,;，、；]*", regex.IGNORECASE
)
_STOPS = ".。．।!！?？… "
_IN_ANGLES = regex.compile(r"<<[^<>\n]*>>")
_UNSPACED = ("zh", "ja", "yue", "th")
_ALSO = {  # languages as prompts call them beside their English names
    "fa": "farsi|فارسی",
    "es": "español|castilian|castellano",
    "fr": "français",
    "de": "deutsch",
    "it": "italiano",
    "pt": "português",
    "ru": "русск\\w+",
    "zh": "mandarin|中文|汉语|漢語",
    "ja": "日本語",
    "ko": "한국어",
    "hi": "हिन्दी|हिंदी",
    "ar": "العربية",
    "tl": "filipino",
    "bn": "bangla|বাংলা",
    "sw": "kiswahili",
    "nl": "nederlands",
    "tr": "türkçe",
}
_PART = 5  # characters
_ALIKE = 0.5  # the share of a text's parts that must be in the prompt for its text to be the one meant

Finding = tuple[str, str]


def words_finding(slot: Slot) -> Finding | None:
    """The kind, ``words``, ``object`` or ``language``, and what the prompt says; None where both say the same."""
    check = _CHECKS.get(slot.id)
    if check and (found := check(slot)):
        return found
    return _unasked(slot)


def _plain(text: str, language: str) -> str:
    """As it is compared: case, width, kind of quotation mark and white space make no other word."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = regex.sub(r"[“”„«»]", '"', regex.sub(r"[‘’`´]", "'", text))
    return "".join(text.split()) if language in _UNSPACED else " ".join(text.split())


def _named(text: str, slot: Slot) -> bool:
    return _plain(text, slot.language) in _plain(slot.prompt, slot.language)


def _instead(slot: Slot) -> str:
    """What the prompt names in quotation marks, or that it names nothing of the kind."""
    quoted = [text for text in quoted_in(slot.prompt) if len(text) <= 60]
    return f"names {', '.join(map(repr, quoted[:5]))}" if quoted else "names no such word"


def _keywords(slot: Slot) -> Finding | None:
    words = slot.kwargs.get("keywords", slot.kwargs.get("forbidden_words", [slot.kwargs.get("keyword")]))
    missing = [word for word in words if word.strip() and not _named(word.strip(), slot)]
    if slot.language == "en" and (turned := _other_polarity(slot, [word.strip() for word in words if word.strip()])):
        return "object", turned
    if missing:
        return "words", f"{_instead(slot)}, not {', '.join(map(repr, missing))}"
    more = _listed_with([_plain(word.strip(), slot.language) for word in words], slot)
    return ("words", f"names {', '.join(map(repr, more))} too") if more else None


_USE = r"(?:use|using|includ(?:e|ing)|mention(?:ing)?|say(?:ing)?)"
_THE_WORD = r"(?:the |any |of |these |following |words?|keywords?|terms?|[:\s])*\p{P}?"
_LEFT_OPEN = (
    r"n['’]t|\b(?:not|never|no|avoid|without|more|less|fewer|than|times?|once|twice|only|unless|until|except|but|"
    r"instead)\b"
)


def _other_polarity(slot: Slot, words: Sequence[str]) -> str | None:
    """The sentence that plainly forbids the first word where it is to occur, or plainly asks for it where it is not."""
    start = {
        ids.EXISTENCE: rf"(?:\b(?:do|must|should) not|n['’]t|\bnever|\bavoid) {_USE}",
        ids.FORBIDDEN: rf"^\W*(?:please )?{_USE}",
    }.get(slot.id)
    if not start or not words:
        return None
    named = [each for each in sentences_of(slot.prompt) if _plain(words[0], "en") in _plain(each, "en")]
    match = (
        regex.search(rf"{start} {_THE_WORD}{regex.escape(words[0])}\b", named[0], regex.IGNORECASE) if named else None
    )
    if match is None or len(named) > 1:
        return None
    rest = named[0][match.end() :] if slot.id == ids.EXISTENCE else named[0]
    return None if regex.search(_LEFT_OPEN, rest, regex.IGNORECASE) else named[0].strip()


def _listed_with(words: Sequence[str], slot: Slot) -> list[str]:
    """What the prompt lists in quotation marks beside these words and no instruction of the turn looks for."""
    known = {
        _plain(text.strip(), slot.language)
        for _, kwargs in ((slot.id, slot.kwargs), *slot.beside)
        for value in kwargs.values()
        for text in map(str, listed(value))
    }
    for sentence in sentences_of(slot.prompt):
        matches = list(QUOTED.finditer(sentence))
        lists: list[list[str]] = [[]]
        for at, match in enumerate(matches):
            if at and not _BETWEEN_LISTED.fullmatch(sentence[matches[at - 1].end() : match.start()]):
                lists.append([])
            lists[-1].append(next(filter(None, match.groups())).strip(" ,.，。"))
        for texts in lists:
            plain = [_plain(text, slot.language) for text in texts]
            if set(words) & set(plain):
                return [text for text, key in zip(texts, plain, strict=True) if key not in known]
    return []


def _letter(slot: Slot) -> Finding | None:
    letter = slot.kwargs["letter"].strip()
    alone = regex.escape(letter)
    if regex.match(r"\p{Latin}", letter):
        alone = rf"(?<!\p{{Latin}}){alone}(?!\p{{Latin}})"
    if not letter or regex.search(alone, slot.prompt, regex.IGNORECASE):
        return None
    return "words", f"names no letter {letter!r}"


def _end(slot: Slot) -> Finding | None:
    phrase = _plain(slot.kwargs["end_phrase"], slot.language).strip()
    quoted = {_plain(text, slot.language): text for text in quoted_in(slot.prompt)}
    if phrase in quoted:
        return None
    for plain, text in quoted.items():
        if plain.strip(_STOPS) == phrase.strip(_STOPS):
            return "words", f"ends with {text!r}"
    return None if phrase in _plain(slot.prompt, slot.language) else ("words", _instead(slot))


def _first_word(slot: Slot) -> Finding | None:
    word, place = slot.kwargs["first_word"].strip(), slot.kwargs["nth_paragraph"]
    if not _named(word, slot):
        return "words", f"{_instead(slot)}, not {word!r}"
    wording = WORDING.get(slot.language, {})
    names = wording.get("ordinals", ())
    told = [rf"(?<!\d){place}\D", names[place - 1]] if 0 < place <= len(names) else [rf"(?<!\d){place}(?!\d)"]
    if place == slot.kwargs["num_paragraphs"] and wording.get("last"):
        told.append(wording["last"])
    if slot.language in ("zh", "ja") and place in [n.value for n in numbers_in(slot.prompt.replace("第", " "), "zh")]:
        return None
    told += [rf"paragraph {word}\b" for word, value in values_of(slot.language).items() if value == place]
    if not (names or slot.language in ("zh", "ja")) or regex.search("|".join(told), slot.prompt, regex.IGNORECASE):
        return None
    return "quantity", f"names no paragraph {place}"


def _splitter(slot: Slot) -> Finding | None:
    splitter = slot.kwargs["section_spliter"].strip()
    if not splitter or splitter in slot.prompt:
        return None
    return "words", f"{_instead(slot)}, not {splitter!r}"


def _marker(slot: Slot) -> Finding | None:
    marker = slot.kwargs["postscript_marker"]
    bare = regex.sub(r"[\s.]", "", marker).casefold()
    told = {
        regex.sub(r"[\s.]", "", m.group()).casefold()
        for m in regex.finditer(r"(?<!\p{Latin})(?:[Pp]\.\s?){1,2}[Ss](?!\p{Latin})\.?", slot.prompt)
    }
    if bare in told or (bare not in ("ps", "pps") and _named(marker.strip(), slot)):
        return None
    return "words", f"names {', '.join(sorted(told)).upper()}" if told else _instead(slot)


def _repeated(slot: Slot) -> Finding | None:
    text, prompt = (_plain(each, slot.language) for each in (slot.kwargs["prompt_to_repeat"], slot.prompt))
    if not text or text in prompt:
        return None
    parts = {text[at : at + _PART] for at in range(len(text))}
    shared = sum(part in prompt for part in parts)
    return ("words", "holds another text to repeat") if shared >= _ALIKE * len(parts) else None


def _title(slot: Slot) -> Finding | None:
    """A title is asked for where something is called so outside the example in angular brackets."""
    pattern = WORDING.get(slot.language, {}).get("asks", {}).get("title")
    whole = WORDING.get(slot.language, {}).get("whole", "(?!)")
    for sentence in sentences_of(slot.prompt):
        bare = _IN_ANGLES.sub(" ", sentence)
        if pattern and bare != sentence and regex.search(whole, bare, regex.IGNORECASE):
            return None if regex.search(pattern, bare, regex.IGNORECASE) else ("object", sentence.strip())
    return None


def _language(slot: Slot) -> Finding | None:
    if slot.language != "en":
        return None
    code = slot.kwargs["language"].partition("-")[0]
    if mine := regex.search(rf"\b(?:{NAMES.get(code, code)}|{_ALSO.get(code, '(?!)')})", slot.prompt, regex.IGNORECASE):
        into = regex.search(r"\b(?i:translat)\w*\b[^.!?\n]*\b(?:in)?to (\p{Lu}\w+)", slot.prompt)
        meant = regex.search(rf"\b(?:in|into|to|en|auf|using) \p{{P}}?{mine.group()}", slot.prompt, regex.IGNORECASE)
        other = into is not None and into[1] in NAMES.values()
        return ("language", f"translates into {into[1]}") if into and other and not meant else None
    named = [name for name in NAMES.values() if regex.search(rf"\b{name}\b", slot.prompt)]
    return "language", f"names {', '.join(named)}" if named else "names no language"


def _unasked(slot: Slot) -> Finding | None:
    """An instruction that the prompt does not ask for in any word known for it."""
    asks = WORDING.get(slot.language, {}).get("asks", {}).get(slot.id.partition(":")[2])
    if asks is None or regex.search(asks, slot.prompt, regex.IGNORECASE):
        return None
    return "object", quote_of(slot)


_CHECKS: dict[str, Callable[[Slot], Finding | None]] = {
    **dict.fromkeys((ids.EXISTENCE, ids.FORBIDDEN, ids.FREQUENCY), _keywords),
    ids.LETTER: _letter,
    ids.END: _end,
    ids.NTH: _first_word,
    ids.SECTIONS: _splitter,
    ids.POSTSCRIPT: _marker,
    ids.REPEAT: _repeated,
    ids.TITLE: _title,
    ids.LANGUAGE: _language,
}
