"""The steps' files: what was done is never done again, whatever stopped the run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.pipeline import Count, Pipeline, reasons_told
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.core.errors import UserError


def conversation(key: str, prompt: str = "Write about rain without commas.") -> DraftConversation:
    return DraftConversation(key, "en", (Turn(prompt, ("punctuation:no_comma",), ({},)),))


@dataclass
class Seeds:
    conversations: Sequence[DraftConversation]
    name: str = "seeds"
    identity: Any = 1

    def load(self) -> list[Outcome]:
        return [Outcome(each) for each in self.conversations]


@dataclass
class Marking:
    """A step that leaves a note, rejects what says so, waits for what says so, and counts what it was asked."""

    name: str = "mark"
    identity: Any = 1
    asked: list[str] = field(default_factory=list)

    def run(self, conversations: Sequence[DraftConversation]) -> list[list[Outcome] | None]:
        results: list[list[Outcome] | None] = []
        for each in conversations:
            self.asked.append(each.key)
            if each.key.startswith("crash"):
                raise UserError("The server is gone.")
            if each.key.startswith("wait"):
                results.append(None)
            elif each.key.startswith("bad"):
                results.append([Outcome(each, "it is bad")])
            else:
                results.append([Outcome(each.with_note(self.name, self.identity))])
        return results


def run(folder: Path, keys: Sequence[str], *steps: Marking, last: str | None = None) -> list[Count]:
    return list(Pipeline(folder, Seeds([conversation(key) for key in keys]), steps).run(last))


def test_each_step_keeps_its_outcomes_with_their_reasons_in_a_file_of_its_own(tmp_path: Path) -> None:
    counts = run(tmp_path, ["a", "bad", "c"], Marking(), Marking("again"))
    assert [(count.step, count.came, count.kept, count.rejected) for count in counts] == [
        ("seeds", 3, 3, 0),
        ("mark", 3, 2, 1),
        ("again", 2, 2, 0),
    ]
    lines = [json.loads(line) for line in (tmp_path / "2-mark.jsonl").read_text().splitlines()]
    assert [(line["of"], line["outcomes"][0]["reason"]) for line in lines] == [
        ("a", None),
        ("bad", "it is bad"),
        ("c", None),
    ]
    assert lines[0]["outcomes"][0]["conversation"]["notes"] == {"mark": 1}


def test_a_second_run_does_nothing_anew(tmp_path: Path) -> None:
    run(tmp_path, ["a", "bad", "c"], Marking())
    before = (tmp_path / "2-mark.jsonl").read_bytes()
    second = Marking()
    counts = run(tmp_path, ["a", "bad", "c"], second)
    assert second.asked == []
    assert counts[-1] == Count("mark", 3, 2, 1, 0, 0)
    assert (tmp_path / "2-mark.jsonl").read_bytes() == before


def test_other_settings_make_the_step_and_what_follows_anew_and_nothing_before(tmp_path: Path) -> None:
    run(tmp_path, ["a"], Marking(), Marking("again"), Marking("last"))
    steps = [Marking(), Marking("again", identity=2), Marking("last")]
    run(tmp_path, ["a"], *steps)
    assert [step.asked for step in steps] == [[], ["a"], ["a"]]  # the last one gets another note to look at


def test_a_changed_or_new_conversation_is_done_anew_and_the_others_are_not(tmp_path: Path) -> None:
    run(tmp_path, ["a", "b"], Marking())
    step = Marking()
    seeds = Seeds([conversation("a"), conversation("b", "Write about snow without commas."), conversation("c")])
    counts = list(Pipeline(tmp_path, seeds, [step]).run())
    assert step.asked == ["b", "c"]
    assert counts[-1] == Count("mark", 3, 3, 0, 0, 2)


def test_outcomes_come_in_the_order_of_the_input_whatever_the_order_they_were_made_in(tmp_path: Path) -> None:
    run(tmp_path, ["c"], Marking())
    last = Marking("again")
    run(tmp_path, ["a", "b", "c"], Marking(), last)
    assert last.asked == ["a", "b", "c"]


def test_an_error_half_way_loses_nothing_that_was_done_before(tmp_path: Path) -> None:
    run(tmp_path, ["a", "b"], Marking())
    with pytest.raises(UserError, match="server is gone"):
        run(tmp_path, ["a", "b", "crash", "d"], Marking())
    step = Marking()
    run(tmp_path, ["a", "b", "d"], step)
    assert step.asked == ["d"]


def test_a_half_written_line_is_made_anew(tmp_path: Path) -> None:
    run(tmp_path, ["a", "b"], Marking())
    path = tmp_path / "2-mark.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    step = Marking()
    counts = run(tmp_path, ["a", "b"], step)
    assert step.asked == ["b"]
    assert counts[-1].kept == 2


def test_broken_json_inside_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    run(tmp_path, ["a", "b"], Marking())
    path = tmp_path / "2-mark.jsonl"
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(UserError, match=r"2-mark\.jsonl, line 1"):
        run(tmp_path, ["a", "b"], Marking())


def test_what_waits_stops_the_steps_after_it_and_goes_on_later(tmp_path: Path) -> None:
    after = Marking("after")
    counts = run(tmp_path, ["a", "wait"], Marking(), after)
    assert counts[-1] == Count("mark", 2, 1, 0, 1, 1)
    assert after.asked == []
    assert [json.loads(line)["of"] for line in (tmp_path / "2-mark.jsonl").read_text().splitlines()] == ["a"]


def test_a_run_may_end_at_a_step(tmp_path: Path) -> None:
    after = Marking("after")
    assert [count.step for count in run(tmp_path, ["a"], Marking(), after, last="mark")] == ["seeds", "mark"]
    assert after.asked == []


def test_a_step_is_made_anew_on_request_and_its_old_file_stays(tmp_path: Path) -> None:
    run(tmp_path, ["a"], Marking(), Marking("after"))
    before = (tmp_path / "2-mark.jsonl").read_bytes()
    steps = [Marking(), Marking("after")]
    list(Pipeline(tmp_path, Seeds([conversation("a")]), steps).run(redo="mark"))
    assert [step.asked for step in steps] == [["a"], []]  # the same came out, so what follows still holds
    assert (tmp_path / "2-mark.previous").read_bytes() == before


def test_of_a_step_with_chunks_an_error_half_way_loses_none_that_was_done(tmp_path: Path) -> None:
    step = Marking()
    step.chunk = 2  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="server is gone"):
        run(tmp_path, ["a", "b", "crash", "d"], step)
    again = Marking()
    run(tmp_path, ["a", "b", "d"], again)
    assert again.asked == ["d"]


def test_a_second_redo_writes_over_nothing_that_the_first_one_kept(tmp_path: Path) -> None:
    run(tmp_path, ["a", "b"], Marking())
    first = (tmp_path / "2-mark.jsonl").read_bytes()
    for keys in (["a"], ["b"]):
        list(Pipeline(tmp_path, Seeds([conversation(key) for key in keys]), [Marking()]).run(redo="mark"))
    assert (tmp_path / "2-mark.previous").read_bytes() == first
    assert [json.loads(line)["of"] for line in (tmp_path / "2-mark.previous.2").read_text().splitlines()] == ["a"]


def test_what_has_no_outcome_yet_and_what_is_out_of_date_is_known_per_step(tmp_path: Path) -> None:
    run(tmp_path, ["a", "wait"], Marking())

    def standing(*keys: str, identity: int = 1) -> dict[str, tuple[int, bool]]:
        seeds = Seeds([conversation(key) for key in keys])
        return Pipeline(tmp_path, seeds, [Marking(identity=identity)]).standing()

    assert standing("a", "wait") == {"seeds": (0, False), "mark": (1, False)}
    assert standing("a", "wait", identity=2) == {"seeds": (0, False), "mark": (1, True)}
    list(Pipeline(tmp_path, Seeds([conversation("b")]), [Marking()]).run("seeds"))
    assert standing("b") == {"seeds": (0, False), "mark": (1, True)}


def test_the_first_particulars_of_each_kind_of_reason_are_told_in_short() -> None:
    given = ["no request for turn 2: the wording lacks 'x' (a:b)", "no request for turn 2: long " * 20, "it is bad"]
    told = reasons_told([Outcome(conversation(f"k{n}"), reason) for n, reason in enumerate([None, *given])])
    assert told == ["no request for turn 2 (2), first k1: the wording lacks 'x' (a:b)", "it is bad (1)"]
    (long,) = reasons_told([Outcome(conversation("k"), given[1])])
    assert len(long) < 160
    assert long.endswith(" …")


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a occurs twice"):
        run(tmp_path, ["a", "a"], Marking())


def test_a_conversation_survives_its_file(tmp_path: Path) -> None:
    original = conversation("क:1", 'Line one\nline "two" \u2028 three').with_note("translate", {"chrf": 41.5})
    assert DraftConversation.from_json(json.loads(json.dumps(original.as_json()))) == original


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"turns": []}, "has no turns"),
        ({"turns": [{"prompt": " ", "instruction_ids": [], "kwargs": []}]}, "prompt is empty"),
        ({"turns": [{"prompt": "x", "instruction_ids": ["punctuation:no_comma"], "kwargs": []}]}, "1 instruction ids"),
        ({"turns": [{"prompt": "x", "instruction_ids": ["made:up"], "kwargs": [{}]}]}, "made:up"),
        (
            {"turns": [{"prompt": "x", "instruction_ids": ["keywords:existence"], "kwargs": [{"n": 1}]}]},
            "keywords:existence",
        ),
        ({"turns": 3}, "malformed"),
    ],
)
def test_a_malformed_conversation_is_refused_with_its_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match="seed-7") as raised:
        DraftConversation.from_json({**conversation("seed-7").as_json(), **change})
    assert words in str(raised.value)


KILLED = """
import os, pathlib, signal, sys
from tests.construction.test_pipeline import Marking, Seeds, conversation
from turnswap.construction.pipeline import Pipeline

class Killing(Marking):
    def run(self, conversations):
        if self.name == "killing":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(conversations)

seeds = Seeds([conversation(f"k{n}") for n in range(10)])
list(Pipeline(pathlib.Path(sys.argv[1]), seeds, [Marking(), Killing("killing")]).run())
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    steps = [Marking(), Marking("killing")]
    counts = run(tmp_path, [f"k{n}" for n in range(10)], *steps)
    assert [len(step.asked) for step in steps] == [0, 10]
    assert counts[-1].kept == 10


def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        run(tmp_path / "file", ["a"], Marking())
