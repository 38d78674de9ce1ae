"""Replies for people to label: how they are drawn, what readers see, and what comes of their answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.forms import as_csv, read_csv
from turnswap.construction.label_answers import Labelled, labelled, read_answers
from turnswap.construction.label_sheet import LABELS, Pair, Stratum, draw, read_pairs, read_sampling, write_label_sheet
from turnswap.construction.plain_words import plain_words
from turnswap.core.errors import UserError
from turnswap.core.journal import as_line
from turnswap.tasks.multiif.corrected.labels import Label, read_labels

COMMA, TITLE, SENTENCES = "punctuation:no_comma", "detectable_format:title", "length_constraints:number_sentences"


def comma(reply: str) -> Pair:
    return Pair("zh", COMMA, {}, reply)


def many() -> list[Pair]:
    """Of no comma 40 replies on which the two verdicts differ and 60 others; of a title 50 on which they agree."""
    pairs = [comma(f"第{n}天，下雨") for n in range(40)] + [comma(f"第{n}天下雨") for n in range(60)]
    return pairs + [Pair("zh", TITLE, {}, f"<<第{n}天>>") for n in range(50)]


# ---------------------------------------------------------------------------------------------------- drawing


def test_the_share_that_differs_is_as_asked_and_instructions_are_even() -> None:
    drawn, strata = draw(many(), 20, 0.3, 0)
    assert strata == [Stratum(TITLE, False, 50, 7), Stratum(COMMA, False, 60, 7), Stratum(COMMA, True, 40, 6)]
    assert Counter(pair.instruction_id for pair in drawn) == {COMMA: 13, TITLE: 7}
    assert [pair.instruction_id for pair in drawn] == sorted(pair.instruction_id for pair in drawn)


def test_weights_add_up_to_what_was_drawn_from() -> None:
    drawn, strata = draw(many(), 20, 0.3, 0)
    assert sum(pair.weight for pair in drawn) == pytest.approx(150)
    assert {pair.weight for pair in drawn if "，" in pair.reply} == {40 / 6}
    assert sum(stratum.population for stratum in strata) == 150


def test_the_draw_is_seeded_and_does_not_depend_on_chance() -> None:
    assert draw(many(), 20, 0.3, 5) == draw(many(), 20, 0.3, 5)
    assert draw(many(), 20, 0.3, 5) != draw(many(), 20, 0.3, 6)


@pytest.mark.parametrize(
    ("number", "share", "differing", "others"), [(120, 1.0, 40, 80), (140, 0.0, 30, 110), (999, 0.5, 40, 110)]
)
def test_where_there_are_too_few_of_one_kind_the_other_fills_up(
    number: int, share: float, differing: int, others: int
) -> None:
    _, strata = draw(many(), number, share, 0)
    taken = Counter({differ: sum(s.drawn for s in strata if s.differ is differ) for differ in (True, False)})
    assert taken == {True: differing, False: others}


def test_what_nobody_can_label_is_left_out() -> None:
    hopeless = Pair("zh", SENTENCES, {"num_sentences": 1, "relation": "less than"}, "好。")
    random = Pair(
        "zh", "keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": "at least"}, "#"
    )
    drawn, strata = draw([comma(" \n"), comma("好"), comma("好"), hopeless, random], 9, 0, 0)
    assert [pair.reply for pair in drawn] == ["好"]
    assert strata == [Stratum(COMMA, False, 1, 1)]


def test_pairs_are_read_from_json_lines(tmp_path: Path) -> None:
    line = {"language": "zh", "instruction_id": COMMA, "kwargs": {}, "reply": "好", "reader": True}
    path = tmp_path / "replies.jsonl"
    path.write_text(as_line(line) + as_line({**line, "prompt": "p", "source": "s"}), "utf-8")
    assert read_pairs(path) == [
        Pair("zh", COMMA, {}, "好", source="replies.jsonl"),
        Pair("zh", COMMA, {}, "好", ("p",), "s"),
    ]


@pytest.mark.parametrize(
    "change", [{"reply": None}, {"instruction_id": "no:such"}, {"kwargs": {"n": 2}}, {"language": 3}]
)
def test_a_line_that_is_no_pair_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    line = {"language": "zh", "instruction_id": COMMA, "kwargs": {}, "reply": "好"}
    (tmp_path / "replies.jsonl").write_text(as_line(line) + as_line({**line, **change}), "utf-8")
    with pytest.raises(UserError, match=r"replies\.jsonl, line 2, is no reply to label"):
        read_pairs(tmp_path / "replies.jsonl")


# ------------------------------------------------------------------------------------------- the sheet, and back

PAIRS = [
    Pair("zh", COMMA, {}, "雨，风", ("写一写雨。",), "model, 1:1:zh, turn 2", 2.0),
    Pair("zh", SENTENCES, {"num_sentences": 3, "relation": "at least"}, "雨。风。雪。", source="model"),
    Pair("zh", TITLE, {}, "<<雨>>\n=1+1"),
]


def sheet(folder: Path, pairs: Sequence[Pair] = PAIRS) -> list[dict[str, str]]:
    write_label_sheet(folder, pairs, [], plain_words(), {"seed": 0})
    return read_csv(LABELS, (folder / "labels.csv").read_bytes(), "labels.csv")


def filled(rows: Sequence[Mapping[str, str]], reader: str, *answers: Mapping[str, str] | str) -> bytes:
    made = [
        {**row, "reviewer": reader, **({"decision": answer} if isinstance(answer, str) else answer)}
        for row, answer in zip(rows, answers, strict=True)
    ]
    return as_csv(made, LABELS.columns).encode("utf-8-sig")


def read(folder: Path, files: Mapping[str, bytes]) -> Labelled:
    pairs = read_sampling(folder)
    return labelled(pairs, read_answers(pairs, files))


def test_the_sheet_shows_neither_verdicts_nor_where_replies_are_from(tmp_path: Path) -> None:
    rows = sheet(tmp_path)
    assert [row["question"] for row in rows][1] == "At least 3 sentences: does this reply follow it?"
    assert (rows[0]["prompt"], rows[0]["reply"]) == ("写一写雨。", "雨，风")
    for name in ("labels.csv", "labels.html"):
        text = (tmp_path / name).read_text("utf-8-sig")
        assert "雨。风。雪。" in text
        for told in ("1:1:zh", "published", "corrected", '"weight"'):
            assert told not in text, (name, told)
    told = json.loads((tmp_path / "sampling.json").read_text("utf-8"))
    assert (told["seed"], told["language"], told["pairs"][0]["weight"]) == (0, "zh", 2.0)


def test_two_readers_who_agree_make_labels_that_the_checks_can_be_held_against(tmp_path: Path) -> None:
    rows = sheet(tmp_path)
    one = filled(rows, "Asha", {"decision": "no", "comment": "，"}, {"decision": "yes", "count": "3"}, "yes")
    other = filled(rows, "Ravi", "no", {"decision": "yes", "count": "3 - 4"}, "yes")
    made = read(tmp_path, {"a.csv": one, "b.csv": other})
    assert (made.disagreements, made.undecided, made.unread) == ({}, [], [])
    assert [(each.n, each.kappa) for each in made.agreements] == [(3, 1)]
    (tmp_path / "zh.jsonl").write_text("".join(map(as_line, made.labels)), "utf-8")
    assert made.labels[1]["counts"] == [[3, 3], [3, 4]]
    assert (made.labels[0]["source"], made.labels[0]["why"]) == ("model, 1:1:zh, turn 2", ["，", ""])
    assert read_labels(tmp_path / "zh.jsonl")[0] == Label(
        "zh", COMMA, {}, "雨，风", False, ("写一写雨。",), 2.0, ("，", "")
    )


def test_what_readers_do_not_agree_on_is_left_out_and_listed(tmp_path: Path) -> None:
    rows = sheet(tmp_path)
    one, other = filled(rows, "Asha", "no", "yes", "cannot tell"), filled(rows, "Ravi", "yes", "", "cannot tell")
    made = read(tmp_path, {"a.csv": one, "b.csv": other})
    assert [(label["n"], label["reader"]) for label in made.labels] == [(2, True)]
    assert {key: [(a.reader, a.decision) for a in each] for key, each in made.disagreements.items()} == {
        "1": [("Asha", "no"), ("Ravi", "yes")]
    }
    assert (made.undecided, made.unread) == (["3"], [])
    assert read(tmp_path, {"b.csv": filled(rows, "Ravi", "yes", "", "")}).unread == ["2", "3"]


def test_a_readers_name_in_capitals_is_the_same_reader(tmp_path: Path) -> None:
    rows = sheet(tmp_path)
    with pytest.raises(UserError, match="twice"):
        read(tmp_path, {"one": filled(rows, "Asha", "yes", "", ""), "two": filled(rows, "ASHA ", "no", "", "")})


def test_a_readers_answers_may_come_in_several_files(tmp_path: Path) -> None:
    rows = sheet(tmp_path)
    first, later = filled(rows, "Asha", "no", "yes", ""), filled(rows, "Asha", "no", "", "yes")
    made = read(tmp_path, {"1.csv": first, "2.csv": later})
    assert [label["reader"] for label in made.labels] == [False, True, True]
    assert [label["counts"] for label in made.labels] == [[None]] * 3
    assert made.agreements == []


@pytest.mark.parametrize("other", ["no", {"decision": "yes", "count": "4"}])
def test_one_name_with_two_answers_to_a_reply_is_refused(tmp_path: Path, other: dict[str, str] | str) -> None:
    rows = sheet(tmp_path)
    one = filled(rows, "Asha", "no", {"decision": "yes", "count": "3"}, "yes")
    with pytest.raises(UserError) as refused:
        read(tmp_path, {"a.csv": one, "b.csv": filled(rows, "Asha", "no", other, "yes")})
    assert "Asha answers reply 2 twice, differently: a.csv and b.csv" in str(refused.value)
    assert "reply 3" not in str(refused.value)
    assert "Give each reader a name of their own" in refused.value.advice


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"decision": "maybe"}, "'maybe' is no decision; expected yes, no, cannot tell"),
        ({"comment": "hm"}, "something is filled in, but no decision"),
        ({"decision": "yes", "reviewer": " "}, "the column reviewer is empty"),
        ({"decision": "yes", "count": "some"}, "the count is 'some'; expected a number"),
        ({"decision": "yes", "count": "6-4"}, "the count is '6-4'"),
        (
            {"decision": "yes", "count": "2"},
            "the decision is yes, but the instruction asks for at least 3 and the count is 2",
        ),
        (
            {"decision": "no", "count": "3-4"},
            "the decision is no, but the instruction asks for at least 3 and the count is 3-4",
        ),
        ({"decision": "yes", "digest": "x"}, "it is of another sheet"),
        ({"decision": "yes", "key": "9"}, "the sheet has no such number"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_their_line(tmp_path: Path, answer: dict[str, str], said: str) -> None:
    rows = sheet(tmp_path)
    with pytest.raises(UserError) as refused:
        read(tmp_path, {"a.csv": filled(rows, "Asha", "no", answer, "yes")})
    assert "a.csv, row 2" in str(refused.value)
    assert said in str(refused.value)


COUNTED = {  # what is bound, by the kwargs; a count that passes, and one that does not
    "detectable_content:number_placeholders": ({"num_placeholders": 3}, "at least 3", 4, 2),
    "detectable_format:number_bullet_lists": ({"num_bullets": 5}, "exactly 5", 5, 6),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 3}, "at least 3", 3, 2),
    "detectable_format:multiple_sections": ({"num_sections": 3, "section_spliter": "Part"}, "at least 3", 3, 2),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 5}, "exactly 5", 5, 2),
    "length_constraints:number_words": ({"num_words": 9, "relation": "less than"}, "less than 9", 8, 9),
    "keywords:frequency": ({"keyword": "雨", "frequency": 3, "relation": "at least"}, "at least 3", 3, 2),
    "keywords:letter_frequency": (
        {"letter": "a", "let_frequency": 3, "let_relation": "less than"},
        "less than 3",
        2,
        3,
    ),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 3, "capital_relation": "at least"},
        "at least 3",
        3,
        2,
    ),
}


@pytest.mark.parametrize("instruction_id", COUNTED)
def test_a_count_that_contradicts_the_decision_is_refused_whatever_is_counted(
    tmp_path: Path, instruction_id: str
) -> None:
    kwargs, bound, enough, wrong = COUNTED[instruction_id]
    rows = sheet(tmp_path, [Pair("zh", instruction_id, kwargs, "雨")])

    def told(decision: str, count: int) -> Labelled:
        return read(tmp_path, {"a.csv": filled(rows, "Asha", {"decision": decision, "count": str(count)})})

    for decision, count in (("yes", wrong), ("no", enough)):
        said = f"the decision is {decision}, but the instruction asks for {bound} and the count is {count}"
        with pytest.raises(UserError, match=f"row 1, 1: {said}"):
            told(decision, count)
    assert [told("yes", enough).labels[0]["reader"], told("no", wrong).labels[0]["reader"]] == [True, False]


def test_no_beside_as_many_paragraphs_as_asked_may_be_for_the_first_word(tmp_path: Path) -> None:
    kwargs = {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "雨"}
    rows = sheet(tmp_path, [Pair("zh", "length_constraints:nth_paragraph_first_word", kwargs, "风")])
    assert read(tmp_path, {"a.csv": filled(rows, "Asha", {"decision": "no", "count": "3"})}).labels
    with pytest.raises(UserError, match="the instruction asks for exactly 3 and the count is 2"):
        read(tmp_path, {"a.csv": filled(rows, "Asha", {"decision": "yes", "count": "2"})})


@pytest.mark.parametrize("answer", [{"decision": "yes", "count": "2-3"}, {"decision": "cannot tell", "count": "2"}])
def test_a_count_that_leaves_it_open_contradicts_nothing(tmp_path: Path, answer: dict[str, str]) -> None:
    rows = sheet(tmp_path)
    assert len(read(tmp_path, {"a.csv": filled(rows, "Asha", "no", answer, "yes")}).labels) >= 2


def test_a_sheet_with_answers_in_it_is_not_written_over(tmp_path: Path) -> None:
    rows = sheet(tmp_path)
    answers = filled(rows, "Asha", "no", "yes", "yes")
    (tmp_path / "labels.csv").write_bytes(answers)
    assert sheet(tmp_path)[0]["decision"] == "no"  # the same sheet once more
    with pytest.raises(UserError, match="holds another sheet"):
        sheet(tmp_path, PAIRS[:2])
    assert (tmp_path / "labels.csv").read_bytes() == answers
    assert len(read_sampling(tmp_path)) == 3


def test_another_sheet_is_not_written_over_though_nothing_is_filled_in(tmp_path: Path) -> None:
    sheet(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before.keys() == {"labels.csv", "labels.html", "sampling.json"}
    with pytest.raises(UserError, match="holds another sheet"):
        sheet(tmp_path, PAIRS[:2])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(sheet(tmp_path)) == 3  # the same once more


@pytest.mark.parametrize("content", [None, "{", "[]", '{"pairs": [{"reply": 3}]}'])
def test_a_folder_without_the_draw_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "sampling.json").write_text(content)
    with pytest.raises(UserError, match=r"sampling\.json cannot be read"):
        read_sampling(tmp_path)
