"""Every key of a data set's YAML, from the settings' classes: a page that pages.py writes."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any

from tables import SECTION, cell, given, is_section, keys_of, kind_of

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

Made by `python docs/scripts/pages.py` from the code. A whole example with comments is
[configs/build_sw_ko.yaml](../../configs/build_sw_ko.yaml);
[Build a data set in your language](../how_to/build.md) tells what the steps do.
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
    rows, inner = [], []
    said = dict.fromkeys(_STEPS, "") if kind is BuildSettings else {}
    for key in keys_of(kind, said):
        section = given(key.hint) if is_section(given(key.hint)) else None
        if kind is BuildSettings and key.hint == typing.get_type_hints(BuildSettings)["seeds"]:
            section = _STEPS[key.name]
        if section:
            inner.append((f"{name}.{key.name}".lstrip("."), section))
        kind_told = SECTION if section else kind_of(key.hint)
        rows.append(f"| `{key.name}` | {kind_told} | {key.default} | {cell(key.meaning)} |")
    title = f"`{name}`" if name else "The top level"
    yield f"## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    for each in inner:
        yield from _sections(*each)
