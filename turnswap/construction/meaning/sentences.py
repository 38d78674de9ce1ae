"""Sentences of a translation, each for itself: its language, words of the source left in it, and words in a row.

What is wrong must be plain: short or doubtful sentences pass. langdetect among all languages is often wrong about a
sentence; asked only for the language, the source's, and those that are taken for it, its profiles are mostly right.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files

import regex

from turnswap.tasks.multiif.text import detect_language

from ..data_audit.stated import sentences_of
from ..vocabulary import LATIN, UNSPACED, likelihoods, script_of_character, scripts_of, share_in

_TABLES: dict[str, dict[str, str]] = tomllib.loads((files(__package__) / "languages.toml").read_text("utf-8"))
_FEWEST_WORDS, _FEWEST_UNSPACED = 3, 7  # of a sentence that is looked at: words, or characters
_WORD = regex.compile(r"[\p{L}\p{M}]+(?:['’-][\p{L}\p{M}]+)*")
_SURE, _UNLIKE = 0.9, 0.05  # the least for the other language, the most for the own one
_EVEN = 0.5  # the most for the own language of what langdetect holds for the source's
_LONG = 40  # letters of which langdetect's guess is worth comparing
_OWN_WORDS = 3  # that only the language has, of a text which is of it
_OF_THE_SOURCE = 0.75  # the least for a word of the source that another language might have too
_MID_STOP = regex.compile(r"\p{L}{4,}[.?!] \p{Ll}\p{L}*")  # the longer words are no abbreviations
_WITH_QUESTION_MARKS = regex.compile("ar|de|es|fa|fr|hi|id|it|ko|nl|pl|pt|ru|sv|sw|tr|uk|ur|vi|zh")
_BORROWED = regex.compile("apps?|e-?mail|blog|web|online|markdown|json|html|wifi|emoji|hashtag|haiku|ok|pdf|sms")

_CAPITALS = regex.compile(r"(?<![A-Za-z])[A-Z]{2,}(?![A-Za-z])")  # SECTION and JSON stay as they are in every language


def _code(language: str) -> str:
    return {"no": "nb", "fil": "tl"}.get(language.partition("-")[0], language.partition("-")[0])


def of_another_language(text: str, language: str, source_language: str) -> str | None:
    """The language that a text plainly is of, where it is another; None where it is not plain."""
    own, base = language, _code(language)
    foreign = _TABLES["foreign"].get("zh-hant" if own in ("zh-hant", "zh-tw", "yue") else base)
    if foreign and len(regex.findall(foreign, text, regex.IGNORECASE)) >= 2:
        return "by its letters and words"
    codes = {base, _code(source_language), *_TABLES["neighbours"].get(base, "").split()}
    if sum(map(str.isalpha, text)) >= _LONG:
        codes.add(_code(detect_language(text) or base))
    if len(regex.findall(_TABLES["own"].get(base, "(?!)"), text.casefold())) >= _OWN_WORDS:
        return None
    likely = likelihoods(_without_names(text, base), [code for code in codes if scripts_of(code) & scripts_of(base)])
    best = max(likely, key=lambda code: likely[code], default=base)
    return best if base in likely and likely[best] >= _SURE and likely[base] <= _UNLIKE else None


def _without_names(text: str, language: str) -> str:
    """Without capitals that no sentence starts with: names say little of a language. German nouns have them too."""
    return text if language == "de" else regex.sub(r"(?<=[\p{L},;] )\p{Lu}[\p{L}’'-]*", "", text)


def plainly_not(text: str, language: str, source_language: str) -> bool:
    """Whether a text is less likely of its language than not, beside the source's and the one that langdetect finds."""
    base, other, guess = _code(language), _code(source_language), _code(detect_language(text) or language)
    short = sum(map(str.isalpha, text)) < _LONG and guess not in (other, *_TABLES["neighbours"].get(base, "").split())
    if len(regex.findall(_TABLES["own"].get(base, "(?!)"), text.casefold())) >= (1 if short else _OWN_WORDS):
        return False
    return likelihoods(text, [base, other, guess]).get(base, 0) < (_EVEN if guess == other else _UNLIKE)


def looked_at(text: str) -> Iterator[str]:
    """The sentences that are long enough to be judged."""
    for sentence in sentences_of(text):
        letters = [character for character in sentence if character.isalpha()]
        unspaced = bool(letters) and script_of_character(letters[0]) in UNSPACED
        if len(_WORD.findall(sentence)) >= _FEWEST_WORDS or (unspaced and len(letters) >= _FEWEST_UNSPACED):
            yield sentence.strip()


def left_over(source: str, translation: str, language: str, source_language: str) -> list[str]:
    """The words of the source that stand in the translation and are of the source's language alone."""
    plain = [
        word for word in _WORD.findall(source) if len(word) > 2 and word.islower() and not _BORROWED.fullmatch(word)
    ]
    shared = [word for word in _WORD.findall(translation) if word in plain]
    shared += [word for word in _WORD.findall(translation)[:1] if word in _WORD.findall(source)[:1]]
    shared += [
        word
        for word in plain
        if LATIN not in scripts_of(language)
        and word not in shared
        and regex.search(rf"(?<!\p{{Latin}}){regex.escape(word)}(?!\p{{Latin}})", translation)
    ]
    if LATIN not in scripts_of(language) and LATIN in scripts_of(source_language):
        return list(dict.fromkeys(shared))
    pair_of, pair = _code(language), frozenset({_code(language), _code(source_language)})
    clear = [
        word
        for word in dict.fromkeys(shared)
        if likelihoods(word, pair).get(_code(source_language), 0) >= _OF_THE_SOURCE
    ]
    if LATIN in scripts_of(source_language):
        clear += [
            word for word in shared if word not in clear and regex.search(_TABLES["unlike"].get(pair_of, "(?!)"), word)
        ]
    return clear if len(clear) > 1 or (clear and len(set(shared)) > 1) else []


def words_in_a_row(sentence: str, language: str) -> str | None:
    """The words that no sentence of the language has side by side or at its end."""
    pattern = _TABLES["salad"].get(_code(language))
    bare = regex.sub(r"[\s\p{P}]+$", "", sentence)
    match = regex.search(pattern, bare, regex.IGNORECASE) if pattern else None
    return match.group().strip() if match else None


def answered(source: str, translation: str, back: str, language: str) -> bool:
    """Whether a question became a statement, in a language that marks questions as such, or a request a question."""
    asks = source.strip().endswith("?") and back.strip().endswith("?") and len(sentences_of(source)) == 1
    marks = regex.compile("[?？؟;՞]")
    if not marks.search(source + back) and regex.search(r"[?？؟]\s*$", translation):
        return True
    return asks and bool(_WITH_QUESTION_MARKS.fullmatch(_code(language)) and not marks.search(translation))


def differences(source: str, translation: str, language: str, source_language: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a sentence, and the sentence.

    Args:
        source: a text without quoted words and protected spans.
        translation: likewise.
        language: the translation's code.
        source_language: the source's.
    """
    kept = frozenset(map(str.strip, sentences_of(source)))
    for sentence in looked_at(translation):
        if sentence in kept and regex.search(_TABLES["own"].get(_code(source_language), "(?!)"), sentence.casefold()):
            yield "it is the source's", sentence
            continue
        if share_in(_CAPITALS.sub(" ", sentence), scripts_of(language)) < 0.5:
            yield "it is in a different script", sentence
        elif other := of_another_language(sentence, language, source_language):
            yield f"it is of a different one ({other})", sentence
        elif not sentence.endswith((":", "：")) and (odd := words_in_a_row(sentence, language)):
            yield f"these are words in a row: {odd!r}", sentence
    if (stop := _MID_STOP.search(translation)) and not _MID_STOP.search(source):
        yield f"a sentence ends in the middle: {stop.group()!r}", translation
    if words := left_over(source, translation, language, source_language):
        yield "words are not translated", ", ".join(words)
