"""The scripts of languages, and words to construct replies from: a conversation's own, and a language's commonest.

Whether a constructed reply passes may hang on the language that langdetect finds in it, so words are ranked by how
clearly they speak for a language: by langdetect's own profiles, n-gram by n-gram.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from math import exp, log

import regex

from turnswap.tasks.multiif.langid import LanguageIdentifier
from turnswap.tasks.multiif.text import known_languages

LATIN = "LATIN"
# Scripts with capital letters, and scripts whose words are not parted by spaces.
CASED = frozenset({LATIN, "CYRILLIC", "GREEK", "ARMENIAN"})
UNSPACED = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"})
# What a word of a script with spaces goes on with: none of a script without them, of Hangul only Hangul.
_HANGUL = r"[[\p{L}\p{M}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]]"
_OTHER = rf"[{_HANGUL}--\p{{Hangul}}]"
_RIGHT_TO_LEFT = frozenset({"ARABIC", "HEBREW", "THAANA"})
# Scripts whose vowel signs belong to words for a reader, and not for Python's ``\w``.
_INDIC = "DEVANAGARI BENGALI GURMUKHI GUJARATI ORIYA TAMIL TELUGU KANNADA MALAYALAM SINHALA"
VOWEL_SIGNS = frozenset([*_INDIC.split(), "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"])
_LEAST = 1e-7  # stands for the probability of an n-gram that a profile lacks
_LONGEST_UNSPACED = 4  # characters of a script without spaces that go as one word
_TABLES: dict[str, dict[str, str]] = tomllib.loads((files(__package__) / "scripts.toml").read_text("utf-8"))
_OF_LANGUAGE = {
    language: frozenset(names.split(","))
    for names, languages in _TABLES["languages"].items()
    for language in languages.split()
}


def scripts_of(language: str) -> frozenset[str]:
    """The scripts of a language by its code: a script in the code itself (``sr-latn``) decides, else the table."""
    base, _, part = language.partition("-")
    if part in _TABLES["codes"]:
        return frozenset({_TABLES["codes"][part]})
    return _OF_LANGUAGE.get(base, frozenset({LATIN}))


def direction_of(language: str) -> str:
    """How a text in it runs, as HTML's ``dir``: ``rtl``, ``ltr``, or ``auto`` where it is written both ways."""
    scripts = scripts_of(language)
    return "rtl" if scripts <= _RIGHT_TO_LEFT else "auto" if scripts & _RIGHT_TO_LEFT else "ltr"


def script_of_character(character: str) -> str:
    """The script of a letter, as its Unicode name has it; ``CJK`` for Han."""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0]


def share_in(text: str, scripts: frozenset[str]) -> float:
    """The share of a text's letters that are of these scripts; 1 where it has none."""
    letters = [character for character in text if character.isalpha()]
    return sum(script_of_character(letter) in scripts for letter in letters) / len(letters) if letters else 1.0


def occurs(word: str, text: str) -> bool:
    """Whether a word or phrase stands in a text; see :func:`times`."""
    return times(word, text) > 0


def times(word: str, text: str) -> int:
    """How often a word or phrase stands in a text, case and width ignored.

    A letter or digit at its ends must begin or end a word there. A word ends where a script without spaces begins, as
    in AIを, and in Korean particles follow without a space. In scripts without spaces it may stand anywhere. Vowel
    signs belong to the letter that they follow.
    """
    word, text = (" ".join(unicodedata.normalize("NFKC", each).casefold().split()) for each in (word, text))
    first = script_of_character(word[0])
    goes_on = _HANGUL if first == "HANGUL" else _OTHER
    before = f"(?<!{goes_on})" if regex.match(_OTHER, word[0], regex.V1) or first == "HANGUL" else ""
    behind = f"(?!{_OTHER})" if regex.match(_OTHER, word[-1], regex.V1) else ""
    return len(regex.findall(before + regex.escape(word) + behind, text, regex.V1))


def words_of(texts: Iterable[str]) -> list[str]:
    """The distinct words of texts, in small letters: runs of letters, cut up where the script has no spaces."""
    words: dict[str, None] = {}
    for text in texts:
        letters = "".join(c if unicodedata.category(c)[0] in "LM" else " " for c in text.lower())
        for word in letters.split():
            if script_of_character(word[0]) in UNSPACED:
                pieces = [word[at : at + _LONGEST_UNSPACED] for at in range(0, len(word), _LONGEST_UNSPACED)]
                words |= dict.fromkeys(pieces)
            elif len(word) > 1:
                words[word] = None
    return list(words)


@lru_cache(maxsize=64)
def common_words(language: str) -> tuple[str, ...]:
    """Words of two or three letters that langdetect's profile of a language holds, the clearest first.

    None for a language that langdetect does not know. A word is there if its beginning, middle and end are.
    """
    profile = _profile(language)
    if profile is None:
        return ()
    index = _identifier().languages.index(profile)
    known = {gram for gram, chances in _identifier().probabilities.items() if chances[index] > 0}
    words = [each for each in known if len(each) > 1 and each.isalpha() and each.islower() == each.lower().islower()]
    whole = [word for word in words if {" " + word[:2], word[-2:] + " "} <= known]
    return tuple(clearest(whole or words, profile)[:60])


def clearest(words: Iterable[str], language: str, *, capitals: bool = False) -> list[str]:
    """The words, those first that speak most clearly for a language of langdetect's: by likelihood ratio per n-gram.

    The order stays as it is where langdetect does not know the language. Words are given in small letters;
    ``capitals`` says that they will be written in capitals, of which langdetect looks at first letters only.
    """
    profile = _profile(language)
    if profile is None:
        return list(words)
    return sorted(words, key=lambda word: (-_clarity(word.upper() if capitals else word, profile), word))


def likelihoods(text: str, languages: Iterable[str]) -> dict[str, float]:
    """How likely a text is of each of these languages and of none else, together 1, by langdetect's profiles.

    Languages that langdetect does not know are left out.
    """
    profiles = {language: profile for language in languages if (profile := _profile(language))}
    known, grams = _identifier().languages, _ngrams(" ".join(text.lower().split()))
    chances = [found for gram in grams if (found := _identifier().probabilities.get(gram))]
    total = {
        language: sum(log(each[known.index(profile)] + _LEAST) for each in chances)
        for language, profile in profiles.items()
    }
    best = max(total.values(), default=0.0)
    # n-grams overlap: each letter is in six of them
    weights = {language: exp((each - best) / 6) for language, each in total.items()}
    return {language: weight / sum(weights.values()) for language, weight in weights.items()}


def _profile(language: str) -> str | None:
    """langdetect's code: it has profiles of ``zh-cn`` and ``zh-tw``, and of other languages without a region."""
    base = "zh-cn" if language.startswith("zh") else language.partition("-")[0]
    return next((code for code in (language, base) if code in known_languages()), None)


_identifier = cache(LanguageIdentifier)


@lru_cache(maxsize=65_536)
def _clarity(word: str, language: str) -> float:
    index, probabilities = _identifier().languages.index(language), _identifier().probabilities
    total, grams = 0.0, _ngrams(word)
    for chances in filter(None, map(probabilities.get, grams)):
        others = max(*chances[:index], *chances[index + 1 :])
        total += log(chances[index] + _LEAST) - log(others + _LEAST)
    return total / (len(grams) or 1)


def _ngrams(word: str) -> Sequence[str]:
    if word.isupper() and not word.islower():
        return [word[0], " " + word[0]]
    padded = f" {word} "
    grams = [padded[at : at + size] for size in (1, 2, 3) for at in range(len(padded) - size + 1)]
    return [gram for gram in grams if gram != " "]
