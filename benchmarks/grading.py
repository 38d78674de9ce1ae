"""Grading against the published scorer's way of working.

The baseline does what the published code does with one instruction at a time: the reply, then the eight loose variants,
equal or not, until one holds; the language by langdetect itself, asked anew wherever a check needs it; sentences by
NLTK's Punkt, words in capitals by NLTK's tokenizer. What both have in common is our patterns, which are linear in the
reply's length. Ours shares what can be shared. Both give the same verdicts, which is checked.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
from langdetect.lang_detect_exception import LangDetectException
from nltk.tokenize.punkt import PunktSentenceTokenizer

from turnswap.tasks.multiif import text
from turnswap.tasks.multiif.dataset import Source, load_conversations
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.instructions import get_instruction, length
from turnswap.tasks.multiif.instructions.spec import compares

SHARED = Path(__file__).parents[2] / "shared" / "data"
Slot = tuple[str, list[str], list[dict[str, Any]]]


@cache
def langdetect_factory() -> DetectorFactory:
    factory = DetectorFactory()
    factory.set_seed(0)
    factory.load_profile(PROFILES_DIRECTORY)
    return factory


def detect(reply: str) -> str | None:
    detector = langdetect_factory().create()
    detector.append(reply)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


@cache
def punkt() -> PunktSentenceTokenizer:
    return PunktSentenceTokenizer(text.punkt("english")._params)


def counted(reply: str, counters: dict[str, Callable[[str], int]]) -> int:
    method = text._METHOD_OF_LANGUAGE.get(detect(reply) or "en", text.GENERAL)
    return counters.get(method, counters[text.GENERAL])(reply)


def capital_words(reply: str) -> int:
    tokens = [token for sentence in punkt().tokenize(reply) for token in text._word_tokenizer.tokenize(sentence)]
    return sum(map(str.isupper, tokens))


# What we decide with less work, in full.
IN_FULL: dict[str, Callable[..., bool]] = {
    "change_case:capital_word_frequency": lambda reply, capital_frequency, capital_relation: compares(
        capital_words(reply), capital_relation, capital_frequency
    ),
    "change_case:english_capital": lambda reply: reply.isupper() and detect(reply) in ("en", None),
    "change_case:english_lowercase": lambda reply: reply.islower() and detect(reply) in ("en", None),
    "language:response_language": lambda reply, language: (
        detect(reply) in (language, f"{language}-cn", f"{language}-tw", None)
    ),
    "length_constraints:number_words": lambda reply, num_words, relation: compares(
        counted(reply, length._WORDS), relation, num_words
    ),
    "length_constraints:number_sentences": lambda reply, num_sentences, relation: compares(
        counted(reply, length._SENTENCES | {text.GENERAL: lambda reply: len(punkt().tokenize(reply))}),
        relation,
        num_sentences,
    ),
}


def all_variants(reply: str) -> list[str]:
    lines = reply.split("\n")
    variants = [reply, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return variants + [variant.replace("*", "") for variant in variants]


def grade_on_its_own(reply: str, instruction_id: str, kwargs: dict[str, Any]) -> tuple[bool, bool]:
    reply = reply.strip()
    instruction = get_instruction(instruction_id)
    check, parsed = IN_FULL.get(instruction_id, instruction.check), instruction.parse(kwargs)
    strict = bool(reply) and check(reply, **parsed)
    return strict, any(bool(variant.strip()) and check(variant, **parsed) for variant in all_variants(reply))


def baseline(slots: list[Slot]) -> list[tuple[bool, bool]]:
    return [grade_on_its_own(reply, i, k) for reply, ids, kwargs in slots for i, k in zip(ids, kwargs, strict=True)]


def forget() -> None:
    """Empty every cache that a reply could have filled."""
    text._detect.cache_clear()
    text.punkt("english")._taken_apart.cache_clear()


def ours(slots: list[Slot]) -> list[tuple[bool, bool]]:
    forget()
    return [(v.strict, v.loose) for reply, ids, kwargs in slots for v in grade_reply(reply, ids, kwargs)]


def verdict_slots(name: str) -> list[Slot]:
    with gzip.open(SHARED / name, "rt", encoding="utf-8") as file:
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
        sets |= {
            "real replies": lambda: verdict_slots("real_verdicts_dev.jsonl.gz"),
            "published verdicts": lambda: verdict_slots("verdicts_dev.jsonl.gz"),
            "published transcripts": transcript_slots,
        }
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
        print(f"{name}: {sorted(ratios)[1]:.1f} times faster than the published way ({len(got)} verdicts, "
              f"{1000 * (end - middle) / len(got):.2f} ms each)")  # fmt: skip
