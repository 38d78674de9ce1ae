"""Templates of the sentences that state instructions, a file per language beside this one: ``CODE.toml``.

A template is a whole sentence for one instruction and one relation. In braces stand kwargs; behind a colon the forms of
what a number, or a list of words, counts: ``{num_words:one=# word|# words}``. A form is for a plural category of the
language (Unicode CLDR) or for one number (``1=``), the last form for all others; ``#`` is the number, or the words.
``ordinal`` before the forms takes the categories of ordinals.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from string import Formatter

from turnswap.core.errors import UserError, require_packages
from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.instructions.patterns import PATTERNS
from turnswap.tasks.multiif.instructions.spec import ANY_COUNT, COUNT, RELATION

_FILES = files(__package__)
_RELATIONS = ("at least", "less than")
_CATEGORIES = ("zero", "one", "two", "few", "many")
_FORM = re.compile(rf"(?:({'|'.join(_CATEGORIES)}|\d+)=)?([^=]*)", re.DOTALL)
_PLURAL = "".join(f"{name} {{{name}}}" for name in (*_CATEGORIES, "other"))


@dataclass(frozen=True)
class Wording:
    """What a file of templates says.

    Attributes:
        code: the language's.
        quoted: how the language quotes a word, ``#``.
        comma: what stands between the words of a list.
        languages: names of languages, in the form that the templates need, by code.
        sentences: templates by instruction id, with the relation behind it where the instruction has one.
    """

    code: str
    quoted: str
    comma: str
    languages: Mapping[str, str]
    sentences: Mapping[str, Sequence[str]]


class Counted:
    """A kwarg in a template: its text, in a form by its number."""

    def __init__(self, number: int, text: str, code: str) -> None:
        self.number, self.text, self.code = number, text, code

    def __format__(self, forms: str) -> str:
        if not forms:
            return self.text
        ordinal = forms.startswith("ordinal ")
        category = _category(self.number, self.code, "selectordinal" if ordinal else "plural")
        by_key = dict(_forms(forms.removeprefix("ordinal ")))
        form = by_key.get(str(self.number)) or by_key.get(category) or by_key[""]
        return form.replace("#", self.text)


def _forms(forms: str) -> list[tuple[str, str]]:
    """Keys and forms; the key of the last one is empty.

    Raises:
        ValueError: a key is no category or number, or the last form has one.
    """
    found = [_FORM.fullmatch(form) for form in forms.split("|")]
    made = [(match[1] or "", match[2]) for match in found if match]
    if len(made) < len(found) or [not key for key, _ in made] != [False] * (len(made) - 1) + [True]:
        raise ValueError(f"{forms!r} are no forms; expected such as one=# word|# words, the last one without a key")
    return made


@lru_cache(maxsize=4096)
def _category(number: int, code: str, kind: str) -> str:
    require_packages("Sentences of instructions need", ["icu4py"], "build")
    from icu4py.messageformat import MessageFormat

    return MessageFormat(f"{{n, {kind}, {_PLURAL}}}", code).format({"n": number})


def read_wording(text: str, code: str) -> Wording:
    """A file of templates.

    Raises:
        UserError: it lacks a part, or a template names what its instruction has not, or leaves out what it has.
    """
    try:
        content = tomllib.loads(unicodedata.normalize("NFC", text))
        wording = Wording(code, **content)
        for key, templates in wording.sentences.items():
            for template in templates:
                _check_template(key, template)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"The wording of {code} cannot be used: {error}.",
            "See turnswap/construction/wording/en.toml for a whole one.",
        ) from None
    return wording


def _check_template(key: str, template: str) -> None:
    id_, _, relation = key.partition(" ")
    instruction = INSTRUCTIONS.get(id_)
    if instruction is None or relation not in (_RELATIONS if RELATION in instruction.kwargs.values() else ("",)):
        raise ValueError(f"{key!r} is no instruction, or lacks its relation")
    named: dict[str, list[str]] = {name: [] for name, kwarg in instruction.kwargs.items() if kwarg is not RELATION}
    for _, name, forms, conversion in Formatter().parse(template):
        if name is None:
            continue
        if name not in named or conversion:
            raise ValueError(f"{template!r} names {{{name}}}; {id_} has {', '.join(named) or 'no kwargs'}")
        named[name].append(forms or "")
        if forms and instruction.kwargs[name] not in (COUNT, ANY_COUNT, PATTERNS):
            raise ValueError(f"{template!r} has forms of {name}, which counts nothing")
        if forms:
            _forms(forms.removeprefix("ordinal "))
    if lacking := [name for name, forms in named.items() if not any(map(_shows, forms))]:
        raise ValueError(f"{template!r} lacks {{{lacking[0]}}}")


def _shows(forms: str) -> bool:
    return not forms or all("#" in form for form in forms.split("|"))


def languages() -> list[str]:
    """The codes of the languages that have templates."""
    return sorted(path.name.removesuffix(".toml") for path in _FILES.iterdir() if path.name.endswith(".toml"))


@lru_cache
def wording_of(language: str) -> Wording | None:
    """The wording of a language; that of its base where it has a region (``pt-br``), save for two kinds of Chinese."""
    base = language.partition("-")[0]
    code = language if language in languages() else base
    if code not in languages() or (base == "zh" and language != "zh"):
        return None
    return read_wording((_FILES / f"{code}.toml").read_text("utf-8"), code)
