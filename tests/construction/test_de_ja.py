"""The example in German and Japanese with a server: good translations are released, bad ones rejected for their faults.

Nothing here has a judge, save the last tests: what is rejected is found by rule.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from turnswap.construction.pipeline import Count
from turnswap.construction.steps import Build, assemble
from turnswap.core.journal import read_jsonl

from ..conftest import BIN, REPOSITORY, Command
from ..multiturn.fault_server import FaultServer
from ..multiturn.stub_models import ScriptedLM
from .bad_translators import FAULTS, GOOD, TEXTS, Fault, Translator, as_it_is, exchanging
from .example_build import asked_of, rejected
from .test_judge import yes
from .test_sw_ko import maker

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")

CONFIG = REPOSITORY / "configs" / "build_de_ja.yaml"
FEW = ("stew", "bus-stop", "moon-riddles", "football-club", "coffee-stall", "letter-home")


def section(server: FaultServer, model: str) -> dict[str, Any]:
    args = {"base_url": server.url, "model": model, "num_concurrent": 8, "max_retries": 1}
    return {"model": "local-chat-completions", "model_args": args}


def configured(folder: Path, server: FaultServer, keys: tuple[str, ...] = (), **sections: Any) -> Path:
    """The example's YAML with a server for its LLM, and some of its seeds."""
    content = yaml.safe_load(CONFIG.read_text("utf-8"))
    seeds = [line for line in read_jsonl(TEXTS / "seeds.jsonl") if not keys or line["key"] in keys]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in seeds), "utf-8")
    content |= {"folder": str(folder / "steps"), "llm": section(server, "translator")}
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump(content | {"seeds": {"file": str(folder / "seeds.jsonl")}} | sections), "utf-8")
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a whole run of the command with a good translator, and what it printed."""
    folder = tmp_path_factory.mktemp("de-ja")
    with FaultServer({}, reply=Translator()) as server:
        command = [BIN / "turnswap", "build", "run", configured(folder, server)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "steps", done.stdout


def test_seeds_and_recording_are_what_the_texts_make() -> None:
    for name, content in maker().files(TEXTS).items():
        same = (TEXTS / name).read_text("utf-8") == content
        assert same, f"{name} is not made from translations.yaml: run python configs/build_sw_ko/make.py"


def test_a_good_translators_conversations_all_come_through(built: tuple[Path, str]) -> None:
    folder, printed = built
    assert "prove         30 came: 30 kept, 0 rejected" in printed
    loaded = datasets.load_dataset(str(folder / "release"), cache_dir=str(folder / "cache"))["test"]
    assert [loaded["language_code"].count(code) for code in ("de", "ja")] == [15, 15]
    used = {id_ for row in loaded for id_ in row["turns"][-1]["instruction_id_list"]}
    assert len(used) >= 17
    assert min(min(scores["turn_chrf"]) for scores in loaded["scores"]) > 60


def test_the_release_is_evaluated_and_the_proofs_score_one_hundred(built: tuple[Path, str]) -> None:
    folder = built[0] / "release"
    loaded = datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))["test"]
    proofs = {row["turns"][-1]["prompt"]: row["proof"]["reply"] for row in loaded}

    def reply(prompt: str) -> str:
        last = prompt.rpartition("<user>")[2].removesuffix("<assistant>")
        return str(proofs.get(last, "-"))

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    tasks = ["everyday_de_ja_de", "everyday_de_ja_ja"]
    results = simple_evaluate(ScriptedLM(reply), tasks=list(tasks), task_manager=manager, bootstrap_iters=0)
    assert results is not None
    for task in tasks:
        assert results["results"][task]["turn3_prompt_strict_acc,none"] == 1


@pytest.mark.slow
def test_lm_evals_command_takes_the_released_tasks(built: tuple[Path, str], run_command: Command) -> None:
    tasks = "everyday_de_ja_de,everyday_de_ja_ja"
    with FaultServer() as server:
        model = ["--model", "local-chat-completions", "--model_args", f"base_url={server.url},model=m"]
        arguments = ["--include_path", built[0] / "release", "--tasks", tasks, *model, "--limit", "2"]
        done = run_command(BIN / "lm_eval", "run", *arguments, "--output_path", "out")
        assert len(server.requests) == 12
    assert done.returncode == 0, done.stderr[-3000:]
    assert "everyday_de_ja_ja" in done.stdout


Run = Callable[..., tuple[Build, Translator]]
# Some faults are hidden as they are: their back-translation is the good one's. A sentence that is gone without a trace
# in the back-translation is for a judge to find.
HIDDEN = {fault.name: fault.hidden for fault in FAULTS if fault.back is not as_it_is}
DROPPED = HIDDEN.pop("drops a sentence")
EVERY = [*FAULTS, *HIDDEN.values()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A build up to the step ``translate``, by a translator with a fault."""

    def build(fault: Fault, keys: tuple[str, ...] = (), **server: Any) -> tuple[Build, Translator]:
        translator = Translator(fault)
        with FaultServer({}, reply=server.pop("reply", translator), **server) as served:
            made = assemble(configured(tmp_path, served, keys or fault.keys or FEW, conflicts={"llm_check": False}))
            counts: list[Count] = list(made.pipeline.run("translate"))
        assert counts[-1].came >= 1
        return made, translator

    return build


@pytest.mark.parametrize("fault", EVERY, ids=lambda each: each.name)
def test_what_a_bad_translator_changed_is_rejected_for_it_and_the_rest_is_kept(run: Run, fault: Fault) -> None:
    made, translator = run(fault)
    found = rejected(made, "translate")
    assert {key.partition(":")[2] for key in translator.changed} == {"de", "ja"}  # else this tests nothing
    assert set(found) == translator.changed
    assert {key: reason for key, reason in found.items() if not re.search(fault.reason, reason)} == {}


def test_a_good_translator_loses_nothing_where_a_bad_one_is_caught(run: Run) -> None:
    made, _ = run(GOOD, keys=tuple({key for fault in FAULTS for key in fault.keys} | set(FEW)))
    assert rejected(made, "translate") == {}


def test_a_refused_translation_rejects_that_conversation_alone(run: Run) -> None:
    def refuse(body: dict[str, Any]) -> Any:
        asked = asked_of(body)
        if asked["task"] == "translate" and asked["to"] == "ja" and "stove" in asked["turns"][-1]:
            return 400, {}, {"error": {"message": "Content policy."}}
        return None

    made, _ = run(GOOD, refuse=refuse)
    assert rejected(made, "translate") == {"stew:ja": "the LLM gave no answer: HTTP 400: Content policy."}


@pytest.mark.parametrize(
    ("empty", "words"), [("", "the LLM gave no answer: it has no text"), ({"turns": ["", "", ""]}, "a text is missing")]
)
def test_an_empty_translation_rejects_that_conversation_alone(run: Run, empty: Any, words: str) -> None:
    translator = Translator()

    def reply(messages: Any) -> str:
        given = translator(messages)
        if '"to": "de"' not in messages[-1]["content"] or "stove" not in messages[-1]["content"]:
            return given
        return json.dumps({**json.loads(given), **empty}) if empty else ""

    made, _ = run(GOOD, reply=reply)
    ((key, reason),) = rejected(made, "translate").items()
    assert key == "stew:de"
    assert words in reason


def test_a_judge_finds_what_the_translators_own_back_translation_hides(tmp_path: Path) -> None:
    """The sun's star becomes one of film: no word of the source is lost, and the back-translation says it all."""
    fault = Fault(
        "another sense", "", exchanging(de=[("den Stern selbst", "den Filmstar selbst")], ja=[("恒星", "映画スター")])
    )
    translator = Translator(fault.hidden)
    judged: list[str] = []

    def reply(messages: Any) -> str:
        asked = asked_of({"messages": messages})
        if asked["task"] != "judge_turn":
            return translator(messages)
        judged.append(asked["translation"])
        same = asked["translation"] in translator.good
        return json.dumps({**yes(asked), "content": same, "reason": "" if same else "A film star is no sun."})

    with ExitStack() as stack:
        server = stack.enter_context(FaultServer({}, reply=translator))
        other = stack.enter_context(FaultServer({}, reply=reply))
        keys = ("eclipse", "stew")
        made = assemble(configured(tmp_path, server, keys, judge=section(other, "judge")))
        list(made.pipeline.run("translate"))
    assert translator.changed == {"eclipse:de", "eclipse:ja"}
    told = "the judge finds the content changed: A film star is no sun. (turn 2)"
    assert rejected(made, "translate") == {"eclipse:de": told, "eclipse:ja": told}
    assert len(judged) == 2 * 2 + 2 * 3


@pytest.mark.parametrize("fault", [*HIDDEN.values(), DROPPED], ids=lambda fault: fault.name)
def test_with_a_judge_who_reads_nothing_that_is_hidden_comes_through(tmp_path: Path, fault: Fault) -> None:
    """Whatever the gates made of it before."""
    translator = Translator(fault)

    def reply(messages: Any) -> str:
        asked = asked_of({"messages": messages})
        if asked["task"] != "judge_turn":
            return translator(messages)
        same = asked["translation"] in translator.good
        told = [same] * len(asked["constraints"])
        return json.dumps({"constraints": told, "content": same, "reason": "" if same else "It says another thing."})

    with ExitStack() as stack:
        server = stack.enter_context(FaultServer({}, reply=translator))
        other = stack.enter_context(FaultServer({}, reply=reply))
        made = assemble(configured(tmp_path, server, fault.keys or FEW, judge=section(other, "judge")))
        list(made.pipeline.run("translate"))
    assert translator.changed
    assert set(rejected(made, "translate")) == translator.changed
