"""Codes of languages and their English names: ``sw`` is ``Swahili`` in the data's column ``language``.

The names of ISO 639-1, and of a few languages that have data sets but no code of two letters. A code may end in a
region or script, as in ``pt-br``: ``Portuguese (BR)``. A language that is not here goes by its ISO 639-3 code of
three letters, which then is its name too.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from importlib.resources import files

from turnswap.core.errors import UserError

NAMES: dict[str, str] = tomllib.loads((files(__package__ or "") / "languages.toml").read_text("utf-8"))
_CODES = {name: code for code, name in NAMES.items()}
_NAME_WITH_PART = re.compile(r"(.+) \(([A-Z]{2}|[A-Z][a-z]{3})\)")
_ISO_639_3 = re.compile(r"[a-z]{3}")


def name_of(code: str) -> str:
    """The English name of a code such as ``sw``, ``pt-br`` or ``quc``.

    Raises:
        UserError: there is no language of this code.
    """
    language, _, part = code.partition("-")
    name = NAMES.get(language, language if _ISO_639_3.fullmatch(language) else "")
    shown = part.title() if len(part) == 4 else part.upper()
    full = f"{name} ({shown})" if part else name
    if not name or code_of(full) != code:
        meant = f" {_CODES[code.title()]} is {code.title()}." if code.title() in _CODES else ""
        raise UserError(
            f"{code!r} is no code of a language.{meant}",
            "Expected one of ISO 639 in small letters, such as sw, with a region or script where needed: pt-br.",
        )
    return full


def code_of(name: str) -> str | None:
    """The code of an English name, such as ``pt-br`` of ``Portuguese (BR)``; None where there is no such language."""
    if divided := _NAME_WITH_PART.fullmatch(name):
        language = code_of(divided[1])
        return None if language is None or "-" in language else f"{language}-{divided[2].lower()}"
    return _CODES.get(name, name if _ISO_639_3.fullmatch(name) else None)


def near_names(name: str) -> list[str]:
    """Names that may have been meant, best first."""
    if name.strip().lower() in NAMES:  # a code in place of the name
        return [NAMES[name.strip().lower()]]
    by_letters = {known.lower(): known for known in _CODES}
    return [by_letters[near] for near in difflib.get_close_matches(name.strip().lower(), by_letters, 3, 0.6)]
