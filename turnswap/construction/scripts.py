"""The scripts that languages are written in, as far as checks of texts depend on them."""

from __future__ import annotations

import unicodedata

LATIN = "LATIN"
# Scripts with capital letters, and scripts whose words are not parted by spaces.
CASED = frozenset({LATIN, "CYRILLIC", "GREEK", "ARMENIAN"})
UNSPACED = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"})
# Names of scripts as they open the Unicode names of their letters; a language that is not here is taken for Latin.
_LANGUAGES = """
ARABIC ar ckb fa ks ps sd ug ur; ARMENIAN hy; BENGALI as bn; CANADIAN iu; CJK yue zh; CJK,HIRAGANA,KATAKANA ja;
CYRILLIC ab av ba be bg ce cv kk kv ky mk mn os ru tg tt uk; DEVANAGARI bho hi mai mr ne sa; ETHIOPIC am ti;
GEORGIAN ka; GREEK el; GUJARATI gu; GURMUKHI pa; HANGUL ko; HEBREW he yi; KANNADA kn; KHMER km; LAO lo; MALAYALAM ml;
MEETEI,BENGALI mni; MYANMAR my; OL sat; ORIYA or; SINHALA si; TAMIL ta; TELUGU te; THAANA dv; THAI th; TIBETAN bo dz;
YI ii; CYRILLIC,LATIN sr; ARABIC,LATIN ku
"""
_OF_LANGUAGE = {
    language: frozenset(names.split(","))
    for names, *languages in (entry.split() for entry in _LANGUAGES.split(";"))
    for language in languages
}
# Codes of ISO 15924 that a language's code may end in.
_CODES = """
arab ARABIC; beng BENGALI; cyrl CYRILLIC; deva DEVANAGARI; guru GURMUKHI; hans CJK; hant CJK; hebr HEBREW; latn LATIN;
mtei MEETEI; tfng TIFINAGH
"""
_OF_CODE = dict(entry.split() for entry in _CODES.split(";"))


def scripts_of(language: str) -> frozenset[str]:
    """The scripts of a language by its code: a script in the code itself (``sr-latn``) decides, else the table."""
    base, _, part = language.partition("-")
    if part in _OF_CODE:
        return frozenset({_OF_CODE[part]})
    return _OF_LANGUAGE.get(base, frozenset({LATIN}))


def script_of_character(character: str) -> str:
    """The script of a letter, as its Unicode name has it; ``CJK`` for Han."""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0]


def share_in(text: str, scripts: frozenset[str]) -> float:
    """The share of a text's letters that are of these scripts; 1 where it has none."""
    letters = [character for character in text if character.isalpha()]
    return sum(script_of_character(letter) in scripts for letter in letters) / len(letters) if letters else 1.0
