"""Every key of a layerswap.yml, from what mergekit is given: a page that pages.py writes."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tables import cell, kind_of, written

from turnswap.merge_methods.configuration import OF_A_DONOR, SHARED, SPECS

_HEAD = """\
# Every key of a layerswap.yml

Made by `python docs/scripts/pages.py` from the code. An example with comments is
[configs/layerswap.yml](../../configs/layerswap.yml); [Swap layers](../how_to/layer_swap.md)
tells how to use the keys. mergekit reads the file. Its keys `slices`, `modules`, `tokenizer` and
`tokenizer_source` are refused for a swap.

## The top level

| key | meaning |
|---|---|
"""
_PARAMETERS = """
## `parameters`

At the top level a parameter is for all models; under a model, where the table says so, it is that donor's own.
mergekit's `filter:` gives a parameter another value for some tensors.

| key | type | default | under a donor | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """The page in Markdown."""
    said = tomllib.loads((Path(__file__).parent / "keys.toml").read_text("utf-8"))
    top = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in said["layerswap"].items())
    rows = []
    for name, spec in SPECS.items():
        place = "only there" if name not in SHARED else "yes" if name in OF_A_DONOR else "no"
        meaning = cell(said["swap"][name])
        rows.append(f"| `{name}` | {kind_of(spec.value_type)} | {written(spec.default)} | {place} | {meaning} |\n")
    return _HEAD + top + _PARAMETERS + "".join(rows)
