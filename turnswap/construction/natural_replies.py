"""Natural replies to an instruction: some that a reader would call right, some wrong, composed of natural text.

They are what people and models usually write, one or two of a kind: a keyword in a sentence, a list with hyphens, a few
words too many. How an instruction's rule judges them tells whether it measures the instruction in a language.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil

from .instructions import ids
from .instructions.making import Kwargs, literal
from .natural import WITH_LETTER, Prose, prose_of
from .vocabulary import CASED, LATIN, scripts_of

_NEAR, _FAR = 0.8, 1.2  # of a number of words: what a reader takes for fewer, and for more
_MOST_SENTENCES = 60  # of a reply that holds a letter often enough
_ALL = 10_000

# Replies, in groups each of which must be judged rightly; an empty group: no natural reply is of this kind.
Groups = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Replies:
    """Natural replies that a reader calls right and wrong; None where it is not known how they would look."""

    right: Groups | None = None
    wrong: Groups | None = None


UNKNOWN = Replies()
Recipe = Callable[[Prose, Kwargs, Callable[[str], int] | None], Replies]
RECIPES: dict[str, Recipe] = {}


def natural_replies(id: str, kwargs: Kwargs, prose: Prose, count: Callable[[str], int] | None) -> Replies:
    """Replies to one instruction, made of the text of one language.

    Args:
        id: of the instruction; nothing is known of one that nobody described here.
        kwargs: parsed.
        prose: the text.
        count: how many a reader counts of what the instruction counts, where it counts something.
    """
    return RECIPES[id](prose, kwargs, count) if id in RECIPES else UNKNOWN


def _recipe(*instruction_ids: str) -> Callable[[Recipe], Recipe]:
    def register(recipe: Recipe) -> Recipe:
        RECIPES.update(dict.fromkeys(instruction_ids, recipe))
        return recipe

    return register


def _bounded(relation: str, number: int, holding: Callable[[int], list[str]], less: int = 1) -> Replies:
    """Replies that hold just enough of something, and ``less`` fewer; ``holding`` makes those of a number."""
    if number < 1:
        return UNKNOWN
    few, enough = [holding(number - less)], [holding(number)]
    return Replies(enough, few) if relation == "at least" else Replies(few, enough)


@_recipe(ids.EXISTENCE)
def _existence(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    words = [word for each in kwargs["keywords"] if (word := (literal(each) or "").strip())]
    if len(words) < len(kwargs["keywords"]):
        return UNKNOWN
    ways = zip(*(prose.holding(word, 1) for word in words), strict=False)
    return Replies([[prose.between.join(parts) for parts in ways]], [prose.passages])


@_recipe(ids.FREQUENCY)
def _frequency(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    word = (literal(kwargs["keyword"]) or "").strip()
    if not word:
        return UNKNOWN
    return _bounded(
        kwargs["relation"], kwargs["frequency"], lambda n: prose.holding(word, n) if n else list(prose.passages)
    )


@_recipe(ids.FORBIDDEN)
def _forbidden(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    words = [word for each in kwargs["forbidden_words"] if (word := (literal(each) or "").strip())]
    return Replies([prose.passages], [prose.holding(word, 1) for word in words]) if words else UNKNOWN


@_recipe(ids.LETTER)
def _letter(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    letter, number = kwargs["letter"].lower(), kwargs["let_frequency"]
    if not letter or number < 1:
        return UNKNOWN
    # In any Latin script a rare letter is in some word that travels.
    texts = [*(prose.text(n) for n in range(1, _MOST_SENTENCES)), *prose.holding(WITH_LETTER.get(letter, ""), number)]
    many = [text for text in texts if text.lower().count(letter) >= number][:1]
    texts = [*prose.sentences, *prose.words(len(prose.sentences))]
    few = [text for text in texts if text.lower().count(letter) < number]
    # It may be missing from these sentences alone, but for another script's letters.
    known = [many] if many or LATIN not in scripts_of(prose.language) else None
    return Replies(known, [few]) if kwargs["let_relation"] == "at least" else Replies([few], known)


@_recipe(ids.LANGUAGE)
def _language(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    asked = prose_of(kwargs["language"])
    other = prose_of("de" if kwargs["language"] == "en" else "en")
    return Replies([asked.passages] if asked else None, [other.passages] if other else None)


@_recipe(ids.WORDS)
def _words(prose: Prose, kwargs: Kwargs, count: Callable[[str], int] | None) -> Replies:
    number = kwargs["num_words"]
    if count is None or number < 2:
        return UNKNOWN
    few, many = (
        [[prose.sized(count, most)]] for most in (min(int(number * _NEAR), number - 1), ceil(number * _FAR))
    )
    return Replies(many, few) if kwargs["relation"] == "at least" else Replies(few, many)


@_recipe(ids.SENTENCES)
def _sentences(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    number = kwargs["num_sentences"]
    if number < 2:
        return UNKNOWN
    few, many = ([[prose.text(n, start) for start in range(3)]] for n in (number - 1, number + 1))
    return Replies(many, few) if kwargs["relation"] == "at least" else Replies(few, many)


def _exactly(number: int, of: Callable[[int], list[str]]) -> Replies:
    """Replies of just so many parts, and of one more."""
    return Replies([of(number)], [of(number + 1)]) if 1 <= number <= _ALL else UNKNOWN


@_recipe(ids.PARAGRAPHS)
def _paragraphs(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        return ["\n\n***\n\n".join(prose.text(2, n) for n in range(number))]

    return _exactly(kwargs["num_paragraphs"], of)


@_recipe(ids.NTH)
def _first_word(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    word, number, place = kwargs["first_word"].strip(), kwargs["num_paragraphs"], kwargs["nth_paragraph"]
    if not word or not 1 <= place <= number <= _ALL:
        return UNKNOWN

    def of(start: str) -> str:
        parts = [prose.text(2, n) for n in range(number)]
        parts[place - 1] = start + (" " if prose.spaced and start else "") + parts[place - 1]
        return "\n\n".join(parts)

    return Replies([[of(word[:1].upper() + word[1:])]], [[of("")]])


@_recipe(ids.PLACEHOLDERS)
def _placeholders(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        return [f"{prose.text(2)}\n" + "\n".join(f"[{word}]" for word in prose.words(number))]

    return _bounded("at least", kwargs["num_placeholders"], of)


@_recipe(ids.HIGHLIGHTS)
def _highlights(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        lines = list(zip(prose.words(number), cycle(prose.sentences), strict=False))
        return [
            "\n".join(f"{mark}{word}{mark} {each}" for word, each in lines) or prose.text(2) for mark in ("*", "**")
        ]

    return _bounded("at least", kwargs["num_highlights"], of)


@_recipe(ids.BULLETS)
def _bullets(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        items = list(islice(cycle(prose.sentences), 1, number + 1))
        return ["\n".join([prose.sentences[0], "", *(f"{mark} {each}" for each in items)]) for mark in "-*"]

    return _exactly(kwargs["num_bullets"], of)


@_recipe(ids.SECTIONS)
def _sections(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    splitter = literal(kwargs["section_spliter"].strip())
    if not splitter:
        return UNKNOWN

    def of(number: int) -> list[str]:
        return ["\n\n".join(f"{splitter} {n + 1}\n{prose.text(2, n)}" for n in range(number)) or prose.text(2)]

    return _bounded("at least", kwargs["num_sections"], of)


def _plainly(*right: Callable[[Prose, Kwargs], str | None]) -> Recipe:
    """A recipe: right are these replies, wrong is plain text."""

    def recipe(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
        return Replies([[reply for make in right if (reply := make(prose, kwargs))]], [prose.passages])

    return recipe


def _in_marks(marks: str) -> Callable[[Prose, Kwargs], str | None]:
    """A title on a line of its own in the marks that only Japanese prompts ask for."""

    def titled(prose: Prose, kwargs: Kwargs) -> str | None:
        japanese = prose.language.partition("-")[0] == "ja"
        return f"{marks[0]}{prose.words(1)[0]}{marks[1]}\n\n{prose.text(2)}" if japanese else None

    return titled


RECIPES |= {
    ids.TITLE: _plainly(
        lambda prose, kwargs: f"<<{prose.words(1)[0]}>>\n\n{prose.text(2)}", _in_marks("《》"), _in_marks("『』")
    ),
    ids.JSON: _plainly(
        lambda prose, kwargs: json.dumps({prose.words(1)[0]: prose.sentences}, ensure_ascii=False),
        lambda prose, kwargs: f"```json\n{json.dumps({prose.words(1)[0]: prose.text(2)}, ensure_ascii=False)}\n```",
    ),
    ids.ANSWER: _plainly(lambda prose, kwargs: "My answer is yes."),
    ids.TWO: _plainly(lambda prose, kwargs: f"{prose.text(2)}\n\n******\n\n{prose.text(2, 2)}"),
    ids.REPEAT: _plainly(lambda prose, kwargs: f"{kwargs['prompt_to_repeat'].strip()}\n\n{prose.text(2)}"),
    ids.END: _plainly(lambda prose, kwargs: prose.between.join([prose.text(2), kwargs["end_phrase"].strip()])),
    ids.POSTSCRIPT: _plainly(
        lambda prose, kwargs: f"{prose.text(2)}\n\n{kwargs['postscript_marker'].strip()} {prose.text(1, 2)}"
    ),
    ids.QUOTATION: _plainly(lambda prose, kwargs: prose.text(2).join(prose.quotes)),
}


def _in_case(change: Callable[[str], str]) -> Recipe:
    def recipe(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
        texts = [*prose.passages, prose.text(len(prose.sentences))]
        return Replies([[change(text) for text in texts if text.upper() != text.lower()]], [texts])

    return recipe


RECIPES |= {ids.UPPER: _in_case(str.upper), ids.LOWER: _in_case(str.lower)}


@_recipe(ids.CAPITALS)
def _capitals(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    cased = bool(scripts_of(prose.language) & CASED)

    def of(number: int) -> list[str]:
        if number and not cased:
            return []  # no word of the language is in capitals
        tokens = prose.text(max(3, number)).split()
        long = [at for at, token in enumerate(tokens) if len(token) > 3][:number]
        return [" ".join(token.upper() if at in long else token for at, token in enumerate(tokens))]

    return _bounded(kwargs["capital_relation"], kwargs["capital_frequency"], of, kwargs["capital_frequency"])


@_recipe(ids.NO_COMMA)
def _no_comma(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    commas = {prose.comma, ","} - {""}
    without = [each for each in prose.sentences if not any(map(each.__contains__, commas))] or prose.words(1)
    if not prose.comma:
        return Replies([without], [[]])
    separator = prose.comma + (" " if prose.spaced else "")
    with_one = [each for each in prose.sentences if prose.comma in each] or [separator.join(prose.words(3))]
    return Replies([without], [with_one])
