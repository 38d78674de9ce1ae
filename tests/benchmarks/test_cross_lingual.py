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
from benchmarks.cross_lingual.documents import exercises, held_out, write_documents
from benchmarks.cross_lingual.intervals import bootstrap_interval, t_interval
from benchmarks.cross_lingual.languages import LIST_LENGTH, NUMBERS, Languages
from benchmarks.cross_lingual.settings import Settings, Training
from benchmarks.cross_lingual.stages import finished
from benchmarks.cross_lingual.table import comparisons, markdown, summarise
from benchmarks.cross_lingual.tasks.documents import grade
from turnswap.core.errors import UserError

FEW = Training(2, 1e-3, batch=4, length=16)
TINY = Settings(
    layers=4, width=16, inner=32, heads=2, base=FEW, recipient=FEW, donor=FEW, reference=FEW,
    select=6, report=8, texts=2, bottom=1, top=1, controls=1,
)  # fmt: skip


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
    write_documents(TINY, 2, tmp_path)
    languages = Languages(2)
    read = {
        language: [json.loads(line) for line in (tmp_path / f"skill_{language}.jsonl").read_text().splitlines()]
        for language in ("a", "b")
    }
    assert len(read["a"]) == TINY.select + TINY.report
    sets = []
    for in_a, in_b in zip(read["a"], read["b"], strict=True):
        asked = values(languages, "b", in_b["question"].split())
        assert asked == values(languages, "a", in_a["question"].split())
        assert values(languages, "b", in_b["answer"].split()) == sorted(asked)
        assert in_b["translation"] == in_a["answer"]
        sets.append(frozenset(asked))
    assert not set(sets[: TINY.select]) & set(sets[TINY.select :])


def test_a_reply_in_the_other_language_has_the_right_numbers_but_is_no_match(tmp_path: Path) -> None:
    write_documents(TINY, 2, tmp_path)
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
def test_a_tiny_study_goes_on_where_it_was_with_the_same_weights_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "SUGGESTED", {"ratio": ("--rule", "ratio")})
    trained: list[str] = []
    monkeypatch.setattr(training, "train", _counting(trained, training.train))
    first = study.run_seed(TINY, 1, tmp_path)
    assert trained == ["base", "recipient", "donor", "reference"]
    home = tmp_path / "seed-1"
    weights = (home / "donor" / "model.safetensors").read_bytes()
    shutil.rmtree(home / "donor")  # as if it had been killed while it trained the donor
    (home / ".donor.part").mkdir()
    os.unlink(home / "rows" / "average.json")
    trained.clear()
    assert study.run_seed(TINY, 1, tmp_path) == first
    assert trained == ["donor"]
    assert (home / "donor" / "model.safetensors").read_bytes() == weights
    names = [row["row"] for row in first]
    expected = {
        "base",
        "recipient",
        "donor",
        "average",
        "paper-style",
        "sweep's best",
        "middle",
        "random 1",
        "reference",
    }
    assert expected <= set(names)
    assert all(len(row["documents"]) == TINY.report for row in first if "documents" in row)


def _counting(trained: list[str], train):  # type: ignore[no-untyped-def]
    def counted(settings, seed, role, *rest):  # type: ignore[no-untyped-def]
        trained.append(role)
        return train(settings, seed, role, *rest)

    return counted


def test_a_middle_swap_is_as_wide_as_the_swap_it_is_compared_with() -> None:
    swap = {"bottom": 2, "top": 1, "transition": 0}
    assert study.middle("DDRRRRRD", swap) == {"layers": "2-4", "embeddings": "donor", "head": "donor"}
    assert study.middle("DRRRRRRR", swap) == {"layers": "3-3", "embeddings": "donor", "head": "recipient"}


def row(name: str, right: list[int]) -> dict[str, object]:
    share = sum(right) / len(right)
    figures = dict.fromkeys(("skill_b", "right_numbers_b", "own_language_b", "skill_a", "perplexity_b"), share)
    return {"row": name, "parameters": None, "documents": right, **figures}


def test_differences_are_paired_by_seed_and_random_placements_are_averaged() -> None:
    rows = {
        1: [row("recipient", [0, 0, 0, 1]), row("swap", [1, 1, 0, 1])],
        2: [row("recipient", [0, 1, 0, 1]), row("swap", [1, 1, 1, 1])],
    }
    rows[1] += [row("random 1", [0] * 4), row("random 2", [1] * 4)]
    rows[2] += [row("random 1", [0] * 4), row("random 2", [0] * 4)]
    by_name = {entry["row"]: entry for entry in summarise(rows)}
    assert by_name["swap"]["skill_b"] == pytest.approx(0.875)
    assert by_name["swap"]["difference"] == pytest.approx(0.5)
    assert by_name["swap"]["t_interval"] == pytest.approx((0.5, 0.5))
    assert by_name["random placements, mean"]["by_seed"] == {1: 0.5, 2: 0.0}
    assert "difference" not in by_name["recipient"]


def test_the_best_is_compared_with_its_controls_seed_by_seed() -> None:
    rows = {
        seed: [row("recipient", [0, 0]), row("sweep's best", best), row("middle", [0, 1]), row("random 1", [1, 1])]
        for seed, best in ((1, [1, 1]), (2, [0, 1]))
    }
    compared = {one["against"]: one for one in comparisons(rows)}
    assert list(compared) == ["middle", "random placements, mean"]  # of the others there are no rows here
    assert compared["middle"]["difference"] == pytest.approx(0.25)
    assert compared["random placements, mean"]["difference"] == pytest.approx(-0.25)
    assert compared["middle"]["t_interval"] == pytest.approx(t_interval([0.5, 0.0]))


def test_a_rule_refused_in_one_seed_is_averaged_over_the_others_and_said() -> None:
    refused = {"row": "suggested ratio", "refused": "no zone"}
    rows = {1: [row("recipient", [0, 1]), row("suggested ratio", [1, 1])]}
    rows[2] = [row("recipient", [0, 1]), refused]
    rows[3] = [row("recipient", [0, 1]), row("suggested ratio", [1, 1])]
    entry = {entry["row"]: entry for entry in summarise(rows)}["suggested ratio"]
    assert entry["seeds"] == [1, 3]
    assert entry["refused"] == {2: "no zone"}
    assert "| suggested ratio (1 refused) | 100.0 | 100.0 – 100.0 | +50.0 |" in markdown(summarise(rows))


def test_intervals() -> None:
    low, high = t_interval([0.0, 0.2, 0.4])
    half = 4.302653 * 0.2 / math.sqrt(3)
    assert (low, high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)
    assert bootstrap_interval([[1, 1, 1], [1, 1, 1]]) == (1.0, 1.0)
    low, high = bootstrap_interval([[0.0] * 50, [1.0] * 50])
    assert (low, high) == (0.0, 1.0)  # seeds are the unit: two that disagree leave everything open


def test_a_study_with_other_settings_or_one_seed_is_refused(tmp_path: Path) -> None:
    from benchmarks.cross_lingual.__main__ import run

    with pytest.raises(UserError, match="no interval"):
        run(TINY, range(1, 2), tmp_path, 1)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UserError, match="other settings"):
        run(TINY, range(1, 3), tmp_path, 1)
