"""The corrected checks: ``check(reply, asked, **kwargs)``; every other instruction keeps its published one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import regex

from ..instructions.content import POSTSCRIPTS
from ..instructions.spec import Relation, compares
from ..text import detect_language
from . import matching
from .segmentation import asks_for_words, base_language, count_sentences, count_words


class Asked(NamedTuple):
    """What a reply must be read with: the code of the language it is to be in, and the user's turns up to it."""

    language: str
    prompts: Sequence[str] = ()


Check = Callable[..., bool]
CHECKS: dict[str, Check] = {}


def _corrects(instruction_id: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS[instruction_id] = check
        return check

    return register


# --------------------------------------------------------------------------------------------------- length


@_corrects("length_constraints:number_words")
def _number_words(reply: str, asked: Asked, num_words: int, relation: Relation) -> bool:
    in_words = asks_for_words(asked.prompts, num_words)
    return compares(count_words(reply, asked.language, in_words), relation, num_words)


@_corrects("length_constraints:number_sentences")
def _number_sentences(reply: str, asked: Asked, num_sentences: int, relation: Relation) -> bool:
    return compares(count_sentences(reply, asked.language), relation, num_sentences)


@_corrects("length_constraints:nth_paragraph_first_word")
def _nth_paragraph_first_word(
    reply: str, asked: Asked, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    paragraphs = [part for part in re.split(r"\n\s*\n", reply) if regex.search(r"[\p{L}\p{N}]", part)]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    return matching.starts_with(paragraphs[nth_paragraph - 1], first_word, asked.language)


# ------------------------------------------------------------------------------------------------- keywords


@_corrects("keywords:existence")
def _existence(reply: str, asked: Asked, keywords: list[str]) -> bool:
    return all(matching.count(reply, word, asked.language) for word in keywords)


@_corrects("keywords:frequency")
def _frequency(reply: str, asked: Asked, keyword: str, frequency: int, relation: Relation) -> bool:
    return compares(matching.count(reply, keyword, asked.language), relation, frequency)


@_corrects("keywords:forbidden_words")
def _forbidden_words(reply: str, asked: Asked, forbidden_words: list[str]) -> bool:
    return not any(matching.contains_word(reply, word, asked.language) for word in forbidden_words)


@_corrects("detectable_format:multiple_sections")
def _multiple_sections(reply: str, asked: Asked, section_spliter: str, num_sections: int) -> bool:
    splitter = re.escape(matching.folded(section_spliter).strip())
    return len(re.findall(rf"{splitter}\s?\d+", matching.folded(reply))) >= num_sections


@_corrects("detectable_content:postscript")
def _postscript(reply: str, asked: Asked, postscript_marker: str) -> bool:
    if pattern := POSTSCRIPTS.get(postscript_marker):
        return pattern.search(reply.lower()) is not None
    return matching.folded(postscript_marker).strip().lower() in matching.folded(reply).lower()


# ---------------------------------------------------------------------------------------------- punctuation

# Fullwidth, small and vertical forms; Arabic, Armenian, Ethiopic, N'Ko, Mongolian and Lisu.
_COMMAS = frozenset(",，﹐︐،՝፣߸᠂꓾")
# 、 is Japanese for a comma; in Chinese it is another mark, 顿号.
_COMMAS_IN_JAPANESE = _COMMAS | frozenset("、､﹑︑")

_PAIRS = ('""', "“”", "„“", "„”", "””", "«»", "»«", "「」", "『』", "＂＂", "〝〞")
_CLOSING_QUOTES = "\"”“„»«」』＂〞'’"


@_corrects("punctuation:no_comma")
def _no_comma(reply: str, asked: Asked) -> bool:
    return (_COMMAS_IN_JAPANESE if base_language(asked.language) == "ja" else _COMMAS).isdisjoint(reply)


@_corrects("startend:quotation")
def _quotation(reply: str, asked: Asked) -> bool:
    reply = reply.strip()
    return len(reply) > 1 and (reply[0] + reply[-1]) in _PAIRS


@_corrects("startend:end_checker")
def _end_checker(reply: str, asked: Asked, end_phrase: str) -> bool:
    return _end(reply).endswith(_end(end_phrase))


def _end(text: str) -> str:
    return matching.folded(text.rstrip(_CLOSING_QUOTES + " \t\r\n\u00a0\u202f").lstrip()).lower()


# ----------------------------------------------------------------------------------------- language and case

# Scripts of the languages that langdetect knows, where they are not Latin.
_SCRIPTS = {
    r"\p{Arabic}": ("ar", "fa", "ur"),
    r"\p{Bengali}": ("bn",),
    r"\p{Cyrillic}": ("bg", "mk", "ru", "uk"),
    r"\p{Devanagari}": ("hi", "mr", "ne"),
    r"\p{Greek}": ("el",),
    r"\p{Gujarati}": ("gu",),
    r"\p{Gurmukhi}": ("pa",),
    r"\p{Han}": ("zh",),
    r"\p{Hangul}": ("ko",),
    r"\p{Hebrew}": ("he",),
    r"\p{Hiragana}\p{Katakana}": ("ja",),
    r"\p{Kannada}": ("kn",),
    r"\p{Malayalam}": ("ml",),
    r"\p{Tamil}": ("ta",),
    r"\p{Telugu}": ("te",),
    r"\p{Thai}": ("th",),
}
_HAN, _KANA, _LATIN = r"\p{Han}", r"\p{Hiragana}\p{Katakana}", r"\p{Latin}"
_NOT_LATIN = frozenset(code for codes in _SCRIPTS.values() for code in codes)
_LETTERS = {script: regex.compile(rf"[[{script}]&&\p{{L}}]", regex.V1) for script in (*_SCRIPTS, _LATIN)}
_FEW_WORDS = 10


@lru_cache(maxsize=256)
def _main_script(reply: str) -> str | None:
    """The script of most letters; Japanese where a tenth of Han and kana is kana. None without any."""
    letters = {script: len(pattern.findall(reply)) for script, pattern in _LETTERS.items()}
    if letters[_KANA] * 10 >= letters[_HAN] + letters[_KANA]:
        letters[_KANA] += letters.pop(_HAN)
    script = max(letters, key=lambda script: letters[script])
    return script if letters[script] else None


@_corrects("language:response_language")
def _response_language(reply: str, asked: Asked, language: str) -> bool:
    code = "zh" if language.startswith("zh") else language
    script = _main_script(reply)
    if script is not None:
        codes = _SCRIPTS.get(script, ())
        if codes == (code,):
            return True
        if (code not in codes) if codes else (code in _NOT_LATIN):
            return False
    found = detect_language(reply)
    return found in (None, code) or (code == "zh" and found in ("zh-cn", "zh-tw"))


def _is_english(reply: str) -> bool:
    """English as far as it can be told: langdetect knows no capitals, and guesses from fewer than ten words."""
    if _main_script(reply) not in (_LATIN, None):
        return False
    small = reply.lower()
    return count_words(small, "en") < _FEW_WORDS or detect_language(small) in ("en", None)


@_corrects("change_case:english_capital")
def _english_capital(reply: str, asked: Asked) -> bool:
    return reply.isupper() and _is_english(reply)


@_corrects("change_case:english_lowercase")
def _english_lowercase(reply: str, asked: Asked) -> bool:
    return reply.islower() and _is_english(reply)
