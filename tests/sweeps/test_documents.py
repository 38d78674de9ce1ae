"""Which documents a search chooses by, rung by rung, and which it reports on."""

from __future__ import annotations

import pytest

from turnswap.core.errors import UserError
from turnswap.sweeps.documents import hold_out, rungs


def test_rungs_are_nested_and_the_last_is_everything() -> None:
    documents = {"a": range(90), "b": range(100, 130)}
    first, second, last = rungs(documents, 3, seed=0)
    assert [len(first[task]) for task in documents] == [10, 4]
    assert [len(second[task]) for task in documents] == [30, 10]
    assert all(set(first[task]) <= set(second[task]) <= set(last[task]) for task in documents)
    assert first["a"] != list(range(10))
    assert last == documents
    assert rungs(documents, 3, seed=1)[0] != first
    assert rungs({"a": range(29)}, 3, seed=0) == [{"a": range(29)}]


def test_documents_of_one_source_are_held_out_together_in_all_tasks() -> None:
    documents = {"en": range(12), "sw": range(4, 12)}
    clusters = {task: [f"source {n // 2}" for n in numbers] for task, numbers in documents.items()}
    select, report = hold_out(documents, clusters, 0.25, seed=0)
    for task, numbers in documents.items():
        assert sorted([*select[task], *report[task]]) == list(numbers)
    sides = [{n // 2 for numbers in side.values() for n in numbers} for side in (select, report)]
    assert not sides[0] & sides[1]
    assert len(select["en"]) == 8
    assert hold_out(documents, clusters, 0.25, seed=1) != (select, report)


@pytest.mark.parametrize("clusters", [["a"], ["a", "a", "a"]])
def test_too_few_sources_to_hold_some_out_are_refused(clusters: list[str]) -> None:
    with pytest.raises(UserError, match="t has too few documents to choose by some .* --held-out 0"):
        hold_out({"t": range(len(clusters))}, {"t": clusters}, 0.5, seed=0)
