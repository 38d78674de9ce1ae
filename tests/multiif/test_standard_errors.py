"""lm-eval's own standard errors: over source prompts, which the languages of a group share."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from lm_eval.api.metrics import mean_stderr

from tests.conftest import make_row, read_results, write_csv
from tests.reports.evaluations import evaluate, follows_share
from turnswap.reports.figures import FIGURES, Resampling
from turnswap.reports.reading import Reading, read_models
from turnswap.reports.table import Summary
from turnswap.tasks.multiif.metrics import OfSource, ratio
from turnswap.tasks.multiturn.lm_eval_contract import WithStandardError, standard_error


def test_twins_of_one_source_prompt_count_once() -> None:
    alone = [OfSource((held, 1), str(n)) for n, held in enumerate([1, 0, 0, 1, 1, 0, 1])]
    twins = [pair for pair in alone for _ in range(2)]
    independent = [tuple(pair) for pair in twins]
    figures = [WithStandardError(ratio)(items) for items in (alone, twins, independent)]
    assert figures == pytest.approx([4 / 7] * 3)
    one, other, naive = (mean_stderr(items) for items in (alone, twins, independent))
    assert other == pytest.approx(one)
    assert naive == pytest.approx(one * math.sqrt(6 / 13))


def test_the_error_of_a_ratio_over_source_prompts_agrees_with_a_bootstrap_over_them() -> None:
    generator = np.random.default_rng(1)
    pairs = []
    for source in range(200):
        hard = generator.normal()
        for _ in range(generator.integers(1, 4)):
            asked = generator.integers(1, 4)
            pairs.append(OfSource((generator.binomial(asked, 1 / (1 + math.exp(hard))), asked), str(source)))
    _, deviations = ratio(pairs)
    assert sum(deviations.values()) == pytest.approx(0, abs=1e-12)
    by_source = np.array([[sum(p[i] for p in pairs if p.source == str(s)) for i in (0, 1)] for s in range(200)])
    drawn = by_source[generator.integers(0, 200, (4000, 200))].sum(axis=1)
    assert standard_error(deviations.values()) == pytest.approx((drawn[:, 0] / drawn[:, 1]).std(), rel=0.06)


def test_one_source_prompt_has_no_error() -> None:
    items = [OfSource((1, 1), "a"), OfSource((0, 1), "a")]
    assert WithStandardError(ratio)(items) == 0.5
    assert math.isnan(mean_stderr(items))


def test_a_value_that_knows_its_source_prompt_is_sent_between_ranks_and_written_as_a_pair() -> None:
    sent = pickle.loads(pickle.dumps(OfSource(((1, 1), (0, 2)), "1019")))
    assert (sent, sent.source) == (((1, 1), (0, 2)), "1019")


def test_the_groups_error_knows_that_translations_share_their_source_prompts(tmp_path: Path) -> None:
    languages = {"en": "English", "fr": "French", "es": "Spanish"}
    rows = [make_row(f"{n}:1:{code}", name) for code, name in languages.items() for n in range(60)]
    data = write_csv(tmp_path / "data.csv", rows)
    (tmp_path / "tasks").mkdir()
    for code, name in languages.items():
        (tmp_path / "tasks" / f"mine_{code}.yaml").write_text(
            "class: !function turnswap.tasks.multiif.task.MultiIF\n"
            f"dataset_path: mine\ntask: mine_{code}\ndataset_name: {name}\noutput_type: generate_until\n"
            f"metadata: {{version: 1.0, data_file: {data}}}\n"
        )
    metric = "- {metric: turn1_overall_acc, aggregation: mean, weight_by_size: false}"
    sized = "- {metric: turn2_overall_acc, aggregation: mean, weight_by_size: true}"
    (tmp_path / "tasks" / "mine.yaml").write_text(
        f"group: mine\ntask: [mine_en, mine_fr, mine_es]\naggregate_metric_list:\n  {metric}\n  {sized}\n"
    )

    def reply(prompt: str) -> str:
        same = prompt.replace(":fr", ":en").replace(":es", ":en")
        return follows_share(0.5)(same)

    evaluate(tmp_path / "run", "org/m", reply, tasks=("mine",), include=tmp_path / "tasks", bootstrap_iters=10)
    found = read_results(tmp_path / "run")["results"]
    alone = found["mine_en"]["turn1_overall_acc_stderr,none"]
    assert alone > 0.03
    # Three times the same is no more than once: lm-eval by itself would divide by the square root of three.
    assert found["mine"]["turn1_overall_acc_stderr,none"] == pytest.approx(alone)
    assert found["mine"]["turn2_overall_acc_stderr,none"] == "N/A"
    (model,) = read_models([str(tmp_path / "run")], Reading())
    macro = Summary(model, Resampling(2000)).estimates["macro"]
    drawn = macro.replicates[:, FIGURES.index("turn1_overall_acc")].std()
    assert found["mine"]["turn1_overall_acc_stderr,none"] == pytest.approx(drawn, rel=0.1)
