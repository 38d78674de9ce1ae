"""Prompts and kwargs in another language: their words are the same words, and what must stay as it is does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.equivalent import check_spans, equivalent, protected_spans, questions_words
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.translate import Translate, TranslateSettings

from .auditing import one_turn


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


@pytest.mark.parametrize(
    ("turn", "words", "reason"),
    [
        (one_turn("keywords:existence", keywords=["big", "large"]), ["kubwa", "Kubwa"], "words became one"),
        (one_turn("keywords:existence", keywords=["who"]), ["nani?"], "a pattern arose"),
        (one_turn("keywords:forbidden_words", forbidden_words=["tea"]), ["chai (moto)"], "a pattern arose"),
        (
            one_turn(
                "length_constraints:nth_paragraph_first_word", num_paragraphs=2, nth_paragraph=1, first_word="Once"
            ),
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
    fixed = one_turn("detectable_content:postscript", "Add a P.P.S", postscript_marker="P.P.S")
    assert questions_words(fixed) == [[]]
    assert equivalent(fixed, ["Ongeza P.P.S"], [[]])[0].kwargs[0] == {"postscript_marker": "P.P.S"}
    other = one_turn("detectable_content:postscript", "Add a line with Note:", postscript_marker="Note:")
    assert questions_words(other) == [["Note:"]]


def test_a_word_may_be_inflected_where_its_instruction_is_not_given() -> None:
    prompts = ("Write about cats.", "Use the word cat.")
    two = (
        Turn(prompts[0], ("punctuation:no_comma",), ({},)),
        Turn(prompts[1], ("punctuation:no_comma", "keywords:existence"), ({}, {"keywords": ["cat"]})),
    )
    made = equivalent(two, ["Пиши о котах.", "Используй слово кошка."], [[], ["кошка"]])
    assert made[1].kwargs[1] == {"keywords": ["кошка"]}


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
