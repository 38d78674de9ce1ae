"""Language identification: langdetect's answer, seeded, several times faster.

Verdicts depend on langdetect (Nakatani Shuyo's method: a naive Bayes over character n-grams, sampled until one
language dominates, seven times), and grading spends nearly all of its time there. This runs the same method on
langdetect's own profiles: the same n-grams in the same order, the same random draws, the same floating-point
operations, on arrays. A test compares the two on every text it has.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import numpy as np
from langdetect.detector import Detector
from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
from langdetect.utils.ngram import NGram

_LATIN = re.compile("[A-z]")
_NOT_LATIN = re.compile("[\u0300-\U0010ffff]")
_CLEAR = re.compile("[\x00-@]+")

# As langdetect has them, but per instance.
_MAX_TEXT_LENGTH = 10_000
_TRIALS = 7


class _Normalized(dict[int, str]):
    """langdetect's stand-in for each character, looked up once."""

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = stand_in = str(NGram.normalize(chr(codepoint)))
        return stand_in


class LanguageIdentifier:
    """Detects as ``langdetect.detect`` does with its seed set to 0 before each detection."""

    def __init__(self) -> None:
        factory = DetectorFactory()
        # In the order of the names: langdetect takes the directory's, which differs between file systems.
        factory.load_json_profile([path.read_text("utf-8") for path in profiles()])
        self.languages: list[str] = factory.langlist
        self.probabilities: dict[str, list[float]] = factory.word_lang_prob_map
        self._arrays: dict[str, np.ndarray] = {}
        self._stand_ins = _Normalized()

    def key(self, text: str) -> str:
        """The part of ``text`` that detection depends on: equal keys, equal languages.

        URLs and addresses are left out; digits, ASCII punctuation and white space (all below ``A``) only part
        words, so that a run of them is one blank.
        """
        text = NGram.normalize_vi(Detector.MAIL_RE.sub(" ", Detector.URL_RE.sub(" ", text)))
        return _CLEAR.sub(" ", text[:_MAX_TEXT_LENGTH]).lstrip(" ")

    def detect(self, key: str) -> str | None:
        """langdetect's language code for the text of this :meth:`key`; None where it knows no n-gram of it."""
        ngrams = self._ngrams(key)
        if not ngrams:
            return None
        random = Random()
        random.seed(0)
        total = np.zeros(len(self.languages))
        for _ in range(_TRIALS):
            total += self._sample(ngrams, random) / _TRIALS
        best = int(total.argmax())
        return self.languages[best] if total[best] > Detector.PROB_THRESHOLD else Detector.UNKNOWN_LANG

    def _ngrams(self, text: str) -> list[str]:
        """Known n-grams of one to three characters, in order; inside words in capitals none."""
        if len(_LATIN.findall(text)) * 2 < len(_NOT_LATIN.findall(text)):
            text = _LATIN.sub("", text)
        text = re.sub(" +", " ", " " + text.translate(self._stand_ins))
        known = self.probabilities
        found = []
        word_start = 0  # of the blank before the word
        for i in range(1, len(text)):
            character = text[i]
            if text[i - 1] == " ":
                word_start = i - 1
            elif character.isupper() and text[i - 1].isupper():
                continue
            if character != " " and character in known:
                found.append(character)
            if (two := text[i - 1 : i + 1]) in known:
                found.append(two)
            if i - 2 >= word_start and (three := text[i - 2 : i + 1]) in known:
                found.append(three)
        return found

    def _sample(self, ngrams: list[str], random: Random) -> np.ndarray:
        """One trial: the languages' probabilities after as many n-grams as one needs to dominate."""
        probabilities = np.full(len(self.languages), 1.0 / len(self.languages))
        alpha = Detector.ALPHA_DEFAULT + random.gauss(0.0, 1.0) * Detector.ALPHA_WIDTH
        weight = alpha / Detector.BASE_FREQ
        for step in range(Detector.ITERATION_LIMIT + 1):
            probabilities *= weight + self._array(random.choice(ngrams))
            if step % 5 == 0:
                probabilities /= np.add.accumulate(probabilities)[-1]  # left to right, as sum() does in Python 3.11
                if probabilities.max() > Detector.CONV_THRESHOLD:
                    break
        return probabilities

    def _array(self, ngram: str) -> np.ndarray:
        array = self._arrays.get(ngram)
        if array is None:
            array = self._arrays[ngram] = np.array(self.probabilities[ngram])
        return array


def profiles() -> list[Path]:
    """langdetect's profiles, one file per language, named by its code."""
    return sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.name[0] != ".")
