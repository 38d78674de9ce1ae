"""The ranking: by hand on models made for it, and end to end on lm-eval's own files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.conftest import Turnswap, make_row, write_csv
from turnswap.core.errors import UserError
from turnswap.reports.leaderboard import Row, build_board
from turnswap.reports.leaderboard_formats import as_csv, as_json, as_sheets
from turnswap.reports.sheets import print_sheets
from turnswap.reports.table import Figure, Summary

from .evaluations import FOLLOWS, evaluate
from .made import FACTS, benchmark, made, made_without_samples

ALWAYS, TWICE, NEVER = [(1, 1, 1)] * 20, [(1, 1, 0)] * 20, [(0, 0, 0)] * 20
ALIVE = "The Open LLM Leaderboard closed in March 2025 and takes no submissions."


def shown(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(row.shown_rank, row.model) for row in rows]


def refusal(*summaries: Summary, **options: Any) -> str:
    with pytest.raises(UserError) as raised:
        build_board(summaries, **options)
    return str(raised.value)


def test_equal_ranks_are_shown_as_ties_and_better_ones_come_first() -> None:
    board = build_board([made("b", en=TWICE), made("last", en=NEVER), made("a", en=TWICE), made("best", en=ALWAYS)])
    assert shown(board.rows) == [("1", "best"), ("2=", "a"), ("2=", "b"), ("4", "last")]


def test_averages_are_the_mean_of_languages_and_of_turns() -> None:
    model = made("m", en=[(1, 1, 1), (1, 0, 0)], zh=[(1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 1, 0)])
    (row,) = build_board([model]).rows
    assert [figure.value for figure in row.overall.turns] == [1.0, 0.75, 0.25]
    assert row.overall.average.value == pytest.approx(2 / 3)
    assert row.overall.average.low < 2 / 3 < row.overall.average.high
    assert row.overall.change == -0.75
    assert [figure.value for figure in row.languages["en"].turns] == [1.0, 0.5, 0.5]
    assert row.languages["zh"].average == Figure(pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_chosen_languages_alone_count() -> None:
    models = [made("english", en=ALWAYS, zh=NEVER, fr=NEVER), made("chinese", en=NEVER, zh=ALWAYS, fr=NEVER)]
    assert shown(build_board(models, ["en"]).rows) == [("1", "english"), ("2", "chinese")]
    assert shown(build_board(models, ["zh"]).rows) == [("1", "chinese"), ("2", "english")]
    both = build_board(models, ["zh", "en"])
    assert both.languages == ("en", "zh")
    assert shown(both.rows) == [("1=", "chinese"), ("1=", "english")]
    assert {row.overall.average.value for row in both.rows} == {0.5}
    assert "langs:en+zh|n:40/40" in both.signatures[0]


def test_intervals_of_every_choice_are_those_of_a_board_over_it() -> None:
    mixed = [(1, 1, 0), (0, 1, 0), (1, 0, 1), (0, 0, 0), (1, 1, 1)]
    model = made("m", en=mixed, zh=mixed[:4], fr=mixed[1:])
    (row,) = build_board([model]).rows
    assert row.choices is not None
    for choice, codes in {1: ["en"], 2: ["zh"], 4: ["fr"], 5: ["en", "fr"], 7: ["en", "zh", "fr"]}.items():
        average = build_board([model], codes).rows[0].overall.average
        assert row.choices[choice - 1] == pytest.approx((average.low, average.high))
        assert average.low < average.high
    assert len(row.choices) == 7


def test_a_model_without_samples_is_shown_and_not_ranked() -> None:
    board = build_board([made_without_samples("bare", (0.6, 0.6, 0.6), en=(20, 20)), made("full", en=TWICE)])
    assert shown(board.rows) == [("1", "full"), ("–", "bare")]
    assert board.rows[1].overall.average.value == pytest.approx(0.6)
    (note,) = [note for note in board.notes if note.startswith("bare is not ranked")]
    assert "without samples" in note
    assert "--log_samples" in note


def test_a_model_without_any_third_turn_has_no_average_and_no_rank() -> None:
    short = [(1, 1)] * 20
    board = build_board([made("short", en=TWICE, zh=short), made("full", en=TWICE, zh=ALWAYS)])
    assert shown(board.rows) == [("1", "full"), ("–", "short")]
    assert any(note.startswith("short is not ranked: in zh no conversation") for note in board.notes)
    assert as_json(board)["models"][1]["average"] == {"value": None, "low": None, "high": None}
    assert as_sheets(board, wide=True)[0].rows[1][:7] == ["–", "short", "–", "100.0", "100.0", "–", "–"]


def test_models_that_were_not_run_alike_are_refused_by_what_differs() -> None:
    other = made("other", {"gen": "greedy,max_gen_toks:16"}, en=TWICE)
    message = refusal(made("one", en=TWICE), other)
    assert "one and other are not comparable: gen is greedy,max_gen_toks:2048 and greedy,max_gen_toks:16." in message
    assert "--accept" in message
    assert "gen is" in refusal(made("one", en=TWICE), other, accepted=["data"])


def test_an_accepted_difference_is_ranked_and_told() -> None:
    models = [made("one", en=TWICE), made("other", {"gen": "greedy,max_gen_toks:16"}, en=ALWAYS)]
    board = build_board(models, accepted=["gen"])
    assert shown(board.rows) == [("1", "other"), ("2", "one")]
    assert any("Accepted, although one and other differ: gen is greedy,max_gen_toks:2048" in n for n in board.notes)


def test_the_chat_template_may_differ_without_a_word() -> None:
    board = build_board([made("one", en=TWICE), made("other", {"template": "abcdef01"}, en=TWICE)])
    assert not any("Accepted" in note for note in board.notes)


def test_a_missing_language_is_refused_by_model_and_language() -> None:
    models = [made("all", en=TWICE, zh=TWICE, fr=TWICE), made("some", en=TWICE, fr=TWICE)]
    message = refusal(*models)
    assert "some was not run in zh." in message
    assert "--languages en,fr" in message
    assert "some was not run in zh." in refusal(*models, languages=["zh"])
    assert shown(build_board(models, ["en", "fr"]).rows) == [("1=", "all"), ("1=", "some")]
    assert "'de' is no language of Multi-IF" in refusal(*models, languages=["en", "de"])


def test_other_conversations_are_refused_by_model_and_language() -> None:
    assert "one and other are not comparable in zh: 20 and 3 conversations." in refusal(
        made("one", en=TWICE, zh=TWICE), made("other", en=TWICE, zh=TWICE[:3])
    )
    moved = made("other", en=TWICE)
    conversations = moved.model.languages["en"].conversations
    assert conversations is not None
    object.__setattr__(conversations[0], "key", "999:en")
    assert "in en: conversation 000:en is only in the first, 999:en only in the second." in refusal(
        made("one", en=TWICE), moved
    )


def test_edited_prompts_are_other_conversations() -> None:
    edited = made("edited", en=TWICE)
    conversations = edited.model.languages["en"].conversations
    assert conversations is not None
    object.__setattr__(conversations[3].turns[0], "prompt", "Another question")
    assert "conversation 003:en is not the same in both" in refusal(made("one", en=TWICE), edited)


def test_beside_the_whole_benchmark_stand_the_papers_models_unranked() -> None:
    board = build_board([benchmark("mine")])
    values = [row.overall.average.value for row in board.rows]
    assert values == sorted(values, reverse=True)  # each stands where its score puts it
    published = [row for row in board.rows if row.is_published]
    (mine,) = (row for row in board.rows if not row.is_published)
    assert board.rows.index(mine) == 8
    assert (mine.model, mine.is_published) == ("mine", False)
    assert [row.model for row in published[:2]] == ["o1-preview", "Llama-3.1-405B-Instruct"]
    assert len(published) == 9
    assert {row.shown_rank for row in published} == {"–"}
    assert published[0].overall.average.value == pytest.approx((0.877 + 0.783 + 0.707) / 3)
    assert published[0].overall.change == pytest.approx(0.707 - 0.877)
    assert published[0].languages["zh"].average.value == pytest.approx((0.858 + 0.766 + 0.703) / 3)
    (note,) = (note for note in board.notes if "Published: He et al. 2024, arXiv 2410.15553" in note)
    assert "reading note" in note
    assert "21 of 21" in note
    sheet = as_sheets(board, wide=True)[0]
    claude = next(row for row in sheet.rows if "Claude-3.5-Sonnet (published)" in row)
    assert claude[2:7] == ["71.9", "81.7", "70.5", "63.4", "-18.3"]
    assert set(claude[7:]) == {"–"}


def test_over_some_languages_only_published_models_with_figures_for_them_are_shown() -> None:
    board = build_board([benchmark("mine")], ["en", "zh"])
    assert len(board.rows) == 1 + 7
    row = next(row for row in board.rows if row.model == "GPT-4o")
    assert row.overall.turns[0].value == pytest.approx((0.874 + 0.805) / 2)
    assert any(note.endswith("left out: Claude-3.5-Sonnet, Llama-3.1-8B-Instruct.") for note in board.notes)


@pytest.mark.parametrize(
    ("n", "of", "is_benchmark", "reason"),
    [
        (300, 909, True, "mine ran 300 of 909 conversations in en."),
        (909, 909, False, "mine's data in en is not the benchmark's."),
    ],
)
def test_beside_anything_less_they_are_left_out_with_the_reason(
    n: int, of: int, is_benchmark: bool, reason: str
) -> None:
    board = build_board([made_without_samples("mine", (0.8, 0.7, 0.6), is_benchmark, en=(n, of))])
    assert [row.model for row in board.rows] == ["mine"]
    assert any(f"The paper's models are left out: {reason}" in note for note in board.notes)


def test_every_format_has_signatures_and_says_which_boards_are_alive() -> None:
    board = build_board([made("one", en=TWICE, zh=ALWAYS)])
    signature = "one: multiif:1.0|langs:en+zh|n:40/40|data:csv@12345678|gen:greedy,max_gen_toks:2048"
    for sheets in (as_sheets(board, wide=True), as_sheets(board, wide=False)):
        assert sheets[-1].signatures[0].startswith(signature)
        assert ALIVE in sheets[-1].notes[-1]
    assert any(ALIVE in note for note in as_json(board)["notes"])
    assert as_json(board)["models"][0]["signature"] == board.rows[0].signature


def test_csv_and_json_carry_every_language_and_turn() -> None:
    board = build_board([made("one", en=[(1, 1, 0), (1, 0, 0)] * 10, zh=ALWAYS), made("=two", en=NEVER, zh=NEVER)])
    one, two = csv.DictReader(io.StringIO(as_csv(board)))
    assert {name: float(one[name]) for name in ("turn1", "turn2", "turn3", "turn1_to_turn3", "en", "zh")} == {
        "turn1": 1.0, "turn2": 0.75, "turn3": 0.5, "turn1_to_turn3": -0.5, "en": 0.5, "zh": 1.0,
    }  # fmt: skip
    assert [float(one[f"en_turn{turn}"]) for turn in (1, 2, 3)] == [1.0, 0.5, 0.0]
    assert (one["rank"], one["tied"], one["published"], two["rank"], two["model"]) == ("1", "0", "", "2", "=two")
    entry = as_json(board)["models"][0]
    assert (entry["rank"], entry["tied"], entry["turn1_to_turn3"]) == (1, False, -0.5)
    assert [entry["languages"]["en"][f"turn{turn}"]["value"] for turn in (1, 2, 3)] == [1.0, 0.5, 0.0]
    assert entry["average"]["value"] == float(one["average"]) == 0.75
    assert entry["average"]["low"] == float(one["average_low"]) < 0.75


def test_in_80_columns_names_fold_and_figures_do_not() -> None:
    out = io.StringIO()
    board = build_board([benchmark("organisation/a-model-with-a-rather-long-name-8B-Instruct")])
    print_sheets(Console(file=out, width=80), as_sheets(board, wide=False))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert max(map(len, out.getvalue().splitlines()[:15])) <= 80
    assert any(line.startswith("– o1-preview") and line.endswith("78.9 87.7 78.3 70.7 -17.0") for line in lines)
    assert any(line.endswith("82.1 77.6 81.9 66.6 78.5 81.6 82.3 80.7") for line in lines)


# ------------------------------------------------------------------------------------- on lm-eval's own files

TASKS = ("leaderboard_multiif_en", "leaderboard_multiif_zh")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``good`` follows all instructions, ``fading`` those of the first turn; ``short`` was cut to 16 tokens."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [make_row(f"{n}:{code}", name) for code, name in (("en", "English"), ("zh", "Chinese")) for n in range(20)]
    data = write_csv(folder / "data.csv", rows)
    evaluate(folder / "good", "org/good", lambda _: FOLLOWS, data=data, tasks=TASKS)
    evaluate(
        folder / "fading", "org/fading", lambda p: FOLLOWS if p.count("<assistant>") == 1 else "No, never.",
        data=data, tasks=TASKS,
    )  # fmt: skip
    evaluate(folder / "short", "org/short", lambda _: FOLLOWS, data=data, tasks=TASKS, gen_kwargs="max_gen_toks=16")
    return folder


def test_the_command_ranks_runs_of_the_leaderboard_group(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    made = turnswap("leaderboard", runs / "fading", f"mine={runs / 'good'}", "-o", "out/board.json")
    assert made.exit_code == 0, made.output
    content = json.loads((tmp_path / "out" / "board.json").read_text("utf-8"))
    assert content["languages"] == ["en", "zh"]
    good, fading = content["models"]
    assert (good["model"], good["rank"], good["average"]["value"]) == ("mine", 1, 1.0)
    assert (fading["model"], fading["rank"]) == ("org/fading", 2)
    assert [fading[f"turn{turn}"]["value"] for turn in (1, 2, 3)] == [1.0, 0.0, 0.0]
    assert "gen:greedy,max_gen_toks:2048" in good["signature"]


def test_a_run_with_other_generation_settings_is_refused_with_both_values(turnswap: Turnswap, runs: Path) -> None:
    refused = turnswap("leaderboard", runs / "good", runs / "short")
    assert refused.exit_code == 1
    message = " ".join(refused.stderr.split())
    assert "org/good and org/short are not comparable: gen is greedy,max_gen_toks:2048 and" in message
    assert "greedy,max_gen_toks:16" in message
    accepted = turnswap("leaderboard", runs / "good", runs / "short", "--accept", "gen")
    assert accepted.exit_code == 0
    assert "1=" in accepted.stdout
    assert "Accepted, although org/good and org/short differ: gen is greedy,max_gen_toks:2048" in accepted.stdout


def test_each_format_is_chosen_by_name_or_option(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    arguments = ["leaderboard", runs / "good", runs / "fading"]
    terminal = turnswap(*arguments, "--languages", "en, zh")
    assert terminal.exit_code == 0, terminal.output
    assert "By language: mean of the turns" in terminal.stdout
    assert ALIVE in terminal.stdout

    assert turnswap(*arguments, "-o", "b.md").exit_code == 0
    lines = (tmp_path / "b.md").read_text("utf-8").splitlines()
    assert "| rank | model | average | turn 1 | turn 2 | turn 3 | Δ 1→3 | en | zh |" in lines
    assert any(line.startswith("| 1 | org/good | 100.0 ") and "| 100.0 | 100.0 | 100.0 |" in line for line in lines)

    as_text = turnswap(*arguments, "--format", "csv")
    assert [row["model"] for row in csv.DictReader(io.StringIO(as_text.stdout))] == ["org/good", "org/fading"]
    assert ALIVE in as_text.stderr

    assert turnswap(*arguments, "-o", "b.html", "--languages", "zh").exit_code == 0
    assert "<!doctype html>" in (tmp_path / "b.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--languages", "en,fr"], "was not run in fr"),
        (["--languages", "xx"], "'xx' is no language of Multi-IF"),
        (["--languages", ""], "'' is no language of Multi-IF"),
        (["--format", "html"], "A page needs a file"),
        (["-o", "board.xlsx"], "board.xlsx does not say which format"),
    ],
)
def test_a_users_mistake_ends_in_a_message(arguments: list[str], message: str, turnswap: Turnswap, runs: Path) -> None:
    refused = turnswap("leaderboard", runs / "good", *arguments)
    assert refused.exit_code == 1
    assert message in " ".join(refused.stderr.split())


def test_facts_of_the_hand_made_models_are_facts_of_real_ones(runs: Path) -> None:
    from turnswap.reports.reading import Reading, read_models

    (model,) = read_models([str(runs / "good")], Reading())
    assert set(FACTS) <= set(model.facts)
