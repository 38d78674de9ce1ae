"""The sentences that state instructions, of templates per language: ``wording/CODE.toml``.

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
from functools import lru_cache, partial
from importlib.resources import files
from string import Formatter

from turnswap.core.errors import UserError, require_packages
from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.instructions.language import LANGUAGE
from turnswap.tasks.multiif.instructions.patterns import PATTERNS
from turnswap.tasks.multiif.instructions.spec import ANY_COUNT, COUNT, RELATION

from .instructions import Draw
from .instructions.making import Kwargs, listed, text_kwargs

_WORDING = files(__package__) / "wording"
_RELATIONS = ("at least", "less than")
_CATEGORIES = ("zero", "one", "two", "few", "many")
_FORM = re.compile(rf"(?:({'|'.join(_CATEGORIES)}|\d+)=)?([^=]*)", re.DOTALL)
_PLURAL = "".join(f"{name} {{{name}}}" for name in (*_CATEGORIES, "other"))
MARKER = re.compile(r"⟦\d+⟧")  # see Separated
_SPACES = re.compile(r"[^\S\n]+")


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


class _Counted:
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
    if len(made) < len(found) or [key for key, _ in made].index("") < len(made) - 1:
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
    except (TypeError, ValueError) as error:
        raise UserError(
            f"The wording of {code} cannot be used: {error}.",
            "See turnswap/construction/wording/en.toml for a whole one.",
        ) from None
    return wording


def _check_template(key: str, template: str) -> None:
    id_, relation = _parted(key)
    instruction = INSTRUCTIONS.get(id_)
    if instruction is None or bool(relation) != (RELATION in instruction.kwargs.values()):
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


def _parted(key: str) -> tuple[str, str]:
    id_, _, relation = key.partition(" ")
    return id_, relation if relation in _RELATIONS else ""


def languages() -> list[str]:
    """The codes of the languages that have templates."""
    return sorted(path.name.removesuffix(".toml") for path in _WORDING.iterdir() if path.name.endswith(".toml"))


@lru_cache
def _wording(language: str) -> Wording | None:
    """The wording of a language; that of its base where it has a region (``pt-br``), save for two kinds of Chinese."""
    base = language.partition("-")[0]
    code = language if language in languages() else base
    if code not in languages() or (base == "zh" and language != "zh"):
        return None
    return read_wording((_WORDING / f"{code}.toml").read_text("utf-8"), code)


def sentences(id: str, kwargs: Kwargs, language: str, blanks: bool = False) -> list[str]:
    """All sentences that state an instruction in a language, in the order of its templates.

    Args:
        id: the instruction's.
        kwargs: its kwargs, parsed.
        language: a code; one without templates has no sentences, and an unknown instruction has none either.
        blanks: whether names of kwargs stand in braces in place of texts that a translation translates.
    """
    wording, instruction = _wording(language), INSTRUCTIONS.get(id)
    if wording is None or instruction is None:
        return []
    texts = text_kwargs(id, kwargs) if blanks else []
    values: dict[str, _Counted] = {}
    key = id
    for name, kwarg in instruction.kwargs.items():
        value = kwargs[name]
        shown = [f"{{{name}}}" if name in texts else str(each) for each in listed(value)]
        if kwarg is RELATION:
            key = f"{id} {value}"
        elif kwarg is LANGUAGE:
            code = "zh" if value == "zh-cn" else str(value)
            if code not in wording.languages:
                return []
            values[name] = _Counted(1, wording.languages[code], wording.code)
        elif kwarg is PATTERNS:
            quoted = [wording.quoted.replace("#", each) for each in shown]
            values[name] = _Counted(len(shown), wording.comma.join(quoted), wording.code)
        else:
            values[name] = _Counted(value if isinstance(value, int) else 1, shown[0], wording.code)
    return [unicodedata.normalize("NFC", each.format(**values)) for each in wording.sentences.get(key, ())]


def sentence(id: str, kwargs: Kwargs, language: str, draw: Draw) -> str | None:
    """One of :func:`sentences`, drawn; None where there are none."""
    options = sentences(id, kwargs, language)
    return draw.one(options) if options else None


def stated(prompt: str, id: str, kwargs: Kwargs, language: str) -> bool:
    """Whether one of :func:`sentences` stands in a prompt verbatim, blanks aside."""
    return stating(prompt, id, kwargs, language) is not None


def stating(prompt: str, id: str, kwargs: Kwargs, language: str) -> str | None:
    """That sentence as it stands in the prompt; None where there is none."""
    text = unicodedata.normalize("NFC", prompt)
    found = [match[0] for each in sentences(id, kwargs, language) if (match := _finder(each).search(text))]
    return max(found, key=len, default=None)


def _finder(sentence: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)" + r"[^\S\n]+".join(map(re.escape, _SPACES.split(sentence))))


@dataclass(frozen=True)
class Separated:
    """A sentence that a marker stands for.

    Attributes:
        position: the instruction's, from 0; its marker shows the number from 1.
        variant: the template's, from 0.
    """

    position: int
    variant: int

    @property
    def marker(self) -> str:
        """Such as ⟦1⟧."""
        return f"⟦{self.position + 1}⟧"


Instructions = Sequence[tuple[str, Kwargs]]


def separate(prompt: str, instructions: Instructions, language: str, into: str) -> tuple[str, list[Separated]]:
    """The prompt with a marker in place of each sentence that is verbatim a template's, and what the markers stand for.

    Only instructions that have sentences in the language ``into``, too, are looked for. Where nothing is found, the
    prompt is as it was.
    """
    text = unicodedata.normalize("NFC", prompt)
    found: list[Separated] = []
    options = [
        (each, Separated(position, variant))
        for position, instruction in enumerate(instructions)
        if sentences(*instruction, into)
        for variant, each in enumerate(sentences(*instruction, language))
    ]
    for each, separated in sorted(options, key=lambda option: -len(option[0])):
        if "⟦" in prompt or separated.position in (other.position for other in found):
            continue
        # A function: in a text the marker's letters would be read as a pattern's.
        text, count = _finder(each).subn(partial(_marked, separated.marker), text, count=1)
        found += [separated] * count
    return (text, found) if found else (prompt, [])


def _marked(marker: str, match: re.Match[str]) -> str:
    return marker


def put_back(
    text: str, instructions: Mapping[int, tuple[str, Kwargs]], language: str, separated: Sequence[Separated]
) -> str:
    """The text with the sentences of a language in place of their markers.

    Args:
        text: with markers.
        instructions: at least those that markers stand for, by position, with the kwargs of that language.
        language: a code.
        separated: what the markers stand for, see :func:`separate`.

    Raises:
        ValueError: a marker is not there as often as it should be: once.
    """
    for each in separated:
        if (count := text.count(each.marker)) != 1:
            raise ValueError(f"a mark is lost or added: {each.marker} occurs {count} times, not once")
    for each in separated:
        options = sentences(*instructions[each.position], language)
        text = text.replace(each.marker, options[each.variant % len(options)])
    return text
