"""The example data set in Swahili and Korean: finished conversations that pass every step, poor ones that do not."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from turnswap.commands.demo_model import write_demo_model
from turnswap.commands.main import main
from turnswap.construction.filter import occurs, read_words
from turnswap.construction.forms import as_csv, read_csv
from turnswap.construction.gates import Thresholds, Translation, measure, problems
from turnswap.construction.instructions.making import texts_of
from turnswap.construction.pipeline import Count
from turnswap.construction.records import DraftConversation
from turnswap.construction.release import release
from turnswap.construction.sheet import AUDIT, COLUMNS
from turnswap.construction.steps import Build, assemble
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.dataset import Source, load_conversations
from turnswap.tasks.multiif.grading import grade_reply

from ..conftest import BIN, REPOSITORY
from ..multiturn.stub_models import ScriptedLM
from .conftest import GoneAt
from .example_build import TEXTS, configured, rejected

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")

STEPS = ["seeds", "extend", "conflicts", "translate", "filter", "audit", "prove"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Build, list[Count]]]:
    """The example, run from its first step to its last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        made = assemble(configured(tmp_path_factory.mktemp("sw-ko")))
        counts = list(made.pipeline.run())
        release(made.settings, made.pipeline)
        yield made, counts


@pytest.fixture(scope="module")
def proved(built: tuple[Build, list[Count]]) -> list[DraftConversation]:
    return [outcome.conversation for outcome in built[0].pipeline.outcomes("prove") if outcome.reason is None]


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sw_ko", TEXTS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_seeds_and_recording_are_what_the_texts_make() -> None:
    for name, content in maker().files().items():
        same = (TEXTS / name).read_text("utf-8") == content
        assert same, f"{name} is not made from conversations.yaml: run python configs/build_sw_ko/make.py"


def test_every_conversation_comes_through_all_steps_save_one_that_korean_cannot_have(
    built: tuple[Build, list[Count]],
) -> None:
    made, counts = built
    assert [count.step for count in counts] == STEPS
    assert [(count.kept, count.rejected) for count in counts] == [(21, 0)] * 3 + [(41, 1)] + [(41, 0)] * 3
    assert list(rejected(made, "translate")) == ["tongue-twister:ko"]
    assert "keywords:letter_frequency in ko" in rejected(made, "translate")["tongue-twister:ko"]


def test_two_third_turns_are_drawn_and_worded_by_the_llm(built: tuple[Build, list[Count]]) -> None:
    made, _ = built
    lacking = {each.conversation.key for each in made.pipeline.outcomes("seeds") if len(each.conversation.turns) == 2}
    drawn = {each.conversation.key: each.conversation for each in made.pipeline.outcomes("extend")}
    assert lacking == {"farewell", "eclipse"}
    assert drawn["farewell"].turns[2].instruction_ids[-1] == "punctuation:no_comma"
    assert drawn["eclipse"].turns[2].instruction_ids[-1] == "startend:quotation"
    assert all(len(each.turns) == 3 for each in drawn.values())


def test_a_second_run_does_nothing(built: tuple[Build, list[Count]]) -> None:
    made, _ = built
    again = assemble(made.settings.folder.parent / "build.yaml")
    # The seeds are read each time; no other step does anything.
    assert [count.done_now for count in again.pipeline.run()][1:] == [0] * 6


def test_twenty_conversations_and_more_in_each_language_over_three_turns(proved: list[DraftConversation]) -> None:
    by_language = {code: [each for each in proved if each.language == code] for code in ("sw", "ko")}
    assert {code: len(found) for code, found in by_language.items()} == {"sw": 21, "ko": 20}
    for found in by_language.values():
        ids = {id_ for each in found for id_ in each.turns[-1].instruction_ids}
        assert len(ids) >= 20
        for each in found:
            lengths = [len(turn.instruction_ids) for turn in each.turns]
            assert lengths == [lengths[0], lengths[0] + 1, lengths[0] + 2]


def test_keywords_of_kwargs_stand_in_the_prompts(proved: list[DraftConversation]) -> None:
    checked = 0
    for each in proved:
        last, text = each.turns[-1], "\n".join(turn.prompt for turn in each.turns)
        for id_, kwargs in zip(last.instruction_ids, last.kwargs, strict=True):
            for word in texts_of(id_, kwargs):
                assert re.search(rf"(?<!\w){re.escape(word)}", text), (each.key, word)
                checked += 1
    assert checked > 60


def test_every_proof_is_graded_as_passing(proved: list[DraftConversation]) -> None:
    for each in proved:
        last, proof = each.turns[-1], each.notes["prove"]
        verdicts = grade_reply(proof["reply"], last.instruction_ids, last.kwargs)
        assert all(verdict.strict and not verdict.ungradeable for verdict in verdicts), each.key
        assert proof["how"] == "rule"


def test_the_thresholds_are_no_lower_than_the_defaults(built: tuple[Build, list[Count]]) -> None:
    named = built[0].settings.translate
    for name in ("chrf", "chrf_plus_plus", "bleu", "turn_chrf", "script_share"):
        assert named[name] >= getattr(Thresholds(), name)


def test_the_back_translation_of_another_conversation_fails_the_gates(proved: list[DraftConversation]) -> None:
    for language in ("sw", "ko"):
        found = [each for each in proved if each.language == language]
        for each, other in zip(found, [*found[1:], found[0]], strict=True):
            note = each.notes["translate"]
            source = [turn["prompt"] for turn in note["source"]["turns"]]
            swapped = Translation(
                "en", language, source, [turn.prompt for turn in each.turns], other.notes["translate"]["back"]
            )
            reasons = problems(swapped, measure(swapped), Thresholds())
            assert any("far from the source: chrf " in reason for reason in reasons), each.key


@pytest.mark.parametrize(
    ("language", "text"), [("sw", "Eleza jinsi ya kutengeneza bomu."), ("ko", "폭탄을 만드는 방법을 알려 주세요.")]
)
def test_the_word_lists_find_what_they_name(language: str, text: str) -> None:
    listed = read_words(TEXTS / f"sensitive_{language}.txt")
    assert [word for word in listed if occurs(word, text)] == ["bomu" if language == "sw" else "폭탄"]


def test_the_release_runs_in_lm_eval_and_the_proofs_score_one_hundred(
    built: tuple[Build, list[Count]], proved: list[DraftConversation]
) -> None:
    folder = built[0].settings.folder / "release"
    for name, number in (("Swahili", 21), ("Korean", 20)):
        assert len(load_conversations(Source("csv", str(folder / "everyday.csv")), name)) == number
    proofs = {each.turns[-1].prompt: each.notes["prove"]["reply"] for each in proved}

    def reply(prompt: str) -> str:
        last = prompt.rpartition("<user>")[2].removesuffix("<assistant>")
        return str(proofs.get(last, "-"))

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    results = simple_evaluate(ScriptedLM(reply), tasks=["everyday"], task_manager=manager, bootstrap_iters=0)
    assert results is not None
    for task in ("everyday", "everyday_sw", "everyday_ko"):
        assert results["results"][task]["turn3_prompt_strict_acc,none"] == 1
        assert results["results"][task]["turn1_prompt_strict_acc,none"] < 1
    datasheet = (folder / "DATASHEET.md").read_text("utf-8")
    assert "No native speaker of Swahili or Korean has read them." in datasheet


def test_reviewers_are_waited_for_and_what_they_reject_is_not_released(
    built: tuple[Build, list[Count]], tmp_path: Path
) -> None:
    shutil.copytree(built[0].settings.folder, tmp_path / "steps")
    shutil.rmtree(tmp_path / "steps" / "release")
    waiting = assemble(configured(tmp_path, audit={"required": 2}))
    counts = list(waiting.pipeline.run())
    assert [(count.step, count.waiting) for count in counts[-1:]] == [("audit", 41)]
    assert [count.done_now for count in counts[1:5]] == [0] * 4
    with pytest.raises(UserError):
        release(waiting.settings, waiting.pipeline)

    reviews = []
    for reviewer in ("first", "second"):
        rows = read_csv(AUDIT, (tmp_path / "steps" / "audit" / "audit.csv").read_bytes(), "audit.csv")
        for row in rows:
            bad = row["key"] == "guitar:ko"
            row |= {"decision": "reject" if bad else "accept", "reviewer": reviewer, "comment": "stiff" * bad}
        reviews.append(tmp_path / f"{reviewer}.csv")
        reviews[-1].write_text(as_csv(rows, COLUMNS), "utf-8")
    made = assemble(configured(tmp_path, audit={"required": 2, "reviews": [str(path) for path in reviews]}))
    assert [count.kept for count in made.pipeline.run()][-2:] == [40, 40]
    assert "stiff" in rejected(made, "audit")["guitar:ko"]
    release(made.settings, made.pipeline)
    csv = (tmp_path / "steps" / "release" / "everyday.csv").read_text("utf-8")
    assert "guitar:0:sw" in csv
    assert "guitar:0:ko" not in csv


def test_run_and_status_say_whether_anybody_reviewed_it(built: tuple[Build, list[Count]], tmp_path: Path) -> None:
    shutil.copytree(built[0].settings.folder, tmp_path / "steps")
    config = str(configured(tmp_path))
    for command in ("run", "status"):
        told = CliRunner().invoke(main, ["build", command, config])
        assert "The audit is off: nobody reviewed this." in told.output, told.output
    waiting = CliRunner().invoke(main, ["build", "run", str(configured(tmp_path, audit={}))])
    assert "41 conversations wait at audit: give each reviewer the sheet of their language in" in waiting.output
    assert {path.name for path in (tmp_path / "steps" / "audit").glob("*.html")} == {
        "audit.html",
        "audit_ko.html",
        "audit_sw.html",
    }


def test_a_dry_run_and_status_tell_what_is_wrong_with_seeds_and_what_no_longer_fits(
    built: tuple[Build, list[Count]], tmp_path: Path
) -> None:
    shutil.copytree(built[0].settings.folder, tmp_path / "steps")
    seeds = (TEXTS / "seeds.jsonl").read_text("utf-8") + '{"key": "odd", "language": "en", "turns": []}\n'
    (tmp_path / "seeds.jsonl").write_text(seeds, "utf-8")
    before = (tmp_path / "steps" / "1-seeds.jsonl").read_bytes()
    config = str(configured(tmp_path, seeds={"file": str(tmp_path / "seeds.jsonl")}, audit={"required": 2}))
    told = CliRunner().invoke(main, ["build", "run", config, "--dry-run"]).output
    assert told.startswith("seeds         22 came: 21 kept, 1 rejected\n  malformed (1), first ")
    assert "has no turns" in told.splitlines()[1]
    assert (tmp_path / "steps" / "1-seeds.jsonl").read_bytes() == before
    status = CliRunner().invoke(main, ["build", "status", config]).output
    assert "waiting" in status
    (audit,) = [line for line in status.splitlines() if line.split()[:1] == ["audit"]]
    assert "out of date" in audit


def test_an_llm_that_stops_half_way_loses_nothing_that_was_done(tmp_path: Path, gone_at: GoneAt) -> None:
    config = configured(tmp_path)
    with gone_at('"find_sensitive"'):
        list(assemble(config).pipeline.run())
    steps = tmp_path / "steps"
    before = {path.name: path.read_bytes() for path in steps.glob("*.jsonl")}
    assert len(before["4-translate.jsonl"].splitlines()) == 21

    counts = list(assemble(config).pipeline.run())
    assert counts[-1].kept == 41
    assert [count.done_now for count in counts[1:4]] == [0, 0, 0]
    for number, step in enumerate(STEPS[:4], 1):
        assert (steps / f"{number}-{step}.jsonl").read_bytes() == before[f"{number}-{step}.jsonl"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """``transformers serve`` on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path / "serve.log").open("w")
    process = subprocess.Popen(
        [str(BIN / "transformers"), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env=os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub")}, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "serve.log").read_text()[-3000:]
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1/chat/completions"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


@pytest.mark.slow
def test_the_demo_model_behind_a_server_words_and_translates_too_poorly_to_pass(server: str, tmp_path: Path) -> None:
    """Short texts and few of them: on a CPU each question takes seconds."""
    write_demo_model(tmp_path / "model")
    prompts = ["Write a poem about rain. Add a <<title>>.", "Use no commas.", 'Mention "rain".']
    ids = ["detectable_format:title", "punctuation:no_comma", "keywords:existence"]
    kwargs: list[dict[str, Any]] = [{}, {}, {"keywords": ["rain"]}]
    turns = [{"prompt": prompts[n - 1], "instruction_ids": ids[:n], "kwargs": kwargs[:n]} for n in (1, 2, 3)]
    seeds = [{"key": f"of-{n}", "language": "en", "turns": turns[:n]} for n in (1, 3)]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in seeds), "utf-8")
    llm = {
        "model": "local-chat-completions",
        "model_args": {"base_url": server, "model": str(tmp_path / "model")},
        "gen_kwargs": {"max_gen_toks": 8},
    }
    config = configured(
        tmp_path,
        llm=llm,
        languages=["sw"],
        seeds={"file": str(tmp_path / "seeds.jsonl")},
        conflicts={"llm_check": False},
        translate={},
        filter={"llm_check": False},
    )
    made = assemble(config)
    counts = {count.step: count for count in made.pipeline.run()}
    assert [counts[step].kept for step in ("seeds", "extend", "translate")] == [2, 1, 0]
    reasons = rejected(made, "extend") | rejected(made, "translate")
    assert list(reasons) == ["of-1", "of-3:sw"]
    assert all("the LLM's answer" in reason for reason in reasons.values()), reasons
    assert counts["prove"].came == 0
    with pytest.raises(UserError, match="No conversation came through all steps"):
        release(made.settings, made.pipeline)
