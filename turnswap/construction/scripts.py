"""The scripts that languages are written in, as far as checks of texts depend on them."""

from __future__ import annotations

import tomllib
import unicodedata
from importlib.resources import files

LATIN = "LATIN"
# Scripts with capital letters, and scripts whose words are not parted by spaces.
CASED = frozenset({LATIN, "CYRILLIC", "GREEK", "ARMENIAN"})
UNSPACED = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"})
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


def script_of_character(character: str) -> str:
    """The script of a letter, as its Unicode name has it; ``CJK`` for Han."""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0]


def share_in(text: str, scripts: frozenset[str]) -> float:
    """The share of a text's letters that are of these scripts; 1 where it has none."""
    letters = [character for character in text if character.isalpha()]
    return sum(script_of_character(letter) in scripts for letter in letters) / len(letters) if letters else 1.0
