"""Corrected verdicts: each correction against the published rule, cases by readers of each language, and the task."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnswap.core.errors import UserError
from turnswap.tasks.multiif import grading, morphology, segmentation
from turnswap.tasks.multiif.corrected import Correction, Example, corrections, grade_corrected, rules_in_use
from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.metrics import aggregations, conversation_values, corrected_values, higher_is_better, ratios
from turnswap.tasks.multiif.task import MultiIF
from turnswap.tasks.multiturn import Reply

from .test_hostile_replies import IDS

CORRECTIONS = corrections()
CHECKED = {id_ for id_, instruction in INSTRUCTIONS.items() if instruction.corrected}
EXAMPLES = [(correction, example) for correction in CORRECTIONS for example in correction.examples]


def published(example: Example) -> bool:
    return grading.grade_reply(example.reply, [example.instruction_id], [example.kwargs])[0].strict


def corrected(example: Example) -> bool | None:
    prompts = [example.prompt] if example.prompt else []
    verdict = grade_corrected(example.reply, [example.instruction_id], [example.kwargs], example.language, prompts)[0]
    return None if verdict.unsatisfiable else verdict.strict


@pytest.fixture
def without_segmenter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where turnswap[cjk] is not installed."""
    monkeypatch.setitem(sys.modules, "icu4py", None)
    segmentation.segmenter.cache_clear()
    yield
    segmentation.segmenter.cache_clear()


@pytest.fixture
def without_morphology(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where turnswap[morphology] is not installed."""
    for library in ("lemminflect", "simplemma", "pymorphy3"):
        monkeypatch.setitem(sys.modules, library, None)
    caches = [thing for thing in vars(morphology).values() if hasattr(thing, "cache_clear")]
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


# ------------------------------------------------------------------------------------------ the corrections


@pytest.mark.parametrize(("correction", "example"), EXAMPLES, ids=[f"{c.name}-{e.language}" for c, e in EXAMPLES])
def test_every_example_gets_both_its_verdicts(correction: Correction, example: Example) -> None:
    assert published(example) is example.published
    assert corrected(example) is example.corrected
    assert example.published is not example.corrected
    assert example.instruction_id in correction.instructions


def test_corrections_have_names_of_their_own_and_cover_every_corrected_check() -> None:
    assert len({correction.name for correction in CORRECTIONS}) == len(CORRECTIONS)
    assert {id_ for correction in CORRECTIONS for id_ in correction.instructions} - {
        "keywords:letter_frequency"  # its check is the published one; only impossible numbers are told
    } == CHECKED


def test_the_page_of_the_corrections_is_what_the_code_says() -> None:
    docs = Path(__file__).parents[2] / "docs" / "reference" / "corrected.md"
    page = runpy.run_path(str(docs.parents[1] / "scripts" / docs.with_suffix(".py").name))["page"]
    assert docs.read_text("utf-8") == page(), "python docs/scripts/corrected.py > docs/reference/corrected.md"


@pytest.mark.usefixtures("without_segmenter")
def test_without_a_segmenter_only_the_rules_that_need_one_stay_as_published() -> None:
    assert "no segmenter" in rules_in_use().split(",")
    for correction, example in EXAMPLES:
        expected = example.published if correction.needs_segmenter else example.corrected
        assert corrected(example) is expected, (correction.name, example)


@pytest.mark.usefixtures("without_morphology")
def test_without_morphology_a_word_has_no_form_but_itself() -> None:
    assert rules_in_use().endswith(",no morphology")
    for correction, example in EXAMPLES:
        expected = example.published if correction.needs_morphology else example.corrected
        assert corrected(example) is expected, (correction.name, example)


def test_the_rules_in_use_name_their_version_the_segmenter_and_what_knows_forms() -> None:
    version, *libraries = rules_in_use().split(",")
    assert version.isdecimal()
    assert [library.partition(":")[0] for library in libraries] == ["icu", "lemminflect", "simplemma", "pymorphy3"]


# -------------------------------------------------------------------------------------------- the figures

COMMA, WORDS = "punctuation:no_comma", "length_constraints:number_words"


def test_what_no_reply_can_follow_is_in_no_corrected_figure_and_counted() -> None:
    ids = [COMMA, WORDS]
    kwargs: list[dict[str, Any]] = [{}, {"num_words": 0, "relation": "less than"}]
    graded = [grade_corrected("one, two", ids, kwargs, "en")]
    graded.append(grade_corrected("one two", ids, kwargs, "en"))
    graded.append(grade_corrected("one", ids[1:], kwargs[1:], "en"))
    values = corrected_values(graded)
    assert values["turn1_inst_strict_acc_corrected"] == (0, 1)
    assert values["turn2_inst_strict_acc_corrected"] == (1, 1)
    assert values["turn2_prompt_strict_acc_corrected"] == (1, 1)
    assert values["turn2_correction_corrected"] == (1, 1)
    assert values["turn3_prompt_loose_acc_corrected"] == (0, 0)
    assert [values[f"turn{turn}_unsatisfiable_corrected"] for turn in (1, 2, 3)] == [1, 1, 1]


def test_corrected_names_are_the_published_ones_with_an_ending() -> None:
    added = aggregations(corrected=True).keys() - aggregations().keys()
    assert added == {f"{name}_corrected" for name in ratios()} | {
        f"turn{turn}_unsatisfiable_corrected" for turn in (1, 2, 3)
    }
    better = higher_is_better(added)
    assert better["turn2_forgetting_corrected"] is False
    assert better["turn2_correction_corrected"] is True
    assert better["turn1_overall_acc_corrected"] is True


def task(**metadata: Any) -> MultiIF:
    config = {"task": "multiif_zh", "dataset_name": "Chinese", "metadata": {"multiif_data": "sample", **metadata}}
    return MultiIF(config=config)


def test_both_adds_the_corrected_figures_of_every_document_and_changes_no_published_one() -> None:
    usual, both = task(), task(verdicts="both")
    assert usual.config.metadata["corrected_rules"] == both.config.metadata["corrected_rules"] == rules_in_use()
    differing = 0
    for doc in both.docs:
        replies = [Reply("好的，今天天气很好，我们去公园散步。")] * len(doc["turns"])
        values, before = both.grade(doc, replies), usual.grade(doc, replies)
        assert values.keys() == both.aggregation().keys() >= both.higher_is_better().keys()
        assert before.keys() == usual.aggregation().keys()
        assert {name: values[name] for name in before} == before
        differing += any(values[name] != values[f"{name}_corrected"] for name in ratios())
        assert both.grade(doc, replies[:1]).keys() == values.keys()  # a later request failed
    assert differing
    graded = conversation_values([])
    assert not any(name.endswith("_corrected") for name in graded)


def test_other_verdicts_are_refused_before_work() -> None:
    with pytest.raises(UserError, match="verdicts is 'native'") as refused:
        task(verdicts="native")
    assert "'both'" in str(refused.value.advice)


def test_every_instruction_is_graded_by_name() -> None:
    assert set(IDS) == set(INSTRUCTIONS)
