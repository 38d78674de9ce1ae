"""Translation: the words of prompts and kwargs stay the same words, and what must not be touched is not."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.asking import Question, UnderWay
from turnswap.construction.equivalent import check_spans, equivalent, protected_spans, questions_words, unsuitable
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.pipeline import Pipeline
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.statements import sentences, stated
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.construction.translate import Translate, TranslateSettings, warnings
from turnswap.core.errors import UserError

from .auditing import BACK, EN, GOOD, KO, SW, WORDS, answer, back, forth, recorded, source, turns
from .conftest import GoneAt
from .test_pipeline import Seeds


def run(llm: LLM, *languages: str, conversation: DraftConversation | None = None) -> list[Outcome]:
    (outcomes,) = Translate(TranslateSettings(), languages or ("sw",), llm).run([conversation or source()])
    assert outcomes is not None
    return list(outcomes)


def test_a_conversation_becomes_one_in_every_language_with_its_words_in_prompts_and_kwargs(tmp_path: Path) -> None:
    outcomes = run(recorded(tmp_path, GOOD), "sw", "ko")
    assert [outcome.reason for outcome in outcomes] == [None, None]
    swahili, korean = (outcome.conversation for outcome in outcomes)
    assert (swahili.key, swahili.language) == ("seed-1:sw", "sw")
    assert swahili.turns == turns(SW, WORDS["sw"])
    assert korean.turns == turns(KO, WORDS["ko"])
    assert [len(turn.kwargs) for turn in korean.turns] == [1, 2, 3]
    assert DraftConversation.from_json(swahili.as_json()) == swahili


def test_the_note_has_source_back_translation_scores_and_signatures(tmp_path: Path) -> None:
    (outcome,) = run(recorded(tmp_path, GOOD))
    note = outcome.conversation.notes["translate"]
    assert note["source"]["language"] == "en"
    assert [turn["prompt"] for turn in note["source"]["turns"]] == list(EN)
    assert note["back"] == list(BACK)
    figures = note["figures"]
    assert figures["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:yes|tok:13a|smooth:exp|version:")
    assert figures["signatures"]["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert "|nw:2|" in figures["signatures"]["chrf_plus_plus"]
    assert figures["turn_chrf"][0] == 100.0 > figures["chrf"] > 45


NONSENSE = [
    ("I am a language model.", "the LLM's answer is no JSON object: 'I am a language model.'"),
    ('{"turns": ["Andika', """the LLM's answer is no JSON object: '{"turns": ["Andika'"""),
    ('{"turns": "x", "kwargs": []}', """the LLM's answer has no turns (list): '{"turns": "x", "kwargs": []}'"""),
    (answer(SW[:2]), "turns are missing: 3 in the source, 2 in the translation"),
]
WRONG: list[tuple[str, Sequence[str], Any]] = [
    ("'2' occurs 1 times in turn 2 of the source and 0", [SW[0], SW[1].replace("2", "mbili"), SW[2]], None),
    ("'*' occurs 2 times in turn 2", [SW[0], SW[1].replace("*", "_"), SW[2]], None),
    ("'*' occurs 0 times in turn 1 of the source and 2", [SW[0].replace("fupi", "*fupi*"), *SW[1:]], None),
    ("'manyunyu', for 'rain', does not occur in turn 1", SW, [["manyunyu"], [], ["Tutaonana kesho"]]),
    ("'tutaonana kesho', for 'See you tomorrow', does not", SW, [["mvua"], [], ["tutaonana kesho"]]),
    ("kwargs do not match", SW, [["mvua"], [], []]),
    ("kwargs do not match", SW, [["mvua"], ["2"], ["Tutaonana kesho"]]),
    ("a text is missing: turn 2", [SW[0], " ", SW[2]], None),
    ("a text is missing: turn 2", [SW[0], 3, SW[2]], None),  # type: ignore[list-item]
    ("U+D83D in turn 1", [SW[0] + " \ud83d", *SW[1:]], None),
]


@pytest.mark.parametrize(("reason", "prompts", "words"), WRONG)
def test_a_translation_that_does_not_fit_is_rejected_after_one_repetition(
    tmp_path: Path, reason: str, prompts: Sequence[str], words: Any
) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as problem:
        equivalent(source().turns, prompts, WORDS["sw"] if words is None else words)
    # Half a character cannot stand in a file in UTF-8, only as JSON's escape.
    given = answer(prompts, words) if "D83D" not in reason else _escaped(answer(prompts, words))
    llm = recorded(tmp_path, [(forth(), given), (forth(problem=str(problem.value)), given)])
    (outcome,) = run(llm)
    assert outcome.reason == str(problem.value)
    assert outcome.conversation.key == "seed-1:sw"
    assert not outcome.conversation.notes["translate"]["translated"]


def _escaped(content: Mapping[str, Any]) -> str:
    return json.dumps(content)


@pytest.mark.parametrize(("given", "reason"), NONSENSE)
def test_nonsense_and_half_answers_are_rejected_in_words(tmp_path: Path, given: Any, reason: str) -> None:
    llm = recorded(tmp_path, [(forth(), given), (forth(problem=reason), given)])
    (outcome,) = run(llm)
    assert outcome.reason == reason


def test_a_repetition_that_mends_it_is_taken(tmp_path: Path) -> None:
    bad = answer([SW[0], SW[1].replace("2", "mbili"), SW[2]])
    with pytest.raises(ValueError, match="a protected span is lost: '2'") as problem:
        equivalent(source().turns, bad["turns"], bad["kwargs"])
    llm = recorded(tmp_path, [(forth(), bad), (forth(problem=str(problem.value)), answer()), GOOD[1]])
    (outcome,) = run(llm)
    assert outcome.reason is None


def test_a_back_translation_of_fewer_turns_is_rejected(tmp_path: Path) -> None:
    half = answer(BACK[:2], [])
    problem = f"the back-translation is not whole: 3 turns were asked for, {list(BACK[:2])!r:.80} came"
    (outcome,) = run(recorded(tmp_path, [GOOD[0], (back(), half), (back(problem=problem), half)]))
    assert outcome.reason == problem
    assert outcome.conversation.turns == turns(SW, WORDS["sw"])  # what was translated can be looked at


def test_a_far_back_translation_is_rejected_with_the_figures(tmp_path: Path) -> None:
    far = [BACK[0], BACK[1], "The cat sleeps on the mat."]
    (outcome,) = run(recorded(tmp_path, [GOOD[0], (back(), answer(far, []))]))
    assert outcome.reason is not None
    figures = outcome.conversation.notes["translate"]["figures"]
    assert f"chrf {figures['turn_chrf'][2]} < 30.0 in turn 3" in outcome.reason


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("Use `x = 1` and ```\ncode 2\n``` here", ["`x = 1`", "```\ncode 2\n```"]),
        ("See https://example.org/a?b=1. Or www.example.org!", ["https://example.org/a?b=1", "www.example.org"]),
        ("https://example.org/a를 보세요", ["https://example.org/a"]),
        ("placeholders such as [address], {name}", ["[address]", "{name}"]),
        ("a title, i.e. <<poem of joy>>", ["<<", ">>"]),
        ("split by *** and ******, *highlight* it", ["***", "******", "*", "*"]),
        ("a P.S. or a P.P.S at the end", ["P.S.", "P.P.S"]),
        ("JSON을 3개, 1,000 at 10:30", ["JSON", "3", "1,000", "10:30"]),
        ('Part them by "->" or "%%"', ["->", "%%"]),
        ("Say 'My answer is yes.'", ["My answer is yes."]),
        ("wrap it in <b> and </b>", ["<b>", "</b>"]),
        ("Write to a.b@example.org", ["a.b@example.org"]),
        ('Use the word "rain", please.', []),
    ],
)
def test_protected_spans_are_found(text: str, spans: list[str]) -> None:
    assert protected_spans(text) == spans


def test_a_number_may_come_again_and_json_in_any_case_but_a_digit_inside_another_is_none() -> None:
    check_spans("Write 3 lines as json", "Mistari 3, naam 3, ya JSON", "turn 1")
    with pytest.raises(ValueError, match="'3' occurs 1 times in turn 1 of the source and 0"):
        check_spans("Write 3 lines", "Mistari 13", "turn 1")


@pytest.mark.parametrize(
    ("word", "prompt", "fits"),
    [
        ("Regen", "Nenne das Wort Regens.", False),
        ("Regen", "Nenne das Wort „Regen“.", True),
        ("비", "비를 언급하세요.", True),  # a particle follows
        ("雨", "「雨」という言葉を入れてください。", True),
        ("雨", "「雨、風」という言葉を入れてください。", True),
        ("雨", "雨という言葉を入れてください。", True),
        ("雨", "「大雨」という言葉を入れてください。", False),
        ("pluie", "Emploie le mot pluies.", False),
    ],
)
def test_a_word_and_the_sentence_that_names_it_have_the_same_form(word: str, prompt: str, fits: bool) -> None:
    named = (Turn('Use the word "rain".', ("keywords:existence",), ({"keywords": ["rain"]},)),)
    if fits:
        assert equivalent(named, [prompt], [[word]])[0].kwargs[0]["keywords"] == [word]
    else:
        with pytest.raises(ValueError, match=f"a kwarg is not in the prompt: '{word}'"):
            equivalent(named, [prompt], [[word]])


def repeating(prompt: str, repeated: str) -> tuple[Turn, ...]:
    return (Turn(prompt, ("combination:repeat_prompt",), ({"prompt_to_repeat": repeated},)),)


def test_a_prompt_to_repeat_follows_from_the_translated_prompt() -> None:
    whole = repeating("Write about tea.", "Write about tea.")
    assert questions_words(whole) == [[]]
    assert equivalent(whole, ["Andika kuhusu chai."], [[]])[0].kwargs[0]["prompt_to_repeat"] == "Andika kuhusu chai."
    lines = repeating("Write about tea.\n\nFirst repeat the request above.", "Write about tea.")
    assert questions_words(lines) == [[]]
    made = equivalent(lines, ["Andika kuhusu chai.\n\nKwanza rudia ombi hilo."], [[]])
    assert made[0].kwargs[0]["prompt_to_repeat"] == "Andika kuhusu chai."
    with pytest.raises(ValueError, match="lines do not match: 3 in turn 1 of the source, 1"):
        equivalent(lines, ["Andika kuhusu chai. Kwanza rudia ombi hilo."], [[]])


def test_a_prompt_to_repeat_inside_a_line_is_asked_for_and_must_be_in_the_prompt() -> None:
    inside = repeating("Write about tea. First repeat this.", "Write about tea.")
    assert questions_words(inside) == [["Write about tea."]]
    prompt = "Andika kuhusu chai. Kwanza rudia hili."
    assert equivalent(inside, [prompt], [["Andika kuhusu chai."]])[0].prompt == prompt
    with pytest.raises(ValueError, match="does not occur in turn 1"):
        equivalent(inside, [prompt], [["Andika juu ya chai."]])


def one(id_: str, prompt: str = "Write about tea.", **kwargs: Any) -> tuple[Turn, ...]:
    return (Turn(prompt, (id_,), (kwargs,)),)


@pytest.mark.parametrize(
    ("turn", "words", "reason"),
    [
        (one("keywords:existence", keywords=["big", "large"]), ["kubwa", "Kubwa"], "words became one"),
        (one("keywords:existence", keywords=["who"]), ["nani?"], "a pattern arose"),
        (one("keywords:forbidden_words", forbidden_words=["tea"]), ["chai (moto)"], "a pattern arose"),
        (
            one("length_constraints:nth_paragraph_first_word", num_paragraphs=2, nth_paragraph=1, first_word="Once"),
            ["hapo zamani"],
            "a word does not fit",
        ),
    ],
)
def test_words_that_are_something_else_to_the_grader_are_rejected(
    turn: tuple[Turn, ...], words: list[str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        equivalent(turn, ["Andika kuhusu chai."], [words])


def test_postscript_markers_of_the_graders_own_stay_and_others_are_words() -> None:
    fixed = one("detectable_content:postscript", "Add a P.P.S", postscript_marker="P.P.S")
    assert questions_words(fixed) == [[]]
    assert equivalent(fixed, ["Ongeza P.P.S"], [[]])[0].kwargs[0] == {"postscript_marker": "P.P.S"}
    other = one("detectable_content:postscript", "Add a line with Note:", postscript_marker="Note:")
    assert questions_words(other) == [["Note:"]]


def test_a_word_may_be_inflected_where_its_instruction_is_not_given() -> None:
    prompts = ("Write about cats.", "Use the word cat.")
    two = (
        Turn(prompts[0], ("punctuation:no_comma",), ({},)),
        Turn(prompts[1], ("punctuation:no_comma", "keywords:existence"), ({}, {"keywords": ["cat"]})),
    )
    made = equivalent(two, ["Пиши о котах.", "Используй слово кошка."], [[], ["кошка"]])
    assert made[1].kwargs[1] == {"keywords": ["кошка"]}


@pytest.mark.parametrize(
    ("id_", "kwargs", "language", "words"),
    [
        ("change_case:english_capital", {}, "sw", "replies that are not English"),
        ("change_case:english_lowercase", {}, "ko", "replies that are not English"),
        ("detectable_format:constrained_response", {}, "sw", "answers are English"),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 2, "capital_relation": "at least"},
            "ko",
            "capital",
        ),
        ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "at least"}, "te", "Latin"),
    ],
)
def test_an_instruction_that_does_not_suit_the_language_is_rejected_before_anything_is_asked(
    tmp_path: Path, id_: str, kwargs: dict[str, Any], language: str, words: str
) -> None:
    conversation = DraftConversation("k", "en", one(id_, **kwargs))
    (outcome,) = run(recorded(tmp_path, []), language, conversation=conversation)
    assert words in str(outcome.reason)
    if "english" not in id_ and "constrained" not in id_:
        assert unsuitable(conversation.turns, "sw") is None


def test_turns_that_do_not_extend_each_other_are_rejected_before_anything_is_asked(tmp_path: Path) -> None:
    first, *others = source().turns
    conversation = dataclasses.replace(
        source(), turns=(dataclasses.replace(first, kwargs=({"keywords": ["x"]},)), *others)
    )
    (outcome,) = run(recorded(tmp_path, []), conversation=conversation)
    assert "the instructions of turn 2 do not start with those of the turn before" in str(outcome.reason)


def test_what_published_rules_make_of_an_instruction_is_told() -> None:
    forbidden = one("keywords:forbidden_words", forbidden_words=["비"])
    assert "particle" in warnings(forbidden, "ko")[0]
    assert warnings(forbidden, "sw") == []
    assert "ASCII comma" in warnings(one("punctuation:no_comma"), "ja")[0]


def build(languages: Sequence[str] = ("sw",), **section: Any) -> BuildSettings:
    return BuildSettings("n", Path("f"), None, tuple(languages), translate=section)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (build(chrff=40), "chrff is no setting of translate"),
        (build(chrf="high"), "translate: chrf cannot be 'high'"),
        (build(chrf=140), "translate: chrf cannot be 140"),
        (build(chunk=16), "translate.chunk is no setting any more"),
        (build(length_ratio={"sw": [2, 1]}), "translate.length_ratio.sw cannot be"),
        (build(length_ratio={"ko": [1, 2]}), "ko is not among languages"),
        (build(["swahili"]), "'swahili' is no code"),
        (build(["sw", "sw"]), "names one twice"),
        (build([]), "languages is empty"),
    ],
)
def test_a_mistake_in_the_yaml_is_refused(tmp_path: Path, settings: BuildSettings, words: str) -> None:
    with pytest.raises(UserError) as raised:
        make_step("translate", settings, recorded(tmp_path, []))
    assert words in str(raised.value)


def test_a_language_that_the_source_is_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed-1 is in it already"):
        run(recorded(tmp_path, []), "en")


def test_a_stop_half_way_loses_nothing_that_was_asked(tmp_path: Path, gone_at: GoneAt) -> None:
    """The LLM is gone at the first questions; with it back, all is done."""
    other = dataclasses.replace(source("seed-2"), turns=turns([EN[0] + " Be kind.", *EN[1:]], WORDS["en"]))
    seeds = Seeds([source(), other])
    settings = TranslateSettings()
    more = [SW[0] + " Uwe mpole.", *SW[1:]]
    added = [
        (forth(prompts=[turn.prompt for turn in other.turns]), answer(more)),
        (back(prompts=more), answer([BACK[0] + " Be gentle.", *BACK[1:]], [])),
    ]
    llm = recorded(tmp_path, [*GOOD, *added])
    with gone_at("Be kind.") as asked:
        list(Pipeline(tmp_path, seeds, [Translate(settings, ["sw"], llm)]).run())
    assert len(asked) == 2
    *_, count = Pipeline(tmp_path, seeds, [Translate(settings, ["sw"], llm)]).run()
    assert (count.kept, count.done_now) == (2, 2)


# ----------------------------------------------------------------------------------------- placeholders as examples

EXAMPLES = (
    "Write a letter with at least 2 placeholders, such as [address] or [name]. Sign it with [name].",
    "Now end it with “Yours, [name]”.",
)


def of_placeholders(
    *prompts: str, end: str = "Yours, [name]", kind: str = "detectable_content:number_placeholders"
) -> Any:
    """Two turns, the second with a phrase to end with."""
    first: dict[str, Any] = {"num_placeholders": 2} if "placeholders" in kind else {}
    ids, kwargs = (kind, "startend:end_checker"), (first, {"end_phrase": end})
    return tuple(Turn(prompt, ids[:n], kwargs[:n]) for n, prompt in enumerate(prompts, 1))


def localised(*prompts: str, end: str, **of: Any) -> Any:
    return equivalent(of_placeholders(*EXAMPLES, **of), prompts, [[], [end]])


def test_placeholders_may_be_put_in_the_language_with_the_kwarg_that_holds_them() -> None:
    spanish = ("Escribe una carta con al menos 2 marcadores, como [dirección] o [nombre]. Fírmala con [nombre].",)
    made = localised(*spanish, "Termina con «Atentamente, [nombre]».", end="Atentamente, [nombre]")
    assert made[-1].kwargs[1] == {"end_phrase": "Atentamente, [nombre]"}
    as_they_were = (
        spanish[0].replace("dirección", "address").replace("nombre", "name"),
        "Termina con «Atte., [name]».",
    )
    assert localised(*as_they_were, end="Atte., [name]")[0].prompt == as_they_were[0]


@pytest.mark.parametrize(
    ("first", "second", "end"),
    [
        ("2 marcadores, como [dirección] o [nombre]. Fírmala con [firma].", "«Yo, [nombre]».", "Yo, [nombre]"),
        ("2 marcadores, como [nombre] o [nombre]. Fírmala con [nombre].", "«Yo, [nombre]».", "Yo, [nombre]"),
        ("2 marcadores, como [dirección] o [nombre]. Fírmala.", "«Yo, [nombre]».", "Yo, [nombre]"),
        ("2 marcadores, como ［dirección］ o ［nombre］. Con ［nombre］.", "«Yo, ［nombre］».", "Yo, ［nombre］"),
        ("2 marcadores, como [dirección] o [nombre]. Fírmala con [nombre].", "«Yo, [name]».", "Yo, [name]"),
    ],
)
def test_one_placeholder_stands_for_each_everywhere_in_brackets_that_count(first: str, second: str, end: str) -> None:
    with pytest.raises(ValueError, match=r"a protected span is lost: \[name\], \[address\] became"):
        localised(first, second, end=end)


def test_the_llm_is_told_which_placeholders_it_may_translate() -> None:
    source = DraftConversation("a", "en", of_placeholders(*EXAMPLES))
    (asking,) = Translate(TranslateSettings(), ["es"], LLM(LLMSettings("dummy"), Path())).askings(source)
    payload = next(asking).payload
    assert payload["may_translate"] == ["[name]", "[address]"]
    assert set(payload["may_translate"]) <= set(payload["protected"])


def test_placeholders_that_no_instruction_is_about_stay_and_so_do_numbers_in_brackets() -> None:
    with pytest.raises(ValueError, match=r"a protected span is lost: '\[address\]'"):
        localised(
            "2 marcadores, como [dirección] o [nombre]. Fírmala con [nombre].",
            "«Yo, [nombre]».",
            end="Yo, [nombre]",
            kind="punctuation:no_comma",
        )
    turns = of_placeholders("Use 2 placeholders [1].", "End with “Bye”.", end="Bye")
    with pytest.raises(ValueError, match="a protected span is lost"):
        equivalent(turns, ["Usa 2 marcadores [uno].", "Termina con «Adiós»."], [[], ["Adiós"]])


# -------------------------------------------------------------------------------- sentences of the templates

SENTENCES: tuple[str, dict[str, Any]] = (
    "length_constraints:number_sentences",
    {"relation": "at least", "num_sentences": 3},
)
KEYWORD: tuple[str, dict[str, Any]] = (
    "keywords:frequency",
    {"keyword": "rain", "relation": "less than", "frequency": 5},
)
COMMA: tuple[str, dict[str, Any]] = ("punctuation:no_comma", {})
REPEAT: tuple[str, dict[str, Any]] = ("combination:repeat_prompt", {"prompt_to_repeat": "Describe the sea."})
GERMAN = {
    "Describe the sea.": "Beschreibe das Meer.",
    "Thank you.": "Danke.",
    "That is too wet.": "Das ist zu nass.",
    "Use no comma.": "Verwende kein Komma.",
    "rain": "Regen",
}


def conversation_of(*added: tuple[str, tuple[str, dict[str, Any]]], language: str = "en") -> DraftConversation:
    """Turns, each with one more instruction."""
    asked = [instruction for _, instruction in added]
    made = [
        Turn(prompt, tuple(id_ for id_, _ in asked[:number]), tuple(kwargs for _, kwargs in asked[:number]))
        for number, (prompt, _) in enumerate(added, 1)
    ]
    return DraftConversation("k", language, tuple(made))


def said(instruction: tuple[str, dict[str, Any]], language: str = "en", variant: int = 0) -> str:
    return sentences(*instruction, language)[variant]


class Translator(LLM):
    """Answers by a function of the question's input; keeps the inputs."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], Any]) -> None:
        super().__init__(LLMSettings("none"), Path("none"))
        self.answer_to = answer
        self.asked: list[Mapping[str, Any]] = []

    def run(self, groups: Any) -> Any:
        return [[self._end(UnderWay(asking)) for asking in group] for group in groups]

    def _end(self, asking: UnderWay[Any]) -> Any:
        question: Question | None
        while question := asking.question:
            self.asked.append(question.payload)
            asking.give(json.dumps(self.answer_to(question.payload)))
        return asking.result


def by_phrases(asked: Mapping[str, Any]) -> dict[str, Any]:
    """English phrases in German or the other way round, all else as it is."""
    pairs = GERMAN.items() if asked["from"] == "en" else [(german, english) for english, german in GERMAN.items()]

    def put(text: str) -> str:
        for one, other in pairs:
            text = text.replace(one, other)
        return text

    return {"turns": list(map(put, asked["turns"])), "kwargs": [list(map(put, each)) for each in asked["kwargs"]]}


OURS = conversation_of(
    (f"Describe the sea. {said(SENTENCES)}", SENTENCES),
    (f"Thank you. {said(KEYWORD, variant=1)}", KEYWORD),
    (f"{said(COMMA)} That is too wet.", COMMA),
)


def test_our_sentences_are_not_translated_and_the_languages_own_take_their_place() -> None:
    llm = Translator(by_phrases)
    [outcome] = run(llm, "de", conversation=OURS)
    first, second = llm.asked
    assert first["turns"] == ["Describe the sea. ⟦1⟧", "Thank you. ⟦2⟧", "⟦3⟧ That is too wet."]
    assert first["protected"] == second["protected"] == ["⟦1⟧", "⟦2⟧", "⟦3⟧"]
    assert first["kwargs"] == [[], ["rain"], []]
    assert "wording" not in first
    german = ("keywords:frequency", {**KEYWORD[1], "keyword": "Regen"})
    assert outcome.conversation.prompts == [
        f"Beschreibe das Meer. {said(SENTENCES, 'de')}",
        f"Danke. {said(german, 'de', 1)}",
        f"{said(COMMA, 'de')} Das ist zu nass.",
    ]
    assert outcome.conversation.last.instructions == [SENTENCES, german, COMMA]


def test_the_back_translation_gets_the_sentences_of_the_source() -> None:
    llm = Translator(by_phrases)
    [outcome] = run(llm, "de", conversation=OURS)
    assert llm.asked[1]["turns"] == ["Beschreibe das Meer. ⟦1⟧", "Danke. ⟦2⟧", "⟦3⟧ Das ist zu nass."]
    assert outcome.conversation.note("translate")["back"] == OURS.prompts


def test_a_translator_that_swaps_relations_and_negations_cannot_touch_our_sentences() -> None:
    def swaps(asked: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(by_phrases(asked))
        for one, other in (("mindestens", "höchstens"), ("at least", "fewer than"), ("not", ""), ("nicht", "")):
            text = text.replace(one, other)
        made: dict[str, Any] = json.loads(text)
        return made

    [outcome] = run(Translator(swaps), "de", conversation=OURS)
    for turn in outcome.conversation.turns:
        assert stated(turn.prompt, *turn.instructions[-1], "de")


@pytest.mark.parametrize(("wrong", "count"), [("", 0), ("⟦2⟧ ⟦2⟧", 2), ("[2]", 0)])
def test_a_translation_that_loses_or_repeats_a_marker_is_rejected_with_the_reason(wrong: str, count: int) -> None:
    def loses(asked: Mapping[str, Any]) -> dict[str, Any]:
        made = by_phrases(asked)
        return {**made, "turns": [text.replace("⟦2⟧", wrong) for text in made["turns"]]}

    llm = Translator(loses)
    [outcome] = run(llm, "de", conversation=OURS)
    assert outcome.reason == (f"a mark is lost or added: ⟦2⟧ occurs {count} times, not 1, in turn 2 of the translation")
    assert llm.asked[1]["problem"] == outcome.reason


def test_a_marker_that_turns_up_in_another_turn_is_rejected_and_half_answers_are_as_ever() -> None:
    def strays(asked: Mapping[str, Any]) -> dict[str, Any]:
        made = by_phrases(asked)
        return {**made, "turns": [made["turns"][0] + " ⟦3⟧", *made["turns"][1:]]}

    [outcome] = run(Translator(strays), "de", conversation=OURS)
    assert "⟦3⟧ occurs 1 times, not 0, in turn 1" in str(outcome.reason)
    [outcome] = run(
        Translator(lambda asked: {"turns": ["⟦1⟧"], "kwargs": [[], ["Regen"], []]}), "de", conversation=OURS
    )
    assert outcome.reason == "turns are missing: 3 in the source, 1 in the translation"
    [outcome] = run(Translator(lambda asked: {**by_phrases(asked), "turns": [1, 2, 3]}), "de", conversation=OURS)
    assert outcome.reason == "a text is missing: turn 1 is 1"


def test_prompts_that_hold_such_marks_themselves_are_translated_as_a_whole() -> None:
    marked = conversation_of((f"Describe the sea. {said(SENTENCES)}", SENTENCES), ("Use no comma. ⟦1⟧", COMMA))
    llm = Translator(by_phrases)
    [outcome] = run(llm, "de", conversation=marked)
    assert llm.asked[0]["turns"] == marked.prompts
    assert outcome.conversation.prompts[1] == "Verwende kein Komma. ⟦1⟧"


def test_a_back_translation_that_loses_a_marker_is_rejected_too() -> None:
    def loses(asked: Mapping[str, Any]) -> dict[str, Any]:
        made = by_phrases(asked)
        return made if asked["to"] == "de" else {**made, "turns": [text.replace("⟦3⟧", "") for text in made["turns"]]}

    [outcome] = run(Translator(loses), "de", conversation=OURS)
    assert "a mark is lost or added: ⟦3⟧" in str(outcome.reason)


def test_a_prompt_to_repeat_holds_the_translated_prompt_with_its_own_sentences() -> None:
    first = f"Describe the sea. {said(COMMA)}"
    repeat = (REPEAT[0], {"prompt_to_repeat": first})
    [outcome] = run(Translator(by_phrases), "de", conversation=conversation_of((first, COMMA), (said(repeat), repeat)))
    german = f"Beschreibe das Meer. {said(COMMA, 'de')}"
    assert outcome.reason is None
    assert outcome.conversation.last.kwargs[1] == {"prompt_to_repeat": german}
    assert outcome.conversation.prompts == [german, said((REPEAT[0], {"prompt_to_repeat": german}), "de")]


def test_turns_without_our_sentences_are_asked_as_they_are_with_the_languages_sentences_as_a_help() -> None:
    llm = Translator(by_phrases)
    mixed = conversation_of((f"Describe the sea. {said(SENTENCES)}", SENTENCES), ("Use no comma. Say rain.", KEYWORD))
    [outcome] = run(llm, "de", conversation=mixed)
    assert llm.asked[0]["turns"] == ["Describe the sea. ⟦1⟧", "Use no comma. Say rain."]
    blank = (KEYWORD[0], {**KEYWORD[1], "keyword": "{keyword}"})
    assert llm.asked[0]["wording"] == sentences(*blank, "de")
    assert outcome.conversation.prompts[1] == "Verwende kein Komma. Say Regen."


def test_a_language_without_templates_is_asked_for_whole_turns() -> None:
    llm = Translator(by_phrases)
    run(llm, "fi", conversation=OURS)
    assert llm.asked[0]["turns"] == OURS.prompts
    assert "wording" not in llm.asked[0]


def test_native_seeds_are_translated_from_their_own_templates() -> None:
    source = conversation_of((f"Beschreibe das Meer. {said(SENTENCES, 'de')}", SENTENCES), language="de")
    [outcome] = run(Translator(by_phrases), "en", conversation=source)
    assert outcome.conversation.prompts == [f"Describe the sea. {said(SENTENCES)}"]


def test_a_source_that_misstates_an_instruction_is_told_in_the_warnings_and_kept(tmp_path: Path) -> None:
    words = {"relation": "less than", "num_words": 80}
    english, german = "Write at least 80 words about rain.", "Schreibe mindestens 80 Wörter über Regen."
    seed = DraftConversation("k", "en", (Turn(english, ("length_constraints:number_words",), (words,)),))
    asked = {"task": "translate", "turns": [english], "protected": ["80"], "from": "en", "to": "de", "kwargs": [[]]}
    home = {**asked, "turns": [german], "from": "de", "to": "en", "kwargs": []}
    wording = sentences("length_constraints:number_words", words, "de", blanks=True)
    llm = recorded(tmp_path, [({**asked, "wording": wording}, answer([german], [[]])), (home, answer([english], []))])
    (outcome,) = run(llm, "de", conversation=seed)
    assert outcome.reason is None
    (warned,) = outcome.conversation.notes["translate"]["warnings"]
    assert warned.startswith("turn 1 of the source: length_constraints:number_words: the prompt states ")


def test_a_language_of_which_nothing_is_read_is_told_in_the_warnings(tmp_path: Path) -> None:
    english, swedish = "Write about rain in May.", "Skriv om regn i maj."
    seed = DraftConversation("k", "en", (Turn(english, ("punctuation:no_comma",), ({},)),))
    asked = {"task": "translate", "turns": [english], "protected": [], "from": "en", "to": "sv", "kwargs": [[]]}
    home = {**asked, "turns": [swedish], "from": "sv", "to": "en", "kwargs": []}
    llm = recorded(tmp_path, [(asked, answer([swedish], [[]])), (home, answer([english], []))])
    (outcome,) = run(llm, "sv", conversation=seed)
    assert outcome.conversation.notes["translate"]["warnings"] == [
        "no constraint was read in this language (sv): only the back-translation was checked"
    ]
