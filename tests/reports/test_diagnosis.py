"""Diagnosis: what becomes of single instructions, how far counts miss, what replies are like, what is hardest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Turnswap, make_row, write_csv
from turnswap.reports import diagnosis
from turnswap.reports.diagnosis_sheets import diagnosis_sheets
from turnswap.reports.figures import Resampling
from turnswap.reports.reading import Reading, read_models
from turnswap.reports.table import Summary

from .evaluations import FOLLOWS, evaluate
from .test_terminal import rows_of

Step = Sequence[tuple[str, dict[str, Any]]]  # the instructions that a turn adds
EXISTENCE, WORDS = "keywords:existence", "length_constraints:number_words"
BULLETS, TITLE, NO_COMMA = "detectable_format:number_bullet_lists", "detectable_format:title", "punctuation:no_comma"
WITHOUT_TITLE, WITH_COMMA, RAIN = "Nothing to see here", "<<Title>>, and more", "It is rain that falls"


def row(key: str, *steps: Step) -> dict[str, str]:
    """A row whose turns add these instructions to those before; after a single step turn 2 adds none."""
    made, ids, kwargs = make_row(key, turns=0), [], []
    for turn, step in enumerate(steps if len(steps) > 1 else [*steps, []], 1):
        ids += [id_ for id_, _ in step]
        kwargs += [json.dumps(each) for _, each in step]
        made[f"turn_{turn}_prompt"] = json.dumps({"role": "user", "content": f"Say {turn} about {key}."})
        made[f"turn_{turn}_instruction_id_list"], made[f"turn_{turn}_kwargs"] = json.dumps(ids), json.dumps(kwargs)
    return made


def say(**replies: Sequence[str]) -> Callable[[str], str]:
    """Replies by source prompt and turn; the last one is said again."""

    def reply(prompt: str) -> str:
        (source,) = (source for source in replies if f"about {source}:" in prompt)
        return (replies[source] * 3 if len(replies[source]) == 1 else replies[source])[prompt.count("<user>") - 1]

    return reply


def run(folder: Path, rows: list[dict[str, str]], reply: Callable[[str], str], **how: Any) -> Summary:
    data = write_csv(folder / "data.csv", rows)
    name = how.pop("name", "org/m")
    results = evaluate(folder / name, name, reply, data=data, tasks=("multiif_en",), **how)
    return read(results)


def read(results: Path, **how: Any) -> Summary:
    (model,) = read_models([str(results)], Reading(**how))
    return Summary(model, Resampling(400))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Title, then no comma, then rain: a and b follow all, c loses the title in turn 2, d in turn 3."""
    folder = tmp_path_factory.mktemp("four")
    reply = say(a=[FOLLOWS] * 3, b=[FOLLOWS] * 3, c=[FOLLOWS, WITHOUT_TITLE, FOLLOWS], d=[FOLLOWS, WITH_COMMA, RAIN])
    run(folder, [make_row(f"{source}:1:en") for source in "abcd"], reply)
    return folder / "org/m"


def test_instructions_by_how_long_ago_they_were_given(four: Path) -> None:
    summary = read(four)
    found, _ = diagnosis.shares(diagnosis.slots(summary), ["instruction", "distance"], "strict", summary)
    assert found[["hits", "asked"]].apply(tuple, axis=1).to_dict() == {
        (TITLE, 0): (4, 4),
        (TITLE, 1): (3, 4),
        (TITLE, 2): (3, 4),
        (NO_COMMA, 0): (3, 4),
        (NO_COMMA, 1): (4, 4),
        (EXISTENCE, 0): (4, 4),
    }
    assert found.loc[(TITLE, 0), ["low", "high"]].tolist() == [1, 1]  # no resample differs
    assert 0 <= found.loc[(TITLE, 1), "low"] < 0.75 < found.loc[(TITLE, 1), "high"] <= 1


def test_what_is_new_when_an_old_instruction_breaks(four: Path) -> None:
    summary = read(four)
    found = diagnosis.broken(diagnosis.slots(summary), "instruction", summary)
    # Titles followed before: four in turn 2, of which c breaks, and a, b and d in turn 3, of which d breaks.
    assert found[["hits", "asked"]].apply(tuple, axis=1).to_dict() == {
        (TITLE, NO_COMMA): (1, 4),
        (TITLE, EXISTENCE): (1, 3),
        (NO_COMMA, EXISTENCE): (0, 3),
    }
    assert found["usual"].to_dict() == pytest.approx(
        {(TITLE, NO_COMMA): 2 / 7, (TITLE, EXISTENCE): 2 / 7, (NO_COMMA, EXISTENCE): 0}
    )
    assert found["excess"].to_dict() == pytest.approx(
        {(TITLE, NO_COMMA): 1 / 4 - 2 / 7, (TITLE, EXISTENCE): 1 / 3 - 2 / 7, (NO_COMMA, EXISTENCE): 0}
    )
    by_family = diagnosis.broken(diagnosis.slots(summary), "family", summary)
    assert by_family.loc[("detectable_format", "keywords"), ["hits", "asked"]].tolist() == [1, 3]
    assert diagnosis.broken(diagnosis.slots(summary), "family", summary, fewest=5).empty


def test_an_id_that_is_asked_for_twice_is_told_apart_by_its_place(tmp_path: Path) -> None:
    rain, sun = (EXISTENCE, {"keywords": ["rain"]}), (EXISTENCE, {"keywords": ["sun"]})
    summary = run(tmp_path, [row("a:1:en", [rain], [sun])], say(a=["rain", "sun"]))
    frame = diagnosis.slots(summary)
    found, _ = diagnosis.shares(frame, ["instruction", "distance"], "strict", summary)
    assert found[["hits", "asked"]].apply(tuple, axis=1).to_dict() == {(EXISTENCE, 0): (2, 2), (EXISTENCE, 1): (0, 1)}
    assert found[["low", "high"]].isna().all(axis=None)  # one source prompt gives no interval
    (pair,) = diagnosis.broken(frame, "instruction", summary)[["hits", "asked"]].itertuples(name=None)
    assert pair == ((EXISTENCE, EXISTENCE), 1, 1)


def test_a_turn_that_adds_two_instructions_pairs_each_with_the_old_one(tmp_path: Path) -> None:
    steps: list[Step] = [[(TITLE, {})], [(NO_COMMA, {}), (EXISTENCE, {"keywords": ["rain"]})]]
    summary = run(tmp_path, [row("a:1:en", *steps)], say(a=["<<Title>>", "rain"]))
    found = diagnosis.broken(diagnosis.slots(summary), "instruction", summary)
    assert found["hits"].to_dict() == {(TITLE, NO_COMMA): 1, (TITLE, EXISTENCE): 1}
    assert found["usual"].tolist() == [1, 1]


def words(number: int, relation: str = "at least") -> Step:
    return [(WORDS, {"num_words": number, "relation": relation})]


ROWS_THAT_COUNT = [
    row("a:1:en", words(100)),  # misses by 5
    row("b:1:en", words(10)),  # by 8
    row("c:1:en", words(10)),  # does not
    row("d:1:en", words(5, "less than")),  # misses by 1: 5 words are as many as may not be
    row("e:1:en", [(BULLETS, {"num_bullets": 3})]),  # too few by 2
    row("f:1:en", [(BULLETS, {"num_bullets": 3})]),  # too many by 1
    row("g:1:en", words(5, "less than")),  # empty: fails, and its count does not
]
COUNTED = say(
    a=["word " * 95],
    b=["two words"],
    c=["word " * 10],
    d=["one two three four five"],
    e=["* one"],
    f=["* one\n" * 4],
    g=[""],
)


@pytest.mark.parametrize("regrade", [False, True])
def test_by_how_much_counts_miss(tmp_path: Path, regrade: bool) -> None:
    run(tmp_path, ROWS_THAT_COUNT, COUNTED)
    _, found, some = diagnosis.replies(read(tmp_path / "org/m", regrade=regrade))
    assert found.drop(columns="asked").drop_duplicates().to_records(index=False).tolist() == [
        ("a", WORDS, "at least", 100, 95, 5),
        ("b", WORDS, "at least", 10, 2, 8),
        ("d", WORDS, "less than", 5, 5, 1),
        ("e", BULLETS, "exactly", 3, 1, 2),
        ("f", BULLETS, "exactly", 3, 4, 1),
    ]
    assert len(found) == 2 * 5  # in both turns
    assert some == ""


def test_the_report_tells_of_misses(turnswap: Turnswap, tmp_path: Path) -> None:
    run(tmp_path, ROWS_THAT_COUNT, COUNTED)
    output = turnswap("report", tmp_path / "org/m", "--format", "md").output
    table = output.split("### org/m: how far counts missed\n\n")[1].split("\n\n")[0].replace("\\", "").splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [[*row[:5], row[5].split()[0], row[6].split()[0]] for row in cells] == [
        [BULLETS, "exactly", "4", "1.5", "50.0", "0.0", "50.0"],
        [WORDS, "at least", "4", "6.5", "42.5", "50.0", "all"],  # the median of 5 % and 80 %
        [WORDS, "less than", "2", "1", "20.0", "0.0", "none"],
    ]


def test_without_kept_counts_a_part_of_the_replies_is_looked_at_and_it_says_so(
    turnswap: Turnswap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, texts = [row(f"s{n}:1:en", words(100)) for n in range(60)], {f"s{n}": ["word " * 9] for n in range(60)}
    run(tmp_path, rows, say(**texts))
    monkeypatch.setattr(diagnosis, "LOOKED_AT", 40)
    kinds, missed, some = diagnosis.replies(read(tmp_path / "org/m", regrade=True))
    assert 15 < len(missed) < 70
    assert some == f"{len(missed)} of 120 replies"
    assert (kinds["kind"].isin(diagnosis.SPOKEN)).sum() == len(missed)
    output = turnswap("report", tmp_path / "org/m", "--regrade", "--format", "md").output
    assert f"From {some}, drawn at random." in output
    assert "drawn at random" not in turnswap("report", tmp_path / "org/m", "--format", "md").output


def test_quarters_of_length_truncation_and_language_of_replies(tmp_path: Path) -> None:
    english = "The rain falls on the quiet city while people walk home"
    spanish = "La lluvia cae sobre la ciudad mientras la gente vuelve a casa"
    steps: Step = [(TITLE, {})]
    rows = [row(f"{source}:1:en", steps) for source in "abcdefg"]
    rows.append(row("h:1:en", [("language:response_language", {"language": "es"})]))
    reply = say(
        a=["<<T>>" + english],
        b=["<<Ti>>" + english],
        c=["No title: " + english],
        d=["<<Tit>> and " + english],
        e=["<<Tit>> and then " + english],
        f=["No title, " + spanish + " y más"],
        g=["No title, and as long as it can be, for " + english * 3],  # used up its tokens
        h=[spanish + " y descansa, y duerme"],
    )
    gen = f"max_gen_toks={len('No title, and as long as it can be, for ' + english * 3)}"
    summary = run(tmp_path, rows, reply, model="scripted-tokens", gen_kwargs=gen)
    frame, _, _ = diagnosis.replies(summary)
    found = frame[frame["turn"] == 1].groupby("kind")[["followed", "asked"]].sum().apply(tuple, axis=1).to_dict()
    assert found == {
        "shortest quarter": (2, 2),  # a and b
        "second quarter": (1, 2),  # c and d
        "third quarter": (1, 2),  # e and f
        "longest quarter": (1, 2),  # h and g
        "ended by itself": (5, 7),
        "truncated or unclosed": (0, 1),
        "in the language asked for": (5, 7),
        "in another language": (0, 1),
    }


def test_shares_have_the_intervals_of_the_figures_above_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sources = [f"s{n}" for n in range(30)]
    replies = {source: [str(rng.choice([FOLLOWS, WITHOUT_TITLE, WITH_COMMA])) for _ in range(3)] for source in sources}
    rows = [make_row(f"{source}:{variant}:en") for source in sources for variant in (1, 2)]
    summary = run(tmp_path, rows, say(**replies))
    frame = diagnosis.slots(summary)
    found, _ = diagnosis.shares(frame, ["turn"], "strict", summary)
    before = frame[frame["before"].eq(True)]
    forgotten, _ = diagnosis.shares(before.assign(forgotten=~before["strict"]), ["turn"], "forgotten", summary)
    for table, name in ((found, "inst_strict_acc"), (forgotten, "forgetting")):
        for turn, *row in table[["share", "low", "high"]].itertuples(name=None):
            figure = summary.figure("en", f"turn{turn}_{name}")
            assert row == pytest.approx([figure.value, figure.low, figure.high])


def test_the_hardest_are_of_what_every_model_ran(tmp_path: Path) -> None:
    rows = [make_row(f"{source}:{variant}:en") for source in "ab" for variant in (1, 2)]
    good, poor = say(a=[FOLLOWS] * 3, b=[WITHOUT_TITLE] * 3), say(a=[FOLLOWS] * 3, b=[WITH_COMMA] * 3)
    frames = [
        diagnosis.slots(run(tmp_path, rows, good, name="org/all")),
        diagnosis.slots(run(tmp_path, [*rows[:2], rows[3]], poor, name="org/some")),
    ]
    found = diagnosis.hardest(frames, ["language", "key", "source"])
    assert [*found.index] == [("en", "b:2:en", "b"), ("en", "a:1:en", "a"), ("en", "a:2:en", "a")]
    # No title follows no comma in 2 of 3 turns; a title with a comma is a title three times.
    assert found.iloc[0][["followed", "asked", "never"]].tolist() == [2 + 3, 12, EXISTENCE]
    of_sources = diagnosis.hardest(frames, ["source"])
    assert of_sources[["followed", "asked", "conversations"]].to_dict("index") == {
        "a": {"followed": 24, "asked": 24, "conversations": 2},
        "b": {"followed": 5, "asked": 12, "conversations": 1},
    }


def test_the_report_shows_all_of_it_in_words(turnswap: Turnswap, four: Path) -> None:
    output = turnswap("report", four, "--format", "md").output
    given = rows_of(output, "org/m: followed when given and later, by family")
    assert [cell.split()[0] for cell in given["all"][:3]] == ["91.7", "87.5", "75.0"]
    assert given["all"][3] == "12 8 4"
    assert given["keywords"][1:3] == ["–", "–"]
    assert rows_of(output, "org/m: which new family breaks which old one")["detectable\\_format"][0] == "keywords"
    assert next(iter(rows_of(output, "org/m: what replies are like"))) == "shortest quarter"
    assert rows_of(output, "hardest source prompts")["d"] == ["Write about d:1:en. Add a title.", "1", "", "4 of 6"]
    assert "associations, not causes" in output
    assert output.index("hardest source prompts") < output.index("org/m: replies\n")


def test_the_page_holds_the_tables_and_the_matrix(open_report: Any, four: Path) -> None:
    opened = open_report(four)
    section = opened.page.inner_text("section[aria-labelledby=diagnosis]")
    assert "which new instruction breaks which old one" not in section  # no pair meets ten times
    assert "share of an old family that a new one breaks" in section
    cells = opened.page.locator("section[aria-labelledby=diagnosis] td").all_inner_texts()
    assert any(cell.startswith("25.0 [0.0–") and cell.endswith("of 4") for cell in cells)
    assert opened.complaints == []


def test_models_without_samples_have_no_diagnosis(turnswap: Turnswap, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "a.csv", [make_row("a:1:en")])
    reply = say(a=[FOLLOWS])
    evaluate(tmp_path / "bare", "org/bare", reply, data=data, tasks=("multiif_en",), log_samples=False)
    made = turnswap("report", tmp_path / "bare", "--format", "md")
    assert made.exit_code == 0, made.output
    assert "hardest" not in made.output


def test_where_nothing_fails_nothing_is_missed_or_broken(tmp_path: Path) -> None:
    summary = run(tmp_path, [row("a:1:en", [(TITLE, {})])], say(a=[FOLLOWS]))
    _, missed, _ = diagnosis.replies(summary)
    assert missed.empty
    assert diagnosis.broken(diagnosis.slots(summary), "family", summary).empty
    titles = [sheet.title for sheet in diagnosis_sheets([summary])]
    assert titles[-3:] == ["org/m: what replies are like", "hardest conversations", "hardest source prompts"]
    assert len(titles) == 5
