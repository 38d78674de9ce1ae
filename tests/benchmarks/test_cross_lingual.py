"""The cross-lingual study: its languages, documents and figures; and a tiny run that is killed and goes on."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import shutil
from pathlib import Path

import pytest

pytest.importorskip("mergekit")

from benchmarks.cross_lingual import study, training
from benchmarks.cross_lingual.__main__ import main, run
from benchmarks.cross_lingual.documents import exercises, held_out, write_documents
from benchmarks.cross_lingual.languages import LIST_LENGTH, NUMBERS, Languages
from benchmarks.cross_lingual.searches import SKILL_A, SKILL_B
from benchmarks.cross_lingual.settings import QUICK, Settings
from benchmarks.cross_lingual.stages import finished
from benchmarks.cross_lingual.table import COMPARED, by_seed, comparisons, difference, figures_of, markdown
from benchmarks.cross_lingual.tasks.documents import grade
from turnswap.core.errors import UserError
from turnswap.sweeps.kept import Evaluation, read_evaluation


def values(languages: Languages, language: str, words: list[str]) -> list[int]:
    numbers = {languages.words[language][meaning]: value for value, meaning in enumerate(NUMBERS)}
    return [numbers[word] for word in words if word in numbers]


def test_no_word_belongs_to_both_languages() -> None:
    words = Languages(1).words
    assert not set(words["a"].values()) & set(words["b"].values())
    assert len(set(words["b"].values())) == len(words["b"])
    assert len(Languages(1).vocabulary()) == len(set(Languages(1).vocabulary()))


def test_a_seed_gives_the_same_text_and_another_seed_another() -> None:
    def said(seed: int) -> list[list[str]]:
        text = training.general(Languages(seed), (1, 1, 1, 1), random.Random(seed))
        return list(itertools.islice(text, 50))

    assert said(1) == said(1)
    assert said(1) != said(2)


@pytest.mark.parametrize("language", ["a", "b"])
def test_the_answer_is_the_list_in_order(language: str) -> None:
    languages = Languages(3)
    question, answer = languages.exercise([7, 19, 0, 11], language)  # type: ignore[arg-type]
    assert values(languages, language, question) == [7, 19, 0, 11]
    assert values(languages, language, answer) == [0, 7, 11, 19]


@pytest.mark.parametrize("mix", [(0, 1, 0, 0), (1, 1, 1, 1)], ids=["the donor's text", "pretraining text"])
def test_the_skill_is_never_in_general_text(mix: tuple[int, ...]) -> None:
    languages = Languages(1)
    sort = {words["sort"] for words in languages.words.values()}
    text = list(itertools.islice(training.general(languages, mix, random.Random(0)), 5000))
    assert any(sort & set(sentence) for sentence in text)  # the word is known
    for sentence in text:
        assert not (sort & set(sentence) and set(":=") & set(sentence))  # but no list is asked for with it


def test_the_donor_reads_b_alone() -> None:
    languages = Languages(1)
    words_of_a = set(languages.words["a"].values())
    text = itertools.islice(training.general(languages, (0, 1, 0, 0), random.Random(0)), 1000)
    assert not any(words_of_a & set(sentence) for sentence in text)


def test_documents_selected_on_and_reported_on_share_no_list_with_each_other_or_with_training() -> None:
    settings, languages = Settings(), Languages(5)
    kept = held_out(settings, 5)
    assert len(kept) == settings.select + settings.report == len(set(kept))
    for language in ("a", "b"):
        batches = itertools.islice(exercises(languages, settings, 5, language), 200)  # type: ignore[arg-type]
        trained = {tuple(sorted(values(languages, language, answer))) for batch in batches for _, answer in batch}
        assert sum(len(one) == LIST_LENGTH for one in trained) > 1000
        assert not trained & set(kept)


def test_documents_ask_the_same_in_both_languages_with_right_answers(tmp_path: Path) -> None:
    write_documents(QUICK, 2, tmp_path)
    languages = Languages(2)
    read = {
        language: [json.loads(line) for line in (tmp_path / f"skill_{language}.jsonl").read_text().splitlines()]
        for language in ("a", "b")
    }
    assert len(read["a"]) == QUICK.select + QUICK.report
    sets = []
    for in_a, in_b in zip(read["a"], read["b"], strict=True):
        asked = values(languages, "b", in_b["question"].split())
        assert asked == values(languages, "a", in_a["question"].split())
        assert values(languages, "b", in_b["answer"].split()) == sorted(asked)
        assert in_b["translation"] == in_a["answer"]
        sets.append(frozenset(asked))
    assert not set(sets[: QUICK.select]) & set(sets[QUICK.select :])


def test_a_reply_in_the_other_language_has_the_right_numbers_but_is_no_match(tmp_path: Path) -> None:
    write_documents(QUICK, 2, tmp_path)
    document = json.loads((tmp_path / "skill_b.jsonl").read_text().splitlines()[0])
    right = {"exact_match": 1.0, "right_numbers": 1.0, "own_language": 1.0}
    assert grade(document, [f" {document['answer']} . more"]) == right
    foreign = {"exact_match": 0.0, "right_numbers": 1.0, "own_language": 0.0}
    assert grade(document, [document["translation"]]) == foreign
    assert grade(document, [""]) == {"exact_match": 0.0, "right_numbers": 0.0, "own_language": 0.0}
    longer = grade(document, [document["answer"] + " " + document["answer"].split()[0]])
    assert longer["exact_match"] == longer["right_numbers"] == 0.0


def test_a_stage_that_was_killed_leaves_nothing_that_counts(tmp_path: Path) -> None:
    def killed(part: Path) -> None:
        (part / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finished(tmp_path / "stage", killed)
    assert not (tmp_path / "stage").exists()
    finished(tmp_path / "stage", lambda part: (part / "whole").write_text(""))
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["whole"]
    finished(tmp_path / "stage", killed)  # finished once is finished


@pytest.mark.slow
def test_the_quick_form_runs_whole_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    monkeypatch.setattr(training, "train", _counting(trained, training.train))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    command = ["--quick", "-o", str(tmp_path)]
    assert main(command) == 0
    assert trained == ["base", "recipient", "donor", "reference"] * 2
    first = {name: (tmp_path / name).read_bytes() for name in ("table.md", "results.csv")}
    rows = json.loads((tmp_path / "results.json").read_text("utf-8"))["rows"]["21"]
    chosen = ["best swap", "best random placement", "tuned average"]
    expected = ["base", "recipient", "donor", "average", "paper-style", *chosen, "middle", "reference"]
    assert {*expected, *(f"zero-shot {name}" for name in chosen)} <= {row["row"] for row in rows}

    home = tmp_path / "seed-21"
    weights = (home / "donor" / "model.safetensors").read_bytes()
    shutil.rmtree(home / "donor")  # as if it had been killed while it trained the donor
    (home / ".donor.part").mkdir()
    shutil.rmtree(home / "rows_recipient")
    trained.clear()
    assert main(command) == 0
    assert trained == ["donor"]
    assert (home / "donor" / "model.safetensors").read_bytes() == weights
    assert {name: (tmp_path / name).read_bytes() for name in first} == first

    tasks = {file: {task for one in _evaluations(home / file) for task in one.documents} for file in KINDS}
    assert tasks == {"by_skill": {SKILL_B}, "zero_shot": {SKILL_A, "target_perplexity_text"}}
    tried = [one for one in _evaluations(home / "by_skill") if one.configuration.startswith("control ")]
    assert len(tried) == 3  # as many as there are swaps


KINDS = ("by_skill", "zero_shot")


def _evaluations(folder: Path) -> list[Evaluation]:
    every = (read_evaluation(path) for path in (folder / "evaluations").iterdir())
    return [one for one in every if one.role == "select"]


def _counting(trained: list[str], train):  # type: ignore[no-untyped-def]
    def counted(settings, seed, role, *rest):  # type: ignore[no-untyped-def]
        trained.append(role)
        return train(settings, seed, role, *rest)

    return counted


def test_a_middle_swap_is_as_wide_as_the_swap_it_is_compared_with() -> None:
    swap = {"bottom": 2, "top": 1, "transition": 0}
    assert study.middle("DDRRRRRD", swap) == {"layers": "2-4", "embeddings": "donor", "head": "donor"}
    assert study.middle("DRRRRRRR", swap) == {"layers": "3-3", "embeddings": "donor", "head": "recipient"}


def row(name: str, skill: float) -> dict[str, object]:
    figures = dict.fromkeys(("right_numbers_b", "own_language_b", "skill_a", "perplexity_b"), 0.5)
    return {"row": name, "skill_b": skill, "parameters": None, **figures}


def test_differences_are_paired_by_seed_and_corrected_for_all_comparisons() -> None:
    gains = [0.1, 0.2, 0.3, 0.4]
    rows = {
        seed: [row("recipient", seed / 10), row("best swap", seed / 10 + gain), row("middle", seed % 2)]
        for seed, gain in enumerate(gains)
    }
    found = {one.against: one for one in comparisons(by_seed(figures_of(rows))).itertuples()}
    assert list(found) == ["recipient", "middle"]  # of the others there are no rows here
    assert found["recipient"].mean == pytest.approx(0.25)
    assert (found["recipient"].low, found["recipient"].high) == pytest.approx(difference(gains)[1:3])
    # Two comparisons: the smaller p-value counts twice. Four gains of one sign have 2 of 16 chances.
    assert found["recipient"].p == pytest.approx(2 * difference(gains).p)
    assert found["recipient"].p_sign == pytest.approx(2 * 2 / 16)


def test_the_signs_of_eight_seeds_can_show_a_difference_in_each_comparison() -> None:
    assert difference([0.1] * 8).p_sign * len(COMPARED) < 0.05


def test_a_rule_refused_in_one_seed_is_averaged_over_the_others_and_shown_as_missing() -> None:
    rows = {seed: [row("recipient", 0.5), row("suggested ratio", 1.0)] for seed in (1, 3)}
    rows[2] = [row("recipient", 0.5), {"row": "suggested ratio", "refused": "no zone"}]
    assert "| suggested ratio | 100.0 | 100.0 – 100.0 | +50.0 | [+50.0, +50.0] |" in markdown(figures_of(rows))


def test_an_interval_over_seeds_is_students() -> None:
    found = difference([0.0, 0.2, 0.4])
    half = 4.302653 * 0.2 / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-6)


def test_seeds_without_a_difference_say_nothing() -> None:
    assert difference([0.0, 0.0, 0.3, 0.2]).p_sign == 0.5  # of two seeds that differ
    assert (difference([0.0] * 3).p, difference([0.0] * 3).p_sign) == (1, 1)


def test_a_study_with_other_settings_or_one_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no interval"):
        run(QUICK, range(1, 2), tmp_path, 1)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UserError, match="other settings"):
        run(QUICK, range(1, 3), tmp_path, 1)
