"""Which words are inflected forms of another: кота of кот, sociaux of social; but no который, and no société.

By libraries under MIT (``turnswap[morphology]``): LemmInflect for English (1 MB), pymorphy3 for Russian (with its
dictionary 16 MB), and simplemma for the fifty other languages that it has (19 MB). Without them, and in other
languages, a word has no form but itself. Nor have articles, pronouns and prepositions. How well each does is measured
on ``tests/multiif/word_forms.toml``.
"""

from __future__ import annotations

import importlib
from collections.abc import Hashable
from functools import cache, lru_cache
from importlib import metadata
from typing import Any

import regex

_LIBRARIES = ("lemminflect", "simplemma", "pymorphy3")

# A plural in -s whose singular simplemma takes for a word of its own (blanche, niña), or that it takes for a verb alone
# (les votes): the singular's lemmas are those of its plural too.
_PLURAL_IN_S = ("es", "fr", "pt")

# Where a lemma of these is another word's too: son is his and sound, para is for and stops.
_CLOSED = {
    "de": frozenset("der die das den dem des ein eine er sie es wir ihr".split()),  # noqa: SIM905
    "es": frozenset("el la los las un una de para por con sin sobre entre yo tú él ella".split()),  # noqa: SIM905
    "fr": frozenset("le la les un une des du de son sa ses mon ton vers sur sous par pour il elle nous vous".split()),  # noqa: SIM905
    "it": frozenset("il lo la i gli le un una di da in con su per tra fra io tu lui lei".split()),  # noqa: SIM905
    "pt": frozenset("o a os as um uma de para por com sem sobre entre eu tu ele ela".split()),  # noqa: SIM905
}

# Nasals of Hindi that are written in two ways, हिन्दी and हिंदी, लड़कियाँ and लड़कियां.
_NASAL = regex.compile("ङ्(?=[क-घ])|ञ्(?=[च-झ])|ण्(?=[ट-ढ])|न्(?=[त-ध])|म्(?=[प-भ])|ँ")
_FINAL_NASAL = regex.compile(r"ं\Z")
_DOT_BELOW = "़"  # many leave it out: फिल्म, पढना
_LETTERS = str.maketrans({"ё": "е", "œ": "oe", "æ": "ae"})


@lru_cache(maxsize=100_000)
def one_spelling(word: str) -> str:
    """A word without the differences that a language's readers pass over: case, ё and е, œ and oe, हिन्दी and हिंदी."""
    return _NASAL.sub("ं", word.casefold().translate(_LETTERS)).replace(_DOT_BELOW, "")


def is_form(word: str, of: str, language: str) -> bool:
    """Whether ``word`` is an inflected form of the word ``of``, in small letters both.

    Of a word in the form of the dictionary all forms are (goes of go). One in another form (engages, друзья) stands for
    itself: engaged is none of it. In Russian it may change its case there (друзей), and its gender and person.
    """
    if of in _CLOSED.get(language, ()):
        return False
    return not _as_keyword(of, language).isdisjoint(_as_found(word, language))


@cache
def morphology() -> str:
    """What is installed, such as ``simplemma:2.0.0,pymorphy3:2.0.6``, or ``no morphology``."""
    versions = [f"{name}:{metadata.version(name)}" for name in _LIBRARIES if _library(name)]
    return ",".join(versions) or "no morphology"


@lru_cache(maxsize=100_000)
def _as_found(word: str, language: str) -> frozenset[Hashable]:
    """What ``word`` may be a form of: lemmas, and in Russian each of them with what cannot change in a keyword."""
    if language == "ru" and _library("pymorphy3"):
        return frozenset(lemma for lemma, _ in _russian(word)) | _russian(word)
    return _lemmas(word, language)


@lru_cache(maxsize=4096)
def _as_keyword(word: str, language: str) -> frozenset[Hashable]:
    """What a form of ``word`` shares with it."""
    if language == "ru" and _library("pymorphy3"):
        return frozenset((one_spelling(word), *_russian(word)))
    return frozenset((one_spelling(word), *_lemmas_of_plural(word, language)))


def _lemmas(word: str, language: str) -> frozenset[str]:
    if language == "en" and (library := _library("lemminflect")):
        every = library.getAllLemmas(word).values()
        return frozenset((one_spelling(word), *(one_spelling(lemma) for lemmas in every for lemma in lemmas)))
    written = {word, word.capitalize(), _FINAL_NASAL.sub("ँ", word)}
    return frozenset((*(_lemma(way, language) for way in written), *_lemmas_of_plural(word, language)))


def _lemmas_of_plural(word: str, language: str) -> tuple[str, ...]:
    if language in _PLURAL_IN_S and _lemma(word, language) == one_spelling(word):
        return (_lemma(f"{word}s", language),)
    return ()


def _lemma(word: str, language: str) -> str:
    if library := _library("simplemma"):
        try:
            return one_spelling(library.lemmatize(word, language, low_memory=True))
        except ValueError:  # a language that it does not have
            pass
    return one_spelling(word)


@lru_cache(maxsize=100_000)
def _russian(word: str) -> frozenset[tuple[str, Hashable]]:
    """All readings of a word: its lemma, and part of speech, tense, and a noun's number. Rare ones count, as a reply
    that is to have сталь means steel by стали. Of a word that the dictionary lacks, such as a name, number is a guess.
    """
    return frozenset(
        (
            one_spelling(parse.normal_form),
            (tag.POS, tag.tense, tag.number if tag.POS == "NOUN" and parse.is_known else None),
        )
        for parse in _analyser().parse(word)
        for tag in (parse.tag,)
    )


@cache
def _library(name: str) -> Any:
    """One of the three; None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@cache
def _analyser() -> Any:
    return _library("pymorphy3").MorphAnalyzer(lang="ru")
