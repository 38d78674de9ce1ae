"""The report's charts as Vega-Lite specifications, made with Altair, and as files for a paper."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from turnswap.core.files import write_whole
from turnswap.core.heat_maps import heat_chart, worded_colour
from turnswap.tasks.multiif.metrics import TURNS

from .compare import Comparison
from .figures import MACRO, POOLED
from .published import published_models, published_scores
from .runs import in_order
from .sheets import SCOPES
from .table import Scores, Summary
from .verdicts import followed_by

# Okabe and Ito's palette, told apart by the colour-blind; its black and yellow vanish in one of the themes.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6bb1", "#7f7f7f")
# So that a line is known without its colour: its points' shape, and the sign of it in a legend of words.
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
SIGNS = "●■▲◆▼✚▶◀"
# What became of an instruction: by whether it was followed before and now, what to call that and its colour.
FLOWS = {
    (True, True): ("still followed", "#009e73"),
    (True, False): ("forgotten", "#d55e00"),
    (False, True): ("corrected", "#56b4e9"),
    (False, False): ("still not followed", "#9aa0a6"),
}
_BARE: dict[str, Any] = {"domain": False, "ticks": False}
_PERCENT = ".1f"
_WIDTH = 380  # pixels of a file, which a PDF takes for 1/72 inch: as wide as the text of most papers
_ROW = 28  # pixels: as high as the two lines in which an instruction's name stands


def turn_lines(
    summaries: Sequence[Summary], scope: str, with_published: bool, on_paper: bool = False
) -> dict[str, Any]:
    """Overall accuracy over the turns in a language, a line per model; on paper in black, with a legend of its own."""
    names, colours = [summary.model.name for summary in summaries], ["black"] if on_paper else list(PALETTE)
    legend = alt.Legend(orient="bottom", columns=1, title=None) if on_paper else None
    shown = [summary for summary in summaries if scope in summary.scopes]
    frame = pd.DataFrame(row for s in shown for row in _turns("model", s.model.name, s.scores(scope)))
    x = alt.X("turn:O", title=None, axis=alt.Axis(labelAngle=0, labelExpr="'turn ' + datum.label", grid=False))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=5))
    colour = alt.Color("model:N", legend=legend, scale=alt.Scale(domain=names, range=colours))
    shape = alt.Shape("model:N", legend=legend, scale=alt.Scale(domain=names, range=list(SHAPES)))
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]] if on_paper else [[1, 0]]
    dash = alt.StrokeDash("model:N", legend=legend, scale=alt.Scale(domain=names, range=dashes))
    told = [alt.Tooltip("turn:O"), *(alt.Tooltip(f"{name}:Q", format=_PERCENT) for name in ("value", "low", "high"))]
    base = alt.Chart(frame).encode(x=x, color=colour, tooltip=[alt.Tooltip("model:N"), *told])
    layers: list[alt.Chart] = []
    wanted = list(summaries[0].model.languages) if scope == MACRO else [scope]
    published = {m.name: scores for m in published_models() if with_published and (scores := m.scores(wanted))}
    if published:
        lines = pd.DataFrame(row for name, scores in published.items() for row in _turns("model", name, scores))
        of = [alt.Tooltip("model:N", title="published"), *told[:2]]
        grey = alt.Chart(lines).encode(x=x, y=y, detail="model:N", tooltip=of)
        line = grey.mark_line(color="#9aa0a6", strokeWidth=1, strokeDash=[4, 3], opacity=0.7)
        layers += [line, grey.mark_point(color="#9aa0a6", size=20, filled=True, opacity=0.7)]
    layers += [
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash),
        base.mark_point(size=50, filled=True, opacity=1).encode(y=y, shape=shape),
    ]
    return _spec(alt.layer(*layers), height=170, described=f"Overall accuracy per turn, {scope}")


def _turns(column: str, name: str, scores: Scores) -> list[dict[str, Any]]:
    """A row per turn: its figure in per cent, with its interval."""
    return [
        {column: name, "turn": turn, **{part: 100 * value for part, value in vars(figure).items()}}
        for turn, figure in zip(TURNS, scores.turns, strict=True)
    ]


def language_heat_map(summary: Summary) -> dict[str, Any]:
    """Overall accuracy by language and turn."""
    codes = list(summary.model.languages)
    frame = pd.DataFrame(row for code in codes for row in _turns("language", code, summary.scores(code)))
    frame["turn"] = "turn " + frame["turn"].astype(str)
    chart = _heat_map(alt.Chart(frame), "language", codes)
    return _spec(chart, _ROW * len(codes), f"Overall accuracy by language and turn, {summary.model.name}")


def instruction_heat_map(summary: Summary, by: str) -> dict[str, Any]:
    """Share of instructions followed (strictly) by ``family`` or ``instruction`` and turn, in a language to choose."""
    frame = followed_by(summary.verdicts, "language", "instruction", "turn").reset_index()
    family = frame["instruction"].str.split(":").str[0]
    frame = frame.assign(family=family, turn="turn " + frame["turn"].astype(str))
    names = sorted(frame[by].unique())
    rows, picker = _of_a_language(frame, f"{by}_language")
    chart = rows.transform_aggregate(asked="sum(asked)", followed="sum(followed)", groupby=[by, "turn"])
    chart = chart.transform_calculate(value="100 * datum.followed / datum.asked")
    layers = _heat_map(chart, by, names, "followed:Q", "asked:Q").add_params(picker)
    return _spec(layers, _ROW * len(names), f"Instructions followed by {by} and turn, {summary.model.name}")


def _of_a_language(frame: pd.DataFrame, name: str) -> tuple[alt.Chart, alt.Parameter]:
    """The rows of one language or of all, and the picker that chooses it."""
    binding = alt.binding_select(options=["all", *in_order(frame["language"])], name="Language ")
    picker = alt.param(name=name, value="all", bind=binding)
    return alt.Chart(frame).transform_filter((picker == "all") | (alt.datum.language == picker)), picker


def _heat_map(chart: alt.Chart, by: str, order: list[str], *told: str, digits: str = _PERCENT, **look: Any) -> Any:
    if not look:  # of what is followed, all panels share one scale
        look = {"colour": worded_colour(0, 100, ("none", "all followed")), "dark": alt.datum.value <= 62}
    value = alt.Tooltip("value:Q", format=digits)
    return heat_chart(
        chart,
        x=alt.X("turn:N", title=None, axis=alt.Axis(orient="top", labelAngle=0, **_BARE)),
        y=alt.Y(f"{by}:N", title=None, scale=alt.Scale(domain=order), axis=_names(order)),
        tooltip=[alt.Tooltip(f"{by}:N"), alt.Tooltip("turn:N"), value, *map(alt.Tooltip, told)],
        digits=digits,
        **look,
    )


def _names(names: Sequence[str]) -> alt.Axis:
    """An axis of rows; names of instructions are long and stand in two lines."""
    lines: dict[str, Any] = {"labelExpr": "split(datum.label, ':')", "labelLineHeight": 13, "labelOffset": -6}
    return alt.Axis(labelLimit=320, **_BARE, **(lines if any(":" in name for name in names) else {}))


def flow_bars(summary: Summary, on_paper: bool = False) -> dict[str, Any]:
    """Forgetting and correction between turns (strict), of the instructions present in both; on paper in greys."""
    verdicts = summary.verdicts
    following = verdicts.assign(turn=verdicts["turn"] - 1)
    both = verdicts.merge(following, on=["language", "key", "turn", "repeat", "slot"], suffixes=("", "_then"))
    both["kind"] = [FLOWS[pair][0] for pair in zip(both["strict"], both["strict_then"], strict=True)]
    both["step"] = [f"turn {turn} to {turn + 1}" for turn in both["turn"]]
    frame = both.groupby(["language", "step", "kind"]).size().rename("n").reset_index()
    kinds, colours = map(list, zip(*FLOWS.values(), strict=True))
    colours = ["#999999", "#ffffff", "#cccccc", "#e8e8e8"] if on_paper else colours
    rows, picker = _of_a_language(frame, "flow_language")
    shares = (
        rows.transform_aggregate(n="sum(n)", groupby=["step", "kind"])
        .transform_joinaggregate(total="sum(n)", groupby=["step"])
        .transform_calculate(share="100 * datum.n / datum.total", order=f"indexof({kinds}, datum.kind)")
        .encode(y=alt.Y("step:N", title=None), order="order:Q")
    )
    x = alt.X("share:Q", title="% of the instructions of both turns", scale=alt.Scale(domain=[0, 100]), stack="zero")
    colour = alt.Color("kind:N").scale(domain=kinds, range=colours).legend(columns=2, orient="bottom", title=None)
    told = ["step:N", "kind:N", "n:Q", alt.Tooltip("share:Q", format=_PERCENT)]
    bars = shares.mark_bar(stroke="#000000", strokeWidth=0.5).encode(x=x, color=colour, tooltip=told)
    wide = shares.transform_filter("datum.share >= 12").mark_text(fontSize=12, color="#000000")
    shown = alt.Text("share:Q", format=".0f")
    chart = alt.layer(bars, wide.encode(x=x.copy().bandPosition(0.5), text=shown, detail="kind:N")).add_params(picker)
    return _spec(chart, 2 * _ROW, f"What became of instructions between turns, {summary.model.name}")


def difference_maps(comparison: Comparison, metric: str) -> dict[str, Any]:
    """B less A in points, by language and turn and by instruction, on one scale: blue where A is better, orange B."""
    found, changed = comparison.differences.query("metric == @metric and gap == gap"), comparison.instructions
    turns = ["mean" if pd.isna(turn) else f"turn {turn}" for turn in found["turn"]]
    gaps = pd.DataFrame({"of": found["language"].replace(SCOPES), "turn": turns, "value": 100 * found["gap"]})
    net = 100 * (changed["gained"] - changed["lost"]) / changed["n"]
    nets = pd.DataFrame({"of": changed["instruction_id"], "turn": "gained - lost", "value": net})
    gaps["better"], nets["better"] = gaps["value"] * (-1 if metric.startswith("forgetting") else 1), nets["value"]
    reach = max(1.0, *gaps["better"].abs(), *nets["better"].abs())
    colour = worded_colour(-reach, reach, ("A better", "B better"), "better", signed=True)
    maps = {}
    for place, frame in (("by-language", gaps), ("by-instruction", nets)):
        order = list(dict.fromkeys(frame["of"]))
        look = {"colour": colour, "digits": "+.1f", "dark": abs(alt.datum.better) > 0.6 * reach}
        chart = _heat_map(alt.Chart(frame), "of", order, **look)
        maps[place] = _spec(chart, _ROW * len(order), f"B - A, {place.replace('-', ' ')}, in points")
    return maps


def scopes_of(summaries: Sequence[Summary]) -> list[str]:
    """What has a panel of lines: the macro mean first, then the languages."""
    found = dict.fromkeys(scope for summary in summaries for scope in summary.scopes if scope != POOLED)
    return sorted(found, key=lambda scope: scope != MACRO)


def panels(summaries: Sequence[Summary], with_published: bool, on_paper: bool = False) -> Iterator[tuple[str, Any]]:
    """Every chart as (name of its place on the page, specification); ``on_paper`` for black and white."""
    for scope in scopes_of(summaries):
        yield f"lines-{scope}", turn_lines(summaries, scope, with_published, on_paper)
    for number, summary in enumerate(summaries):
        yield f"heat-{number}", language_heat_map(summary)
        if summary.model.has_samples:
            yield f"flow-{number}", flow_bars(summary, on_paper)
            for by in ("family", "instruction"):
                yield f"{by}-{number}", instruction_heat_map(summary, by)


def write_charts(summaries: Sequence[Summary], folder: Path) -> list[Path]:
    """Write each chart of the report as SVG and PDF in black on white, named by what it shows; returns the files.

    Raises:
        UserError: the folder cannot be written.
    """
    published = published_scores([summary.model for summary in summaries])
    config = json.loads((files(__package__) / "html" / "paper.json").read_text("utf-8"))
    written: dict[Path, None] = {}
    for _, spec in panels(summaries, bool(published), on_paper=True):
        words = re.sub(r"[^\w.-]+", "-", spec["description"].lower()).strip("-.")
        # Names of models that differ in signs alone are one here.
        stem = next(s for n in count(1) if folder / f"{(s := f'{words}-{n}' if n > 1 else words)}.svg" not in written)
        drawn = {**spec, "width": _WIDTH, "config": config}
        for ending, draw in (("svg", vl_convert.vegalite_to_svg), ("pdf", vl_convert.vegalite_to_pdf)):
            written[write_whole(folder / f"{stem}.{ending}", draw(drawn), "Name another folder.")] = None
    return list(written)


def _spec(chart: Any, height: int, described: str) -> dict[str, Any]:
    sized = chart.properties(width="container", height=height, description=described)
    spec = sized.to_dict(validate=False)
    return {**spec, "config": {}, "autosize": {"type": "fit-x", "contains": "padding"}}
