"""The proof: a reply that follows everything is constructed, given or found; else it says what fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.constructors import construct
from turnswap.construction.llm import (
    LLM,
    LLMSettings,
    RecordedLM,  # noqa: F401 - names turnswap-recorded to lm-eval
)
from turnswap.construction.pipeline import Pipeline
from turnswap.construction.prove import Prove, ProveSettings, returned
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.construction.vocabulary import clearest, common_words, words_of
from turnswap.core.errors import UserError
from turnswap.core.journal import as_line, read_jsonl
from turnswap.tasks.multiif.dataset import LANGUAGES, SAMPLE, Source, load_conversations
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.text import detect_language, known_languages

from ..conftest import SHARED
from .test_pipeline import Seeds

Instructions = list[tuple[str, dict[str, Any]]]
PROMPTS = ["Write a short story about a lighthouse keeper and the storm of last winter, for children who love the sea."]

AT_LEAST, LESS = "at least", "less than"
FIRST_WORD = "length_constraints:nth_paragraph_first_word"
SATISFIABLE: list[Instructions] = [
    [("length_constraints:number_words", {"num_words": 300, "relation": AT_LEAST})],
    [
        ("length_constraints:number_words", {"num_words": 40, "relation": AT_LEAST}),
        ("length_constraints:number_words", {"num_words": 45, "relation": LESS}),
        ("length_constraints:number_sentences", {"num_sentences": 5, "relation": AT_LEAST}),
        ("length_constraints:number_sentences", {"num_sentences": 6, "relation": LESS}),
    ],
    [
        ("length_constraints:number_words", {"num_words": 8, "relation": LESS}),
        ("detectable_format:title", {}),
        ("detectable_content:number_placeholders", {"num_placeholders": 5}),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 4}),
        ("keywords:existence", {"keywords": ["sea", "salt"]}),
    ],
    [
        ("detectable_format:json_format", {}),
        ("startend:quotation", {}),
        ("startend:end_checker", {"end_phrase": "The end."}),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 3}),
        ("change_case:english_lowercase", {}),
    ],
    [
        ("detectable_format:json_format", {}),
        (FIRST_WORD, {"num_paragraphs": 5, "nth_paragraph": 3, "first_word": "salt"}),
        ("punctuation:no_comma", {}),
    ],
    [("detectable_format:json_format", {}), ("detectable_format:number_bullet_lists", {"num_bullets": 4})],
    [
        ("detectable_format:json_format", {}),
        ("detectable_format:number_bullet_lists", {"num_bullets": 1}),
        ("punctuation:no_comma", {}),
    ],
    [
        ("combination:repeat_prompt", {"prompt_to_repeat": "Tell me more.\n\n- Who?\n- When?"}),
        (FIRST_WORD, {"num_paragraphs": 4, "nth_paragraph": 3, "first_word": "salt"}),
        ("detectable_format:number_bullet_lists", {"num_bullets": 3}),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
    ],
    [
        ("change_case:english_capital", {}),
        ("detectable_format:multiple_sections", {"section_spliter": "PART", "num_sections": 3}),
        ("combination:two_responses", {}),
        ("keywords:letter_frequency", {"letter": "q", "let_frequency": 9, "let_relation": AT_LEAST}),
        ("keywords:letter_frequency", {"letter": "w", "let_frequency": 1, "let_relation": LESS}),
    ],
    [
        ("change_case:capital_word_frequency", {"capital_frequency": 3, "capital_relation": AT_LEAST}),
        ("change_case:capital_word_frequency", {"capital_frequency": 4, "capital_relation": LESS}),
        ("keywords:forbidden_words", {"forbidden_words": ["storm", "last winter", "the"]}),
        ("keywords:frequency", {"keyword": "sea", "frequency": 1, "relation": LESS}),
    ],
    [
        ("detectable_format:constrained_response", {}),
        ("keywords:frequency", {"keyword": "C++", "frequency": 3, "relation": AT_LEAST}),
    ],
]


def conversation(instructions: Instructions, key: str = "k:en", **notes: Any) -> DraftConversation:
    ids, kwargs = zip(*instructions, strict=True)
    return DraftConversation(key, "en", (Turn(PROMPTS[0], ids, kwargs),), notes)


@pytest.mark.parametrize("instructions", SATISFIABLE)
def test_a_reply_that_follows_all_is_constructed(instructions: Instructions) -> None:
    ids, kwargs = zip(*instructions, strict=True)
    reply = construct(ids, kwargs, PROMPTS, "en").reply
    assert [verdict.strict for verdict in grade_reply(reply, ids, kwargs)] == [True] * len(ids)


@pytest.mark.parametrize("code", sorted(known_languages() - {"zh-tw"}))
def test_a_reply_in_any_language_is_constructed_from_english_prompts(code: str) -> None:
    ids = ["language:response_language", "length_constraints:number_words", "punctuation:no_comma"]
    kwargs = [{"language": code}, {"num_words": 60, "relation": "at least"}, {}]
    attempt = construct(ids, kwargs, PROMPTS, "en")
    assert not attempt.failed
    assert detect_language(attempt.reply) == code


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_packaged_conversation_is_proved_by_rule(code: str) -> None:
    for found in load_conversations(Source("sample", str(SAMPLE)), LANGUAGES[code]):
        turn = found["turns"][-1]
        prompts = [each["prompt"] for each in found["turns"]]
        assert not construct(turn["instruction_ids"], turn["kwargs"], prompts, code).failed, found["key"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the English data of Multi-IF is not beside this checkout")
def test_nine_in_ten_published_conversations_are_proved_by_rule() -> None:
    failed = 0
    conversations = load_conversations(Source("csv", str(SHARED / "multiif_english.csv")), "English")
    for found in conversations:
        turn = found["turns"][-1]
        prompts = [each["prompt"] for each in found["turns"]]
        failed += bool(construct(turn["instruction_ids"], turn["kwargs"], prompts, "en").failed)
    assert failed <= 0.05 * len(conversations)


def test_the_same_conversation_has_the_same_proof() -> None:
    ids, kwargs = zip(*SATISFIABLE[1], strict=True)
    assert construct(ids, kwargs, PROMPTS, "en") == construct(ids, kwargs, PROMPTS, "en")


def test_words_are_ranked_by_how_clearly_they_speak_for_a_language() -> None:
    assert clearest(["hotel", "mkulima", "radio"], "sw")[0] == "mkulima"
    assert clearest(["b", "a"], "xx") == ["b", "a"]
    assert detect_language(" ".join(common_words("te"))) == "te"
    assert common_words("zu") == ()
    assert words_of(["Mvua, MVUA!", "天气很好很好"]) == ["mvua", "天气很好", "很好"]


# ------------------------------------------------------------------------------------------------- the step

REPEATED_IN_QUOTES: Instructions = [
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}),
    ("startend:quotation", {}),
]
COMMA: Instructions = [("punctuation:no_comma", {}), ("keywords:existence", {"keywords": ["rain, snow"]})]


def step(folder: Path, *answers: tuple[Instructions, str | None, Any], llm: bool = True) -> Prove:
    recording = folder / "recording.jsonl"
    lines = []
    for instructions, problem, answer in answers:
        asked = {
            "task": "reply",
            "language": "en",
            "turns": PROMPTS,
            "instructions": [{"id": id_, "kwargs": kwargs} for id_, kwargs in instructions],
        }
        lines.append({"input": asked | ({"problem": problem} if problem else {}), "answer": answer})
    recording.write_text("".join(map(as_line, lines)))
    return Prove(ProveSettings(llm=llm), LLM(LLMSettings("turnswap-recorded", {"path": str(recording)}), folder / "c"))


def only(outcomes: list[list[Outcome] | None]) -> Outcome:
    ((outcome,),) = [each or [] for each in outcomes]
    return outcome


def test_the_proof_is_noted_with_its_verdicts(tmp_path: Path) -> None:
    outcome = only(step(tmp_path).run([conversation(SATISFIABLE[0])]))  # an empty recording: the LLM is not asked
    assert outcome.reason is None
    note = outcome.conversation.notes["prove"]
    assert note["how"] == "rule"
    assert note["verdicts"] == [{"strict": True, "loose": True, "ungradeable": False}]
    assert len(note["reply"].split()) >= 300


def test_a_reviewers_reply_comes_first_if_it_passes(tmp_path: Path) -> None:
    passes = conversation([("punctuation:no_comma", {})], audit={"satisfying_reply": "No comma here."})
    fails = conversation([("punctuation:no_comma", {})], audit={"satisfying_reply": "Well, one."})
    notes = [only(step(tmp_path).run([each])).conversation.notes["prove"] for each in (passes, fails)]
    assert (notes[0]["how"], notes[0]["reply"]) == ("reviewer", "No comma here.")
    assert notes[1]["how"] == "rule"


def test_what_excludes_each_other_is_rejected_by_name(tmp_path: Path) -> None:
    outcome = only(step(tmp_path, llm=False).run([conversation(REPEATED_IN_QUOTES)]))
    assert outcome.reason == "no reply was found that follows all: the best fails combination:repeat_prompt"


PATTERN: Instructions = [("keywords:existence", {"keywords": [r"[0-9]th of [A-Z]"]})]  # a regex, as published


def test_the_llm_finds_what_the_rules_do_not(tmp_path: Path) -> None:
    outcome = only(step(tmp_path, (PATTERN, None, {"reply": "On the 4th of May."})).run([conversation(PATTERN)]))
    assert outcome.reason is None
    assert outcome.conversation.notes["prove"]["how"] == "llm"


def test_the_llm_is_told_once_what_was_wrong(tmp_path: Path) -> None:
    problem = "the reply does not follow keywords:existence"
    answers = [(PATTERN, None, {"reply": "In May."}), (PATTERN, problem, {"reply": "On the 4th of May."})]
    assert only(step(tmp_path, *answers).run([conversation(PATTERN)])).reason is None
    answers[1] = (PATTERN, problem, {"reply": "In June."})
    (tmp_path / "again").mkdir()
    rejected = only(step(tmp_path / "again", *answers).run([conversation(PATTERN)]))
    assert rejected.reason is not None
    assert "keywords:existence" in rejected.reason


def test_nonsense_from_the_llm_rejects_with_its_words(tmp_path: Path) -> None:
    nonsense = "the LLM's answer is no JSON object: 'I cannot.'"
    answers = [(PATTERN, None, "I cannot."), (PATTERN, nonsense, "I cannot.")]
    rejected, fine = step(tmp_path, *answers).run([conversation(PATTERN), conversation(SATISFIABLE[0], "b:en")])
    assert rejected is not None
    assert str(rejected[0].reason).endswith(nonsense)
    assert fine is not None
    assert fine[0].reason is None


def test_what_the_published_grader_would_grade_at_random_is_no_proof(tmp_path: Path) -> None:
    instructions = [("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"})]
    outcome = only(step(tmp_path).run([conversation(instructions)]))
    assert outcome.reason == "the published grader would grade it at random: keywords:letter_frequency"


def test_those_without_a_proof_go_back_with_the_reason(tmp_path: Path) -> None:
    pipeline = Pipeline(
        tmp_path / "b",
        Seeds([conversation(COMMA, "a:en"), conversation(SATISFIABLE[0], "b:en")]),
        [step(tmp_path, llm=False)],
    )
    assert [count.rejected for count in pipeline.run()] == [0, 1]
    back = returned(read_jsonl(pipeline.file("prove")))
    assert list(back) == ["a:en"]
    assert back["a:en"].startswith("no reply was found")


def test_settings_are_read_strictly(tmp_path: Path) -> None:
    for section, words in (
        ({"attemps": 3}, "attemps is no setting of prove"),
        ({"attempts": 0}, "attempts cannot be 0"),
    ):
        settings = BuildSettings("a", tmp_path, LLMSettings("hf"), ("en",), prove=section)
        with pytest.raises(UserError, match=words):
            make_step("prove", settings, LLM(settings.llm, tmp_path))
