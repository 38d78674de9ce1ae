"""Every key of a search's YAML, from its settings' classes: a page that pages.py writes."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tables import keys_of, table

from turnswap.merge_methods.configuration import OF_A_DONOR
from turnswap.sweeps.settings import AXES, Measure, Settings, ZeroShot

_HEAD = """\
# Every key of a search.yml and a sweep.yml

Made by `python docs/scripts/pages.py` from the code. `turnswap search` and `turnswap sweep` read the same keys.
Examples with comments are [configs/search.yml](../../configs/search.yml) and
[configs/sweep.yml](../../configs/sweep.yml); [Search for layer swaps](../how_to/search.md) tells
what a search does. Options of the commands override keys of the same name.
"""
_SPACE = """\
## `space`

A dimension is a list (one of them is drawn), a range (`0-8`, `0.2-0.8`), or `{low: 0, high: 1, step: 0.25}`. If a space
has `bottom` or `top`, then those of `bottom`, `top` and `transition` that it does not name are 0.
"""


def page() -> str:
    """The page in Markdown."""
    said = tomllib.loads((Path(__file__).parent / "keys.toml").read_text("utf-8"))
    space = "".join(f"- `{name}`: {meaning}\n" for name, meaning in said["space"].items())
    dimensions = ", ".join(f"`{name}`" for name in (*OF_A_DONOR, "revert", "seed"))
    parts = [
        _HEAD,
        "## The top level\n",
        table(list(keys_of(Settings, said["search"]))),
        f"## `grid`\n\nA parameter of a swap, with a list of values: {', '.join(f'`{name}`' for name in AXES)}.\n",
        _SPACE,
        f"{space}- {dimensions}: as [in a layerswap.yml](swap_keys.md).\n\n"
        "Under a donor's role (`donor`, `donor2`, …) dimensions are its own.\n",
        "## `objectives.NAME`\n\nOne of `tasks` (with `metric`), `perplexity` and `replies_in` (with `prompts`).\n",
        table(list(keys_of(Measure, said["measure"]))),
        "## `zero_shot`\n",
        table(list(keys_of(ZeroShot, said["zero_shot"]))),
    ]
    return "\n".join(parts)
