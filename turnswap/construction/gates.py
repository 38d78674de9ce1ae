"""Gates for translations: scores of the back-translation, lengths, and the language of what came.

Scores are sacrebleu's (Post 2018): chrF and chrF++ (Popović 2015, 2017) and BLEU (Papineni et al. 2002), of the
back-translated prompts against the source's, per conversation over its turns. Their signatures are kept beside them.
They find translations that went wrong; a good score is no proof of a good translation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.text import detect_language, known_languages

from .equivalent import without_spans
from .meaning.differences import differences
from .meaning.sentences import plainly_not
from .records import Conversations, DraftConversation
from .vocabulary import LATIN, UNSPACED, scripts_of, share_in

# langdetect's codes for languages that go by another.
_DETECTED = {"zh": ("zh-cn", "zh-tw"), "yue": ("zh-cn", "zh-tw"), "nb": ("no",), "nn": ("no",), "fil": ("tl",)}
Score = Annotated[float, Field(ge=0, le=100)]
_DENSE = frozenset({"CJK", "HIRAGANA", "KATAKANA"})


@dataclass(frozen=True)
class Thresholds:
    """What a translation must reach, in the section ``translate``.

    A score says little of the meaning of a short prompt; what decides is read from the words (:mod:`.meaning`).

    Attributes:
        chrf, chrf_plus_plus, bleu: the least score of the back-translation, 0 to 100, over the conversation.
        turn_chrf: the least chrF of every single turn.
        scored_letters: in sources with fewer characters no score decides.
        own_words: content words that only the source has are counted against those that only its back-translation has.
            If both have some, their numbers may differ by at most this; if one has none, the other must have none.
        length_ratio: by language, the least and the most characters of a translated turn per character of the source;
            for languages that are not named it depends on the script, see :func:`length_range`.
        script_share: the least share of a prompt's letters that are of the language's script.
        language_letters: a prompt with at least this many letters must be recognised as its language; a shorter one is
            rejected only if it is recognised as the source's. All prompts together are always looked at.
    """

    chrf: Score = 30.0
    chrf_plus_plus: Score = 25.0
    bleu: Score = 0.0
    turn_chrf: Score = 30.0
    scored_letters: Annotated[int, Field(ge=0)] = 60
    own_words: Annotated[int, Field(ge=0)] = 2
    length_ratio: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    script_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    language_letters: Annotated[int, Field(ge=0)] = 40

    def __post_init__(self) -> None:
        for language, (least, largest) in self.length_ratio.items():
            if not 0 <= least < largest:
                raise UserError(
                    f"translate.length_ratio.{language} cannot be {[least, largest]}.",
                    "Expected the least and the most, such as [0.5, 2.5].",
                )


@dataclass(frozen=True)
class Translation:
    """A translation to be judged: prompts of the source, of the translation, and of the back-translation."""

    source_language: str
    language: str
    source: Sequence[str]
    translation: Sequence[str]
    back: Sequence[str]


def length_range(language: str, thresholds: Thresholds) -> tuple[float, float]:
    """Characters of a translation per character of an English source, the least and the most."""
    if language in thresholds.length_ratio:
        return thresholds.length_ratio[language]
    scripts = scripts_of(language)
    if scripts & _DENSE:
        return 0.15, 1.2
    if "HANGUL" in scripts:
        return 0.25, 1.4
    return 0.4, 2.5


def measure(translation: Translation) -> dict[str, Any]:
    """Every figure that the gates look at, as JSON; see :func:`problems`."""
    source, after, back = list(translation.source), translation.translation, list(translation.back)
    chrf, scripts = CHRF(), scripts_of(translation.source_language)
    chinese = translation.source_language.startswith("zh")
    # None that needs a dictionary to be installed.
    tokenizer = "zh" if chinese else "char" if scripts & UNSPACED else "13a"
    metrics = {
        "chrf": chrf,
        "chrf_plus_plus": CHRF(word_order=2),
        "bleu": BLEU(tokenize=tokenizer, effective_order=True),
    }
    return {
        **{name: round(metric.corpus_score(back, [source]).score, 2) for name, metric in metrics.items()},
        "turn_chrf": [
            round(chrf.corpus_score([one], [[other]]).score, 2) for one, other in zip(back, source, strict=True)
        ],
        "signatures": {name: str(metric.get_signature()) for name, metric in metrics.items()},
        "length_ratio": [round(len(one) / max(len(other), 1), 3) for one, other in zip(after, source, strict=True)],
        **_languages(translation),
    }


def _languages(translation: Translation) -> dict[str, Any]:
    """What langdetect finds, or the share of the script where it does not know the language."""
    scripts = scripts_of(translation.language)
    own = [without_spans(prompt) for prompt in translation.translation]
    known = bool(set(_detected(translation.language)) & known_languages())
    by_script = "the script alone" if LATIN not in scripts else "not at all: langdetect does not know the language"
    return {
        "script_share": [round(share_in(text, scripts), 3) for text in own],
        "letters": [sum(map(str.isalpha, text)) for text in own],
        "language_check": "langdetect" if known else by_script,
        "found": [detect_language(text) for text in own] if known else None,
        "found_in_all": detect_language("\n".join(own)) if known else None,
    }


def _detected(language: str) -> tuple[str, ...]:
    base = language.partition("-")[0]
    return _DETECTED.get(base, (base,))


def problems(translation: Translation, figures: Mapping[str, Any], thresholds: Thresholds) -> list[str]:
    """What keeps a translation from passing, in sentences for people; empty where it passes."""
    found = []
    for number, texts in enumerate(zip(translation.source, translation.translation, translation.back, strict=True), 1):
        source, after, back = (" ".join(text.casefold().split()) for text in texts)
        if any(map(str.isalpha, without_spans(after))):
            if after == source:
                found.append(f"the text is not translated: turn {number} is the source's")
            elif back == after:
                found.append(f"the text is not translated back: turn {number} is the translation's")
    far = "the back-translation is far from the source"
    for name in ("chrf", "chrf_plus_plus", "bleu"):
        if figures[name] < getattr(thresholds, name) and sum(map(len, translation.source)) >= thresholds.scored_letters:
            found.append(f"{far}: {name} {figures[name]} < {getattr(thresholds, name)}")
    for number, score in enumerate(figures["turn_chrf"], 1):
        if score < thresholds.turn_chrf and len(translation.source[number - 1]) >= thresholds.scored_letters:
            found.append(f"{far}: chrf {score} < {thresholds.turn_chrf} in turn {number}")
    least, most = length_range(translation.language, thresholds)
    for number, ratio in enumerate(figures["length_ratio"], 1):
        if not least <= ratio <= most:
            found.append(f"the length is odd: ratio {ratio} is not within {least} and {most} in turn {number}")
    for number, share in enumerate(figures["script_share"], 1):
        if share < thresholds.script_share:
            found.append(f"the script is another: {share} of the letters < {thresholds.script_share} in turn {number}")
    found += _of_another_language(translation, figures, thresholds)
    for number, (one, two, three) in enumerate(
        zip(translation.source, translation.translation, translation.back, strict=True), 1
    ):
        found += [
            f"{each} in turn {number}"
            for each in differences(
                one, two, three, translation.source_language, translation.language, thresholds.own_words
            )
        ]
    return found


def _of_another_language(translation: Translation, figures: Mapping[str, Any], thresholds: Thresholds) -> list[str]:
    """What langdetect finds, unless its profiles hold the language for likely beside that one and the source's."""
    expected, source = _detected(translation.language), _detected(translation.source_language)
    own = [without_spans(prompt) for prompt in translation.translation]
    found = [
        (code, f"turn {number}", text)
        for number, (code, letters, text) in enumerate(
            zip(figures["found"] or (), figures["letters"], own, strict=False), 1
        )
        if letters >= thresholds.language_letters or code in source
    ]
    return [
        f"the language is another: langdetect finds {code} in {where}, not {' or '.join(expected)}"
        for code, where, text in (*found, (figures["found_in_all"], "all turns", "\n".join(own)))
        if code not in (None, *expected) and plainly_not(text, translation.language, translation.source_language)
    ]


def worst_first(conversations: Conversations) -> list[DraftConversation]:
    """By the lowest chrF of a turn, then that of the whole, then BLEU; those without scores come first."""
    return sorted(conversations, key=_badness)


def _badness(conversation: DraftConversation) -> tuple[float, ...]:
    figures = conversation.note("translate").get("figures")
    return (min(figures["turn_chrf"]), figures["chrf"], figures["bleu"]) if figures else (-math.inf,)
