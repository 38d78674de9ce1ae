"""A reply that follows given instructions, constructed: the proof that a conversation can be satisfied.

The reply is no good reply: sentences of the language where they do, else words of the conversation in a row, in the
shape that is asked for. What counts is that the grader passes it. The search is bounded and deterministic: ways to lay
a reply out are tried in a fixed order, each is graded, and the number of words and sentences is corrected by what was
counted.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnswap.tasks.multiif import text as counting
from turnswap.tasks.multiif.grading import Verdict, grade_reply
from turnswap.tasks.multiif.instructions import parse_kwargs

from .instructions import making_of
from .instructions.shape import Shape
from .natural import prose_of
from .vocabulary import clearest, common_words, words_of

_SIZES = (24, 60, 10, 150, 0, 400)  # words of filling to start with
_CORRECTIONS = 4
_DASH = "–"  # fills what must not be blank and shall not count as a word
_STOPS = {"hi": "।", "zh": "。", "ja": "。"}
_CJK = ("zh-cn", "zh-tw", "ja")


@dataclass(frozen=True)
class Attempt:
    """A reply, and the verdicts on it by the rules that grade it, one for each instruction."""

    reply: str
    instruction_ids: Sequence[str]
    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> list[int]:
        """The positions of the instructions that it does not follow, strictly."""
        return [position for position, verdict in enumerate(self.verdicts) if not verdict.strict]

    @property
    def failed_ids(self) -> str:
        """The ids of these, for a message."""
        return ", ".join(self.instruction_ids[position] for position in self.failed)


def graded(reply: str, instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> Attempt:
    """A reply with its verdicts; a MalformedInstruction where an id is unknown, or kwargs do not fit it."""
    return Attempt(reply, instruction_ids, grade_reply(reply, instruction_ids, kwargs))


@dataclass(frozen=True)
class _Layout:
    """One way to fill a reply: ``spare`` saves words, ``newline`` parts its pieces, ``stop`` ends its sentences."""

    vocabulary: tuple[str, ...]
    size: int
    stop: str
    newline: str
    spare: bool
    sentences: int = 0


def construct(
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    language: str,
    *,
    attempts: int = 150,
    grade: Callable[[str], Attempt] | None = None,
) -> Attempt:
    """The first reply that follows all instructions strictly, else the one that follows most of those tried.

    Its words are those of ``texts``, such as the conversation's prompts in this language, if sentences of the language
    do not do; ``attempts`` replies at most are graded, by the published rules or by ``grade``.

    Raises:
        MalformedInstruction: an unknown id, or kwargs that do not fit it.
    """
    shape = gather(instruction_ids, kwargs)
    wanted = shape.language or language
    best: Attempt | None = None
    seen: set[str] = set()
    natural = _replies(shape, _sentences(shape, wanted), wanted, _SIZES[:2])
    for reply in itertools.chain(natural, _replies(shape, _vocabularies(shape, texts, language), wanted)):
        if reply in seen:
            continue
        seen.add(reply)
        tried = grade(reply) if grade else graded(reply, instruction_ids, kwargs)
        if best is None or len(tried.failed) < len(best.failed):
            best = tried
        if not best.failed or len(seen) == attempts:
            break
    assert best is not None
    return best


def gather(instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> Shape:
    """What a turn's instructions ask, as far as their records tell; a MalformedInstruction where that is nonsense."""
    shape = Shape()
    for id_, raw in zip(instruction_ids, kwargs, strict=True):
        if shaped_by := making_of(id_).shape:
            shaped_by(shape, parse_kwargs(id_, raw))
    return shape


def _sentences(shape: Shape, language: str) -> list[tuple[str, ...]]:
    """Sentences of the language as a vocabulary: word by word with their stops, or whole where words have no spaces."""
    prose = prose_of(language)
    sentences = prose.sentences if prose else ()
    kept = [each for each in sentences if len(shape.wanted(words := words_of([each]))) == len(words)]
    if shape.no_comma and prose:
        kept = [each for each in kept if not prose.comma or prose.comma not in each]
    return [tuple(word for each in kept for word in each.split())] if len(kept) > 1 else []


def _vocabularies(shape: Shape, texts: Sequence[str], language: str) -> list[tuple[str, ...]]:
    wanted = shape.language or language
    own, common = shape.wanted(words_of(texts)), shape.wanted(common_words(wanted))
    clear = clearest(own, wanted, capitals=shape.upper)
    found = [own, clear[:40], [*clear[:15], *common[:15]], common]
    if shape.upper:
        found = [clear[:15], clear[:40], clearest({*own, *common}, wanted, capitals=True)[:10]]
    elif wanted != language:
        found = [common, *found[1:3]]
    rest = shape.wanted(letter * 2 for letter in string.ascii_lowercase) or [_DASH]
    return list(dict.fromkeys(tuple(words) for words in found if len(words) > 1)) or [tuple(rest)]


def _replies(
    shape: Shape, vocabularies: Sequence[tuple[str, ...]], language: str, sizes: Sequence[int] = _SIZES
) -> Iterator[str]:
    tight = shape.words.high is not None or shape.sentences.high is not None
    stops = [_STOPS.get(language.partition("-")[0], "."), "!"] if shape.sentences.low > 1 else [""]
    for spare, newline, size, vocabulary, stop in itertools.product(
        (False, True) if tight else (False,), ("\n", " ") if tight else ("\n",), sizes, vocabularies, stops
    ):
        layout = _Layout(vocabulary, size, stop, newline, spare, shape.sentences.low if stop else 0)
        for _ in range(_CORRECTIONS):
            reply = _compose(shape, layout)
            words, sentences = _counts(shape, reply)
            more_words = shape.words.step_towards(words)
            more_sentences = shape.sentences.step_towards(sentences) if stop else 0
            if not more_words and not more_sentences:
                break
            size, sentences = max(layout.size + more_words, 0), max(layout.sentences + more_sentences, 0)
            layout = replace(layout, size=size, sentences=sentences)
        yield reply


def _counts(shape: Shape, reply: str) -> tuple[int, int]:
    """Words and sentences as the grader counts them, where there are bounds."""
    if not shape.words.bounded and not shape.sentences.bounded:
        return 0, 0
    language = counting.detect_language(reply) or "en"
    if language in _CJK:
        return counting.count_words_cjk(reply), counting.count_sentences_cjk(reply)
    if language == "th":
        return counting.count_words_thai(reply), counting.count_sentences_thai(reply)
    sentences = counting.count_sentences_hindi(reply) if language == "hi" else len(counting.split_sentences(reply))
    return counting.count_words(reply), sentences


def _compose(shape: Shape, layout: _Layout) -> str:
    pieces = _Pieces(shape, layout)
    reply = pieces.as_json() if shape.json else pieces.as_text()
    if shape.no_comma and not shape.json:
        reply = reply.replace(",", "")
    if shape.upper:
        return reply.upper()
    few_capitals = shape.capitals.high is not None and not shape.capitals.low and not shape.fixed_answer
    if shape.lower or few_capitals:
        reply = reply.lower()
        for splitter in () if shape.lower else shape.sections:  # the one thing whose case the grader minds
            reply = reply.replace(f"{splitter.lower()} ", f"{splitter} ")
    return reply


class _Pieces:
    """What a reply is put together from."""

    def __init__(self, shape: Shape, layout: _Layout) -> None:
        self.shape, self.layout = shape, layout
        self._next = itertools.cycle(layout.vocabulary)
        self._filling = self._sentences([next(self._next) for _ in range(max(layout.size, layout.sentences))])

    def _sentences(self, words: list[str]) -> list[str]:
        """The words with stops, evenly."""
        count = self.layout.sentences
        ends = {(number + 1) * len(words) // count - 1 for number in range(count)} if count else set()
        return [
            (word[:1].upper() + word[1:] if position - 1 in ends else word)
            + (self.layout.stop if position in ends else "")
            for position, word in enumerate(words)
        ]

    def _word(self) -> str:
        return _DASH if self.layout.spare else next(self._next)

    def _middle(self) -> list[str]:
        """All that may stand anywhere, one piece a line; no line starts with a star or a dash."""
        shape = self.shape
        lines = [f"<<{self._word()}>>"] if shape.title else []
        # What is to be repeated comes often enough.
        lines += [string for string in shape.strings if not shape.repeated.get(string.strip())]
        lines += [" ".join([keyword] * number) for keyword, number in shape.repeated.items()]
        lines += [letter * number for letter, number in shape.letters.items()]
        words = [next(self._next).upper() for _ in range(shape.capitals.low)]
        lines.append(" ".join(word if word.isupper() and word.isalpha() else "OK" for word in words))
        lines.append(" ".join(f"[{self._word()}]" for _ in range(shape.placeholders)))
        if shape.highlights:
            lines.append(" ".join([self._word(), *(f"*{self._word()}*" for _ in range(shape.highlights))]))
        for splitter, number in shape.sections.items():
            lines += [f"{splitter} {n} {self._word()}" for n in range(1, number + 1)]
        if shape.fixed_answer:
            lines.append("My answer is yes.")
        return [line for line in lines if line]

    def _slots(self, number: int) -> list[str]:
        """The filling in so many parts, none of them blank."""
        size = len(self._filling)
        bounds = [size * n // number for n in range(number + 1)]
        parts = [self._filling[start:end] for start, end in itertools.pairwise(bounds)]
        return [" ".join(part) or (self._word() if number > 1 else "") for part in parts]

    def _body(self, paragraphs: int, first_words: Mapping[int, str], bullets: int, chunks: int) -> str:
        shape, newline = self.shape, self.layout.newline
        slots = self._slots(paragraphs + chunks + shape.answers - 2)
        rule = f"{newline}{'******' if shape.answers > 1 else '***'}{newline}"
        early, last = slots[: paragraphs - 1], slots[paragraphs - 1 :]
        last[-1] = newline.join(filter(None, [last[-1], *self._middle()]))
        last[-1] += "".join(f"\n* {self._word()}" for _ in range(bullets))
        closing = newline.join(filter(None, [*(f"{each} {self._word()}" for each in shape.postscripts), shape.ending]))
        if closing:
            last[-1] += ("\n" if bullets else newline if last[-1] else "") + closing
        parts = [*early, rule.join(last)]
        return "\n\n".join(
            f"{first_words[number]} {part}" if number in first_words else part for number, part in enumerate(parts, 1)
        )

    def as_text(self) -> str:
        shape = self.shape
        opening = shape.opening
        before = sum(1 for part in opening.split("\n\n") if part.strip()) if shape.blank_lines else 0
        shift = max(before - 1, 0)  # the first paragraph here goes on with the opening's last
        paragraphs = max(shape.paragraphs - shift, 1)
        first_words = {n - shift: word for n, word in shape.first_words.items() if n > before}
        bullets = max((shape.bullets or 0) - len(re.findall(r"^\s*[-*][^*]", opening, re.MULTILINE)), 0)
        chunks = max(shape.chunks - opening.count("***"), 1)
        body = self._body(paragraphs, first_words, bullets, chunks)
        if opening and body:
            opening += "\n\n" if shape.blank_lines and before < shape.paragraphs and 1 in first_words else "\n"
        return f'"{opening}{body}"' if shape.quoted else opening + body

    def as_json(self) -> str:
        """One string on one line; around it brackets where paragraphs, and numbers where bullets are asked for."""
        shape = self.shape
        self.layout = replace(self.layout, newline=" ")
        place = min(shape.first_words, default=1) if shape.blank_lines else 1
        first = {1: shape.first_words[place]} if place in shape.first_words else {}
        bullets, opening = shape.bullets or 0, shape.opening
        body = self._body(1, first, 0, shape.chunks)
        string = json.dumps(f"{opening} {body}" if opening else body, ensure_ascii=False)
        if bullets == 1:
            return f"{{{string}:\n-1}}"  # a line that starts with a dash, and no comma
        if bullets:
            return f"[{string}" + ",\n-1" * bullets + "]"
        if place < 2 and shape.paragraphs < 2:
            return string
        # Brackets make paragraphs without a comma: as many before as needed, and as many behind.
        after = max(shape.paragraphs - place, 0)
        deep = max(place - 1, after, 1)
        before = ["[" * (deep - place + 2), *["["] * (place - 2)] if place > 1 else []
        behind = ["]" * (deep - after + 1), *["]"] * (after - 1)] if after and place > 1 else []
        if place > 1 and not after:
            string += "]" * deep
        return "\n\n".join([*before, string, *behind])
