"""Language identification: langdetect's answer, seeded, many times faster.

Verdicts depend on langdetect (Nakatani Shuyo's method: a naive Bayes over character n-grams, sampled until one
language dominates, seven times), and grading would spend nearly all of its time there. This runs the same method on
langdetect's own profiles: the same n-grams in the same order, the same random draws, the same floating-point
operations. What saves time is exact: a text's n-grams are looked up all at once, the random numbers that follow from
the seed are drawn once, and no trial is made that could not change the answer. A test compares the two on every text
it has.
"""

from __future__ import annotations

import re
from functools import reduce
from math import cos, log, pi, sin, sqrt
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from langdetect.detector import Detector
from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
from langdetect.utils.ngram import NGram

_LATIN = re.compile("[A-z]")

# As langdetect has them, but per instance.
_MAX_TEXT_LENGTH = 10_000
_TRIALS = 7

# The 32-bit outputs that Python's generator gives after ``seed(0)``, in order: more than seven trials ever take.
_OUTPUTS = np.frombuffer(Random(0).getrandbits(32 << 15).to_bytes(4 << 15, "little"), "<u4")
# A trial looks at so many outputs at a time, and at more each time: most end after a few.
_FIRST_BLOCK, _LAST_BLOCK = 64, 512
_LETTER_BITS = 13  # of an n-gram as a number: profiles have three thousand characters


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
        self._rows = np.array(list(self.probabilities.values()))  # (n-grams, languages)
        # Letters are numbered from 1; those that no profile has are one more. An n-gram is the number that its letters
        # make, the last one lowest.
        letters = {letter: number for number, letter in enumerate(sorted(set("".join(self.probabilities))), 1)}
        self._letters = np.full(1 << 16, len(letters) + 1, np.int64)  # all are of Unicode's first plane
        self._letters[list(map(ord, letters))] = list(letters.values())
        self._numbers = pd.Index(
            [reduce(lambda n, letter: n << _LETTER_BITS | letters[letter], ngram, 0) for ngram in self.probabilities]
        )
        self._stand_ins = _Normalized()

    def key(self, text: str) -> str:
        """The part of ``text`` that detection depends on: equal keys, equal languages.

        URLs and addresses are left out, and so are Latin letters in a text of other ones. Characters have langdetect's
        stand-ins; digits, punctuation and white space only part words, so that a run of them is one blank.
        """
        if "http" in text:
            text = Detector.URL_RE.sub(" ", text)
        if "@" in text:
            text = Detector.MAIL_RE.sub(" ", text)
        if not text.isascii():
            text = NGram.normalize_vi(text)[:_MAX_TEXT_LENGTH]
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
            if np.count_nonzero((codes >= ord("A")) & (codes <= ord("z"))) * 2 < np.count_nonzero(codes >= 0x300):
                text = _LATIN.sub("", text)
        *words, last = text[:_MAX_TEXT_LENGTH].translate(self._stand_ins).split(" ")
        return " ".join([word for word in words if word] + [last])

    def detect(self, key: str) -> str | None:
        """langdetect's language code for the text of this :meth:`key`; None where it knows no n-gram of it."""
        ngrams = self._ngrams(key)
        if not len(ngrams):
            return None
        total = np.zeros(len(self.languages))
        taken = 0  # of the generator's outputs
        for trial in range(_TRIALS):
            if trial % 2 == 0:  # random.gauss() makes two numbers from four outputs, and keeps the second
                gauss, second = _gauss(*_OUTPUTS[taken : taken + 4].tolist())
                taken += 4
            else:
                gauss = second
            probabilities, taken = self._sample(ngrams, gauss, taken)
            total += probabilities / _TRIALS
            # What the trials to come can add to another language; the margin is far above rounding.
            second_best, best = np.partition(total, -2)[-2:]
            if best - second_best > (_TRIALS - 1 - trial) / _TRIALS + 1e-6:
                break
        return self.languages[int(total.argmax())] if total.max() > Detector.PROB_THRESHOLD else Detector.UNKNOWN_LANG

    def _ngrams(self, key: str) -> np.ndarray:
        """The rows of the known n-grams of one to three characters that end at each character in turn.

        Of those with a blank in their midst, at which langdetect stops, no profile knows any.
        """
        padded = "  " + key
        codes = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), "<u4")
        letters = self._letters[np.minimum(codes, 0xFFFF)]
        one = letters[2:]
        two = letters[1:-1] << _LETTER_BITS | one
        three = letters[:-2] << 2 * _LETTER_BITS | two
        numbers = np.column_stack([one, two, three])
        if padded != padded.lower():
            upper = np.fromiter(map(str.isupper, padded), bool, len(padded))
            numbers = numbers[~(upper[2:] & upper[1:-1])]  # a capital behind a capital ends none
        rows = self._numbers.get_indexer(pd.Index(numbers.ravel()))
        return rows[rows >= 0]

    def _sample(self, ngrams: np.ndarray, gauss: float, taken: int) -> tuple[np.ndarray, int]:
        """One trial: the languages' probabilities after as many n-grams as one needs to dominate.

        Also returns how many of the generator's outputs are taken then.
        """
        weight = (Detector.ALPHA_DEFAULT + gauss * Detector.ALPHA_WIDTH) / Detector.BASE_FREQ
        probabilities = np.full(len(self.languages), 1.0 / len(self.languages))
        step, block = 0, _FIRST_BLOCK
        while taken < len(_OUTPUTS):
            # random.choice() takes as many of an output's highest bits as its limit has, and the next output where
            # they are no index. Which outputs give an n-gram does therefore not depend on who takes them.
            indexes = _OUTPUTS[taken : taken + block] >> np.uint32(32 - len(ngrams).bit_length())
            places = np.flatnonzero(indexes < len(ngrams))
            for place, row in enumerate(weight + self._rows[ngrams[indexes[places]]]):
                probabilities *= row
                if step % 5 == 0:
                    probabilities /= np.add.accumulate(probabilities)[-1]  # left to right, as sum() in Python 3.11
                    if (
                        probabilities[probabilities.argmax()] > Detector.CONV_THRESHOLD
                        or step == Detector.ITERATION_LIMIT
                    ):
                        return probabilities, taken + int(places[place]) + 1
                step += 1
            taken, block = taken + block, min(2 * block, _LAST_BLOCK)
        raise AssertionError("a trial takes two thousand outputs, more or less, at most")


def _gauss(*outputs: int) -> tuple[float, float]:
    """The two numbers that ``random.gauss(0, 1)`` makes from four outputs of the generator."""
    a, b = ((x >> 5) * 67108864 + (y >> 6) for x, y in (outputs[:2], outputs[2:]))
    angle, radius = a / 2**53 * (2 * pi), sqrt(-2.0 * log(1.0 - b / 2**53))
    return cos(angle) * radius, sin(angle) * radius


def profiles() -> list[Path]:
    """langdetect's profiles, one file per language, named by its code."""
    return sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.name[0] != ".")
