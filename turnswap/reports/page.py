"""The pages of ``turnswap report`` and ``turnswap compare``: self-contained, without network.

For texts from outside see :mod:`turnswap.core.pages`; replies come as compressed blocks in base64, too, which the
script shows with ``textContent``.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from turnswap.core.heat_maps import chart_libraries, drawing_packages
from turnswap.core.pages import json_for_script, render_page
from turnswap.core.progress import progress
from turnswap.tasks.multiif.grading import Verdict
from turnswap.tasks.multiif.languages import name_of

from . import diagnosis_sheets, language_gaps, replies, sheets, terminal, two_sets
from .compare import Comparison
from .published import PROVENANCE, published_scores
from .table import Summary
from .verdicts import GradedTurn
from .words import say_comparison, say_report

_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder for each value
_BLOCK = 64  # conversations per compressed block, pairs whole: one is opened in milliseconds


def build_page(summaries: Sequence[Summary], comparison: Comparison | None = None, metric: str = "") -> str:
    """The HTML of a report, or of a comparison.

    Args:
        summaries: the models, in the order to show them; of a comparison A and B. Those without samples have no
            transcripts.
        comparison: with it the page shows what differs, and both models' replies side by side.
        metric: the one in which that is.

    Raises:
        UserError: the packages that draw the charts are not installed.
    """
    vl_convert = drawing_packages("; or take --format md or terminal")
    from . import charts

    models, paired = [summary.model for summary in summaries], comparison is not None
    published, specs = published_scores(models), charts.difference_maps(comparison, metric) if comparison else {}
    index, blocks = transcripts(summaries, paired)
    specs = specs or dict(progress(charts.panels(summaries, bool(published)), "Drawing charts"))
    values: dict[str, Any] = {"charts": charts, "replies": replies, "sheets": sheets, "terminal": terminal}
    values |= {"language_gaps": language_gaps, "diagnosis_sheets": diagnosis_sheets, "two_sets": two_sets}
    values |= {"summaries": summaries, "comparison": comparison, "metric": metric, "published": published}
    values |= {"source": PROVENANCE, "has_samples": any(model.has_samples for model in models), "blocks": blocks}
    values |= {"specs": json_for_script(specs), "index": json_for_script(index)}
    return render_page(
        "turnswap.reports",
        "compare.html.j2" if paired else "report.html.j2",
        sheets.title_of("Multi-IF, A and B" if paired else "Multi-IF", models),
        ["charts.css", "report.css", "charts.js", "transcripts.js"],
        chart_libraries(vl_convert),
        sentence=say_comparison(comparison) if comparison else say_report(summaries),
        names={code: name_of(code) for model in models for code in model.languages},
        **values,
    )


def transcripts(summaries: Sequence[Summary], paired: bool = False) -> tuple[dict[str, Any], list[str]]:
    """What the transcript browser filters by, and the texts, compressed in blocks.

    Returns:
        The index: names, and per conversation ``[model, language, key, repeat, turns]`` with a turn as
        ``[instructions, strict, loose, corrected strict, corrected loose]`` (numbers, and strings of 0 and 1, or
        ``-`` for what no reply can follow); conversation ``i``'s texts are number
        ``i % block`` of block ``i // block``. ``paired``: of two models with the same conversations, each
        conversation of the first stands before the second's. And the blocks: base64 of gzipped JSON lists of
        ``[prompt, reply, kwargs]`` per turn.
    """
    ids: dict[str, int] = {}
    languages: dict[str, int] = {}
    of_models: list[list[tuple[Any, Any]]] = []
    repeats = min(summary.model.repeats for summary in summaries) if paired else None
    for number, summary in enumerate(summaries):
        of_models.append([])
        for language, key, repeat, turns in _conversations(summary, repeats):
            entry, text = [], []
            for (turn, published), (_, corrected) in zip(turns, summary.corrected[language][key], strict=True):
                slots = [ids.setdefault(id_, len(ids)) for id_ in turn.instruction_ids]
                sets = (published[repeat], corrected[repeat])
                entry.append([slots, *(_bits(verdicts, kind) for verdicts in sets for kind in ("strict", "loose"))])
                kwargs = [", ".join(f"{name}: {_encode(value)}" for name, value in of.items()) for of in turn.kwargs]
                text.append([turn.prompt, turn.replies[repeat], kwargs])
            code = languages.setdefault(language, len(languages))
            of_models[-1].append(([number, code, key, repeat, entry], text))
    ordered = list(chain.from_iterable(zip(*of_models, strict=True) if paired else of_models))
    texts = [text for _, text in ordered]
    index = {
        "models": [summary.model.name for summary in summaries],
        "languages": list(languages),
        "instructions": list(ids),
        "block": _BLOCK,
        "paired": paired,
        "conversations": [entry for entry, _ in ordered],
    }
    starts = progress(range(0, len(texts), _BLOCK), "Compressing transcripts")
    return index, [_compressed(texts[start : start + _BLOCK]) for start in starts]


def _bits(verdicts: Sequence[Verdict], kind: str) -> str:
    return "".join("-" if verdict.unsatisfiable else str(int(getattr(verdict, kind))) for verdict in verdicts)


def _conversations(summary: Summary, repeats: int | None) -> Iterator[tuple[str, str, int, Sequence[GradedTurn]]]:
    for language, conversations in summary.graded.items() if summary.model.has_samples else ():
        for key, turns in conversations.items():
            for repeat in range(len(turns[0].verdicts) if turns else 0)[:repeats]:
                yield language, key, repeat, turns


def _compressed(texts: Any) -> str:
    # Half of a surrogate pair is valid in JSON and not in UTF-8: keep it as an escape.
    raw = json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return base64.b64encode(gzip.compress(raw, 4, mtime=0)).decode("ascii")
