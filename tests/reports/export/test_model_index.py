"""``turnswap export --format model-index``: what is in the card afterwards."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
import yaml
from huggingface_hub import ModelCard

from tests.conftest import Turnswap
from tests.reports.export.shared import CARD, SHA, TURNS, Edited, by_config, reported, results_in
from turnswap.tasks.multiif.dataset import BENCHMARK_SHA256, HUB_REVISION, LANGUAGES


def test_a_folder_without_a_card_gets_one_with_every_language_turn_and_the_mean(
    turnswap: Turnswap, sample_run: Path, model_folder: Path
) -> None:
    result = turnswap("export", sample_run, "--format", "model-index", "-o", model_folder)
    assert result.exit_code == 0, result.output
    card = model_folder / "README.md"
    assert str(card) in result.output
    found = by_config(card)
    assert list(found) == [*LANGUAGES, "macro"]
    for code in LANGUAGES:
        assert [r.metric_name for r in found[code]] == [f"turn {turn} overall accuracy" for turn in TURNS]
        assert [r.metric_value for r in found[code]] == pytest.approx([reported(sample_run, code, t) for t in TURNS])
    means = [mean(reported(sample_run, code, turn) for code in LANGUAGES) for turn in TURNS]
    assert [r.metric_value for r in found["macro"]] == pytest.approx(means)
    for metric in results_in(card):
        assert metric.metric_type == "accuracy"
        assert metric.metric_args["low"] <= metric.metric_value <= metric.metric_args["high"]
        assert metric.metric_args["interval"] == "95% bootstrap"
        assert metric.dataset_args["signature"] in result.output.splitlines()
    assert ModelCard.load(card).data.model_name == "sampled"
    assert ModelCard.load(card).text == "\n# sampled\n"


def test_the_packaged_sample_never_goes_by_the_name_of_the_benchmark(
    turnswap: Turnswap, sample_run: Path, model_folder: Path
) -> None:
    result = turnswap("export", sample_run, "--format", "model-index", "-o", model_folder)
    assert "not from the benchmark" in result.output
    assert "facebook" not in (model_folder / "README.md").read_text("utf-8")
    assert {r.dataset_type for r in results_in(model_folder / "README.md")} == {"turnswap-sample"}
    assert "French" in by_config(model_folder / "README.md")["fr"][0].dataset_name


def test_the_benchmark_from_the_hub_is_named_with_its_revision(
    turnswap: Turnswap, edited: Edited, model_folder: Path
) -> None:
    result = turnswap("export", edited(("fr",)), "--format", "model-index", "-o", model_folder / "README.md")
    assert result.exit_code == 0, result.output
    found = results_in(model_folder / "README.md")
    assert [(r.dataset_type, r.dataset_name, r.dataset_config) for r in found] == [
        ("facebook/Multi-IF", "Multi-IF (French)", "fr")
    ] * 3
    assert {(r.dataset_split, r.dataset_revision) for r in found} == {("train", HUB_REVISION)}
    assert found[0].dataset_args["conversations"] == 548
    assert "Note" not in result.output


def test_a_local_copy_of_the_benchmark_is_the_benchmark_without_a_revision(
    turnswap: Turnswap, edited: Edited, model_folder: Path
) -> None:
    results = edited(("en",), data="CSV file m.csv", sha256=SHA, content=BENCHMARK_SHA256["en"])
    turnswap("export", results, "--format", "model-index", "-o", model_folder)
    found = results_in(model_folder / "README.md")
    assert {(r.dataset_type, r.dataset_revision) for r in found} == {("facebook/Multi-IF", None)}


def test_other_data_is_named_by_its_hash(turnswap: Turnswap, edited: Edited, model_folder: Path) -> None:
    results = edited(data="CSV file m.csv", sha256=SHA, of=25)
    turnswap("export", results, "--format", "model-index", "-o", model_folder)
    assert "facebook" not in (model_folder / "README.md").read_text("utf-8")
    assert {r.dataset_type for r in results_in(model_folder / "README.md")} == {f"csv@{SHA[:8]}"}


def test_a_part_of_the_conversations_is_told_where_the_figure_is_shown(
    turnswap: Turnswap, edited: Edited, model_folder: Path
) -> None:
    result = turnswap("export", edited(("en", "fr"), run=10), "--format", "model-index", "-o", model_folder)
    found = by_config(model_folder / "README.md")
    assert found["fr"][0].dataset_name == "Multi-IF (French, 10 of 548 conversations)"
    assert found["macro:en+fr"][0].dataset_name == "Multi-IF (mean of 2 languages, 20 of 1457 conversations)"
    assert "a part of the conversations" in result.output


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_all_else_in_a_card_stays_as_it_is(
    turnswap: Turnswap, edited: Edited, model_folder: Path, newline: str, mark: str
) -> None:
    card = model_folder / "README.md"
    card.write_bytes((mark + CARD.replace("\n", newline)).encode())
    card.chmod(0o640)
    result = turnswap("export", edited(), "--format", "model-index", "-o", model_folder)
    assert result.exit_code == 0, result.output
    text = card.read_bytes().decode()
    head, _, rest = CARD.partition("model-index:")
    tail = rest[rest.index("# Between") :]
    assert text.startswith(mark + head.replace("\n", newline) + "model-index:")
    assert text.endswith(newline + tail.replace("\n", newline))
    assert text.count("\n") == text.count(newline)
    assert card.stat().st_mode & 0o777 == 0o640
    data = ModelCard(text.removeprefix(mark)).data  # with the mark, only huggingface_hub 2 reads it
    assert data.model_name == "theirs"
    theirs = data.eval_results[0]
    # A word of YAML 1.2, which the Hub reads; PyYAML by itself makes it false.
    assert (theirs.dataset_config, theirs.dataset_args) == ("no", {"num_few_shot": 5})
    assert (theirs.metric_value, theirs.source_name) == (0.25, "Theirs")
    assert len(data.eval_results) == 1 + 9 * 3
    entry = yaml.safe_load(text.lstrip("\ufeff").split("---")[1])["model-index"][0]["results"][0]
    assert entry["metrics"][0]["extra"] == "kept"


@pytest.mark.parametrize(
    "before",
    [
        "# No metadata\n\ntext",
        "",
        "---\nlicense: mit\n---",
        "---\n# only a comment\n\n---\nText\n",
        "---\n{license: mit, tags: [a]}\n---\nText\n",
        "---\n  license: mit\n  tags: [a]\n---\nText\n",
        "---\nmodel-index:\ntags: [a]\n---\nText\n",
        "---\nmodel-index: []\n---\nText\n",
        "\n---\ntags: [a]\nsummary: |\n  One.\n\n---\nText\n",
        "---\nmodel-index: []  # none yet\ntags: [a]\nsummary: |\n  One.\n---\nText\n---\nmore: text\n---\n",
    ],
)
def test_cards_of_every_shape_take_results_and_take_them_once(
    turnswap: Turnswap, edited: Edited, model_folder: Path, before: str
) -> None:
    card, results = model_folder / "README.md", edited(("en", "hi"))
    card.write_text(before, "utf-8")
    assert turnswap("export", results, "--format", "model-index", "-o", model_folder).exit_code == 0
    once = card.read_bytes()
    assert len(results_in(card)) == 9
    assert ModelCard.load(card).text == ModelCard(before).text
    for key in ("license", "tags"):
        assert ModelCard.load(card).data.get(key) == ModelCard(before).data.get(key)
    assert ("summary: |\n  One.\n" in once.decode()) == ("summary" in before)
    assert turnswap("export", results, "--format", "model-index", "-o", model_folder).exit_code == 0
    assert card.read_bytes() == once


def test_a_new_export_replaces_the_same_languages_only(
    turnswap: Turnswap, edited: Edited, sample_run: Path, model_folder: Path
) -> None:
    card = model_folder / "README.md"
    card.write_text(CARD, "utf-8")
    assert turnswap("export", edited(run=10), "--format", "model-index", "-o", model_folder).exit_code == 0
    assert turnswap("export", edited(("fr",)), "--format", "model-index", "-o", model_folder).exit_code == 0
    assert turnswap("export", sample_run, "--format", "model-index", "-o", model_folder).exit_code == 0
    found = results_in(card)
    assert len(found) == 1 + 9 * 3 + 9 * 3
    french = [r for r in found if (r.dataset_type, r.dataset_config) == ("facebook/Multi-IF", "fr")]
    assert [r.dataset_args["conversations"] for r in french] == [548] * 3


def test_anothers_results_for_the_benchmark_stay(turnswap: Turnswap, edited: Edited, model_folder: Path) -> None:
    theirs = {
        "task": {"type": "text-generation"},
        "dataset": {"type": "facebook/Multi-IF", "name": "Multi-IF", "config": "fr", "split": "train"},
        "metrics": [{"type": "accuracy", "value": 0.5}],
    }
    index = [{"name": "one", "results": [theirs]}, {"name": "model", "results": [theirs]}]
    card = model_folder / "README.md"
    card.write_text(f"---\n{yaml.safe_dump({'model-index': index})}---\n", "utf-8")
    for _ in range(2):
        assert turnswap("export", edited(("fr",)), "--format", "model-index", "-o", card).exit_code == 0
    one, model = yaml.safe_load(card.read_text("utf-8").split("---")[1])["model-index"]
    assert one == index[0]
    assert (model["results"][0], len(model["results"])) == (theirs, 2)
