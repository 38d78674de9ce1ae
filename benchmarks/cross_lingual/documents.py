"""The documents that a study evaluates on, and the exercises that it trains on: never the same lists of numbers."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

from .languages import LIST_LENGTH, N_NUMBERS, SYLLABLES, Language, Languages
from .settings import Settings

LENGTHS = (3, 4, 5)  # of the lists that are trained on; those of LIST_LENGTH are evaluated
SENTENCES = 6  # of a text for perplexity


def held_out(settings: Settings, seed: int) -> list[tuple[int, ...]]:
    """The sets of numbers kept from training, ascending each: those selected on first, then those reported on."""
    every = list(itertools.combinations(range(N_NUMBERS), LIST_LENGTH))
    return random.Random(f"held out {seed}").sample(every, settings.select + settings.report)


def exercises(
    languages: Languages, settings: Settings, seed: int, language: Language
) -> Iterator[list[tuple[list[str], list[str]]]]:
    """Batches to train on: questions and answers of one length each, no list of which is held out in any order."""
    kept = set(held_out(settings, seed))
    rng = random.Random(f"exercises {language} {seed}")
    while True:
        length = rng.choice(LENGTHS)
        batch: list[tuple[list[str], list[str]]] = []
        while len(batch) < settings.recipient.batch:
            numbers = rng.sample(range(N_NUMBERS), length)
            if length == LIST_LENGTH and tuple(sorted(numbers)) in kept:
                continue
            batch.append(languages.exercise(numbers, language))
        yield batch


def write_documents(settings: Settings, seed: int, folder: Path) -> None:
    """Write the lists, ``skill_a.jsonl`` and ``skill_b.jsonl``, and texts in B, ``select.txt`` and ``report.txt``."""
    languages = Languages(seed)
    rng = random.Random(f"documents {seed}")
    asked = [rng.sample(kept, LIST_LENGTH) for kept in held_out(settings, seed)]
    pairs: tuple[tuple[Language, Language], ...] = (("a", "b"), ("b", "a"))
    for language, other in pairs:
        lines = []
        for numbers in asked:
            question, answer = languages.exercise(numbers, language)
            _, translation = languages.exercise(numbers, other)
            said = {"question": question, "answer": answer, "translation": translation}
            letters = "".join(SYLLABLES[language])
            lines.append(json.dumps({name: " ".join(words) for name, words in said.items()} | {"letters": letters}))
        (folder / f"skill_{language}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    for name in ("report", "select"):
        sentences = ([languages.sentence(rng, "b") for _ in range(SENTENCES)] for _ in range(settings.texts))
        texts = [" ".join(itertools.chain.from_iterable(text)) for text in sentences]
        (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n", "utf-8")
