"""Comparing two models: pairing, what is refused, what was gained and lost, and names that would act."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from markdown_it import MarkdownIt

from tests.conftest import Turnswap, make_row, read_results, write_csv
from turnswap.commands.main import main
from turnswap.reports.figures import holm

from .evaluations import FOLLOWS, evaluate, follows_share

EN, FR = ("multiif_en",), ("multiif_fr",)
NOTHING = "No, nothing"  # no title, a comma, no rain
EVIL = "[red]x[/red]|`y`\n<b>\x1b[31m\u202e*z*"


def replies(**by_turn: str) -> Callable[[str], str]:
    """Hand-made replies: ``k1_2="…"`` is the reply of conversation 1 in turn 2; NOTHING where none is given."""

    def reply(prompt: str) -> str:
        found = re.search(r"about (\d+):1:", prompt)
        assert found, prompt
        return by_turn.get(f"k{found[1]}_{prompt.count('<user>')}", NOTHING)

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
    """English: 24 conversations, of which 4 has two turns and 5 one instruction id twice. French: 3."""
    rows = [make_row(f"{n}:1:en", turns=2 if n == 4 else 3) for n in range(1, 25)]
    rows[4]["turn_2_instruction_id_list"] = json.dumps(["keywords:existence", "keywords:existence"])
    rows[4]["turn_2_kwargs"] = json.dumps([json.dumps({"keywords": [word]}) for word in ("sun", "moon")])
    rows += [make_row(f"{n}:1:fr", "French") for n in range(1, 4)]
    return write_csv(tmp_path_factory.mktemp("data") / "data.csv", rows)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    english = {"data": data, "tasks": EN}
    one = {"k1_1": FOLLOWS, "k2_2": "<<Title>>\nDry, dry", "k3_3": "rain, rain", "k5_2": "sun, sun", "k6_1": FOLLOWS}
    other = {"k1_1": FOLLOWS, "k2_2": "no comma", "k3_3": FOLLOWS, "k5_2": "moon, moon", "k7_1": FOLLOWS}
    evaluate(folder / "one", "org/one", replies(**one), **english)
    evaluate(folder / "other", "org/other", replies(**other), **english)
    evaluate(folder / "weak", "org/weak", follows_share(0.2), data=data, tasks=(*EN, *FR))
    evaluate(folder / "strong", "org/strong", follows_share(0.9), data=data, tasks=(*EN, *FR))
    evaluate(folder / "limited", "org/limited", follows_share(0.9), **english, limit=6)
    evaluate(folder / "rest", "org/rest", follows_share(0.9), **english, samples={"multiif_en": [20, 21]})
    evaluate(folder / "short", "org/short", replies(), **english, gen_kwargs="max_gen_toks=64")
    evaluate(folder / "system", "org/system", replies(), **english, system_instruction="Be short.")
    evaluate(folder / "bare", "org/bare", replies(), **english, log_samples=False)
    evaluate(folder / "evil", EVIL, replies(), **english)
    rows = [make_row(f"{n}:1:en", turns=2) for n in range(1, 25)]  # the same keys, but more instructions in turn 1
    for each in rows:
        each["turn_1_instruction_id_list"], each["turn_1_kwargs"] = (
            each[f"turn_2_{column}"] for column in ("instruction_id_list", "kwargs")
        )
    changed = write_csv(folder / "changed.csv", rows)
    evaluate(folder / "data", "org/data", replies(), data=changed, tasks=EN)
    return folder


@pytest.fixture
def compared(turnswap: Turnswap) -> Callable[..., dict[str, Any]]:
    def run(*arguments: object) -> dict[str, Any]:
        found = turnswap("compare", *arguments, "--format", "json", "--resamples", 500)
        assert found.exit_code == 0, (found.output, found.exception)
        return json.loads(found.stdout)  # type: ignore[no-any-return]

    return run


def refused(result: Result) -> str:
    """The message of an error that was foreseen, on one line."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    return " ".join(result.stderr.split())


def changed_copy(folder: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a result folder whose results file was changed."""
    shutil.copytree(folder, target)
    (path,) = target.rglob("results_*.json")
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
    return target


def row(found: dict[str, Any], language: str, turn: int | None, metric: str = "overall_acc") -> dict[str, Any]:
    (only,) = (
        row for row in found["differences"] if (row["language"], row["turn"], row["metric"]) == (language, turn, metric)
    )
    return only  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------- what changed


def test_instructions_gained_and_lost_are_counted_slot_by_slot(runs: Path, compared: Any) -> None:
    found = compared(runs / "one", runs / "other")
    changes = {change["instruction_id"]: change for change in found["instructions"]}
    # Titles: gained in 3 (turn 3) and 7 (turn 1), lost in 2 (turn 2) and 6 (turn 1).
    title = {"instruction_id": "detectable_format:title", "gained": 2, "lost": 2, "n": 24 + 23 + 23}
    assert changes["detectable_format:title"] == title
    # No comma: gained in 2 (turn 2) and 3 (turn 3).
    no_comma = {"instruction_id": "punctuation:no_comma", "gained": 2, "lost": 0, "n": 23 + 23}
    assert changes["punctuation:no_comma"] == no_comma
    # One id twice: the first of conversation 5's keywords is lost, the second gained.
    twice = {"instruction_id": "keywords:existence", "gained": 1, "lost": 1, "n": 2 + 23}
    assert changes["keywords:existence"] == twice
    assert len(changes) == 3


def test_conversations_that_changed_are_listed_with_what_was_followed_in_each_turn(runs: Path, compared: Any) -> None:
    found = compared(runs / "one", runs / "other")
    changes = {change["key"]: change for change in found["conversations"]}
    assert changes["3:1:en"] == {"language": "en", "key": "3:1:en", "a": [0, 0, 1], "b": [0, 0, 3], "gap": 2}
    assert (changes["6:1:en"]["a"], changes["6:1:en"]["gap"]) == ([1, 0, 0], -1)
    assert (changes["7:1:en"]["b"], changes["7:1:en"]["gap"]) == ([1, 0, 0], 1)
    assert found["conversations"][0]["key"] == "3:1:en"
    assert not {"1:1:en", "8:1:en"} & set(changes)


def test_a_conversation_that_lost_one_instruction_and_gained_another_is_listed(runs: Path, compared: Any) -> None:
    keys = {change["key"] for change in compared(runs / "one", runs / "other")["conversations"]}
    assert {"2:1:en", "5:1:en"} <= keys


def test_differences_are_b_minus_a_with_an_interval_around_them(runs: Path, compared: Any) -> None:
    found = compared(runs / "one", runs / "other")
    strict = row(found, "en", 2, "inst_strict_acc")
    assert (strict["a"], strict["b"]) == (pytest.approx(2 / 48), pytest.approx(2 / 48))
    assert (strict["gap"], strict["p"]) == (pytest.approx(0, abs=1e-12), 1)
    third = row(found, "en", 3, "inst_strict_acc")
    assert (third["a"], third["b"]) == (pytest.approx(1 / 69), pytest.approx(3 / 69))
    assert third["gap"] == pytest.approx(2 / 69)
    assert third["low"] <= third["gap"] <= third["high"]
    assert row(found, "en", 2, "forgetting")["a"] == 1
    assert found["conversations_in_both"] == {"en": 24}


def test_a_model_against_itself_differs_in_nothing(runs: Path, compared: Any) -> None:
    found = compared(runs / "strong", runs / "strong")
    assert (found["instructions"], found["conversations"], found["notes"]) == ([], [], [])
    known = [row for row in found["differences"] if row["gap"] is not None]
    assert len(known) > 80
    assert {(row["gap"], row["low"], row["high"]) for row in known if row["low"] is not None} == {(0, 0, 0)}
    assert {row["p"] for row in known if row["language"] == "en"} == {1, None}  # none from few source prompts
    assert row(found, "en", None)["p"] == 1


def test_a_better_model_is_told_from_a_worse_one_and_swapping_them_swaps_the_sign(runs: Path, compared: Any) -> None:
    there, back = compared(runs / "weak", runs / "strong"), compared(runs / "strong", runs / "weak")
    assert row(there, "en", None)["corrected"] < 0.05
    assert row(there, "macro", None)["low"] > 0
    for one, other in zip(there["differences"], back["differences"], strict=True):
        assert (one["language"], one["turn"], one["metric"]) == (other["language"], other["turn"], other["metric"])
        if one["gap"] is not None:
            assert one["gap"] == pytest.approx(-other["gap"])
            assert one["p"] == pytest.approx(other["p"])
        if one["low"] is not None:
            assert one["low"] == pytest.approx(-other["high"])


def test_p_values_are_corrected_within_a_metric(runs: Path, compared: Any) -> None:
    found = compared(runs / "weak", runs / "strong")
    for metric in ("overall_acc", "correction"):
        family = [each for each in found["differences"] if each["metric"] == metric and each["corrected"] is not None]
        p = np.array([each["p"] for each in family])
        assert [each["corrected"] for each in family] == pytest.approx(list(holm(p)))
    averages = {code: row(found, code, None)["corrected"] for code in ("en", "fr", "macro", "pooled")}
    assert averages.pop("pooled") is None  # not a comparison of its own
    assert averages.pop("en") < 0.05


def test_fewer_than_twenty_conversations_in_a_language_give_no_p_value(runs: Path, compared: Any) -> None:
    # Exchanging the models in each of few conversations gives so few outcomes that no p-value can be small.
    found = compared(runs / "weak", runs / "strong")
    assert found["conversations_in_both"]["en"] >= 20 > found["conversations_in_both"]["fr"]
    few = [each for each in found["differences"] if each["language"] in ("fr", "macro", "pooled")]
    assert {(each["p"], each["corrected"]) for each in few} == {(None, None)}


# ------------------------------------------------------------------------------------------------ pairing


def test_only_conversations_in_both_runs_are_compared_and_a_note_says_so(runs: Path, compared: Any) -> None:
    found = compared(runs / "limited", runs / "strong")
    assert found["conversations_in_both"] == {"en": 6}
    assert row(found, "en", None)["gap"] == 0  # both follow in the same conversations
    notes = " ".join(found["notes"])
    assert "only org/strong was run in fr" in notes
    assert "en: compared on the 6 conversations in both, of 6 of org/limited and 24 of org/strong" in notes
    assert "|n:6/24|" in found["b"]["signature"]


def test_the_order_of_lines_in_a_samples_file_changes_nothing(runs: Path, compared: Any, tmp_path: Path) -> None:
    turned = shutil.copytree(runs / "strong", tmp_path / "turned")
    for path in turned.rglob("samples_*.jsonl"):
        path.write_text("".join(reversed(path.read_text("utf-8").splitlines(keepends=True))), "utf-8")
    assert compared(runs / "weak", turned) == compared(runs / "weak", runs / "strong")


@pytest.mark.parametrize(("a", "b"), [("limited", "rest"), ("rest", "limited")])
def test_runs_without_a_conversation_in_common_are_refused(a: str, b: str, runs: Path, turnswap: Turnswap) -> None:
    assert "have no conversation in common" in refused(turnswap("compare", runs / a, runs / b))


def test_a_run_without_samples_cannot_be_paired(runs: Path, turnswap: Turnswap) -> None:
    message = refused(turnswap("compare", runs / "one", runs / "bare"))
    assert "org/bare has no samples" in message
    assert "--log_samples" in message


def test_a_folder_of_several_models_is_not_one_model(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "both")
    shutil.copytree(runs / "other", tmp_path / "both", dirs_exist_ok=True)
    message = refused(turnswap("compare", tmp_path / "both", runs / "one"))
    assert "2 models: org/one, org/other" in message


# ----------------------------------------------------------------------------------------- not comparable


@pytest.mark.parametrize(
    ("name", "difference", "part"),
    [
        ("short", "gen is greedy,max_gen_toks:2048 and greedy,max_gen_toks:64", "gen"),
        ("system", "system is none and 815fa947", "system"),
    ],
)
def test_runs_that_were_not_made_alike_are_refused_until_accepted(
    name: str, difference: str, part: str, runs: Path, turnswap: Turnswap
) -> None:
    message = refused(turnswap("compare", runs / "one", runs / name))
    assert difference in message
    assert "--accept" in message
    assert refused(turnswap("compare", runs / "one", runs / name, "--accept", "data"))
    assert turnswap("compare", runs / "one", runs / name, "--accept", part).exit_code == 0


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("multiif", lambda content: content["configs"]["multiif_en"]["metadata"].update(version=2.0)),
        ("turnswap", lambda content: content["configs"]["multiif_en"]["metadata"].update(turnswap="9.9")),
        ("lm-eval", lambda content: content.update(lm_eval_version="0.5.0")),
        ("repeats", lambda content: content["configs"]["multiif_en"].update(repeats=4)),
        ("description", lambda content: content["configs"]["multiif_en"].update(description="Be kind.")),
        ("prompts", lambda content: content["configs"]["multiif_en"]["metadata"]["run"].update(prompts="plain")),
        ("gen", lambda content: content["configs"]["multiif_en"]["generation_kwargs"].update(do_sample=True)),
    ],
)
def test_each_part_of_the_measurement_is_compared(
    part: str, change: Callable[[dict[str, Any]], object], runs: Path, turnswap: Turnswap, tmp_path: Path
) -> None:
    changed = changed_copy(runs / "other", tmp_path / "changed", change)
    assert f"not comparable: {part} is " in refused(turnswap("compare", runs / "one", changed))
    assert turnswap("compare", runs / "one", changed, "--accept", part).exit_code == 0


def test_models_may_differ_in_their_chat_templates(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    def template(content: dict[str, Any]) -> None:
        content["configs"]["multiif_en"]["metadata"]["run"]["chat_template_sha"] = "cafe" * 16

    found = turnswap("compare", runs / "one", changed_copy(runs / "other", tmp_path / "changed", template))
    assert found.exit_code == 0
    assert "template:cafecafe" in found.output


def test_a_temperature_that_api_models_sample_with_is_not_called_greedy(
    runs: Path, turnswap: Turnswap, tmp_path: Path
) -> None:
    # lm-eval's local-completions and local-chat-completions drop do_sample and send the temperature.
    def sampled(content: dict[str, Any]) -> None:
        content["configs"]["multiif_en"]["generation_kwargs"]["temperature"] = 0.6
        content["config"]["model"] = content["model_source"] = "local-chat-completions"

    found = turnswap("compare", runs / "one", changed_copy(runs / "other", tmp_path / "changed", sampled))
    assert "temperature:0.6" in found.output


@pytest.mark.parametrize(("a", "b"), [("one", "data"), ("data", "one")])
def test_accepting_other_data_does_not_pair_conversations_that_differ(
    a: str, b: str, runs: Path, turnswap: Turnswap
) -> None:
    assert re.search("data is csv@.*; content is ", refused(turnswap("compare", runs / a, runs / b)))
    assert ":1:en is not the same in both" in refused(turnswap("compare", runs / a, runs / b, "--accept", "data"))


# ------------------------------------------------------------------------------------------------ output


@pytest.mark.parametrize("name", ["c.md", "new/c.json"])
def test_the_files_name_says_the_format(name: str, runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    found = turnswap("compare", runs / "one", runs / "other", "-o", tmp_path / name)
    assert found.exit_code == 0, found.output
    text = (tmp_path / name).read_text("utf-8")
    if name.endswith("json"):
        assert json.loads(text)["a"]["model"] == "org/one"
    else:
        assert "| language | turn | A | B |" in text
        assert "`A org/one: multiif:1.0|langs:en|n:24/24|" in text


def test_a_file_name_without_a_format_is_refused(runs: Path, turnswap: Turnswap) -> None:
    assert ".md, .json" in refused(turnswap("compare", runs / "one", runs / "other", "-o", "c.txt"))


def test_text_for_a_terminal_can_be_written_into_a_new_folder(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    found = turnswap("compare", runs / "one", runs / "other", "--format", "terminal", "-o", "new/c.txt")
    assert found.exit_code == 0, repr(found.exception)
    assert "org/other" in (tmp_path / "new/c.txt").read_text("utf-8")


def test_a_hostile_name_is_shown_inertly_in_the_terminal(runs: Path) -> None:
    assert read_results(runs / "evil")["model_name"] == EVIL
    for command in (["compare", runs / "one", runs / "evil"], ["report", runs / "evil"]):
        found = CliRunner().invoke(main, [*map(str, command), "--resamples", "300"], color=True)
        assert found.exit_code == 0, repr(found.exception)
        assert "[red]x[/red]|" in found.output
        assert not re.findall("\x1b\\[31m|\u202e", found.output), command


def test_a_hostile_name_is_shown_inertly_in_an_error(runs: Path) -> None:
    arguments = ["compare", str(runs / "short"), str(runs / "evil")]
    found = CliRunner().invoke(main, arguments, color=True)
    assert "not comparable" in found.stderr
    assert "\x1b" not in found.stderr


def test_a_hostile_name_is_shown_inertly_in_markdown(runs: Path, turnswap: Turnswap) -> None:
    shown = escape(EVIL.encode("unicode_escape").decode(), quote=False)
    for command in (("compare", runs / "one", runs / "evil"), ("report", runs / "evil")):
        rendered = as_github_does(turnswap(*command, "--format", "md").stdout)
        assert f"{shown}: instructions followed" in rendered or f"B {shown} against A" in rendered
        assert not re.search("<(b|em|del|s|a)>|\x1b|\u202e", rendered)
        cells = [line.count("<td") for line in re.sub("\n(?!<tr>)", "", rendered).splitlines() if "<td" in line]
        assert set(cells) <= {4, 5, 6, 8, 10}  # no row was split by a | or a line break


def test_tildes_in_a_name_strike_nothing_out(runs: Path, turnswap: Turnswap) -> None:
    rendered = as_github_does(turnswap("report", f"~~old~~={runs / 'one'}", "--format", "md").stdout)
    assert "<s>" not in rendered
    assert "~~old~~" in rendered


def as_github_does(markdown: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)  # type: ignore[no-any-return]
