"""What could explain a score other than the model's ability: truncated, overflowing, unclosed replies."""

from __future__ import annotations

from turnswap.tasks.multiif.metrics import TURNS

from .table import Summary

# From this share of a turn's replies on. (A cap that cut 12 % of the turns cost one model 2.7 points.)
_SHARE = 0.01

_MEANINGS = {
    "truncated": "used up their tokens before they ended: raise --gen_kwargs max_gen_toks",
    "overflowing": "came from prompts that did not fit the model's context: what was cut, the model did not see",
    "unclosed": "are a reasoning trace that never ended, graded as empty: raise --gen_kwargs max_gen_toks",
    "ungradeable": "hold an instruction that the published grader would have judged at random",
    "failed": "never came, because their requests failed for good: the figures leave them out",
}


def score_warnings(summary: Summary) -> list[str]:
    """One sentence per kind that concerns at least 1 % of a turn's replies (any, if they failed) or is not told."""
    warnings = []
    scope = summary.headline_scope
    for name, meaning in _MEANINGS.items():
        shares = []
        for turn in TURNS:
            total, n = summary.count(scope, f"turn{turn}_{name}"), summary.n(scope, turn)
            n += (total or 0) if name == "failed" else 0
            if total and (total / n >= _SHARE or name == "failed"):
                shares.append(f"{total / n:.1%} in turn {turn}")
        if shares:
            warnings.append(f"Of the replies {', '.join(shares)} {meaning}.")
    untold = [n for n in ("truncated", "overflowing") if summary.count(scope, f"turn1_{n}") is None]
    if untold:
        warnings.append(f"The backend does not tell which replies are {' or '.join(untold)}.")
    for code, run in summary.model.languages.items():
        if run.n < run.of:
            warnings.append(f"{code}: {run.n} of {run.of} conversations were run.")
    return warnings
