"""Every key of a data set's YAML, from the settings' classes.

python docs/scripts/build_keys.py > docs/reference/build_keys.md
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any

from turnswap.construction.audit import AuditSettings
from turnswap.construction.conflicts import ConflictSettings
from turnswap.construction.extend import ExtendSettings
from turnswap.construction.filter import FilterSettings
from turnswap.construction.plain_words import plain_words
from turnswap.construction.prove import ProveSettings
from turnswap.construction.seeds import SeedSettings
from turnswap.construction.steps import BuildSettings, ReleaseSettings
from turnswap.construction.translate import TranslateSettings
from turnswap.tasks.multiif.instructions import INSTRUCTIONS

_STEPS: dict[str, Any] = {
    "seeds": SeedSettings,
    "extend": ExtendSettings,
    "conflicts": ConflictSettings,
    "translate": TranslateSettings,
    "filter": FilterSettings,
    "audit": AuditSettings,
    "prove": ProveSettings,
    "release": ReleaseSettings,
}
_HEAD = """\
# Every key of a data set's YAML

Made by `python docs/scripts/build_keys.py > docs/reference/build_keys.md`; a test holds this page against the code. A
whole example with comments is [configs/build_sw_ko.yaml](../../configs/build_sw_ko.yaml);
[build.md](../how_to/build.md) tells what the steps do.
"""


_INSTRUCTIONS = """\
## Instructions

What `instruction_ids` and `kwargs` of a seed's turn may hold. A turn of a seed, the second of two, as one line of JSON:

```json
{"prompt": "Use at most 50 words.", "instruction_ids": ["punctuation:no_comma", "length_constraints:number_words"], \
"kwargs": [{}, {"relation": "less than", "num_words": 51}]}
```

| id | kwargs | what a reply must do |
|---|---|---|"""


def page() -> str:
    """The page in Markdown.

    Raises:
        KeyError: a key is described nowhere, or the top level has a section that is not named above.
    """
    return "\n".join([_HEAD, *_sections("", BuildSettings), _instructions()])


def _instructions() -> str:
    """A table of what seeds may ask for: ids, their kwargs, and what they mean."""
    said = plain_words().instructions
    rows = []
    for id_, instruction in INSTRUCTIONS.items():
        kwargs = "; ".join(f"`{name}`: {kwarg.expected}" for name, kwarg in instruction.kwargs.items())
        meaning = re.sub(
            r"\{(\w+)(?::[^}]*\|([^}]*))?\}", lambda m: f"`{m[1]}` {m[2] or ''}".strip(), said.get(id_, "")
        )
        rows.append(f"| `{id_}` | {kwargs} | {meaning} |")
    return "\n".join([_INSTRUCTIONS, *rows, ""])


def _sections(name: str, kind: Any) -> Iterator[str]:
    """A table of the keys of a class, and those of the sections in it."""
    hints, told = {name: _given(hint) for name, hint in typing.get_type_hints(kind).items()}, meanings(kind)
    rows, inner = [], []
    for field in dataclasses.fields(kind):
        section = hints[field.name] if dataclasses.is_dataclass(hints[field.name]) else None
        if kind is BuildSettings and hints[field.name] == typing.get_type_hints(BuildSettings)["seeds"]:
            section = _STEPS[field.name]
        if section:
            inner.append((f"{name}.{field.name}".lstrip("."), section))
        kind_told = "a section, below" if section else _type(hints[field.name])
        meaning = "" if kind is BuildSettings and section in _STEPS.values() else told[field.name]
        rows.append(f"| `{field.name}` | {kind_told} | {_default(field)} | {meaning} |")
    title = f"`{name}`" if name else "The top level"
    yield f"## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    for each in inner:
        yield from _sections(*each)


def _given(hint: Any) -> Any:
    """What a section that may be left out is where it is given."""
    sections = [each for each in typing.get_args(hint) if dataclasses.is_dataclass(each)]
    return sections[0] if sections else hint


def meanings(kind: Any) -> dict[str, str]:
    """What the ``Attributes`` of a class and its parents say, by name; ``a, b: ...`` says it of both."""
    told: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        text = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2]
        for names, meaning in re.findall(r"^    (\w[\w, ]*): (.*(?:\n     +.*)*)", text, re.MULTILINE):
            plain = re.sub(r":\w+:`\.?~?([^`]+)`", r"`\1`", " ".join(meaning.split())).replace("``", "`")
            told |= dict.fromkeys(names.split(", "), plain.replace("|", "\\|"))
    return told


_WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "tuple": "list",
    "Any": "anything",
}


def _type(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    text = re.sub(r"\b(?:[a-z_]+\.)+", "", text).replace(" | None", "").replace(", ...", "")
    text = re.sub(r"Optional\[(.*)\]", r"\1", text).replace("Literal", "one of ").replace("|", "or")
    return re.sub(r"\b\w+\b", lambda word: _WORDS.get(word[0], word[0].lower()), text)


def _default(field: Any) -> str:
    if field.default is not dataclasses.MISSING:
        return (
            ""
            if field.default in (None, (), "")
            else f"`{str(field.default).replace('True', 'true').replace('False', 'false')}`"
        )
    return "**needed**" if field.default_factory is dataclasses.MISSING else ""


if __name__ == "__main__":
    sys.stdout.write(page())
