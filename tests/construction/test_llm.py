"""The LLM of the construction: asked through lm-eval's models and the multi-turn runner, each question once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.registry import get_model

from turnswap.construction.asking import Asking, Question
from turnswap.construction.llm import LLM, LLMSettings, RecordedLM, read_answer, read_prompt
from turnswap.construction.steps import read_build
from turnswap.core.errors import UserError
from turnswap.core.journal import as_line


def recorded(folder: Path, *answers: tuple[dict[str, Any], Any]) -> LLM:
    recording = folder / "recording.jsonl"
    recording.write_text("".join(as_line({"input": asked, "answer": answer}) for asked, answer in answers))
    return LLM(LLMSettings("turnswap-recorded", {"path": str(recording)}), folder / "cache")


def once(question: Question) -> Asking[str]:
    return (yield question)


def ask(llm: LLM, *questions: Question) -> list[str]:
    return [answer for (answer,) in llm.run([[once(question)] for question in questions])]


def test_answers_come_in_the_order_of_the_questions_however_they_are_worded(tmp_path: Path) -> None:
    llm = recorded(tmp_path, ({"task": "t", "n": 1}, {"text": "één"}), ({"task": "t", "n": 2}, "plain words"))
    answers = ask(llm, Question("t", {"n": 2}, wording="Say two."), Question("t", {"n": 1}, wording="Say one, please."))
    assert answers[0] == "plain words"
    assert read_answer(answers[1], text=str) == {"text": "één"}


def test_a_recording_answers_whatever_sentences_a_question_offers_as_a_help_and_nothing_else_that_is_new(
    tmp_path: Path,
) -> None:
    llm = recorded(tmp_path, ({"n": 1, "task": "t"}, "one"), ({"n": 2, "sentence": "Two.", "task": "t"}, "two"))
    offering = [Question("t", {"n": n, "sentence": "Say it."}, wording="Count.") for n in (1, 2)]
    assert ask(llm, *offering) == ["one", "two"]
    with pytest.raises(UserError, match='"problem": "late"'):
        ask(llm, Question("t", {"n": 1, "problem": "late"}, wording="Count."))


def test_a_question_that_was_answered_is_never_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = RecordedLM.generate_until

    def counting(self: RecordedLM, requests: Any, disable_tqdm: bool = False) -> list[str]:
        asked.extend(read_prompt(request.args[0])["n"] for request in requests)
        return original(self, requests, disable_tqdm)

    monkeypatch.setattr(RecordedLM, "generate_until", counting)
    answers = [({"task": "t", "n": n}, {"n": n}) for n in range(4)]
    questions = [Question("t", {"n": n}, wording="Count.") for n in range(4)]
    ask(recorded(tmp_path, *answers), *questions[:2])
    ask(recorded(tmp_path, *answers), *questions)  # as another process would
    assert asked == [0, 1, 2, 3]


def test_a_question_that_the_recording_does_not_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='"n": 3'):
        ask(recorded(tmp_path), Question("t", {"n": 3}, wording="Count."))


def test_a_recording_that_was_changed_is_asked_anew(tmp_path: Path) -> None:
    question = Question("t", {}, wording="Say it.")
    assert ask(recorded(tmp_path, ({"task": "t"}, "old")), question) == ["old"]
    before = recorded(tmp_path, ({"task": "t"}, "old")).identity
    changed = recorded(tmp_path, ({"task": "t"}, "new"))
    assert ask(changed, question) == ["new"]
    assert changed.identity != before


def test_no_questions_load_no_model(tmp_path: Path) -> None:
    assert ask(LLM(LLMSettings("no-such-model"), tmp_path)) == []


def test_a_model_that_cannot_be_loaded_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-model could not be loaded"):
        ask(LLM(LLMSettings("no-such-model"), tmp_path), Question("t", {}, wording="x"))
    with pytest.raises(UserError, match="There is no recording"):
        ask(LLM(LLMSettings("turnswap-recorded", {"path": "nowhere"}), tmp_path), Question("t", {}, wording="x"))


def test_sampling_is_refused_since_a_second_run_would_be_another_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do_sample"):
        LLM(LLMSettings("hf", gen_kwargs={"do_sample": True}), tmp_path)


def test_the_recording_is_a_model_of_lm_evals() -> None:
    assert get_model("turnswap-recorded") is RecordedLM


@pytest.mark.parametrize(
    "answer",
    ['{"text": "a"}', 'Sure!\n```json\n{"text": "a"}\n```\nAnything else?', 'A set {1, 2}, then {"text": "a"}'],
)
def test_words_around_the_object_are_put_up_with(answer: str) -> None:
    assert read_answer(answer, text=str)["text"] == "a"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "no JSON object"),
        ("I cannot do that.", "no JSON object"),
        ('{"text": ', "no JSON object"),
        ('["text"]', "no JSON object"),
        ('{"text": 3}', "has no text (str)"),
        ('{"other": "a"}', "has no text (str)"),
    ],
)
def test_nonsense_becomes_a_reason(answer: str, words: str) -> None:
    with pytest.raises(ValueError, match="the LLM's answer") as raised:
        read_answer(answer, text=str)
    assert words in str(raised.value)


WHOLE = "name: a\nfolder: b\nllm: {model: hf, model_args: {pretrained: m}}\nlanguages: [sw, ko]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WHOLE + "seedz: {}", "seedz is no setting of build.yaml"),
        (WHOLE.replace("model:", "modle:"), "llm.modle is no setting"),
        (WHOLE.replace("name: a\n", ""), "needs name"),
        (WHOLE.replace("languages: [sw, ko]", "languages: sw"), "languages cannot be 'sw'"),
        ("- a", "holds no settings"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_yaml_with_a_mistake_is_refused_with_the_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "build.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_build(path)
    assert words in str(raised.value)


def test_a_yaml_is_read_with_its_sections_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "build.yaml"
    path.write_text(WHOLE + "translate: {chrf: 40}\n")
    settings = read_build(path)
    assert settings.languages == ("sw", "ko")
    assert settings.llm.model_args == {"pretrained": "m"}
    assert settings.translate == {"chrf": 40}
