"""The tidy table: lm-eval's own figures, intervals, what identifies a run, and three formats that agree."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from lm_eval import simple_evaluate

import turnswap
from tests.conftest import Turnswap, make_row, read_results, write_csv
from turnswap.commands.main import main
from turnswap.tasks.multiif.dataset import LANGUAGES
from turnswap.tasks.multiif.metrics import COUNTS, TOTALS

from . import evaluations
from .evaluations import evaluate

ACCURACIES = ("overall_acc", "prompt_strict_acc", "inst_strict_acc", "prompt_loose_acc", "inst_loose_acc")
TRANSITIONS = ("forgetting", "correction", "forgetting_loose", "correction_loose")
SIZES = {"en": 9, "zh": 2, "fr": 5, "ru": 3, "hi": 4, "es": 3, "it": 4, "pt": 6}
EN, FR = ("multiif_en",), ("multiif_fr",)


def mixed(seed: str) -> Any:
    """Replies that follow each instruction in about half of the turns; a comma in the first line is one strictly."""

    def reply(prompt: str) -> str:
        digest = hashlib.sha256((seed + prompt.split("<assistant>")[0] + str(prompt.count("<user>"))).encode()).digest()
        title = ("<<Title>>", "No title")[digest[0] % 2]
        start = ("Sure, here:\n", "")[digest[2] % 2]
        return f"{start}{title}\n\nIt {('rains, we say', 'is dry', 'rains', 'is dry, they say')[digest[1] % 4]}"

    return reply


@pytest.fixture(scope="module", autouse=True)
def _no_hardware_report() -> Iterator[None]:
    """lm-eval asks pip and the machine for seconds about what no test reads."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("torch"):
            patch.setattr("torch.utils.collect_env.get_pretty_env_info", lambda: "")
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All eight languages in different sizes; the second conversation of each has two turns."""
    keyed = [(f"{n}:1:{code}", name, n) for code, name in LANGUAGES.items() for n in range(1, SIZES[code] + 1)]
    rows = [make_row(key, name, turns=2 if n == 2 else 3) for key, name, n in keyed]
    return write_csv(tmp_path_factory.mktemp("data") / "data.csv", rows)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """One model: in one run; by language; English by conversations; and without samples, with standard errors."""
    folder = tmp_path_factory.mktemp("runs")
    evaluate(folder / "all", "org/m", mixed("m"), data=data)
    both = {"data": data, "tasks": (*EN, *FR)}
    evaluate(folder / "two", "org/m", mixed("m"), **both)
    evaluate(folder / "en", "org/m", mixed("m"), data=data, tasks=EN)
    evaluate(folder / "fr", "org/m", mixed("m"), data=data, tasks=FR)
    for name, chosen in (("en-a", [1, 3, 5, 7]), ("en-b", [0, 2, 4, 6, 8])):
        evaluate(folder / name, "org/m", mixed("m"), data=data, tasks=EN, samples={"multiif_en": chosen})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluations, "simple_evaluate", lambda **run: simple_evaluate(**run | {"bootstrap_iters": 100}))
        evaluate(folder / "bare", "org/m", mixed("m"), log_samples=False, **both)
    return folder


@pytest.fixture
def make_table(turnswap: Turnswap, tmp_path: Path) -> Any:
    def make(*arguments: object, name: str = "table.csv") -> pd.DataFrame:
        made = turnswap("table", *arguments, "-o", tmp_path / name)
        assert made.exit_code == 0, made.output
        return pd.read_csv(tmp_path / name, keep_default_na=False, na_values=[""])

    return make


def figure(frame: pd.DataFrame, language: str, turn: int | None, metric: str) -> pd.Series[Any]:
    turns = frame.turn.isna() if turn is None else frame.turn == turn
    (row,) = (row for _, row in frame[(frame.language == language) & turns & (frame.metric == metric)].iterrows())
    return row


# ---------------------------------------------------------------------------------------------- values


def test_every_figure_is_the_one_that_lm_eval_reported_and_macro_its_groups(folders: Path, make_table: Any) -> None:
    frame = make_table(folders / "all")
    content = read_results(folders / "all")
    for code in (*LANGUAGES, "macro"):
        reported = content["groups"]["multiif"] if code == "macro" else content["results"][f"multiif_{code}"]
        compared = 0
        for key, value in reported.items():
            name = key.split(",")[0]
            if name.startswith("turn") and not name.endswith("_stderr") and value != "N/A":
                found = figure(frame, code, int(name[4]), name[6:]).value
                assert found == pytest.approx(value, abs=1e-9, nan_ok=True), (code, name)
                compared += 1
        assert compared >= 19, code


def test_a_scope_has_every_metric_of_every_turn_once(folders: Path, make_table: Any) -> None:
    frame = make_table(folders / "all")
    names = {(t, name) for t in (1, 2, 3) for name in ACCURACIES}
    names |= {(t, name) for t in (2, 3) for name in TRANSITIONS} | {(0, "overall_acc")}
    names |= {(t, f"{name}_completed") for t, name in names}
    names |= {(t, name) for t in (1, 2, 3) for name in COUNTS} | {(0, name) for name in TOTALS}
    assert len(frame) == len(names) * 10
    for code in (*LANGUAGES, "macro", "pooled"):
        of_scope = frame[frame.language == code]
        assert set(zip(of_scope.turn.fillna(0).astype(int), of_scope.metric, strict=True)) == names


def test_overall_average_and_pooled_are_what_they_are_called(folders: Path, make_table: Any) -> None:
    frame = make_table(folders / "all")
    for code in (*LANGUAGES, "macro", "pooled"):
        turns = [figure(frame, code, t, "overall_acc").value for t in (1, 2, 3)]
        assert figure(frame, code, None, "overall_acc").value == pytest.approx(sum(turns) / 3)
        for t in (1, 2, 3):
            four = [figure(frame, code, t, name).value for name in ACCURACIES[1:]]
            assert turns[t - 1] == pytest.approx(sum(four) / 4)
    shares = {code: figure(frame, code, 1, "prompt_strict_acc").value for code in (*LANGUAGES, "pooled")}
    weighted = sum(shares[code] * n for code, n in SIZES.items()) / sum(SIZES.values())
    assert shares["pooled"] == pytest.approx(weighted)
    assert weighted != pytest.approx(sum(shares[code] for code in SIZES) / 8), "the case must tell the two apart"


def test_n_counts_the_conversations_that_have_the_turn(folders: Path, make_table: Any) -> None:
    frame = make_table(folders / "all")
    for turn, missing in ((1, 0), (2, 0), (3, 1)):
        assert figure(frame, "fr", turn, "overall_acc").n == 5 - missing
        assert figure(frame, "pooled", turn, "overall_acc").n == 36 - 8 * missing


def test_every_figure_lies_in_its_interval_and_counts_have_none(folders: Path, make_table: Any) -> None:
    frame = make_table(folders / "all")
    counts = frame.metric.isin((*COUNTS, *TOTALS))
    assert frame[counts][["low", "high", "interval"]].isna().all(axis=None)
    rows = frame[~counts & frame.value.notna()]
    assert len(rows) > 200
    known = rows[rows.low.notna()]  # what rests on one source prompt has none
    assert len(known) > 150
    assert ((known.low <= known.value) & (known.value <= known.high) & (known.low >= 0) & (known.high <= 1)).all()
    assert set(known[known.low < known.high].interval) == {"95% bootstrap"}
    assert set(known[known.low == known.high].interval) == {"95% bootstrap, zero width"}
    assert rows[rows.low.isna()].interval.isna().all()


def test_a_backend_that_does_not_tell_has_no_count_in_any_turn(folders: Path, make_table: Any) -> None:
    frame = make_table(folders / "all")  # the scripted model has no tokenizer
    for name in ("truncated", "overflowing"):
        assert [math.isnan(figure(frame, "en", turn, name).value) for turn in (1, 2, 3)] == [True] * 3, name
    assert figure(frame, "en", 3, "unclosed").value == 0


# --------------------------------------------------------------------------------------------- splits


def test_runs_by_language_and_by_conversations_give_the_table_of_a_whole_run(folders: Path, make_table: Any) -> None:
    whole = make_table(folders / "two")
    by_language = make_table(folders / "fr", folders / "en")
    by_conversation = make_table(folders / "en-b", folders / "fr", folders / "en-a")
    pd.testing.assert_frame_equal(by_language, whole, check_exact=True)
    pd.testing.assert_frame_equal(by_conversation, whole, check_exact=True)
    assert "|n:14/14|" in whole.signature[0]


def test_one_folder_with_all_parts_and_several_models_give_one_table(folders: Path, make_table: Any) -> None:
    frame = make_table(f"A={folders / 'two'}", f"B={folders / 'fr'}")
    assert list(dict.fromkeys(zip(frame.model, frame.language, strict=True))) == [
        *(("A", code) for code in ("en", "fr", "macro", "pooled")),
        ("B", "fr"),
    ]
    assert set(frame.model_name) == {"org/m"}
    assert figure(frame[frame.model == "B"], "fr", 2, "forgetting").value == pytest.approx(
        figure(frame[frame.model == "A"], "fr", 2, "forgetting").value
    )


def test_what_identifies_the_run_stands_in_columns_and_in_the_signature(
    folders: Path, data: Path, make_table: Any
) -> None:
    row = make_table(folders / "en-a", "--seed", 5, "--resamples", 300).iloc[0]
    digest = hashlib.sha256(data.read_bytes()).hexdigest()[:8]
    facts = {"multiif": "1.0", "data": f"csv@{digest}", "gen": "greedy,max_gen_toks:2048", "template": "none"}
    facts |= {"lm-eval": "0.4.13", "turnswap": turnswap.__version__, "repeats": "1"}
    assert {name: str(row[name]) for name in facts} == facts
    assert row.signature.startswith("multiif:1.0|langs:en|n:4/9|")
    assert row.signature.endswith("|unit:source|boot:300,seed:5")
    assert all(f"|{name}:{value}|" in f"|{row.signature}" for name, value in facts.items())


# -------------------------------------------------------------------------------------- without samples


def test_without_samples_intervals_come_from_lm_evals_standard_errors(folders: Path, make_table: Any) -> None:
    frame, reported = make_table(folders / "bare"), read_results(folders / "bare")["results"]
    for turn, metric in ((1, "overall_acc"), (2, "inst_loose_acc"), (3, "correction")):
        errors = []
        for code in ("en", "fr"):
            row = figure(frame, code, turn, metric)
            errors.append(reported[f"multiif_{code}"][f"turn{turn}_{metric}_stderr,none"])
            assert row.value == pytest.approx(reported[f"multiif_{code}"][f"turn{turn}_{metric},none"], abs=1e-12)
            low, value, high = (math.log(x / (1 - x)) for x in (row.low, row.value, row.high))
            reach = 1.959964 * errors[-1] / (row.value * (1 - row.value))
            assert (value - low, high - value) == pytest.approx((reach, reach), rel=1e-6)
            assert 0 < row.low < row.high < 1
        macro = figure(frame, "macro", turn, metric)
        # How far languages move together is not known: as wide as if they did so wholly, never too small.
        assert macro.high - macro.low > 2 * 1.959964 * math.hypot(*errors) / 2
    kind = "95% logit-normal (lm-eval's standard error"
    assert set(frame.interval.dropna().str.removesuffix(", zero width")) == {
        f"{kind})",
        f"{kind}, as if languages moved together)",
    }
    assert "pooled" not in set(frame.language)
    assert "boot:" not in frame.signature[0]


def test_values_without_samples_are_those_with_samples(folders: Path, make_table: Any) -> None:
    bare, sampled = make_table(folders / "bare"), make_table(folders / "two")
    sampled = sampled[sampled.language != "pooled"]
    assert list(bare.value) == pytest.approx(list(sampled.value), abs=1e-9, nan_ok=True)


def test_a_language_without_samples_takes_no_figure_from_the_others(
    folders: Path, make_table: Any, tmp_path: Path
) -> None:
    fr = shutil.copytree(folders / "fr", tmp_path / "fr-bare")
    for samples in fr.rglob("samples_*"):
        samples.unlink()
    frame = make_table(folders / "en-a", folders / "en-b", fr)
    whole = make_table(folders / "two")
    for code in ("en", "fr", "macro"):
        expected = figure(whole, code, 1, "overall_acc").value
        assert figure(frame, code, 1, "overall_acc").value == pytest.approx(expected), code


# --------------------------------------------------------------------------------------------- formats


def test_csv_parquet_and_json_hold_the_same_numbers(folders: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet", "deep/er/t.json"):
        made = turnswap("table", folders / "all", "-o", tmp_path / name)
        assert made.exit_code == 0, made.output
        assert made.output.startswith(f"{(2 * (3 * 5 + 2 * 4 + 1) + 3 * len(COUNTS) + len(TOTALS)) * 10} rows: ")
    parquet = pd.read_parquet(tmp_path / "t.parquet")
    records = json.loads((tmp_path / "deep/er/t.json").read_text("utf-8"))
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == list(records[0]) == list(parquet)
    for column in ("value", "low", "high", "n", "turn"):
        expected = [None if pd.isna(value) else float(value) for value in parquet[column]]
        assert [None if line[column] == "" else float(line[column]) for line in lines] == expected, column
        assert [record[column] for record in records] == expected, column
    for column in ("model", "language", "metric", "multiif", "data", "signature"):
        expected = list(parquet[column])
        assert [line[column] for line in lines] == [record[column] for record in records] == expected, column


def test_a_file_name_that_is_no_table_is_refused(folders: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    made = turnswap("table", folders / "en", "-o", tmp_path / "table.xlsx")
    assert (made.exit_code, isinstance(made.exception, SystemExit)) == (1, True)
    assert ".csv, .parquet, .json" in made.stderr


@pytest.mark.parametrize("where", ["folder.csv", "file/table.csv"])
def test_an_output_that_cannot_be_written_is_an_error_without_a_traceback(
    where: str, folders: Path, turnswap: Turnswap, tmp_path: Path
) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    made = turnswap("table", folders / "en", "-o", tmp_path / where)
    assert made.exit_code != 0
    assert isinstance(made.exception, SystemExit), repr(made.exception)
    assert where in made.stderr


def test_a_seed_that_cannot_be_used_is_an_error_without_a_traceback(folders: Path, turnswap: Turnswap) -> None:
    made = turnswap("table", folders / "en", "-o", "table.csv", "--seed", "-1")
    assert made.exit_code != 0
    assert isinstance(made.exception, SystemExit), repr(made.exception)


def test_a_models_name_cannot_send_escape_codes_to_the_terminal(folders: Path, tmp_path: Path) -> None:
    arguments = ["table", f"\x1b[31mevil\x1b]0;x\x07={folders / 'en'}", "-o", str(tmp_path / "table.csv")]
    made = CliRunner().invoke(main, arguments, color=True)
    assert made.exit_code == 0
    assert "evil" in made.output
    assert "\x1b" not in made.output
