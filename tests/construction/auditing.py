"""Conversations to translate and to review, for the tests of these steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.translate import Translate, TranslateSettings
from turnswap.core.journal import as_line

IDS = ("keywords:existence", "detectable_format:number_highlighted_sections", "startend:end_checker")
EN = (
    'Write a short letter to a neighbour about the rain in our village. Use the keyword "rain".',
    "Highlight at least 2 sections with markdown, i.e. *highlighted section*.",
    'Finish your reply with the exact phrase "See you tomorrow" and nothing after it.',
)
SW = (
    'Andika barua fupi kwa jirani kuhusu mvua katika kijiji chetu. Tumia neno kuu "mvua".',
    "Angazia angalau sehemu 2 kwa kutumia markdown, yaani *sehemu iliyoangaziwa*.",
    'Maliza jibu lako kwa kifungu hiki hasa "Tutaonana kesho" na usiandike chochote baada yake.',
)
BACK = (
    'Write a short letter to a neighbour about the rain in our village. Use the keyword "rain".',
    "Highlight at least 2 sections using markdown, that is *highlighted section*.",
    'End your reply with exactly this phrase "See you tomorrow" and do not write anything after it.',
)
KO = (
    '우리 마을에 내리는 비에 대해 이웃에게 보내는 짧은 편지를 써 주세요. "비"라는 키워드를 사용해 주세요.',
    "markdown을 사용해 *강조된 부분*처럼 적어도 2개의 부분을 강조해 주세요.",
    '답변을 정확히 "내일 봐요"라는 문구로 끝내고 그 뒤에는 아무것도 쓰지 마세요.',
)
WORDS = {"en": [["rain"], [], ["See you tomorrow"]], "sw": [["mvua"], [], ["Tutaonana kesho"]]}
WORDS["ko"] = [["비"], [], ["내일 봐요"]]
PROTECTED = ["2", "markdown", "*"]


def turns(prompts: Sequence[str], words: Sequence[Sequence[str]]) -> tuple[Turn, ...]:
    kwargs: tuple[dict[str, Any], ...] = (
        {"keywords": list(words[0])},
        {"num_highlights": 2},
        {"end_phrase": words[2][0]},
    )
    return tuple(Turn(prompt, IDS[:n], kwargs[:n]) for n, prompt in enumerate(prompts, 1))


def one_turn(id_: str, prompt: str = "Write about tea.", **kwargs: Any) -> tuple[Turn, ...]:
    """The turns of a conversation of one turn with one instruction."""
    return (Turn(prompt, (id_,), (kwargs,)),)


def source(key: str = "seed-1") -> DraftConversation:
    return DraftConversation(key, "en", turns(EN, WORDS["en"]))


def forth(to: str = "sw", prompts: Sequence[str] = EN, words: Any = None, **more: Any) -> dict[str, Any]:
    """The input of the question for a translation."""
    words = WORDS["en"] if words is None else words
    inputs = {"task": "translate", "from": "en", "to": to, "turns": list(prompts), "kwargs": words}
    return {**inputs, "protected": PROTECTED, **more}


def back(language: str = "sw", prompts: Sequence[str] = SW, **more: Any) -> dict[str, Any]:
    inputs = {"task": "translate", "from": language, "to": "en", "turns": list(prompts), "kwargs": []}
    return {**inputs, "protected": PROTECTED, **more}


def answer(prompts: Sequence[str] = SW, words: Any = None) -> dict[str, Any]:
    return {"turns": list(prompts), "kwargs": WORDS["sw"] if words is None else words}


GOOD: list[tuple[Mapping[str, Any], Any]] = [
    (forth(), answer()),
    (back(), answer(BACK, [])),
    (forth("ko"), answer(KO, WORDS["ko"])),
    (back("ko", KO), answer(BACK, [])),
]


def recorded(folder: Path, answers: Sequence[tuple[Mapping[str, Any], Any]]) -> LLM:
    recording = folder / "recording.jsonl"
    recording.write_text("".join(as_line({"input": asked, "answer": given}) for asked, given in answers), "utf-8")
    return LLM(LLMSettings("turnswap-recorded", {"path": str(recording)}), folder / "cache")


def translate(llm: LLM, *languages: str, conversation: DraftConversation | None = None) -> list[Outcome]:
    """One conversation in each of some languages, Swahili where none is named."""
    (outcomes,) = Translate(TranslateSettings(), languages or ("sw",), llm).run([conversation or source()])
    assert outcomes is not None
    return list(outcomes)


def translated(folder: Path, *keys: str, languages: Sequence[str] = ("sw",)) -> list[DraftConversation]:
    """Conversations, Swahili ones alone if not asked for others, as ``translate`` leaves them, all of the same text."""
    step = Translate(TranslateSettings(), languages, recorded(folder, GOOD))
    found = []
    for outcomes in step.run([source(key) for key in keys]):
        assert outcomes is not None
        assert [outcome.reason for outcome in outcomes] == [None] * len(languages)
        found += [outcome.conversation for outcome in outcomes]
    return found
