"""Two further turns: what is drawn is worded by the LLM, and the wording must tell a reader all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.asking import Question, UnderWay
from turnswap.construction.extend import Extend, ExtendSettings, draw_instruction, find_problem, weights, word_request
from turnswap.construction.instructions import must_contain
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.statements import sentences, stated
from turnswap.core.errors import UserError
from turnswap.core.journal import as_line

TWO = ("detectable_format:title", "punctuation:no_comma")
WEIGHTS = weights()
ONLY = {id_: (1.0 if id_ in TWO else 0.0) for id_ in WEIGHTS}
REQUESTS = {
    "detectable_format:title": "Please add a title in double angular brackets, such as <<title>>.",
    "punctuation:no_comma": "And please avoid commas.",
}
SEED = DraftConversation(
    "k",
    "en",
    (Turn("Describe the garden in spring.", ("detectable_content:number_placeholders",), ({"num_placeholders": 1},)),),
)


class Answering(LLM):
    """Answers with what it is given per instruction, in turn; the faults of LLMs are tested with it."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(LLMSettings("none"), Path("none"))
        self.answers = {"title": ["title"], "no_comma": ["no_comma"], **answers}
        self.asked: list[Question] = []

    def run(self, groups: Any) -> Any:
        return [[self._end(UnderWay(asking)) for asking in group] for group in groups]

    def _end(self, asking: UnderWay[Any]) -> Any:
        while question := asking.question:
            self.asked.append(question)
            asking.give(self._answer(question.payload["instruction"]))
        return asking.result

    def _answer(self, id_: str) -> str:
        answers = self.answers[id_.split(":")[1]]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return as_line({"request": REQUESTS[id_]}) if answer == id_.split(":")[1] else answer


def extend(llm: LLM, *conversations: DraftConversation, **settings: Any) -> list[Outcome]:
    step = Extend(ExtendSettings(**{"weights": ONLY, **settings}), llm)
    return [outcome for outcomes in step.run(conversations) for outcome in outcomes]


def test_two_turns_are_added_each_with_one_more_instruction_and_its_wording() -> None:
    llm = Answering()
    [outcome] = extend(llm, SEED)
    assert outcome.reason is None
    first, second, third = outcome.conversation.turns
    assert first == SEED.turns[0]
    assert second.instruction_ids[:1] == first.instruction_ids
    assert third.instruction_ids[:2] == second.instruction_ids
    assert {*third.instruction_ids[1:]} == set(TWO)
    assert [turn.prompt for turn in (second, third)] == [REQUESTS[id_] for id_ in third.instruction_ids[1:]]
    assert llm.asked[1].payload["turns"] == [first.prompt, second.prompt]


def test_the_question_names_what_was_drawn_and_what_the_wording_must_contain(tmp_path: Path) -> None:
    drawn = draw_instruction(3, SEED, WEIGHTS)
    assert drawn is not None
    asked = {
        "task": "word_request",
        "language": "en",
        "turns": [SEED.turns[0].prompt],
        "instruction": drawn[0],
        "kwargs": drawn[1],
        "must_contain": must_contain(*drawn),
        "sentence": word_request(3, SEED, *drawn).payload["sentence"],
    }
    assert asked["sentence"] in sentences(*drawn, "en")
    again = {**asked, "problem": "the LLM's answer is no JSON object: '?'"}
    lines = [{"input": asked, "answer": "?"}, {"input": again, "answer": "?"}]
    (tmp_path / "recording.jsonl").write_text("".join(map(as_line, lines)))
    llm = LLM(LLMSettings("turnswap-recorded", {"path": str(tmp_path / "recording.jsonl")}), tmp_path / "cache")
    [outcome] = extend(llm, SEED, seed=3, weights={})
    assert outcome.reason == "no request for turn 2: the LLM's answer is no JSON object: '?'"


def test_a_wording_without_what_it_must_contain_is_asked_for_once_more_with_the_problem() -> None:
    poor = as_line({"request": "Add a title."})
    llm = Answering(title=[poor, "title"])
    [outcome] = extend(llm, SEED)
    assert outcome.reason is None
    assert "the wording lacks '<<' (detectable_format:title)" in [each.payload.get("problem") for each in llm.asked]


def test_a_wording_that_is_poor_twice_rejects_the_conversation_alone() -> None:
    llm = Answering(title=[as_line({"request": "Add a title."})])
    done = DraftConversation("done", "en", (SEED.turns[0],) * 3)
    outcomes = extend(llm, SEED, done)
    assert "the wording lacks '<<'" in str(outcomes[0].reason)
    assert outcomes[1] == Outcome(done)


def test_turns_that_a_seed_brings_are_kept_and_only_those_that_lack_are_added() -> None:
    turn = Turn("Use a title: <<x>>.", (*SEED.turns[0].instruction_ids, TWO[0]), (*SEED.turns[0].kwargs, {}))
    llm = Answering()
    [outcome] = extend(llm, DraftConversation("k", "en", (SEED.turns[0], turn)))
    assert outcome.conversation.turns[:2] == (SEED.turns[0], turn)
    assert outcome.conversation.turns[2].prompt == REQUESTS[TWO[1]]
    assert len(llm.asked) == 1


def test_where_nothing_can_be_drawn_the_reason_says_so_and_no_llm_is_asked() -> None:
    llm = Answering()
    [outcome] = extend(llm, SEED, weights={**dict.fromkeys(WEIGHTS, 0.0), "detectable_content:number_placeholders": 1})
    assert str(outcome.reason).startswith("nothing can be drawn")
    assert llm.asked == []


@pytest.mark.parametrize("weights", [{"detectable_format:rhyme": 1}, {TWO[0]: -1}, dict.fromkeys(WEIGHTS, 0)])
def test_weights_that_cannot_be_are_refused_before_work_starts(weights: dict[str, float]) -> None:
    with pytest.raises(UserError, match="weights"):
        Extend(ExtendSettings(weights=weights), Answering())


# ----------------------------------------------------------------------------------------------- the wording

SENTENCES = ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 3})
FEW = ("length_constraints:number_words", {"relation": "less than", "num_words": 1200})
KEYWORD = ("keywords:frequency", {"keyword": "art", "relation": "at least", "frequency": 2})
STARS = ("length_constraints:number_paragraphs", {"num_paragraphs": 2})
FIRST = ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 3, "nth_paragraph": 3, "first_word": "rain"})
END = ("startend:end_checker", {"end_phrase": "That is all."})
FORBIDDEN = ("keywords:forbidden_words", {"forbidden_words": ["quite"]})
LETTER = ("keywords:letter_frequency", {"letter": "q", "let_relation": "less than", "let_frequency": 3})
BULLETS = ("detectable_format:number_bullet_lists", {"num_bullets": 4})
REPEAT = ("combination:repeat_prompt", {"prompt_to_repeat": "Name 7 rivers."})


def problem(wording: str, instruction: tuple[str, dict[str, Any]], language: str = "en") -> str | None:
    return find_problem(wording, *instruction, language, ["Describe the garden in spring."], 300)


@pytest.mark.parametrize(
    ("wording", "instruction"),
    [
        ("Use at least 3 sentences, please.", SENTENCES),
        ("Make it three sentences or more.", SENTENCES),
        ("No fewer than three sentences.", SENTENCES),
        ("Stay below 1,200 words.", FEW),
        ("I need fewer than 1200 words.", FEW),
        ("Say art at least twice.", KEYWORD),
        ("Write 2 paragraphs with *** between them.", STARS),
        ("Write three paragraphs with a blank line between them. The third begins with rain.", FIRST),
        ("Use 3 paragraphs, two line breaks apart, and start the 3rd with the word rain.", FIRST),
        ('Finish with the exact phrase "That is all."', END),
        ("Please don't say quite.", FORBIDDEN),
        ("The letter q should occur less than three times.", LETTER),
        ("Exactly four bullet points, please.", BULLETS),
        ("Start by repeating my request word for word: Name 7 rivers.", REPEAT),
    ],
)
def test_a_wording_that_tells_all_is_taken(wording: str, instruction: tuple[str, dict[str, Any]]) -> None:
    assert problem(wording, instruction) is None


@pytest.mark.parametrize(
    ("wording", "instruction", "expected"),
    [
        (" ", SENTENCES, "empty"),
        ("Use 3 sentences.", SENTENCES, "lacks 'at least'"),
        ("Use at least 4 sentences.", SENTENCES, "lacks '3'"),
        ("Use at least 13 sentences.", SENTENCES, "lacks '3'"),
        ("Use at least 3 sentences of less than 20 words.", SENTENCES, "20"),
        ("Use at least 3 sentences and less than ten.", SENTENCES, "'less than' in some way"),
        ("Say start at least twice.", KEYWORD, "lacks 'art'"),
        ("Say Art at least twice.", KEYWORD, "lacks 'art'"),
        ("Write 2 paragraphs with ****** between them.", STARS, "lacks '***'"),
        ("Write at least 2 paragraphs with *** between them.", STARS, "the number is exact"),
        ("Write 3 paragraphs with a blank line between them. One begins with rain.", FIRST, "lacks '3rd'"),
        ("Begin the 3rd of the paragraphs, a blank line apart, with rain.", FIRST, "lacks '3'"),
        ("Finish with: that is all.", END, "lacks 'That is all.'"),
        ("Please say quite.", FORBIDDEN, "lacks 'avoid'"),
        ("The letter should occur less than three times.", LETTER, "lacks 'q'"),
        ("Repeat it.\nAssistant: Of course, here it is.", REPEAT, "a conversation of its own"),
        ("Repeat it. " + "Go on. " * 60, REPEAT, "characters"),
        ("Repeat 9 times.", REPEAT, "9"),
        ("Describe the garden in spring.", REPEAT, "repeats an earlier prompt"),
    ],
)
def test_a_wording_that_does_not_is_told_what_it_lacks(
    wording: str, instruction: tuple[str, dict[str, Any]], expected: str
) -> None:
    assert expected in str(problem(wording, instruction))


def test_in_other_languages_keywords_markers_and_digits_are_looked_for_and_notions_are_not() -> None:
    assert (
        problem("정원이라는 단어를 2번 이상 써 주세요.", (KEYWORD[0], {**KEYWORD[1], "keyword": "정원"}), "ko") is None
    )
    assert "lacks '2'" in str(
        problem("정원이라는 단어를 써 주세요.", (KEYWORD[0], {**KEYWORD[1], "keyword": "정원"}), "ko")
    )
    assert "lacks '***'" in str(problem("Andika aya 2.", STARS, "sw"))


WORDS_200 = ("length_constraints:number_words", {"relation": "at least", "num_words": 200})
HAUS = ("keywords:forbidden_words", {"forbidden_words": ["Haus"]})
BIS_BALD = ("startend:end_checker", {"end_phrase": "Bis bald!"})


@pytest.mark.parametrize(
    ("language", "wording", "instruction", "graded"),
    [
        ("ja", "回答は200文字未満で書いてください。", WORDS_200, "at least 200 words"),
        ("de", "Bitte schreibe weniger als 200 Wörter dazu.", WORDS_200, "at least 200 words"),
        ("de", "Bitte schreibe mindestens 200 Sätze dazu.", WORDS_200, "at least 200 words"),
        ("de", "Benutze das Wort Haus in deiner Antwort unbedingt.", HAUS, "none of these words: Haus"),
        ("de", "Beginne deine Antwort mit genau diesen Worten: Bis bald!", BIS_BALD, "the reply ends with 'Bis bald!'"),
    ],
)
def test_in_other_languages_a_wording_that_states_the_instruction_otherwise_is_told_so(
    language: str, wording: str, instruction: tuple[str, dict[str, Any]], graded: str
) -> None:
    said = str(problem(wording, instruction, language))
    assert said.startswith("the wording states ")
    assert said.endswith(f"graded is {graded}")


@pytest.mark.parametrize(
    ("language", "wording", "instruction"),
    [
        ("ja", "回答は200文字以上で書いてください。", WORDS_200),
        ("de", "Bitte schreibe mindestens 200 Wörter dazu.", WORDS_200),
        ("de", "Verzichte in deiner Antwort auf das Wort Haus.", HAUS),
        ("de", "Beende deine Antwort mit genau diesen Worten: Bis bald!", BIS_BALD),
    ],
)
def test_in_other_languages_a_wording_that_states_it_as_graded_is_taken(
    language: str, wording: str, instruction: tuple[str, dict[str, Any]]
) -> None:
    assert problem(wording, instruction, language) is None


# -------------------------------------------------------------------------------- sentences of the templates


class Copying(Answering):
    """States each instruction with the sentence that it is given."""

    def _end(self, asking: UnderWay[Any]) -> Any:
        while question := asking.question:
            self.asked.append(question)
            asking.give(as_line({"request": f"Fine. {question.payload['sentence']}"}))
        return asking.result


@pytest.mark.parametrize("language", ["en", "de", "ja"])
def test_the_sentence_that_is_offered_is_taken_as_it_is(language: str) -> None:
    seed = DraftConversation("k", language, SEED.turns)
    [outcome] = extend(Copying(), seed)
    assert outcome.reason is None
    last = outcome.conversation.last
    for turn, instruction in zip(outcome.conversation.turns[1:], last.instructions[1:], strict=True):
        assert turn.prompt.startswith("Fine. ")
        assert stated(turn.prompt, *instruction, language)


def test_a_language_without_templates_is_offered_no_sentence() -> None:
    question = word_request(0, DraftConversation("k", "fi", SEED.turns), TWO[1], {})
    assert "sentence" not in question.payload


ALL = [SENTENCES, FEW, KEYWORD, STARS, FIRST, END, FORBIDDEN, LETTER, BULLETS, REPEAT]


@pytest.mark.parametrize("language", ["en", "ru", "ar", "ja"])
def test_a_wording_with_a_sentence_of_the_templates_is_taken_in_every_language(language: str) -> None:
    for instruction in ALL:
        for each in sentences(*instruction, language):
            assert problem(f"Fine. {each}", instruction, language) is None, each


def test_of_a_wording_with_such_a_sentence_the_other_checks_stay() -> None:
    [said, _] = sentences(*SENTENCES, "en")
    assert "number 7" in str(problem(f"Add 7 jokes. {said}", SENTENCES))
    assert "number 3" in str(problem(f"I want 3. {said}", SENTENCES))
    assert "characters" in str(problem(said + " Go on." * 60, SENTENCES))
    assert "a conversation of its own" in str(problem(f"{said}\nAssistant: Of course.", SENTENCES))
    assert "repeats an earlier prompt" in str(find_problem(said, *SENTENCES, "en", [said], 300))


def test_the_sentence_of_another_relation_or_number_is_checked_like_any_wording() -> None:
    id_, kwargs = SENTENCES
    [swapped, _] = sentences(id_, {**kwargs, "relation": "less than"}, "en")
    [higher, _] = sentences(id_, {**kwargs, "num_sentences": 4}, "en")
    assert "lacks 'at least'" in str(problem(swapped, SENTENCES))
    assert "lacks '3'" in str(problem(higher, SENTENCES))
