"""Instructions that a data set brings: M-IFEval's kinds as examples, from their file to a stock evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnswap.construction.constructors import construct
from turnswap.construction.extend import draw_instruction, find_problem
from turnswap.construction.instructions import making_of, must_contain
from turnswap.construction.plain_words import plain_words
from turnswap.construction.push import to_upload
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.release import release
from turnswap.construction.steps import assemble
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.instructions import (
    INSTRUCTIONS,
    MalformedInstruction,
    get_instruction,
    load_instructions,
    own,
)

from ..conftest import REPOSITORY

FILE = REPOSITORY / "configs" / "m_ifeval" / "instructions.py"
CONFIG = REPOSITORY / "configs" / "build_m_ifeval.yaml"
# Kwargs, a reply that follows, one that does not.
CASES: dict[str, list[tuple[dict[str, Any], str, str]]] = {
    "ja:characters": [
        ({"num_characters": 5, "relation": "at least"}, "春の庭です", "春の 庭。"),
        ({"num_characters": 5, "relation": "less than"}, "春の 庭。", "春の庭です"),
    ],
    "ja:no_katakana": [({}, "庭に花が咲く・とても。", "ガーデン"), ({}, "にわ", "ｶﾞｰﾃﾞﾝ")],
    "ja:furigana": [({"num_readings": 2}, "春（はる）の庭(にわ)", "春（はる）の庭（ニワ）")],
    "fr:no_accents": [({}, "Le garçon et sa sœur", "Le café"), ({}, "Voilà".replace("à", "a"), "Voila\u0300")],
    "fr:special_letter": [
        ({"letter": "ç", "num_letters": 2}, "Ça, garc\u0327on", "garçon"),
        ({"letter": "œ", "num_letters": 1}, "ŒUVRE", "oeuvre"),
    ],
    "es:words_with_enye": [
        ({"num_words": 2, "relation": "at least"}, "El niño, an\u0303o", "ñandú de España".replace("ñ", "n", 1)),
        ({"num_words": 1, "relation": "less than"}, "ano", "AÑO"),
    ],
    "es:opened": [
        ({"mark": "¿", "num_sentences": 2}, "¿Qué? ¿Sí?", "¿Qué? Sí?"),
        ({"mark": "¡", "num_sentences": 1}, "¡Hola!", "Hola!"),
    ],
}  # fmt: skip
PROMPTS = {
    "ja": "春の庭について短い手紙を書いてください。",
    "fr": "Décris un jardin au printemps, en quelques phrases simples.",
    "es": "Describe un jardín en primavera con unas pocas frases sencillas.",
}
pytestmark = pytest.mark.usefixtures("own_instructions")


@pytest.fixture
def examples(own_instructions: None) -> None:
    load_instructions(FILE)


@pytest.mark.usefixtures("examples")
def test_every_example_has_cases() -> None:
    assert {id_ for id_ in INSTRUCTIONS if id_.split(":")[0] in PROMPTS} == CASES.keys()


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("id_", CASES)
def test_examples_are_checked_drawn_worded_shown_and_proved(id_: str) -> None:
    for kwargs, follows, fails in CASES[id_]:
        assert [grade_reply(reply, [id_], [kwargs])[0].strict for reply in (follows, fails)] == [True, False]
    code = id_.split(":")[0]
    found = {}
    for number in range(30):
        first = Turn(PROMPTS[code], ("detectable_format:title",), ({},))
        drawn = draw_instruction(number, DraftConversation("k", code, (first,)), {id_: 1.0})
        assert drawn is not None
        found[json.dumps(drawn[1])] = drawn[1]
    assert len(found) > 1 or not INSTRUCTIONS[id_].kwargs
    for kwargs in found.values():
        assert not construct([id_], [kwargs], [PROMPTS[code]], code).failed
        assert find_problem(" ".join(must_contain(id_, kwargs)), id_, kwargs, code, [], 300) is None
        assert id_ not in plain_words().question(id_, kwargs)
    assert draw_instruction(0, DraftConversation("k", "en", (first,)), {id_: 1.0}) is None
    assert "has what it is about" in str(making_of(id_).unsuitable and making_of(id_).unsuitable("sw", frozenset()))  # type: ignore[misc]


def test_the_example_builds_and_a_process_that_knows_nothing_of_it_grades_its_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    content = yaml.safe_load(CONFIG.read_text("utf-8")) | {"folder": str(tmp_path / "steps")}
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(content), "utf-8")
    made = assemble(tmp_path / "build.yaml")
    assert [count.kept for count in made.pipeline.run()] == [4] * 7
    folder = release(made.settings, made.pipeline)[0].parent
    assert folder / "own_words_instructions.py" in to_upload(folder, anyway=True)
    assert "executes `own_words_instructions.py`" in (folder / "README.md").read_text("utf-8")

    proofs = {
        each.conversation.last.prompt: each.conversation.note("prove")["reply"]
        for each in made.pipeline.outcomes("prove")
    }
    script = f"""
import json
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from tests.multiturn.stub_models import ScriptedLM
proofs = json.loads({json.dumps(json.dumps(proofs))})
lm = ScriptedLM(lambda prompt: proofs.get(prompt.rpartition("<user>")[2].removesuffix("<assistant>"), "-"))
manager = TaskManager(include_path={str(folder)!r}, include_defaults=False)
found = simple_evaluate(lm, tasks=["own_words"], task_manager=manager, bootstrap_iters=0)
print(json.dumps([found["results"]["own_words"]["turn3_prompt_strict_acc,none"],
                  found["configs"]["own_words_ja"]["metadata"]["instructions"]]))
"""
    environment = {name: value for name, value in os.environ.items() if name != own.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [1.0, load_instructions(FILE)]


def test_another_check_makes_the_steps_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    content = yaml.safe_load(CONFIG.read_text("utf-8")) | {"folder": str(tmp_path / "steps")}
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(content), "utf-8")
    first = assemble(tmp_path / "build.yaml").pipeline.steps[-1].identity
    monkeypatch.setattr("turnswap.construction.steps.load_instructions", lambda path: "another content")
    assert assemble(tmp_path / "build.yaml").pipeline.steps[-1].identity != first


# -------------------------------------------------------------------------------------------------- the file itself

GOOD = """
from turnswap.tasks.multiif.instructions import instruction

@instruction("test:polite")
def polite(reply: str) -> bool:
    return "please" in reply
"""


def written(folder: Path, content: str) -> Path:
    path = folder / "mine.py"
    path.write_text(content, "utf-8")
    return path


def test_other_processes_find_it_by_the_variable_and_nothing_else_runs_it(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    with pytest.raises(MalformedInstruction, match="unknown instruction id 'test:polite'"):
        grade_reply("please", ["test:polite"], [{}])
    load_instructions(path)
    assert os.environ[own.VARIABLE] == str(path)
    grade = "grade_reply('please', ['test:polite'], [{}])[0].strict"
    code = f"from turnswap.tasks.multiif.grading import grade_reply; print({grade})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_the_same_content_is_run_once_wherever_it_lies(tmp_path: Path) -> None:
    first = load_instructions(written(tmp_path, GOOD))
    (tmp_path / "copy").mkdir()
    check = get_instruction("test:polite").check
    assert load_instructions(written(tmp_path / "copy", GOOD)) == first
    assert get_instruction("test:polite").check is check


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x = 1\n", "registers no instruction"),
        ("import nowhere_to_be_found\n", "cannot be run: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def x(:\n", "cannot be run: SyntaxError"),
        (GOOD + "raise SystemExit\n", "cannot be run: SystemExit"),
        (GOOD + "import sys\nsys.exit('no licence')\n", "cannot be run: SystemExit: no licence"),
        (GOOD.replace("test:polite", "punctuation:no_comma"), "registers punctuation:no_comma, which exists already"),
        (GOOD + "from turnswap.construction.instructions.making import making\nmaking('test:typo')\n", "test:typo"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, content: str, problem: str
) -> None:
    before = dict(INSTRUCTIONS)
    with pytest.raises(UserError) as raised:
        load_instructions(written(tmp_path, content))
    assert problem in raised.value.message
    assert before == INSTRUCTIONS
    assert os.environ[own.VARIABLE] == ""


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.py cannot be read: No such file"):
        load_instructions(tmp_path / "nowhere.py")
