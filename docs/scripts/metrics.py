"""Every figure that a task of Multi-IF prints, from the code that computes it: a page that pages.py writes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import yaml
from tables import cell

from turnswap.tasks import tasks_path
from turnswap.tasks.multiif import metrics

_HEAD = """\
# Metrics

Made by `python docs/scripts/pages.py` from the code: every figure that a task of Multi-IF prints.

- `turnT` stands for `turn1`, `turn2` and `turn3`. In turn T a reply is graded against all instructions given so far.
  Forgetting and correction are there from turn 2 on.
- ↑: higher is better; ↓: lower is better.
- Shares lie between 0 and 1. A share is `NaN` if there is nothing to count, such as nothing to forget. A count or a
  total is `N/A` if the backend does not tell.
- Group: the groups `multiif` and `leaderboard_multiif` print the plain mean over the languages.
- Source: *paper* is He et al. 2024 ([arXiv 2410.15553](https://arxiv.org/abs/2410.15553), section 4); *ours* is defined
  by turnswap.

[tasks/multiif/metrics.py](../../tasks/multiif/metrics.py) computes all of them;
[Statistics](../explanation/statistics.md) tells where standard errors come from.
"""
_WHEN = {
    "In every run": {},
    "With `--metadata '{\"repeats\": N}'`": {"repeats": 2},
    "With `--metadata '{\"price\": …}'`": {"priced": True},
    'With `--metadata \'{"verdicts": "both"}\'`': {"corrected": True},
}
_AGAIN = {
    metrics.COMPLETED: "the same over conversations whose reply is completed; for forgetting and correction, both",
    metrics.CORRECTED: "the same by [corrected verdicts](corrected.md)",
}


def page() -> str:
    """The page in Markdown.

    Raises:
        KeyError: metrics.toml does not say what a figure means, or says it of one that is not there.
    """
    said = tomllib.loads((Path(__file__).with_suffix(".toml")).read_text("utf-8"))
    parts, seen = [_HEAD], set[str]()
    for title, asked in _WHEN.items():
        names = [name for name in metrics.aggregations(**asked) if name not in seen]
        seen |= set(names)
        parts.append(_section(title, names, said))
    if left := said.keys() - {_base(name) for name in seen}:
        raise KeyError(f"metrics.toml tells of figures that are not there: {', '.join(sorted(left))}")
    return "\n".join(parts)


def _base(name: str) -> str:
    return re.sub(r"^turn\d_", "", name)


def _section(title: str, names: list[str], said: dict[str, dict[str, str]]) -> str:
    """The table of what one setting adds; figures that are others over other replies are told below it."""
    grouped = _of_the_group()
    better, rows, again = metrics.higher_is_better(names), dict[str, str](), dict[str, list[str]]()
    for name in names:
        base = _base(name)
        if base not in said:  # what is there again under a longer name
            suffix = next((end for end in _AGAIN if base.endswith(end) and base.removesuffix(end) in said), None)
            if suffix is None:
                raise KeyError(f"metrics.toml does not say what {base} means.")
            again.setdefault(suffix, []).append(base.removesuffix(suffix))
            continue
        mean = "mean" if {name, f"turn2_{base}"} & grouped else ""
        direction = {True: "↑", False: "↓", None: ""}[better.get(name)]
        means = cell(said[base]["means"])
        shown = re.sub(r"^turn\d", "turnT", name)
        rows[base] = f"| `{shown}` {direction} | {means} | {mean} | {said[base]['source']} |"
    table = ["| figure | what it says | group | source |", "|---|---|---|---|", *rows.values()] if rows else []
    told = [f"`…{suffix}`: {_AGAIN[suffix]}. For {_listed(bases)}." for suffix, bases in again.items()]
    return f"## {title}\n\n" + "\n\n".join(filter(None, ["\n".join(table), *told])) + "\n"


def _of_the_group() -> set[str]:
    """The figures of which the group prints a mean."""
    group = yaml.safe_load((tasks_path() / "multiif" / "multiif.yaml").read_text("utf-8"))
    return {each["metric"] for each in group["aggregate_metric_list"]}


def _listed(bases: Iterable[str]) -> str:
    return ", ".join(f"`{base}`" for base in dict.fromkeys(bases))
