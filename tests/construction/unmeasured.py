"""Conversations with instructions that the published rules do not measure in their languages, proved and released."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turnswap.construction.instructions.ids import FORBIDDEN, NO_COMMA, TITLE, WORDS
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.pipeline import Pipeline
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.release import release
from turnswap.construction.steps import BuildSettings, make_step

from .test_pipeline import Seeds

Instructions = Sequence[tuple[str, dict[str, Any]]]


def conversation(key: str, language: str, prompts: Sequence[str], instructions: Instructions) -> DraftConversation:
    ids, kwargs = zip(*instructions, strict=True)
    turns = tuple(Turn(prompt, ids[:n], kwargs[:n]) for n, prompt in enumerate(prompts, 1))
    return DraftConversation(key, language, turns)


KEYWORD = ("keywords:existence", {"keywords": ["海"]})
JAPANESE = conversation(
    "sea:ja",
    "ja",
    ["「海」という言葉を入れて短い話を書いてください。", "読点を使わないでください。"],
    [KEYWORD, (NO_COMMA, {})],
)
GERMAN = conversation(
    "rain:de", "de", ["Schreib kurz über Regen.", "Ohne Kommas, bitte."], [(TITLE, {}), (NO_COMMA, {})]
)
THAI = conversation("sea:th", "th", ["เขียนเรื่องสั้นเกี่ยวกับทะเล", "อย่าใช้จุลภาค"], [(TITLE, {}), (NO_COMMA, {})])
HINDI = conversation(
    "river:hi",
    "hi",
    ["नदी के बारे में लिखो पर पानी शब्द मत लिखो।", "कम से कम 60 शब्द लिखो।"],
    [(FORBIDDEN, {"forbidden_words": ["पानी"]}), (WORDS, {"num_words": 60, "relation": "at least"})],
)


def build(folder: Path, conversations: Sequence[DraftConversation], **prove: Any) -> tuple[BuildSettings, Pipeline]:
    made = BuildSettings(
        name="sea",
        folder=folder / "work",
        llm=LLMSettings("hf", {"pretrained": str(folder / "some-model")}),
        languages=("ja", "hi", "th", "de"),
        prove={"llm": False, **prove},
        release={"seeds_licence": "Apache-2.0", "licence": "CC-BY-4.0"},
    )
    step = make_step("prove", made, LLM(made.llm, folder / "llm"))
    return made, Pipeline(made.folder, Seeds(conversations), [step])


def released(folder: Path, conversations: Sequence[DraftConversation], **prove: Any) -> tuple[Path, Pipeline]:
    made, pipeline = build(folder, conversations, **prove)
    list(pipeline.run())
    return release(made, pipeline)[0].parent, pipeline
