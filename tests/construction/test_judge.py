"""A judge of its own: what it is asked, that its no is obeyed, and that it is told where it is no second opinion."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnswap.construction.judge import constraints_of, verdict
from turnswap.construction.llm import LLM, LLMSettings, read_prompt
from turnswap.construction.pipeline import Count
from turnswap.construction.records import DraftConversation, digest
from turnswap.construction.steps import Build, assemble
from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl

from ..conftest import REPOSITORY, Turnswap
from ..multiturn.fault_server import FaultServer
from .example_build import TEXTS, Refusal, asked_of, configured, rejected

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")

Input = dict[str, Any]
Says = Callable[[Input], Any]
KEYS = ("stew", "bus-stop", "moon-riddles")


def yes(asked: Input) -> Any:
    return {"constraints": [True] * len(asked["constraints"]), "content": True, "reason": ""}


class Two:
    """A translator and a judge, each behind a server of its own, and the YAML that names them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.says, self.told = folder, yes, [0, 0]
        self.refuse: Callable[[Input], Refusal | None] = lambda asked: None
        recorded = {digest(line["input"]): line["answer"] for line in read_jsonl(TEXTS / "recording.jsonl")}

        def reply(messages: Any) -> str:
            asked = read_prompt(messages[-1]["content"])
            given = self.says(asked) if asked["task"] == "judge_turn" else recorded[digest(asked)]
            return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)

        self.translator = stack.enter_context(FaultServer({}, reply=reply))
        self.judge = stack.enter_context(FaultServer({}, reply=reply, refuse=lambda body: self.refuse(asked_of(body))))
        seeds = [line for line in read_jsonl(TEXTS / "seeds.jsonl") if line["key"] in KEYS]
        (folder / "seeds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in seeds), "utf-8")

    def config(self, model: str = "judge", **judge: Any) -> Path:
        def section(server: FaultServer, model: str) -> Input:
            args = {"base_url": server.url, "model": model, "num_concurrent": 4, "max_retries": 1}
            return {"model": "local-chat-completions", "model_args": args}

        return configured(
            self.folder,
            llm=section(self.translator, "translator"),
            judge=section(self.judge, model) | judge,
            languages=["sw"],
            seeds={"file": str(self.folder / "seeds.jsonl")},
            translate={},
            filter={"llm_check": False},
            conflicts={"llm_check": False},
        )

    def built(self, redo: str | None = None, last: str = "translate", **judge: Any) -> tuple[Build, list[Count]]:
        made = assemble(self.config(**judge))
        return made, list(made.pipeline.run(last, redo))

    def asked(self) -> tuple[list[Input], list[Input]]:
        """What came to the translator and to the judge since this was last called."""
        found = []
        for number, server in enumerate((self.translator, self.judge)):
            prompts = [record.conversation for record in server.requests]
            found.append([read_prompt(prompt) for prompt in prompts[self.told[number] :]])
            self.told[number] = len(prompts)
        return found[0], found[1]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with ExitStack() as stack:
        yield Two(tmp_path, stack)


def test_the_judge_translates_back_and_says_yes_or_no_on_each_turn(two: Two) -> None:
    made, counts = two.built()
    assert counts[-1].kept == 3
    translator, judge = two.asked()
    assert [asked["to"] for asked in translator] == ["sw"] * 3
    assert Counter(asked["task"] for asked in judge) == {"translate": 3, "judge_turn": 9}
    assert {asked["to"] for asked in judge if asked["task"] == "translate"} == {"en"}
    (riddles,) = (asked for asked in judge if "filler words" in asked.get("source", ""))
    assert riddles["constraints"] == ["None of these words occurs: “sana”, “kweli”"]
    assert riddles["translation"].startswith("Wanafunzi wangu")
    assert (riddles["from"], riddles["to"]) == ("en", "sw")
    notes = [each.conversation.notes["translate"] for each in made.pipeline.outcomes("translate")]
    assert {note["judge"] for note in notes} == {"judge"}


def test_one_no_rejects_with_the_judges_reason_and_ends_the_questions(two: Two) -> None:
    def says(asked: Input) -> Any:
        no = "placeholder" in asked["constraints"][0]
        return {"constraints": [not no], "content": True, "reason": "It says at most 2." if no else ""}

    two.says = says
    made, counts = two.built()
    assert counts[-1].kept == 2
    reason = rejected(made, "translate")["bus-stop:sw"]
    assert reason.startswith("the judge finds a constraint changed: At least 2 placeholders in square brackets")
    assert "It says at most 2." in reason
    assert "turn 2" in reason
    assert Counter(asked["task"] for asked in two.asked()[1]) == {"translate": 3, "judge_turn": 8}


def test_a_no_to_the_content_rejects_too(two: Two) -> None:
    two.says = lambda asked: {**yes(asked), "content": "stove" not in asked["source"], "reason": "The stove is lost."}
    made, _ = two.built()
    assert rejected(made, "translate") == {
        "stew:sw": "the judge finds the content changed: The stove is lost. (turn 3)"
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"constraints": [], "content": True, "reason": ""}, "must say yes or no for each of 1 constraints"),
        ({"constraints": ["yes"], "content": True, "reason": ""}, "must say yes or no for each of 1 constraints"),
        ({"constraints": [True], "content": "yes"}, "has no content (bool)"),
        ("All is well.", "no JSON object"),
    ],
)
def test_a_judge_that_does_not_say_yes_or_no_is_asked_once_more_and_lets_nothing_through(
    two: Two, given: Any, words: str
) -> None:
    two.says = lambda asked: given if "stove" in asked["source"] else yes(asked)
    made, counts = two.built()
    assert counts[-1].kept == 2
    assert words in rejected(made, "translate")["stew:sw"]
    again = [asked for asked in two.asked()[1] if "problem" in asked]
    assert len(again) == 1


def test_what_the_gates_reject_costs_no_question_of_the_judge(two: Two) -> None:
    made = assemble(two.config())
    step = next(step for step in made.pipeline.steps if step.name == "translate")
    step.settings = type(step.settings)(chrf=100.0)  # type: ignore[attr-defined]
    list(made.pipeline.run("translate"))
    assert Counter(asked["task"] for asked in two.asked()[1]) == {"translate": 3}


def test_each_model_has_a_cache_of_its_own(two: Two) -> None:
    two.built()
    two.asked()
    assert two.built()[1][-1].done_now == 0
    assert two.asked() == ([], [])
    assert two.built(model="another judge")[1][-1].done_now == 3
    translator, judge = two.asked()
    assert (len(translator), len(judge)) == (0, 12)
    two.built("translate", model="another judge")
    translator, judge = two.asked()
    assert (len(translator), len(judge)) == (3, 12)
    assert [path.name[:10] for path in (two.folder / "steps" / "judge-answers").glob("*.previous")] == ["translate-"]


def test_a_refused_question_rejects_its_conversation_and_is_asked_again_only_on_request(two: Two) -> None:
    def refuse(asked: Input) -> Refusal | None:
        held = asked["task"] == "judge_turn" and "stove" in asked["source"]
        return (400, {}, {"error": {"message": "Against our policy."}}) if held else None

    two.refuse = refuse
    made, _ = two.built()
    assert rejected(made, "translate")["stew:sw"] == "the LLM gave no answer: HTTP 400: Against our policy."
    two.refuse = lambda asked: None
    two.asked()
    assert two.built("failed")[1][-1].kept == 3
    translator, judge = two.asked()
    assert (len(translator), len(judge)) == (0, 1)
    two.refuse = refuse
    with pytest.raises(UserError, match="translate, judge: too many requests failed") as raised:
        two.built("translate", max_failed=0)
    assert "max_failed of the section judge (now 0" in raised.value.advice


def test_what_the_judge_will_be_asked_is_told_apart(two: Two, turnswap: Turnswap) -> None:
    first = turnswap("build", "run", two.config(), "--dry-run")
    assert "translate      3 conversations to do: at most 3 questions" in first.output
    assert "judge          3 conversations to do: at most 12 questions" in first.output
    assert two.asked() == ([], [])
    two.built()
    again = turnswap("build", "run", two.config(), "--dry-run", "--last", "translate")
    assert "asked nothing" in again.output
    other = turnswap("build", "run", two.config(model="another"), "--dry-run", "--last", "translate")
    assert "translate " not in other.output
    assert "judge          3 conversations to do: at most 12 questions" in other.output
    redo = turnswap("build", "run", two.config(), "--dry-run", "--last", "translate", "--redo", "translate")
    assert "translate      3 conversations to do: 3 questions" in redo.output
    assert "judge          3 conversations to do: at most 12 questions" in redo.output


def test_datasheet_and_card_name_the_judge_and_the_share_that_it_rejected(two: Two, turnswap: Turnswap) -> None:
    two.says = lambda asked: {**yes(asked), "content": "stove" not in asked["source"], "reason": "The stove is lost."}
    ran = turnswap("build", "run", two.config())
    assert ran.exit_code == 0, ran.output
    assert "independent" not in ran.output
    for name in ("DATASHEET.md", "README.md"):
        text = (two.folder / "steps" / "release" / name).read_text("utf-8")
        assert "local-chat-completions judge, 1 of 3 translations rejected (33%)" in text
        assert "translator itself" not in text


def test_a_judge_that_is_the_translator_is_told_as_no_evidence(two: Two, turnswap: Turnswap) -> None:
    ran = turnswap("build", "run", two.config(model="translator"))
    told = "The judge is the translator itself (local-chat-completions): what it says is no independent evidence."
    assert told in ran.output
    for name in ("DATASHEET.md", "README.md"):
        assert told in (two.folder / "steps" / "release" / name).read_text("utf-8")


def test_without_a_judge_nobody_is_named(tmp_path: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    ran = turnswap("build", "run", configured(tmp_path))
    assert ran.exit_code == 0, ran.output
    assert "udge" not in (tmp_path / "steps" / "release" / "DATASHEET.md").read_text("utf-8")
    assert not (tmp_path / "steps" / "judge-answers").exists()


def test_a_mistake_in_the_section_is_refused_with_its_key(two: Two) -> None:
    with pytest.raises(UserError, match=r"judge\.modle is no setting"):
        assemble(two.config(modle="x"))
    with pytest.raises(UserError, match="judge: gen_kwargs asks for samples"):
        assemble(two.config(gen_kwargs={"do_sample": True}))
    path = two.config()
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"judge": {"model": "no-such"}}))
    with pytest.raises(UserError, match="judge: no-such could not be loaded"):
        list(assemble(path).pipeline.run("translate"))


def test_constraints_are_those_that_a_turn_brings() -> None:
    stew = next(line for line in read_jsonl(TEXTS / "seeds.jsonl") if line["key"] == "stew")
    turns = DraftConversation.from_json(stew).turns
    assert [constraints_of(turns, turn) for turn in range(3)] == [
        ["Exactly 5 bullet points"],
        ["A postscript at the end, begun with “P.S.”"],
        ["Fewer than 120 words"],
    ]


def test_a_verdict_names_each_constraint_that_is_lost() -> None:
    answer = '{"constraints": [false, true, false], "content": false, "reason": "Two are gone."}'
    assert verdict(answer, ["A", "B", "C"]) == "the judge finds a constraint changed: A; C: Two are gone."
    assert verdict('{"constraints": [], "content": true}', []) is None


def test_a_judge_is_measured_on_labelled_pairs(tmp_path: Path) -> None:
    """Of two bad pairs it finds one, of two good ones it accepts one, and for the other it has no verdict."""
    spec = importlib.util.spec_from_file_location("judge_pairs", REPOSITORY / "benchmarks" / "judge_pairs.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # dataclasses look there
    spec.loader.exec_module(script)
    pairs = [
        {"language": "de", "kind": kind, "source": "Be brief.", "translation": text, "acceptable": kind == "literal"}
        for kind, text in (
            ("literal", "Fasse dich kurz."), ("literal", "Sei kurz."), ("relation", "Sei lang."), ("number", "Sei 2."),
        )
    ]  # fmt: skip
    verdicts = {"Fasse dich kurz.": True, "Sei lang.": False, "Sei 2.": True}

    def reply(messages: Any) -> str:
        asked = read_prompt(messages[-1]["content"])
        same = verdicts.get(asked["translation"])
        return "Hm." if same is None else json.dumps({"constraints": [], "content": same, "reason": "No."})

    with FaultServer({}, reply=reply) as server:
        args = {"base_url": server.url, "model": "m"}
        judge = LLM(LLMSettings("local-chat-completions", args), tmp_path, "pairs", "judge")
        lines = list(script.told(script.judge_pairs(pairs, judge)))
    assert lines[:4] == [
        "precision of rejecting  1 of 2: 50 % [9, 91]",
        "recall of bad pairs     1 of 2: 50 % [9, 91]",
        "good pairs accepted     1 of 2: 50 % [9, 91]",
        "no verdict              1 of 4: 25 % [5, 70]",
    ]
    assert "relation             bad  1 of 1: 100 % [21, 100]" in lines
    assert "number               bad  0 of 1: 0 % [0, 79]" in lines
