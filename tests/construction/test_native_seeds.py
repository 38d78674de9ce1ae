"""Seeds in the language to make, alone and among English ones: through every step, and translated into the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from turnswap.construction.cost import costs
from turnswap.construction.forms import as_csv, read_csv
from turnswap.construction.llm import LLM, read_prompt
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.release import release
from turnswap.construction.seeds import Seeds, SeedSettings
from turnswap.construction.sheet import AUDIT, COLUMNS
from turnswap.construction.steps import assemble
from turnswap.construction.translate import Translate, TranslateSettings
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.dataset import Source, load_conversations

from ..multiturn.fault_server import FaultServer
from .auditing import EN, GOOD, KO, SW, WORDS, recorded, source, turns
from .scripted import Scripted

PROMPTS = (
    "春の庭について短い手紙を書いてください。",
    "海辺の町を紹介する文を書いてください。",
    "祖母の台所を描写してください。",
)
SUGGESTED = {
    "words": ["花壇", "つぼみ", "水やり", "木陰", "新芽", "夕方"],
    "avoid": ["天気", "緑色", "季節", "とても"],
    "closings": ["またお便りします。", "それではお元気で。"],
}
KOREAN = DraftConversation("native", "ko", turns(KO, WORDS["ko"]))


def japanese(messages: Sequence[dict[str, str]]) -> str:
    """What a model answers that writes Japanese."""
    asked = read_prompt(messages[-1]["content"])
    answers: dict[str, Any] = {
        "suggest_words": SUGGESTED,
        "find_conflict": {"conflict": False, "reason": ""},
        "find_sensitive": {"sensitive": False, "reason": ""},
    }
    if asked["task"] == "word_request":
        named = [
            each for each in asked["must_contain"] if each.isdigit() or not each.isascii() or not each[-1].isalnum()
        ]
        answers["word_request"] = {"request": f"「{'」「'.join(named)}」という条件でもう一度お願いします。"}
    return json.dumps(answers[asked["task"]], ensure_ascii=False)


def config(folder: Path, url: str, **sections: Any) -> Path:
    ids = ["detectable_format:title"]
    seeds = [
        {"key": f"s{n}", "language": "ja", "turns": [{"prompt": prompt, "instruction_ids": ids, "kwargs": [{}]}]}
        for n, prompt in enumerate(PROMPTS)
    ]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(seed) + "\n" for seed in seeds))
    content = {
        "name": "native",
        "folder": str(folder / "steps"),
        "languages": ["ja"],
        "llm": {"model": "local-chat-completions", "model_args": {"base_url": url, "model": "served"}},
        "seeds": {"file": str(folder / "seeds.jsonl")},
        "prove": {"llm": False},
        "release": {"seeds_licence": "Apache-2.0", "licence": "Apache-2.0"},
        **sections,
    }
    (folder / "build.yaml").write_text(yaml.safe_dump(content))
    return folder / "build.yaml"


def test_japanese_seeds_alone_go_from_one_turn_to_a_release(tmp_path: Path) -> None:
    with FaultServer({}, reply=japanese) as server:
        list(assemble(config(tmp_path, server.url)).pipeline.run())
        sheet = tmp_path / "steps" / "audit" / "audit.csv"
        rows = read_csv(AUDIT, sheet.read_bytes(), "audit.csv")
        assert len(rows) == 3
        for row in rows:
            assert [row[f"{name}_1"] for name in ("source", "back_translation")] == ["", ""]
            assert row["translation_1"] in PROMPTS
            row |= {"decision": "accept", "reviewer": "A"}
        (tmp_path / "a.csv").write_text(as_csv(rows, COLUMNS), "utf-8")
        audit = {"required": 1, "reviews": [str(tmp_path / "a.csv")]}
        made = assemble(config(tmp_path, server.url, audit=audit))
        counts = {count.step: count for count in made.pipeline.run()}
    assert {step: count.kept for step, count in counts.items()} == dict.fromkeys(counts, 3)
    told = [read_prompt(record.messages[-1]["content"])["task"] for record in server.requests]
    assert "translate" not in told
    folder = release(made.settings, made.pipeline)[0].parent
    released = load_conversations(Source("csv", str(folder / "native.csv")), "Japanese")
    assert [each["key"] for each in released] == ["s0:0:ja", "s1:0:ja", "s2:0:ja"]
    assert all(len(each["turns"]) == 3 for each in released)
    columns = pq.read_table(folder / "data" / "ja.parquet").to_pydict()
    assert columns["source_language"] == [None] * 3
    assert columns["source_prompts"] == columns["back_translation"] == [[]] * 3
    assert "not translated: 3 of 3 conversations" in (folder / "DATASHEET.md").read_text("utf-8")


def test_what_is_asked_of_native_seeds_is_told_without_translations(tmp_path: Path) -> None:
    made = assemble(config(tmp_path, "http://localhost:1"))
    found = {cost.step: cost for cost in costs(made.pipeline)}
    assert found["translate"].questions == 0
    assert found["filter"].conversations == found["filter"].questions == 3


def run(llm: LLM, *conversations: DraftConversation, **settings: Any) -> list[Outcome]:
    step = Translate(TranslateSettings(**settings), ["sw", "ko"], llm)
    return [outcome for outcomes in step.run(conversations) for outcome in outcomes]


def test_among_english_seeds_native_ones_are_translated_into_the_other_languages_alone(tmp_path: Path) -> None:
    llm = Scripted(lambda question: "?")
    outcomes = run(llm, source(), KOREAN)
    assert [each.conversation.key for each in outcomes] == ["seed-1:sw", "seed-1:ko", "native:sw", "native:ko"]
    assert {(each.payload["from"], each.payload["to"]) for each in llm.asked} == {
        ("en", "sw"),
        ("en", "ko"),
        ("ko", "sw"),
    }
    native = outcomes[-1]
    assert native.reason is None
    assert native.conversation.turns == KOREAN.turns
    assert native.conversation.note("translate")["source"] is None


def test_only_sources_are_translated(tmp_path: Path) -> None:
    outcomes = run(recorded(tmp_path, GOOD), source(), KOREAN, sources=("en",))
    assert [(each.conversation.key, each.reason) for each in outcomes] == [
        ("seed-1:sw", None), ("seed-1:ko", None), ("native:ko", None)
    ]  # fmt: skip
    outcomes = run(recorded(tmp_path, []), source(), KOREAN, sources=())
    assert [outcome.reason for outcome in outcomes] == [
        "its language is neither in languages nor in translate.sources: en",
        None,
    ]


def test_english_seeds_may_be_native_too_beside_another_language(tmp_path: Path) -> None:
    (outcome, _) = Translate(TranslateSettings(), ["en", "sw"], recorded(tmp_path, GOOD)).run([source()])[0]
    assert outcome.conversation.key == "seed-1:en"
    assert outcome.conversation.prompts == list(EN)


def test_an_instruction_that_the_language_cannot_have_is_refused_and_never_drawn(tmp_path: Path) -> None:
    lower = Turn("오늘 날씨를 알려 주세요.", ("change_case:english_lowercase",), ({},))
    outcomes = run(recorded(tmp_path, []), DraftConversation("k", "ko", (lower,) * 3), sources=())
    assert "change_case:english_lowercase in ko" in str(outcomes[0].reason)
    from turnswap.construction.extend import draw_instruction

    native = DraftConversation("k", "ko", (Turn("오늘 날씨를 알려 주세요.", ("punctuation:no_comma",), ({},)),))
    assert draw_instruction(0, native, {"change_case:english_lowercase": 1.0}) is None


def test_a_text_that_is_labelled_with_another_language_is_refused(tmp_path: Path) -> None:
    swahili = DraftConversation("k", "sw", turns(EN, WORDS["en"]))
    outcomes = run(recorded(tmp_path, []), DraftConversation("k", "ko", swahili.turns), swahili, sources=())
    for outcome, told in zip(outcomes, ("it is not in the script of ko", "it is in English, not in sw"), strict=True):
        assert outcome.reason == "; ".join(f"the language is another: {told} in turn {turn}" for turn in (1, 2, 3))


def test_one_turn_in_another_language_is_refused(tmp_path: Path) -> None:
    mixed = turns((*SW[:2], EN[2]), [*WORDS["sw"][:2], WORDS["en"][2]])
    (outcome,) = run(recorded(tmp_path, []), DraftConversation("k", "sw", mixed), sources=())
    assert outcome.reason == "the language is another: it is in English, not in sw in turn 3"


def test_a_seed_in_no_language_is_malformed(tmp_path: Path) -> None:
    row = {
        "key": "k",
        "language": "Japanese",
        "turns": [{"prompt": "x", "instruction_ids": ["detectable_format:title"], "kwargs": [{}]}],
    }
    (tmp_path / "seeds.jsonl").write_text(json.dumps(row))
    (outcome,) = Seeds(SeedSettings(file=tmp_path / "seeds.jsonl")).load()
    assert "malformed: 'Japanese' is no code of a language. ja is Japanese." in str(outcome.reason)


def test_an_english_set_of_english_seeds_alone_is_taken_for_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="languages names en alone"):
        Translate(TranslateSettings(), ["en"], recorded(tmp_path, [])).run([source()])


GERMAN = ("Schreibe mindestens 80 Wörter über den Garten.", "Benutze darin das Wort Regen.", "Erzähle mehr davon.")
GERMAN_IDS = ("length_constraints:number_words", "keywords:forbidden_words")
GERMAN_KWARGS: tuple[dict[str, Any], ...] = ({"relation": "less than", "num_words": 80}, {"forbidden_words": ["Regen"]})


def test_a_native_seed_that_states_an_instruction_otherwise_is_refused_with_the_turn(tmp_path: Path) -> None:
    made = [Turn(prompt, GERMAN_IDS[:n], GERMAN_KWARGS[:n]) for n, prompt in enumerate(GERMAN, 1)]
    step = Translate(TranslateSettings(sources=()), ["de"], recorded(tmp_path, []))
    (outcome,) = step.run([DraftConversation("k", "de", tuple(made))])[0]
    first, second = str(outcome.reason).split("; ")
    assert first.startswith("turn 1: length_constraints:number_words: the prompt states ")
    assert first.endswith("graded is less than 80 words")
    assert second.startswith("turn 2: keywords:forbidden_words: the prompt states ")


def test_a_native_seed_with_a_range_in_two_instructions_is_kept(tmp_path: Path) -> None:
    ids = ("length_constraints:number_words",) * 2
    bounds = ({"relation": "at least", "num_words": 80}, {"relation": "less than", "num_words": 101})
    turn = Turn("Write 80 to 100 words about the garden.", ids, bounds)
    step = Translate(TranslateSettings(sources=()), ["en", "sw"], recorded(tmp_path, []))
    (outcome,) = step.run([DraftConversation("k", "en", (turn,))])[0]
    assert outcome.reason is None
    assert outcome.conversation.note("translate")["warnings"] == []
