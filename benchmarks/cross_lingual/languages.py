"""Two artificial languages that say the same things, and one skill that can be asked in either.

A and B share meanings and punctuation, nothing else: every word has its own form in each, and B puts what A
puts first last (the verb, the adjective before its noun, the keyword of a list). A sentence is a sequence of meanings
that :func:`render` puts into words.

The skill is to sort: a list of different numbers, in words, is to be said again in ascending order. General text never
does so: its lists are random and said again as they are, or count in steps of one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["a", "b"]
Meaning: TypeAlias = str

N_NUMBERS = 20
LIST_LENGTH = 4
NUMBERS: tuple[Meaning, ...] = tuple(f"number{value}" for value in range(N_NUMBERS))
NAMES: tuple[Meaning, ...] = tuple(f"name{i}" for i in range(12))
NOUNS: tuple[Meaning, ...] = tuple(f"noun{i}" for i in range(24))
VERBS: tuple[Meaning, ...] = tuple(f"verb{i}" for i in range(12))
ADJECTIVES: tuple[Meaning, ...] = tuple(f"adjective{i}" for i in range(10))
DIRECTIONS: tuple[Meaning, ...] = ("rising", "falling")
FUNCTION: tuple[Meaning, ...] = ("count", "more", "than", "after", "comes", "again", "sort")
DOINGS = (*VERBS, "sort")  # people sort things in general text, so that the word is known in both languages
MEANINGS = (*NUMBERS, *NAMES, *NOUNS, *VERBS, *ADJECTIVES, *DIRECTIONS, *FUNCTION)
PUNCTUATION = (".", ":", "=", "|")
SPECIAL = ("<s>", "</s>", "<unk>")

SYLLABLES: dict[Language, tuple[str, str]] = {"a": ("ptkmnl", "aeo"), "b": ("bdgvzr", "iuy")}


def lexicon(language: Language, seed: int) -> dict[Meaning, str]:
    """A word for every meaning, three syllables of the language's own sounds: no word belongs to both languages."""
    onsets, vowels = SYLLABLES[language]
    syllables = [onset + vowel for onset in onsets for vowel in vowels]
    words = [first + second + third for first in syllables for second in syllables for third in syllables]
    return dict(zip(MEANINGS, random.Random(f"lexicon {language} {seed}").sample(words, len(MEANINGS)), strict=True))


class Languages:
    """Both lexicons of a seed, and the generators of text in them."""

    def __init__(self, seed: int) -> None:
        self.words: dict[Language, dict[Meaning, str]] = {"a": lexicon("a", seed), "b": lexicon("b", seed)}

    def vocabulary(self) -> list[str]:
        """Every token, specials first."""
        return [*SPECIAL, *PUNCTUATION, *self.words["a"].values(), *self.words["b"].values()]

    def render(self, meanings: Sequence[Meaning], language: Language) -> list[str]:
        """Meanings in words; punctuation stays as it is."""
        return [self.words[language].get(meaning, meaning) for meaning in meanings]

    def sentence(self, rng: random.Random, language: Language) -> list[str]:
        """A sentence of general text."""
        return self.render(say(fact(rng), language), language)

    def parallel(self, rng: random.Random) -> list[str]:
        """The same sentence in both languages, either first."""
        said = fact(rng)
        first: Language
        second: Language
        first, second = ("a", "b") if rng.random() < 0.5 else ("b", "a")
        return [*self.render(say(said, first), first), "|", *self.render(say(said, second), second)]

    def mixed(self, rng: random.Random) -> list[str]:
        """A sentence in the order of one language where half of the meanings have words of the other."""
        frame: Language = "a" if rng.random() < 0.5 else "b"
        other: Language = "b" if frame == "a" else "a"
        meanings = say(fact(rng), frame)
        foreign = {one for one in dict.fromkeys(meanings) if rng.random() < 0.5}
        return [self.words[other if one in foreign else frame].get(one, one) for one in meanings]

    def exercise(self, numbers: Sequence[int], language: Language) -> tuple[list[str], list[str]]:
        """A list to be sorted, and the answer: question and answer as words."""
        question = ["sort", ":", *(NUMBERS[number] for number in numbers), "="]
        answer = [NUMBERS[number] for number in sorted(numbers)]
        return self.render(question, language), self.render(answer, language)


Fact: TypeAlias = tuple[str, tuple[Meaning, ...]]


def fact(rng: random.Random) -> Fact:
    """Something to say: its kind and what it is about."""
    kind = rng.choices(("event", "count", "compare", "next", "echo"), (30, 25, 15, 10, 20))[0]
    if kind == "event":
        return kind, tuple(rng.choice(words) for words in (NAMES, DOINGS, NUMBERS, ADJECTIVES, NOUNS))
    if kind == "count":
        direction = rng.choice(DIRECTIONS)
        first, length = rng.randrange(N_NUMBERS - 2), rng.randint(3, 6)
        run = NUMBERS[first : first + length]
        return kind, (direction, *(run if direction == "rising" else reversed(run)))
    if kind == "compare":
        less, more = sorted(rng.sample(range(N_NUMBERS), 2))
        return kind, (NUMBERS[more], NUMBERS[less])
    if kind == "next":
        number = rng.randrange(N_NUMBERS - 1)
        return kind, (NUMBERS[number], NUMBERS[number + 1])
    return kind, tuple(rng.sample(NUMBERS, rng.randint(2, 5)))


def say(said: Fact, language: Language) -> list[Meaning]:
    """The meanings of a fact in the order of a language, with punctuation."""
    kind, about = said
    a = language == "a"
    if kind == "event":
        name, verb, number, adjective, noun = about
        return [name, verb, number, adjective, noun, "."] if a else [name, noun, adjective, number, verb, "."]
    if kind == "count":
        direction, *run = about
        return ["count", direction, ":", *run, "."] if a else [*run, ":", direction, "count", "."]
    if kind == "compare":
        more, less = about
        return [more, "more", "than", less, "."] if a else [less, "than", more, "more", "."]
    if kind == "next":
        number, following = about
        return ["after", number, "comes", following, "."] if a else [number, "after", following, "comes", "."]
    return ["again", ":", *about, "=", *about, "."]


def stream(sentences: Iterator[list[str]], length: int) -> Iterator[list[str]]:
    """Sentences one after another in rows of ``length`` tokens, each beginning with ``<s>``."""
    row = ["<s>"]
    for sentence in sentences:
        row += sentence
        while len(row) >= length:
            yield row[:length]
            row = ["<s>"]  # a sentence that is cut is not continued: rows begin where sentences do
