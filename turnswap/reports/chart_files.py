"""``turnswap report --charts DIR``: the report's charts as SVG and PDF, for a paper: black on white."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.core.files import write_whole
from turnswap.core.heat_maps import drawing_packages

from .charts import panels
from .published import published_scores
from .table import Summary
from .verdicts import Graded

_WIDTH = 380  # pixels, which a PDF takes for 1/72 inch: as wide as the text of most papers


def write_charts(summaries: Sequence[Summary], graded: Mapping[str, Graded], folder: Path) -> list[Path]:
    """Write each chart of the report as ``….svg`` and ``….pdf``, named by what it shows; returns the files.

    Raises:
        UserError: the packages that draw are not installed, or the folder cannot be written.
    """
    vl_convert = drawing_packages("; or leave --charts out")
    published = published_scores([summary.model for summary in summaries])
    written: dict[Path, None] = {}
    for _, spec in panels(summaries, graded, bool(published), on_paper=True):
        words = re.sub(r"[^\w.-]+", "-", spec["description"].lower()).strip("-.")
        path, number = folder / words, 1
        while path.with_name(f"{path.name}.svg") in written:  # of two names that differ in their signs alone
            number += 1
            path = folder / f"{words}-{number}"
        drawn = _on_paper(spec)
        for ending, draw in ((".svg", vl_convert.vegalite_to_svg), (".pdf", vl_convert.vegalite_to_pdf)):
            written[write_whole(path.with_name(path.name + ending), draw(drawn), "Name another folder.")] = None
    return list(written)


def _on_paper(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The chart in black on white, at a width of its own."""
    paper: dict[str, Any] = json.loads(json.dumps(spec).replace("currentColor", "black"))
    config = {**paper["config"], "background": "white", "font": "Helvetica, Arial, sans-serif"}
    return {**paper, "width": _WIDTH, "config": config}
