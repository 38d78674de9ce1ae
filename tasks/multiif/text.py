"""What the published grader sees in a reply: its language, its words, its sentences.

Every count depends on the language that langdetect finds *in the reply*, not on the language of the
conversation: ``count_words`` and ``count_sentences`` of the published Multi-IF grader (arXiv 2410.15553).
Detection costs milliseconds and the counts microseconds, so :func:`decide_by_method` asks for the language
only where the verdict depends on it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import TypeVar

import emoji
from nltk.tokenize import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
from punkt.data import load_bundled

from .langid import LanguageIdentifier, profiles

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are
T = TypeVar("T")

# ---------------------------------------------------------------------------------------------- language

_language_identifier = cache(LanguageIdentifier)  # two threads that ask first each load its profiles: no harm


@cache
def known_languages() -> frozenset[str]:
    """The language codes that langdetect can return (``zh-cn`` and ``zh-tw``, never ``zh``)."""
    return frozenset(path.name for path in profiles())


def detect_language(text: str) -> str | None:
    """langdetect's code for ``text``, seeded with 0 before each detection; None where it finds no features."""
    return _detect(_language_identifier().key(text))


@lru_cache(maxsize=4096)
def _detect(key: str) -> str | None:
    return _language_identifier().detect(key)


# ------------------------------------------------------------------------------------------------ methods

# The counting methods of the published grader, and the languages that select each.
GENERAL, CJK, THAI, HINDI = "general", "cjk", "thai", "hindi"
_METHOD_OF_LANGUAGE = {"th": THAI, "hi": HINDI, "zh-cn": CJK, "zh-tw": CJK, "zh": CJK, "ja": CJK}

# In langdetect's profiles English is at least as probable as Thai for every n-gram without one of these
# characters (a test holds this against the installed profiles), so other text cannot be found to be Thai.
_MAY_BE_THAI = re.compile(r"[\u0e00-\u0e7f\u30a0-\u30ff\u31f0-\u31ff\u4e00-\u9fff\ufffd]")


def decide_by_method(text: str, verdict_of: Mapping[str, Callable[[], bool]]) -> bool:
    """The verdict under the method that the detected language selects.

    ``verdict_of`` maps each method to a function that gives the verdict under it; a language whose method is
    not in it is counted the general way, and so is text whose language cannot be detected (published: "en").
    """
    if THAI not in verdict_of or not _MAY_BE_THAI.search(text):
        verdicts = {verdict() for method, verdict in verdict_of.items() if method != THAI}
        if len(verdicts) == 1:
            return verdicts.pop()
    return by_method(text, verdict_of)()


def by_method(text: str, choices: Mapping[str, T]) -> T:
    """What stands under the method that the detected language selects; see :func:`decide_by_method`."""
    method = _METHOD_OF_LANGUAGE.get(detect_language(text) or "en", GENERAL)
    return choices.get(method, choices[GENERAL])


# -------------------------------------------------------------------------------------------------- words

_CJK_PUNCTUATION = re.compile(
    r"""[\\.\!\?\．\/_,\{\}<>:;$%^&*(+\"\'+——！，。？、`~@#￥……（）：；《）《》“”()\[\]»〔〕\-「」]"""
)
# Every emoji holds one of these; those made of an ASCII character hold a variation selector or a keycap too.
_EMOJI_CHARACTERS = frozenset(character for character in "".join(emoji.EMOJI_DATA) if not character.isascii())
_CJK_CHARACTER = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7af]")


def count_words(text: str) -> int:
    r"""Words of ``text`` as the published grader counts them in general: matches of ``re``'s ``\w+``.

    Never through NLTK, whose regex engine splits Devanagari differently from version to version.
    """
    return len(re.findall(r"\w+", text))


def count_words_cjk(text: str) -> int:
    """Chinese and Japanese: each Han, kana or hangul character, each other word between spaces, each emoji."""
    text = _CJK_PUNCTUATION.sub("", text)
    emojis = 0
    if not _EMOJI_CHARACTERS.isdisjoint(text):  # saves looking for emoji in most text, which is slow
        emojis = emoji.emoji_count(text)
        text = emoji.replace_emoji(text, "")
    others, characters = _CJK_CHARACTER.subn(" ", text)
    return characters + emojis + len(others.split())


def count_words_thai(text: str) -> int:
    """Thai: pythainlp's words; the general count where pythainlp is not installed (see :func:`thai_available`)."""
    if not thai_available():
        return count_words(text)
    from pythainlp.tokenize import word_tokenize

    return len(word_tokenize(text))


@cache
def thai_available() -> bool:
    """Whether pythainlp is there; warns once where it is not.

    No language of Multi-IF needs it: it matters only for a reply that langdetect takes for Thai.
    """
    try:
        import pythainlp.tokenize  # noqa: F401
    except ImportError:
        log.warning(
            "A reply was found to be Thai and pythainlp is not installed: its words and sentences are counted as "
            "in other languages, and the verdict is reported as ungradeable. For the published count: "
            "pip install 'turnswap[thai]'"
        )
        return False
    return True


def counted_without_pythainlp(text: str) -> bool:
    """Whether a count of ``text`` would need pythainlp and cannot have it."""
    return bool(_MAY_BE_THAI.search(text)) and detect_language(text) == "th" and not thai_available()


# ---------------------------------------------------------------------------------------------- sentences

_HINDI_SENTENCE_END = re.compile(r"(?<=[।!?])")
_CJK_SENTENCE = re.compile(r"[^!?。\.\!\?\！\？\．\n]+[!?。\.\!\?\！\？\．\n]?")


# A word of letters alone, its full stop, and a word behind it. (What else is white space depends on NLTK's version.)
_WORD_STOP_WORD = re.compile(r"([^\W\d_]{2,})\.[ \n]+[^\W\d_]")
# The first stop is one of these, and no word sticks to it.
_MARK = re.compile(r"""[^.!?]*[!?](?=[)";}\]*:@'({\[!?]|[ \n]+\S)""")


class _Punkt(PunktSentenceTokenizer):
    """NLTK's Punkt, which decides the plain cases without taking their context apart, and the same context once."""

    def __init__(self, parameters: PunktParameters) -> None:
        super().__init__(parameters)
        # Words that Punkt does not always end a sentence behind.
        self._doubtful = parameters.abbrev_types | {first for first, _ in parameters.collocations}
        self._taken_apart: Callable[[str], bool] = lru_cache(maxsize=16_384)(super().text_contains_sentbreak)

    def text_contains_sentbreak(self, text: str) -> bool:
        """Whether a sentence ends at a possible stop, given the word before it and what follows it."""
        # "!" and "?" are tokens of their own and always end a sentence, as something follows.
        if _MARK.match(text):
            return True
        # Behind a word of two letters or more, which is no initial, a full stop ends a sentence unless the word is an
        # abbreviation, or is known to go with the next word.
        plain = _WORD_STOP_WORD.match(text)
        if plain and plain[1].lower() not in self._doubtful:
            return True
        return self._taken_apart(text)


@cache
def punkt(language: str) -> PunktSentenceTokenizer:
    """NLTK's Punkt with a language's model, whose data comes from a package instead of a download."""
    model = load_bundled(language)
    parameters = PunktParameters()
    parameters.abbrev_types = set(model.abbrev_types)
    parameters.collocations = set(model.collocations)
    parameters.sent_starters = set(model.sent_starters)
    parameters.ortho_context.update(model.ortho_context)
    return _Punkt(parameters)


def split_sentences(text: str) -> list[str]:
    """Sentences by NLTK's Punkt with the English model, which the published grader uses for most languages."""
    return list(punkt("english").tokenize(text))


def most_sentences(text: str) -> int:
    """At most so many: Punkt ends a sentence behind ``.``, ``?`` or ``!`` alone. Saves splitting where it decides."""
    return 1 + sum(map(text.count, ".?!"))


def count_sentences_cjk(text: str) -> int:
    """Chinese and Japanese: per line, stripped, stretches that end at a full stop, question or exclamation mark."""
    return sum(len(_CJK_SENTENCE.findall(line.strip())) for line in text.splitlines())


def count_sentences_hindi(text: str) -> int:
    """Hindi: non-blank parts behind a danda, an exclamation or a question mark."""
    return sum(1 for part in _HINDI_SENTENCE_END.split(text) if part.strip())


def count_sentences_thai(text: str) -> int:
    """Thai: pythainlp's sentences, line by line; Punkt's where pythainlp is not installed."""
    if not thai_available():
        return len(split_sentences(text))
    from pythainlp.tokenize import sent_tokenize

    # Its tagger raises SystemError on half a surrogate pair.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return sum(len(sent_tokenize(line)) for line in text.splitlines())


# ----------------------------------------------------------------------------------------------- treebank

_word_tokenizer = NLTKWordTokenizer()


def word_tokens(text: str) -> list[str]:
    """``nltk.word_tokenize``: Punkt's sentences, each split by NLTK's word tokenizer."""
    return [token for sentence in split_sentences(text) for token in _word_tokenizer.tokenize(sentence)]


# Words that the tokenizer cuts in two; it leaves every other stretch of letters whole.
_CUT_WORDS = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})
# Marks without a case: a token of letters in capitals is one whether they stay with it or are cut off.
_AROUND_WORDS = '.,;:!?"()[]{}*_#<>-«»“”„…—–'


def capital_word_bounds(text: str) -> tuple[int, int]:
    """How many of the :func:`word_tokens` are in capitals, at least and at most. Saves tokenizing where it decides."""
    least = most = 0
    for chunk in text.split():
        if chunk.islower():
            continue
        letters = chunk.strip(_AROUND_WORDS)
        if letters.isalpha() and letters.lower() not in _CUT_WORDS:
            least += letters.isupper()
            most += letters.isupper()
        else:
            most += sum(map(str.isupper, chunk))
    return least, most
