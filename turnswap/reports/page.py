r"""``turnswap report -o report.html``: one self-contained page, without network.

Texts from outside (names, prompts, replies) reach the page in three ways only: through the template, which
escapes them; as JSON in which ``<`` is written ``\u003c``; and as compressed blocks in base64, which the script
shows with ``textContent``. A Content-Security-Policy allows the page's own scripts alone, by hash.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turnswap import __version__
from turnswap.core.heat_maps import chart_libraries, drawing_packages
from turnswap.core.pages import json_for_script, render_page
from turnswap.core.progress import progress
from turnswap.tasks.multiif.grading import Verdict
from turnswap.tasks.multiif.languages import name_of

from .diagnosis_sheets import diagnosis_sheets
from .published import SOURCE, published_scores
from .replies import MEANINGS, completed_note, reply_sheets, score_warnings
from .sheets import SCOPES, interval, percent, points
from .table import Summary
from .two_sets import two_sets_sheets
from .verdicts import Graded, GradedTurn

_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder for each value
_BLOCK = 64  # conversations per compressed block: one is opened in milliseconds


def build_page(summaries: Sequence[Summary], graded: Mapping[str, Graded], corrected: Mapping[str, Graded]) -> str:
    """The page's HTML.

    Args:
        summaries: the models, in the order to show them.
        graded: by model, see :func:`.verdicts.published_verdicts`; models without samples have no transcripts.
        corrected: likewise, by the corrected rules.

    Raises:
        UserError: the packages that draw the charts are not installed.
    """
    vl_convert = drawing_packages("; or take --format md or terminal")
    from .charts import colour_of, panels, scopes_of

    published = published_scores([summary.model for summary in summaries])
    index, blocks = transcripts(summaries, graded, corrected)
    return render_page(
        "turnswap.reports",
        "report.html.j2",
        script="report.js",
        styles=["charts.css", "report.css"],
        libraries=chart_libraries(vl_convert),
        version=__version__,
        summaries=summaries,
        colours=colour_of(summaries),
        published=published,
        source=SOURCE,
        over=SCOPES,
        scopes=scopes_of(summaries),
        names={code: name_of(code) for summary in summaries for code in summary.model.languages},
        specs=json_for_script(dict(progress(panels(summaries, graded, bool(published)), "Drawing charts"))),
        index=json_for_script(index),
        blocks=blocks,
        graded=graded,
        corrected=corrected,
        two_sets_sheets=two_sets_sheets,
        diagnosis=diagnosis_sheets(summaries, graded, whole=True),
        completed_note=completed_note,
        reply_sheets=reply_sheets,
        meanings=MEANINGS,
        percent=percent,
        points=points,
        interval=interval,
        score_warnings=score_warnings,
    )


def transcripts(
    summaries: Sequence[Summary], graded: Mapping[str, Graded], corrected: Mapping[str, Graded]
) -> tuple[dict[str, Any], list[str]]:
    """What the transcript browser filters by, and the texts, compressed in blocks.

    Returns:
        The index: names, and per conversation ``[model, language, key, repeat, turns]`` with a turn as
        ``[instructions, strict, loose, corrected strict, corrected loose]`` (numbers, and strings of 0 and 1, or
        ``-`` for what no reply can follow); conversation ``i``'s texts are number
        ``i % block`` of block ``i // block``. And the blocks: base64 of gzipped JSON lists of
        ``[prompt, reply, kwargs]`` per turn.
    """
    ids: dict[str, int] = {}
    languages: dict[str, int] = {}
    entries: list[Any] = []
    texts: list[Any] = []
    for number, summary in enumerate(summaries):
        name = summary.model.name
        for language, key, repeat, turns in _conversations(graded.get(name, {})):
            entry, text = [], []
            for graded_turn, corrected_turn in zip(turns, corrected[name][language][key], strict=True):
                turn = graded_turn.turn
                slots = [ids.setdefault(id_, len(ids)) for id_ in turn.instruction_ids]
                sets = (graded_turn.verdicts[repeat], corrected_turn.verdicts[repeat])
                entry.append([slots, *(_bits(verdicts, kind) for verdicts in sets for kind in ("strict", "loose"))])
                text.append([turn.prompt, turn.replies[repeat], [_kwargs(kwargs) for kwargs in turn.kwargs]])
            entries.append([number, languages.setdefault(language, len(languages)), key, repeat, entry])
            texts.append(text)
    index = {
        "models": [summary.model.name for summary in summaries],
        "languages": list(languages),
        "instructions": list(ids),
        "block": _BLOCK,
        "conversations": entries,
    }
    starts = progress(range(0, len(texts), _BLOCK), "Compressing transcripts")
    return index, [_compressed(texts[start : start + _BLOCK]) for start in starts]


def _bits(verdicts: Sequence[Verdict], kind: str) -> str:
    return "".join("-" if verdict.unsatisfiable else str(int(getattr(verdict, kind))) for verdict in verdicts)


def _conversations(graded: Graded) -> Iterator[tuple[str, str, int, Sequence[GradedTurn]]]:
    for language, conversations in graded.items():
        for key, turns in conversations.items():
            for repeat in range(len(turns[0].verdicts) if turns else 0):
                yield language, key, repeat, turns


def _kwargs(kwargs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {_encode(value)}" for name, value in kwargs.items())


def _compressed(texts: Any) -> str:
    # Half of a surrogate pair is valid in JSON and not in UTF-8: keep it as an escape.
    raw = json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return base64.b64encode(gzip.compress(raw, 4, mtime=0)).decode("ascii")
