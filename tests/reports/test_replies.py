"""Replies that are cut, repeated, filtered or paid for: what tables, reports and pages say of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Turnswap, make_row, read_results, write_csv
from turnswap.reports.figures import Resampling
from turnswap.reports.reading import Reading, read_models
from turnswap.reports.replies import completed_note, reply_sheets, sampling_error, score_warnings
from turnswap.reports.runs import Model
from turnswap.reports.table import Summary

from .evaluations import FOLLOWS, evaluate
from .made import made
from .test_terminal import rows_of

EN = ("multiif_en",)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four conversations; the third is truncated from turn 2 on, the fourth never ends its reasoning in turn 3."""
    folder = tmp_path_factory.mktemp("cut")
    data = write_csv(folder / "four.csv", [make_row(f"{n}:1:en") for n in (1, 2, 3, 4)])

    def reply(prompt: str) -> str:
        turn = prompt.count("<user>")
        if "about 3:" in prompt and turn > 1:
            return "Much, and more. " * 5
        return "<think>Hm" if "about 4:" in prompt and turn > 2 else FOLLOWS

    return evaluate(
        folder / "results", "org/cut", reply, data=data, tasks=EN, model="scripted-tokens", gen_kwargs="max_gen_toks=80"
    )


@pytest.fixture(scope="module")
def thrice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four conversations, three replies to each turn; the second replies of the first two follow nothing."""
    folder = tmp_path_factory.mktemp("thrice")
    data = write_csv(folder / "four.csv", [make_row(f"{n}:1:en") for n in (1, 2, 3, 4)])
    asked: dict[str, Iterator[int]] = {}

    def reply(prompt: str) -> str:
        time = next(asked.setdefault(prompt.partition("<assistant>")[0] + str(prompt.count("<user>")), count()))
        return "No, no" if time == 1 and ("about 1:" in prompt or "about 2:" in prompt) else FOLLOWS

    return evaluate(folder / "results", "org/thrice", reply, data=data, tasks=EN, metadata={"repeats": 3})


def results_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_results(folder)["results"]["multiif_en"]
    return found


def figures_of(turnswap: Turnswap, folder: Path, tmp_path: Path) -> pd.DataFrame:
    done = turnswap("table", folder, "-o", tmp_path / "t.csv")
    assert done.exit_code == 0, done.output
    return pd.read_csv(tmp_path / "t.csv").set_index(["turn", "metric"])


# -------------------------------------------------------------------------------------- completed replies


def test_lm_eval_reports_the_figures_over_completed_replies_with_their_errors(cut: Path) -> None:
    results = results_of(cut)
    assert [results[f"turn{turn}_completed,none"] for turn in (1, 2, 3)] == [4, 3, 2]
    assert [results[f"turn{turn}_truncated,none"] for turn in (1, 2, 3)] == [0, 1, 1]
    assert [results[f"turn{turn}_unclosed,none"] for turn in (1, 2, 3)] == [0, 0, 1]
    assert [results[f"turn{turn}_empty,none"] for turn in (1, 2, 3)] == [0, 0, 1]
    assert [results[f"turn{turn}_prompt_strict_acc,none"] for turn in (1, 2, 3)] == [1, 0.75, 0.5]
    for turn in (1, 2, 3):
        assert results[f"turn{turn}_prompt_strict_acc_completed,none"] == 1
        assert results[f"turn{turn}_overall_acc_completed,none"] == 1
        assert "turn1_overall_acc_completed_stderr,none" in results
    assert results["turn2_forgetting,none"] == 0.25
    assert results["turn2_forgetting_completed,none"] == 0


def test_a_report_shows_them_beside_the_others_with_how_many_they_rest_on(turnswap: Turnswap, cut: Path) -> None:
    output = turnswap("report", cut, "--format", "md").output
    headline = rows_of(output, "Multi-IF, en")
    assert [cell.split()[0] for cell in headline["org/cut"][1:3]] == ["100.0", "75.0"]
    assert [cell.split()[0] for cell in headline["org/cut, completed"][:4]] == ["100.0"] * 4
    assert "neither truncated nor unclosed, 4 of 4 in turn 1, 3 of 4 in turn 2, 2 of 4 in turn 3." in output
    by_language = rows_of(output, "org/cut: overall accuracy over completed replies")
    assert by_language["en"] == [*["100.0 \\[zero width\\]"] * 3, "4 3 2"]
    counts = rows_of(output, "org/cut: replies")
    assert counts["completed"] == ["4", "3", "2"]
    assert counts["empty"] == ["0", "0", "1"]
    assert counts["refused"] == ["0", "0", "0"]
    assert output.count("25.0% in turn 3") == 2  # truncated and unclosed; the empty one is the unclosed


def test_a_table_has_them_with_the_number_of_replies(turnswap: Turnswap, cut: Path, tmp_path: Path) -> None:
    frame, results = figures_of(turnswap, cut, tmp_path), results_of(cut)
    for turn, n in ((1, 4), (2, 3), (3, 2)):
        row = frame.loc[(turn, "overall_acc_completed")]
        assert (row.value, row.n) == (results[f"turn{turn}_overall_acc_completed,none"], n)
        assert row.low <= row.value <= row.high
        assert frame.loc[(turn, "overall_acc")].n == 4


def test_without_samples_they_have_lm_evals_errors(turnswap: Turnswap, cut: Path, tmp_path: Path) -> None:
    (samples,) = cut.rglob("samples_*.jsonl")
    hidden = samples.rename(tmp_path / "samples")
    try:
        output = turnswap("report", cut, "--format", "md").output
    finally:
        hidden.rename(samples)
    assert rows_of(output, "Multi-IF, en")["org/cut, completed"][0] == "100.0"
    assert "3 of 4 in turn 2" in output


def test_the_page_shows_them_and_says_what_each_count_means(open_report: Any, cut: Path) -> None:
    opened = open_report(cut)
    rows = opened.page.locator("#headline ~ .scroll tbody tr").all_inner_texts()
    assert rows[1].startswith("org/cut, completed")
    section = opened.page.inner_text("section[aria-labelledby=replies]")
    assert "org/cut: overall accuracy over completed replies" in section
    assert "held back by the endpoint's content filter" in section
    assert opened.complaints == []


def test_where_all_replies_are_completed_or_none_is_known_nothing_is_added(turnswap: Turnswap, thrice: Path) -> None:
    assert completed_note(made("whole", en=[(1, 1, 1)] * 3)) is None
    output = turnswap("report", thrice).output
    assert "completed replies are" not in output
    assert ", completed" not in output
    assert "does not tell which replies are truncated or overflowing; so there are no figures over completed" in output


# ------------------------------------------------------------------------------------------------ repeats


def test_lm_eval_reports_how_many_repeats_there_were_and_how_they_differ(thrice: Path) -> None:
    results = results_of(thrice)
    assert results["repeats,none"] == 3
    assert results["turn1_prompt_strict_acc,none"] == pytest.approx(10 / 12)
    for turn in (1, 2, 3):
        assert (results[f"turn{turn}_right_in_all,none"], results[f"turn{turn}_right_in_any,none"]) == (0.5, 1)
        # The repeats' figures are 1, 0.5 and 1.
        assert results[f"turn{turn}_prompt_strict_acc_spread,none"] == pytest.approx(0.5 / 3**0.5)
    assert results["turn1_overall_acc_spread,none"] == pytest.approx(0.5 / 3**0.5)


def test_reports_and_tables_show_repeats(turnswap: Turnswap, thrice: Path, tmp_path: Path) -> None:
    output = turnswap("report", thrice, "--format", "md").output
    rows = rows_of(output, "org/thrice: 3 repeats")
    assert [cell.split()[0] for cell in rows["right in all of 3"]] == ["50.0"] * 3
    assert [cell.split()[0] for cell in rows["right in any of 3"]] == ["100.0"] * 3
    assert rows["spread, prompt-level strict"] == ["28.9"] * 3
    frame, results = figures_of(turnswap, thrice, tmp_path), results_of(thrice)
    for name in ("right_in_all", "overall_acc_spread", "prompt_strict_acc_spread"):
        assert frame.loc[(2, name)].value == pytest.approx(results[f"turn2_{name},none"])
    assert set(frame["repeats"]) == {3}


def test_the_spread_over_languages_is_that_of_their_mean() -> None:
    def repeated(summary: Summary, **times: tuple[int, int]) -> Summary:
        """Two repeats of each conversation, each right or wrong in all of it."""
        languages = {}
        for code, run in summary.model.languages.items():
            spread = [((held, 1),) * 4 for held in times[code]]
            more = {"repeats": 2, "turn1_overall_acc_spread": spread}
            conversations = [replace(c, values={**c.values, **more}) for c in run.conversations or ()]
            languages[code] = replace(run, conversations=conversations)
        return replace(summary, model=Model("m", languages))

    opposite = repeated(made("m", en=[(1,)], fr=[(1,), (1,)]), en=(1, 0), fr=(0, 1))
    name = "turn1_overall_acc_spread"
    assert opposite.spread("en", name) == opposite.spread("fr", name) == pytest.approx(0.5**0.5)
    assert opposite.spread("macro", name) == 0
    assert opposite.spread("pooled", name) == pytest.approx((1 / 3) * 0.5**0.5)


def test_a_file_whose_conversations_have_different_numbers_of_repeats_is_refused(
    turnswap: Turnswap, thrice: Path
) -> None:
    (samples,) = thrice.rglob("samples_*.jsonl")
    whole = samples.read_text("utf-8")
    try:
        earlier = whole.replace('"verdicts", ', "")  # of a version that kept none
        samples.write_text(earlier.replace('"repeats": 3', '"repeats": 2', 1), "utf-8")
        refused = turnswap("report", thrice)
    finally:
        samples.write_text(whole, "utf-8")
    assert refused.exit_code == 1
    assert "not every conversation has as many repeats" in " ".join(refused.output.split())


# ------------------------------------------------------------------------------------- counts and totals


def with_values(**values: Any) -> Summary:
    """A model of two languages with a conversation each, that holds these values."""
    summary = made("m", en=[(1, 1, 1)], fr=[(1, 1, 1)])
    languages = {}
    for code, run in summary.model.languages.items():
        conversations = [replace(c, values={**c.values, **values}) for c in run.conversations or ()]
        languages[code] = replace(run, conversations=conversations)
    return replace(summary, model=Model("m", languages))


def test_what_a_run_took_stands_in_one_line() -> None:
    took = {"prompt_tokens": 6000, "completion_tokens": 800, "reasoning_tokens": 500, "seconds": 20.25, "cost": 0.35}
    (sheet,) = reply_sheets(with_values(**took))
    assert sheet.notes == [
        "The run took 12,000 prompt tokens, 1,600 completion tokens, 1,000 of them reasoning, 40 seconds of answering, "
        "cost 0.7000."
    ]
    (sheet,) = reply_sheets(with_values(seconds=0.5, completion_tokens=None))
    assert sheet.notes == ["The run took 1 seconds of answering."]
    (sheet,) = reply_sheets(with_values())
    assert sheet.notes == []


def test_filtered_refused_and_empty_replies_are_warned_of() -> None:
    warnings = score_warnings([with_values(turn1_filtered=1, turn2_refused=1, turn3_empty=1)])
    assert "Replies: 100.0% in turn 1 were held back by the endpoint's content filter" in warnings[0]
    assert "100.0% in turn 2 are refusals" in warnings[1]
    assert "100.0% in turn 3 hold no text" in warnings[2]
    unclosed = score_warnings([with_values(turn3_empty=1, turn3_unclosed=1)])
    assert len(unclosed) == 1
    assert "never ended" in unclosed[0]


def test_what_concerns_several_models_is_said_once_with_their_names() -> None:
    one, other, third = (
        replace(summary, model=replace(summary.model, name=name))
        for name, summary in (
            ("a", with_values(turn1_refused=1)),
            ("b", with_values(turn1_refused=1)),
            ("c", with_values(turn2_refused=1, turn3_failed=1)),
        )
    )
    refused, failed = score_warnings([one, other, third])
    assert refused.startswith("Replies: 100.0% in turn 1 (a, b); 100.0% in turn 2 (c) are refusals")
    assert "(c) never came" in failed


def test_shares_are_of_all_repeats() -> None:
    values = {"repeats": 4, "turn1_truncated": 4, "turn1_prompt_strict_acc": [0, 4]}
    assert "Replies: 100.0% in turn 1 used up their tokens" in score_warnings([with_values(**values)])[0]


def test_samples_of_a_version_without_these_figures_are_read(turnswap: Turnswap, cut: Path, tmp_path: Path) -> None:
    new = ("completed", "filtered", "refused", "empty", "tokens", "seconds")
    (samples,), (results,) = cut.rglob("samples_*.jsonl"), cut.rglob("results_*.json")
    old = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    for sample in old:
        gone = [name for name in sample["metrics"] if name.endswith(new)]
        sample["metrics"] = [name for name in sample["metrics"] if name not in gone]
        for name in gone:
            del sample[name]
    content = json.loads(results.read_text("utf-8"))
    values = content["results"]["multiif_en"]
    content["results"]["multiif_en"] = {k: v for k, v in values.items() if not k.split(",")[0].endswith(new)}
    (tmp_path / samples.name).write_text("".join(f"{json.dumps(sample)}\n" for sample in old), "utf-8")
    (tmp_path / results.name).write_text(json.dumps(content), "utf-8")
    frame = figures_of(turnswap, tmp_path, tmp_path)
    assert frame.loc[(2, "truncated")].value == 1
    assert pd.isna(frame.loc[(2, "filtered")].value)
    assert pd.isna(frame.loc[(2, "overall_acc_completed")].value)


def test_the_tables_of_cut_and_of_repeated_replies_fit_into_eighty_columns(
    turnswap: Turnswap, cut: Path, thrice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for folder in (cut, thrice):
        tables = [line for line in turnswap("report", folder).output.splitlines() if line.startswith("  ")]
        assert max(map(len, tables)) <= 80
        assert not any("…" in line for line in tables)


def test_what_sampling_adds_to_the_error_is_told_apart_from_what_the_source_prompts_add(
    turnswap: Turnswap, thrice: Path
) -> None:
    (model,) = read_models([str(thrice)], Reading())
    found = sampling_error(Summary(model, Resampling(400)), "en", 1)
    # Two of four conversations are followed in 2 of 3 repeats: each moves the figure by 1/12 per reply, and the
    # variance of such a conversation's three replies is 1/3.
    assert found == pytest.approx((2 * 3 * (1 / 3) / 12**2) ** 0.5)
    table = [line for line in turnswap("report", thrice).output.splitlines() if line.startswith("  ")]
    assert any(line.split()[:4] == ["of", "it,", "by", "sampling"] and f"{100 * found:.1f}" in line for line in table)


# ------------------------------------------------------------------------------------- what names no source prompt


def by_itself(summary: Summary, *languages: str) -> Summary:
    """The same model, in whose data of these languages no source prompt is named."""
    for code in languages:
        for conversation in summary.model.languages[code].conversations or ():
            object.__setattr__(conversation, "source", conversation.key)
    return summary


@pytest.mark.parametrize(
    ("without", "unit", "said"),
    [
        ((), "unit:source|", ""),
        (("en",), "unit:source, in en conversation|", "The data names no source prompts in en, so that each"),
        (("en", "zh"), "unit:conversation|", "The data names no source prompts, so that each"),
    ],
)
def test_languages_whose_data_names_no_source_prompts_are_named(without: tuple[str, ...], unit: str, said: str) -> None:
    summary = by_itself(made("m", en=[(1, 1, 1), (0, 0, 0)] * 10, zh=[(1, 0, 1)] * 20), *without)
    assert unit in summary.signature
    warnings = [warning for warning in score_warnings([summary]) if "source prompts" in warning]
    assert [warning[: len(said)] for warning in warnings] == ([said] if said else [])
