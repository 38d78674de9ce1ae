"""Reviewers' edits: they pass what a translation must, and agree where they differ in spaces alone."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.audit import Audit, AuditSettings
from turnswap.construction.edits import EditChecks
from turnswap.construction.forms import as_csv
from turnswap.construction.gates import Thresholds
from turnswap.construction.hub import who_reviewed
from turnswap.construction.meaning.instructions import stated_otherwise
from turnswap.construction.pipeline import Step
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.sheet import COLUMNS, row_of
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.core.errors import UserError

from .auditing import KO, SW, WORDS, translated

FR = (
    "Écris une lettre à ton voisin à propos de la pluie, avec au moins 3 phrases.",
    "Write a letter to your neighbour about the rain, with at least 3 sentences.",
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[DraftConversation]:
    """One conversation, in Swahili and in Korean."""
    return translated(tmp_path_factory.mktemp("translated"), "a", languages=("sw", "ko"))


def of_one_turn(prompt: str, source: str, language: str, id_: str, **kwargs: Any) -> DraftConversation:
    """A conversation translated from English, of one turn with one instruction."""
    turns = [Turn(text, (id_,), (kwargs,)) for text in (prompt, source)]
    note = {"source": {"language": "en", "turns": [dataclasses.asdict(turns[1])]}}
    return DraftConversation(f"a:{language}", language, (turns[0],), {"translate": note})


def french(prompt: str, source: str, language: str = "fr") -> DraftConversation:
    return of_one_turn(
        prompt, source, language, "length_constraints:number_sentences", num_sentences=3, relation="at least"
    )


def review(folder: Path, conversation: DraftConversation, name: str, **filled: Any) -> Path:
    """A sheet of one conversation, filled in by a reviewer."""
    cells = {column: value if isinstance(value, str) else json.dumps(value) for column, value in filled.items()}
    row = row_of(conversation) | {"decision": "edit", "reviewer": name, **cells}
    path = folder / f"{name}.csv"
    path.write_bytes(as_csv([row], COLUMNS).encode("utf-8-sig"))
    return path


def outcome(
    folder: Path, conversation: DraftConversation, *reviews: Path, required: Any = 1, checks: EditChecks | None = None
) -> Outcome | None:
    step = Audit(AuditSettings(reviews=reviews, required=required), folder / "audit", {}, checks)
    (made,) = step.run([conversation])
    return made[0] if made else None


def kwargs(language: str, **changed: str) -> list[dict[str, Any]]:
    words = WORDS[language]
    made: list[dict[str, Any]] = [{"keywords": words[0]}, {"num_highlights": 2}, {"end_phrase": words[2][0]}]
    return [{name: changed.get(name, value) for name, value in each.items()} for each in made]


# ------------------------------------------------------------------------------------------------ agreement

LONGER = SW[0].replace("fupi", "ndefu")


@pytest.mark.parametrize(
    "other",
    [
        LONGER.replace("barua ndefu", "barua  ndefu"),
        f" {LONGER}\n",
        LONGER.replace("kwa jirani", "kwa\u00a0jirani"),
        LONGER.replace("yetu. ", "yetu.\u2003"),
        LONGER.replace("barua ndefu", "barua \u200bndefu"),
    ],
    ids=["a run", "ends", "no-break", "em", "zero width"],
)
def test_edits_that_differ_in_spaces_agree_and_the_plainer_one_is_taken(
    tmp_path: Path, two: list[DraftConversation], other: str
) -> None:
    for first, second in ((other, LONGER), (LONGER, other)):
        reviews = [
            review(tmp_path, two[0], name, edited_1=text) for name, text in zip("AB", (first, second), strict=True)
        ]
        made = outcome(tmp_path, two[0], *reviews, required=2)
        assert made is not None
        assert made.conversation.prompts[0] == LONGER
        assert made.conversation.notes["audit"]["reviewers"] == ["A", "B"]
        assert not (tmp_path / "audit" / "conflicts.csv").exists()


def test_ends_of_lines_and_parts_of_letters_make_no_difference(tmp_path: Path, two: list[DraftConversation]) -> None:
    text = LONGER.replace(". Tumia", ".\nTumia é")
    others = text.replace("\n", " \r\n"), unicodedata.normalize("NFD", text)
    first = review(tmp_path, two[0], "A", edited_1=text)
    for other in others:
        assert outcome(tmp_path, two[0], first, review(tmp_path, two[0], "B", edited_1=other), required=2) is not None


def test_in_korean_prompts_the_parting_of_words_is_free_and_in_what_is_graded_it_is_not(
    tmp_path: Path, two: list[DraftConversation]
) -> None:
    korean = two[1]
    parted = KO[0].replace("짧은", "긴")
    joined = parted.replace("써 주세요", "써주세요")
    first, second = (review(tmp_path, korean, name, edited_1=text) for name, text in (("A", parted), ("B", joined)))
    assert outcome(tmp_path, korean, first, second, required=2) is not None
    edited = KO[2].replace("내일 봐요", "내일봐요")
    first = review(tmp_path, korean, "A", edited_1=parted)
    second = review(
        tmp_path, korean, "B", edited_1=parted, edited_3=edited, edited_kwargs=kwargs("ko", end_phrase="내일봐요")
    )
    assert outcome(tmp_path, korean, first, second, required=2) is None


def test_of_kwargs_that_differ_in_spaces_those_that_a_reply_can_match_are_taken_with_their_prompt(
    tmp_path: Path, two: list[DraftConversation]
) -> None:
    odd, plain = "Kwaheri\u00a0sasa", "Kwaheri sasa"
    reviews = [
        review(
            tmp_path,
            two[0],
            name,
            edited_3=SW[2].replace("Tutaonana kesho", phrase),
            edited_kwargs=kwargs("sw", end_phrase=phrase),
        )
        for name, phrase in (("A", odd), ("B", plain))
    ]
    made = outcome(tmp_path, two[0], *reviews, required=2)
    assert made is not None
    last = made.conversation.last
    assert last.kwargs[2]["end_phrase"] == plain
    assert plain in last.prompt
    alone = outcome(tmp_path, two[0], reviews[0])
    assert alone is not None
    (doubt,) = alone.conversation.notes["audit"]["doubts"]
    assert doubt == f"{odd!r} is graded, but has spaces that a reply will hardly have"


def test_who_mends_a_space_agrees_with_who_accepts_and_a_word_more_does_not(
    tmp_path: Path, two: list[DraftConversation]
) -> None:
    accepts = review(tmp_path, two[0], "A", decision="accept")
    spaced = review(tmp_path, two[0], "B", edited_1=SW[0].replace("barua fupi", "barua  fupi"))
    made = outcome(tmp_path, two[0], accepts, spaced, required=2)
    assert made is not None
    assert made.conversation.turns == two[0].turns
    more = review(tmp_path, two[0], "B", edited_1=SW[0].replace("barua fupi", "barua fupi sana"))
    assert outcome(tmp_path, two[0], accepts, more, required=2) is None


# ------------------------------------------------------------------------------------------------ the checks


def refused(folder: Path, conversation: DraftConversation, checks: EditChecks | None = None, **filled: Any) -> str:
    with pytest.raises(UserError) as raised:
        outcome(folder, conversation, review(folder, conversation, "A", **filled), checks=checks)
    assert f"A.csv, row 1, {conversation.key}: " in str(raised.value)
    return str(raised.value)


def test_an_edit_in_another_language_is_refused(tmp_path: Path, two: list[DraftConversation]) -> None:
    english = 'Please write a short letter to your neighbour about the rain in our village, with "mvua".'
    said = refused(tmp_path, two[0], edited_1=english)
    assert "the edit does not pass what a translation must: the language is another" in said
    assert "the script is another" in refused(tmp_path, two[1], edited_1='비 Andika barua kwa jirani kuhusu hali "비"')


def test_an_edit_of_a_native_conversation_in_another_language_is_refused_by_turn(tmp_path: Path) -> None:
    prompts = ("Andika barua kwa jirani.", "Eleza mvua kijijini kwetu.", "Andika tena kwa ufupi.")
    turns = tuple(Turn(prompt, ("punctuation:no_comma",), ({},)) for prompt in prompts)
    native = DraftConversation("n", "sw", turns, {"translate": {"source": None}})
    english = "Please write a short letter to your neighbour about the rain in our village."
    said = refused(tmp_path, native, edited_2=english)
    assert "the language is another: it is in English, not in sw in turn 2" in said
    assert outcome(tmp_path, native, review(tmp_path, native, "A", edited_2="Eleza mvua ya jana kijijini.")) is not None


def test_the_word_lists_hold_for_edits_in_prompts_and_kwargs(tmp_path: Path, two: list[DraftConversation]) -> None:
    lists = EditChecks(words={"sw": ["mjinga"], "ko": ["barua"]})
    said = refused(tmp_path, two[0], lists, edited_1=SW[0].replace("jirani", "jirani Mjinga"))
    assert "a word of the list: 'mjinga' in turn 1" in said
    assert outcome(tmp_path, two[0], review(tmp_path, two[0], "A", edited_1=LONGER), checks=lists) is not None


def test_an_edit_that_states_another_count_or_relation_is_refused(tmp_path: Path) -> None:
    conversation = french(*FR)
    said = refused(tmp_path, conversation, edited_1=FR[0].replace("au moins", "moins de"))
    assert "turn 1 says " in said
    assert "moins de 3 phrases" in said
    assert "but at least 3 sentences is graded" in said
    better = FR[0].replace("ton voisin", "votre voisin")
    assert outcome(tmp_path, conversation, review(tmp_path, conversation, "A", edited_1=better)) is not None


@pytest.mark.parametrize(
    ("language", "before", "after"),
    [
        ("de", "mit mindestens 3 Sätzen.", "mit weniger als 3 Sätzen."),
        ("ja", "3文以上で書いてください。", "3文未満で書いてください。"),
        ("ko", "최소 3문장으로 써 주세요.", "3문장 미만으로 써 주세요."),
    ],
)
def test_an_edit_of_a_relation_is_refused_in_languages_that_the_benchmark_lacks(
    tmp_path: Path, language: str, before: str, after: str
) -> None:
    made = french(before, "Write with at least 3 sentences.", language)
    said = refused(tmp_path, made, edited_1=after)
    assert "number_sentences: the prompt states '" in said
    assert "graded is at least 3" in said


def test_what_was_so_before_the_edit_is_not_held_against_it(tmp_path: Path) -> None:
    wrong = french(FR[0].replace("au moins", "moins de"), FR[1])
    edited = wrong.prompts[0].replace("ton voisin", "votre voisin")
    assert outcome(tmp_path, wrong, review(tmp_path, wrong, "A", edited_1=edited)) is not None


def test_an_odd_length_is_told_and_refuses_nothing(tmp_path: Path, two: list[DraftConversation]) -> None:
    checks = EditChecks(Thresholds(length_ratio={"sw": (0.5, 1.2)}))
    longer = SW[0] + " Andika kwa lugha rahisi ili kila mtu aelewe, na usisahau kumsalimia jirani yako mwanzoni."
    one = review(tmp_path, two[0], "A", edited_1=longer)
    made = outcome(tmp_path, two[0], one, checks=checks)
    assert made is not None
    assert made.reason is None
    assert made.conversation.notes["audit"]["doubts"][0].startswith("the length is odd: ratio ")
    assert outcome(tmp_path, two[0], one, required=2, checks=checks) is None  # it waits for another reviewer
    assert "A's edit: the length is odd" in (tmp_path / "audit" / "audit.csv").read_text("utf-8")


def made_step(folder: Path, reviews: Sequence[Path], **sections: Any) -> Step:
    llm: Any = None
    build = BuildSettings("n", folder, llm, ("sw",), audit={"reviews": list(map(str, reviews))}, **sections)
    return make_step("audit", build, llm)


def test_the_steps_before_the_audit_hand_their_settings_over(tmp_path: Path, two: list[DraftConversation]) -> None:
    (tmp_path / "words.txt").write_text("ndefu\n", "utf-8")
    reviews = [review(tmp_path, two[0], "A", edited_1=LONGER)]
    bare = made_step(tmp_path, reviews)
    assert bare.run(two[:1])[0] is not None
    listed = made_step(tmp_path, reviews, filter={"word_lists": {"sw": str(tmp_path / "words.txt")}})
    with pytest.raises(UserError, match="a word of the list: 'ndefu' in turn 1"):
        listed.run(two[:1])
    assert listed.identity != bare.identity


# ------------------------------------------------------------------------------------------------ in a sentence


def test_how_many_were_reviewed_by_how_many_is_told(two: list[DraftConversation]) -> None:
    accepted, edited = (
        each.with_note("audit", {"decision": decision, "reviewers": names})
        for each, decision, names in zip(two, ("accept", "edit"), (["A", "B"], ["A", "C"]), strict=True)
    )
    assert who_reviewed([accepted, edited]) == (
        "People reviewed all 2 conversations: 1 accepted as they were, 1 edited; each decided by 2 people, 3 in all."
    )
    assert who_reviewed([accepted, two[1]]).startswith(
        "People reviewed 1 of 2 conversations, nobody reviewed the others: 1 acc"
    )
    assert who_reviewed([accepted], " of the release").startswith("People reviewed the 1 conversation of the release: ")
    assert who_reviewed(two) == "Nobody reviewed this."


# ------------------------------------------------------------------------------------------------ demands

HUNDRED = {"num_words": 100, "relation": "at least"}


def german(prompt: str, source: str, id_: str = "startend:quotation", **kwargs: Any) -> DraftConversation:
    return of_one_turn(prompt, source, "de", id_, **kwargs)


@pytest.mark.parametrize(
    ("source", "before", "after", "why"),
    [
        ("Do not mention the stars.", "Erwähne die Sterne nicht.", "Erwähne die Sterne.", "says something else"),
        ("Mention the stars.", "Erwähne die Sterne.", "Erwähne die Sterne nicht.", "negates what the source does not"),
        (
            "Do not mention the stars. Do not ask me anything.",
            "Erwähne die Sterne nicht. Frag mich nicht.",
            "Erwähne die Sterne. Frag mich nicht.",
            "negates less than the source",
        ),
        ("Name six stars.", "Nenne sechs Sterne.", "Nenne fünf Sterne.", "the source has '6', it has '5'"),
        ("Name six stars.", "Nenne sechs Sterne.", "Nenne Sterne.", "no longer says 6"),
    ],
)
def test_an_edit_that_changes_a_number_or_a_negation_is_refused_and_a_better_wording_is_not(
    tmp_path: Path, source: str, before: str, after: str, why: str
) -> None:
    made = german(before, source)
    assert why in refused(tmp_path, made, edited_1=after)
    better = before.replace("Sterne", "Gestirne")
    assert outcome(tmp_path, made, review(tmp_path, made, "A", edited_1=better)) is not None
    wrong = german(after, source)  # and what was wrong can be mended
    assert outcome(tmp_path, wrong, review(tmp_path, wrong, "A", edited_1=before)) is not None


@pytest.mark.parametrize(
    ("after", "why"),
    [
        ("Schreib über Tee.", "no longer says 100"),
        ("Schreib über Tee, mindestens hundert Sätze.", "states '"),
        ("Schreib über Tee, höchstens hundert Wörter.", "'at least 100', it has 'at most 100'"),
    ],
)
def test_an_edit_without_the_count_or_with_another_unit_or_bound_is_refused(
    tmp_path: Path, after: str, why: str
) -> None:
    before = "Schreib über Tee, mindestens hundert Wörter."
    source = "Write about tea, at least a hundred words."
    made = german(before, source, "length_constraints:number_words", **HUNDRED)
    assert why in refused(tmp_path, made, edited_1=after)
    better = before.replace("über Tee", "etwas über Tee")
    assert outcome(tmp_path, made, review(tmp_path, made, "A", edited_1=better)) is not None


def test_a_unit_whose_words_are_not_known_is_compared_with_no_other() -> None:
    kwargs = {"num_paragraphs": 3}  # Absätze end like Sätze, sentences
    assert stated_otherwise("Schreib genau 3 Absätze.", "length_constraints:number_paragraphs", kwargs, "de") == []


def test_a_reviewer_may_mean_another_pole_and_the_sheet_tells_of_it(tmp_path: Path) -> None:
    made = german("Schreib einen kurzen Brief.", "Write a short letter.")
    edited = outcome(tmp_path, made, review(tmp_path, made, "A", edited_1="Schreib einen langen Brief."))
    assert edited is not None
    assert "the translation means something else" in edited.conversation.notes["audit"]["doubts"][0]
