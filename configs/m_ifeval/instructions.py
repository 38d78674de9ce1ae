"""Instructions that only one language has, of the kinds of M-IFEval (Dussolle et al. 2025): Japanese, French, Spanish.

An example of instructions of a data set's own, see CONTRIBUTING.md: ``instructions: configs/m_ifeval/instructions.py``
in a build's YAML registers them. Checks and wordings are ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from turnswap.construction.instructions.making import Kwargs, making
from turnswap.construction.instructions.shape import Shape
from turnswap.tasks.multiif.instructions import instruction
from turnswap.tasks.multiif.instructions.spec import COUNT, RELATION, Kwarg, Relation, compares

_KATAKANA = re.compile(r"[ァ-ヺｦ-ﾝ]")
_FURIGANA = re.compile(r"[一-鿿々][（(][ぁ-ゖー]+[）)]")
_ACCENTS = frozenset("\u0300\u0301\u0302\u0308")  # grave, acute, circumflex, diaeresis; a cedilla is no accent
_OPENED = {"¿": re.compile(r"¿[^¿?]+\?"), "¡": re.compile(r"¡[^¡!]+!")}


def _of(code: str, id: str, drawn: Callable[[Any], dict[str, Any]] = lambda draw: {}, **parts: Any) -> None:
    """What data sets are made with, for an instruction of one language."""
    making(
        id,
        draw=lambda draw: drawn(draw) if draw.conversation.language == code else None,
        unsuitable=lambda language, scripts: None if language == code else f"only {code} has what it is about",
        **parts,
    )


@instruction("ja:characters", num_characters=COUNT, relation=RELATION)
def characters(reply: str, num_characters: int, relation: Relation) -> bool:
    """Enough or few enough characters (文字数), white space left out."""
    return compares(len("".join(reply.split())), relation, num_characters)


_of(
    "ja",
    "ja:characters",
    lambda draw: draw.relation("relation", (100, 150, 200, 300), (100, 150, 200, 400), "num_characters"),
    named=lambda kwargs: [str(kwargs["num_characters"]), "文字"],
    shape=lambda shape, kwargs: None,  # replies of several lengths are tried
    plain="{relation} {num_characters:character|characters}, spaces not counted",
)


@instruction("ja:no_katakana")
def no_katakana(reply: str) -> bool:
    """No katakana, of either width."""
    return _KATAKANA.search(reply) is None


_of(
    "ja",
    "ja:no_katakana",
    named=lambda kwargs: ["カタカナ"],
    shape=lambda shape, kwargs: shape.unwanted.append(lambda word: _KATAKANA.search(word) is not None),
    plain="No katakana",
)


@instruction("ja:furigana", num_readings=COUNT)
def furigana(reply: str, num_readings: int) -> bool:
    """Enough kanji with their reading behind them, as in 庭（にわ）."""
    return len(_FURIGANA.findall(reply)) >= num_readings


_of(
    "ja",
    "ja:furigana",
    lambda draw: {"num_readings": draw.one((1, 2, 3))},
    named=lambda kwargs: ["ふりがな", str(kwargs["num_readings"])],
    shape=lambda shape, kwargs: shape.strings.append("庭（にわ）" * kwargs["num_readings"]),
    plain="At least {num_readings:word|words} in kanji with the reading in brackets, such as 庭（にわ）",
)


def _accented(text: str) -> bool:
    return not _ACCENTS.isdisjoint(unicodedata.normalize("NFD", text))


@instruction("fr:no_accents")
def no_accents(reply: str) -> bool:
    """No letter with an accent; ç and œ have none."""
    return not _accented(reply)


_of(
    "fr",
    "fr:no_accents",
    named=lambda kwargs: ["accent"],
    shape=lambda shape, kwargs: shape.unwanted.append(_accented),
    plain="No letter with an accent (ç and œ have none)",
)

_SPECIAL = {"œ": "cœur", "ç": "garçon"}


@instruction("fr:special_letter", letter=Kwarg("'œ' or 'ç'", lambda value: value in _SPECIAL), num_letters=COUNT)
def special_letter(reply: str, letter: str, num_letters: int) -> bool:
    """The letter often enough, small or capital."""
    return unicodedata.normalize("NFC", reply).lower().count(letter) >= num_letters


_of(
    "fr",
    "fr:special_letter",
    lambda draw: {"letter": draw.one("œç"), "num_letters": draw.one((1, 2, 3))},
    named=lambda kwargs: [kwargs["letter"], str(kwargs["num_letters"])],
    shape=lambda shape, kwargs: shape.strings.append(" ".join([_SPECIAL[kwargs["letter"]]] * kwargs["num_letters"])),
    plain="The letter {letter} at least {num_letters:time|times}",
)


@instruction("es:words_with_enye", num_words=COUNT, relation=RELATION)
def words_with_enye(reply: str, num_words: int, relation: Relation) -> bool:
    """Enough or few enough words with an ñ."""
    words = unicodedata.normalize("NFC", reply).lower().split()
    return compares(sum("ñ" in word for word in words), relation, num_words)


def _shape_enye(shape: Shape, kwargs: Kwargs) -> None:
    if kwargs["relation"] == "at least":
        shape.strings.append(" ".join(["año"] * kwargs["num_words"]))
    else:
        shape.unwanted.append(lambda word: "ñ" in word)


_of(
    "es",
    "es:words_with_enye",
    lambda draw: draw.relation("relation", (2, 3, 4), (2, 3), "num_words"),
    named=lambda kwargs: ["ñ", str(kwargs["num_words"])],
    shape=_shape_enye,
    plain="{relation} {num_words:word|words} with the letter ñ",
)


@instruction("es:opened", mark=Kwarg("'¿' or '¡'", lambda value: value in _OPENED), num_sentences=COUNT)
def opened(reply: str, mark: str, num_sentences: int) -> bool:
    """Enough questions or exclamations with both of their marks."""
    return len(_OPENED[mark].findall(reply)) >= num_sentences


_of(
    "es",
    "es:opened",
    lambda draw: {"mark": draw.one("¿¡"), "num_sentences": draw.one((1, 2, 3))},
    named=lambda kwargs: [kwargs["mark"], str(kwargs["num_sentences"])],
    shape=lambda shape, kwargs: shape.strings.append(
        " ".join(["¿Qué?" if kwargs["mark"] == "¿" else "¡Sí!"] * kwargs["num_sentences"])
    ),
    plain="At least {num_sentences:sentence|sentences} between {mark} and its closing mark",
)
