"""Where conversations start from: files of one's own, IFEval's rows, and what is not taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest

from turnswap.construction.pipeline import Pipeline
from turnswap.construction.seeds import Seeds, SeedSettings
from turnswap.core.errors import UserError


def own(key: object, **changed: Any) -> dict[str, Any]:
    turn = {"prompt": f"Write about {key}.", "instruction_ids": ["detectable_format:title"], "kwargs": [{}], **changed}
    return {"key": key, "language": "en", "turns": [turn]}


def ifeval(key: int, id_: str, **kwargs: Any) -> dict[str, Any]:
    nulls = dict.fromkeys(("num_words", "relation", "keywords", "letter", "let_frequency", "let_relation"))
    return {"key": key, "prompt": f"Prompt {key}.", "instruction_id_list": [id_], "kwargs": [{**nulls, **kwargs}]}


def load(folder: Path, *rows: Mapping[str, Any], ending: str = "\n", **settings: Any) -> list[tuple[str, str | None]]:
    file = folder / "seeds.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + ending, "utf-8")
    return [(each.conversation.key, each.reason) for each in Seeds(SeedSettings(file=file, **settings)).load()]


def test_a_file_of_ones_own_is_read_to_its_last_line_even_without_a_newline(tmp_path: Path) -> None:
    assert load(tmp_path, own("a"), own("b"), ending="") == [("a", None), ("b", None)]


def test_ifevals_rows_lose_the_kwargs_that_are_null(tmp_path: Path) -> None:
    file = tmp_path / "input_data.jsonl"
    row = ifeval(1000, "length_constraints:number_words", num_words=300.0, relation="at least")
    file.write_text(json.dumps(row) + "\n")
    [outcome] = Seeds(SeedSettings(file=file)).load()
    assert outcome.conversation.key == "ifeval-1000"
    assert outcome.conversation.turns[0].prompt == "Prompt 1000."
    assert outcome.conversation.turns[0].kwargs == ({"num_words": 300, "relation": "at least"},)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ifeval(1, "detectable_format:rhyme"), "unknown instruction id 'detectable_format:rhyme'"),
        (ifeval(1, "length_constraints:number_words", num_words=3), "kwarg 'relation' is missing"),
        (
            ifeval(1, "keywords:letter_frequency", letter="#", let_frequency=3, let_relation="at least"),
            "the published grader cannot use the kwargs of keywords:letter_frequency as they are",
        ),
        ({**ifeval(1, "detectable_format:title"), "kwargs": None}, "kwargs is no list of objects"),
        (own("a", prompt=" "), "a turn's prompt is empty"),
        (own("a", instruction_ids=[], kwargs=[]), "turn 1 has no instruction"),
        (own("a:sw"), "the key has a colon"),
        ({"key": "a", "language": "en"}, "turns is missing"),
        (
            {**own("a"), "turns": [*own("a")["turns"], *own("a", instruction_ids=["punctuation:no_comma"])["turns"]]},
            "the instructions of turn 2 do not start with those of the turn before",
        ),
    ],
)  # fmt: skip
def test_a_malformed_seed_is_rejected_with_the_reason_and_the_others_are_kept(
    tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    rejected, kept = load(tmp_path, row, own("good"))
    assert "malformed: " in str(rejected[1])
    assert reason in str(rejected[1])
    assert kept == ("good", None)


def test_a_key_that_occurs_twice_is_taken_once(tmp_path: Path) -> None:
    kept, rejected = load(tmp_path, own("a"), own("a"))
    assert kept == ("a", None)
    assert rejected == ("a (line 2)", "the key occurs twice: a")


def test_rejected_seeds_stay_in_the_steps_file_with_all_that_was_given(tmp_path: Path) -> None:
    file, row = tmp_path / "seeds.jsonl", {"key": 7, "language": "en", "turns": "none"}
    file.write_text(json.dumps(row) + "\n")
    pipeline = Pipeline(tmp_path / "out", Seeds(SeedSettings(file=file)), [])
    [count] = pipeline.run()
    assert (count.kept, count.rejected) == (0, 1)
    [outcome] = pipeline.outcomes("seeds")
    assert outcome.conversation.notes["seeds"]["given"] == row


def test_nan_in_a_seed_is_nothing_given(tmp_path: Path) -> None:
    file = tmp_path / "seeds.jsonl"
    row = ifeval(1, "detectable_format:title", num_words=float("nan"))  # as pandas writes what is missing
    bad = {**own("bad"), "turns": float("nan")}
    file.write_text("".join(json.dumps(each) + "\n" for each in (row, bad)))
    pipeline = Pipeline(tmp_path / "out", Seeds(SeedSettings(file=file)), [])
    [count] = pipeline.run()
    assert (count.kept, count.rejected) == (1, 1)


def test_a_limit_takes_the_same_seeds_whatever_their_order(tmp_path: Path) -> None:
    rows = [own(f"k{number}") for number in range(20)]
    forwards, backwards = load(tmp_path, *rows, limit=5), load(tmp_path, *rows[::-1], limit=5)
    assert len(forwards) == 5
    assert forwards == backwards[::-1]
    assert {key for key, _ in load(tmp_path, *rows, limit=5, seed=1)} != {key for key, _ in forwards}


def test_a_broken_or_missing_or_empty_file_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "seeds.jsonl"
    with pytest.raises(UserError, match="cannot be read"):
        Seeds(SeedSettings(file=file)).load()
    file.write_text(json.dumps(own("a")) + '\n{"key": \n')
    with pytest.raises(UserError, match="line 2, is broken JSON"):
        Seeds(SeedSettings(file=file)).load()
    file.write_text("\n")
    with pytest.raises(UserError, match="holds no seeds"):
        Seeds(SeedSettings(file=file)).load()


def test_file_or_hub_and_the_hub_with_its_revision() -> None:
    for settings in (SeedSettings(), SeedSettings(file=Path("a"), hub="b")):
        with pytest.raises(UserError, match="either file or hub"):
            Seeds(settings)
    with pytest.raises(UserError, match=r"seeds\.revision is missing"):
        Seeds(SeedSettings(hub="google/IFEval"))


def test_a_hub_that_cannot_be_reached_is_an_error_that_names_the_alternative(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match="offline") as raised:
        Seeds(SeedSettings(hub="google/IFEval", revision="abc")).load()
    assert "seeds: {file: PATH}" in raised.value.advice
