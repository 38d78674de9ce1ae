"""A seed's searches, all by ``turnswap search``: by the skill in B, zero-shot, and the table's figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from lm_eval.tasks import TaskManager

from turnswap.sweeps import outputs, suite
from turnswap.sweeps.rows import Search
from turnswap.sweeps.search import run
from turnswap.sweeps.settings import read_settings

from .settings import Settings

SKILL_A, SKILL_B = "cross_lingual_skill_a", "cross_lingual_skill_b"
METRIC = "exact_match"


class Searches:
    """The searches of a seed, each in a folder of its own in ``home``, in which it goes on.

    The lists selected on are others than those reported on, and so are the texts.
    """

    def __init__(self, settings: Settings, seed: int, home: Path) -> None:
        self.settings, self.seed, self.home = settings, seed, home
        self.select = f":0-{settings.select - 1}"
        self.report = f":{settings.select}-{settings.select + settings.report - 1}"

    def by_skill(self) -> Search:
        """The best of the grid by the skill in B."""
        return self._choose("by_skill", select_on=[SKILL_B + self.select])

    def zero_shot(self) -> Search:
        """The best of the grid as a search chooses that never looks at the skill in B."""
        text = str(self.home / "data" / "select.txt")
        return self._choose("zero_shot", zero_shot={"text": text, "source": [SKILL_A + self.select], "metric": METRIC})

    def rows(self, recipient: str, donor: str, swaps: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The table's figures of two models, their average and swaps of them, by name: nothing is chosen here."""
        of_b = {"skill_b": METRIC, "right_numbers_b": "right_numbers", "own_language_b": "own_language"}
        objectives: dict[str, Any] = {
            name: {"tasks": [SKILL_B + self.report], "metric": metric} for name, metric in of_b.items()
        }
        objectives["skill_a"] = {"tasks": [SKILL_A + self.report], "metric": METRIC}
        objectives["perplexity_b"] = {"perplexity": str(self.home / "data" / "report.txt")}
        more = {"objectives": objectives, "held_out": 0, "controls": 0, "averages": []}
        done = self._search(f"rows_{recipient}", recipient, donor, swaps=dict(swaps), **more)
        found = {}
        for row in done.rows:
            assert row.select is not None
            one, figures = row.configuration, done.roles["select"].figures(row.select)
            facts = {"parameters": dict(one.parameters), "layers": one.layers}
            for name in (one.name, *one.also):  # a swap may be the same as another
                found[name] = {"row": name, **facts} | {figure: value for figure, (value, _) in figures.items()}
        return found

    def _choose(self, name: str, **objectives: Any) -> Search:
        grid = {"bottom": f"0-{self.settings.bottom}", "top": f"0-{self.settings.top}", "transition": "0"}
        more = {"grid": grid, "sampler": "grid", "averages": list(self.settings.averages)}
        more |= {"report_on": [SKILL_B + self.report], "metric": METRIC}
        return self._search(name, "recipient", "donor", **more, **objectives)

    def _search(self, name: str, recipient: str, donor: str, **more: Any) -> Search:
        content = {
            "recipient": str(self.home / recipient),
            "donor": str(self.home / donor),
            "seed": self.seed,
            "batch_size": self.settings.select,
            "device": "cpu",
            "model_args": {"dtype": "float32"},
            "include_path": str(Path(__file__).parent / "tasks"),
            "metadata": {"study_data": str(self.home / "data")},
        }
        # Listing lm-eval's own tasks takes seconds, and none of them is needed.
        with mock.patch.object(suite, "TaskManager", partial(TaskManager, include_defaults=False)):
            done = run(read_settings(None, content | more), self.home / name, lambda _: None)
        outputs.write_outputs(done, self.home / name, "search")
        return done
