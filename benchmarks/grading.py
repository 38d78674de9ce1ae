"""Grading against grading every verdict on its own.

The baseline grades one instruction at a time: the reply and all eight loose variants, whether or not they
differ or the verdict is already known, and detects the language anew wherever a count or a check asks for it.
Ours shares what can be shared. Both give the same verdicts, which is checked.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
from langdetect.lang_detect_exception import LangDetectException

from turnswap.tasks.multiif import text
from turnswap.tasks.multiif.dataset import Source, load_conversations
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.instructions import case, get_instruction, language

SHARED = Path(__file__).parents[2] / "shared" / "data"
Slot = tuple[str, list[str], list[dict[str, Any]]]


@cache
def langdetect_factory() -> DetectorFactory:
    factory = DetectorFactory()
    factory.set_seed(0)
    factory.load_profile(PROFILES_DIRECTORY)
    return factory


@contextmanager
def nothing_shared() -> Iterator[None]:
    """Language detection by langdetect itself, uncached and unconditional, as in the published grader."""
    factory = langdetect_factory()

    def detect(reply: str) -> str | None:
        detector = factory.create()
        detector.append(reply)
        try:
            return str(detector.detect())
        except LangDetectException:
            return None

    def decide(reply: str, verdict_of: dict[str, Callable[[], bool]]) -> bool:
        method = text._METHOD_OF_LANGUAGE.get(detect(reply) or "en", text.GENERAL)
        return verdict_of.get(method, verdict_of[text.GENERAL])()

    replaced = [(case, "detect_language", detect), (language, "detect_language", detect)]
    replaced += [(text, "decide_by_method", decide)]
    originals = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    for module, name, value in replaced:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in originals:
            setattr(module, name, value)


def all_variants(reply: str) -> list[str]:
    lines = reply.split("\n")
    shortened = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    variants = [reply, *shortened]
    return variants + [variant.replace("*", "") for variant in variants]


def grade_on_its_own(reply: str, instruction_id: str, kwargs: dict[str, Any]) -> tuple[bool, bool]:
    reply = reply.strip()
    instruction = get_instruction(instruction_id)
    parsed = instruction.parse(kwargs)
    strict = bool(reply) and instruction.check(reply, **parsed)
    loose = [bool(variant.strip()) and instruction.check(variant, **parsed) for variant in all_variants(reply)]
    return strict, any(loose)


def baseline(slots: list[Slot]) -> list[tuple[bool, bool]]:
    with nothing_shared():
        return [grade_on_its_own(reply, i, k) for reply, ids, kwargs in slots for i, k in zip(ids, kwargs, strict=True)]


def ours(slots: list[Slot]) -> list[tuple[bool, bool]]:
    text._detect.cache_clear()
    return [(v.strict, v.loose) for reply, ids, kwargs in slots for v in grade_reply(reply, ids, kwargs)]


def verdict_slots() -> list[Slot]:
    with gzip.open(SHARED / "verdicts_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["response"], [row["instruction_id"]], [row["kwargs"]]) for row in rows]


def transcript_slots() -> list[Slot]:
    source = Source("csv", str(SHARED / "multiif_english.csv"))
    conversations = {c["key"]: c["turns"] for c in load_conversations(source, "English")}
    with gzip.open(SHARED / "transcripts_en.jsonl.gz", "rt", encoding="utf-8") as file:
        transcripts = [json.loads(line) for line in file][1:]
    return [
        (said["reply"], turn["instruction_ids"], turn["kwargs"])
        for transcript in transcripts
        for said, turn in zip(transcript["turns"], conversations[transcript["key"]], strict=True)
    ]


def case_slots() -> list[Slot]:
    lines = (Path(__file__).parents[1] / "tests" / "multiif" / "cases.jsonl").read_text("utf-8").splitlines()
    return [(c["reply"], [c["instruction_id"]], [c["kwargs"]]) for c in map(json.loads, lines)]


def main() -> None:
    """Print, per set of replies, how many times faster ours is: the median of three paired runs."""
    langdetect_factory()
    ours([("Load the language profiles first, please.", ["language:response_language"], [{"language": "en"}])])
    sets: dict[str, Callable[[], list[Slot]]] = {"our own cases": case_slots}
    if SHARED.is_dir():
        sets |= {"published verdicts": verdict_slots, "published transcripts": transcript_slots}
    else:
        print("the published verdicts are not beside this checkout")
    for name, load in sets.items():
        slots, ratios = load(), []
        for _ in range(3):
            start = time.process_time()
            expected = baseline(slots)
            middle = time.process_time()
            got = ours(slots)
            end = time.process_time()
            assert got == expected
            ratios.append((middle - start) / (end - middle))
        print(f"{name}: {sorted(ratios)[1]:.1f} times faster than each verdict on its own ({len(got)} verdicts, "
              f"{1000 * (end - middle) / len(got):.2f} ms each)")  # fmt: skip
