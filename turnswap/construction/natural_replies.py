"""Natural replies to an instruction: some that a reader would call right, some wrong, composed of natural text.

They are what people and models usually write, one or two of a kind: a keyword in a sentence, a list with hyphens, a few
words too many. How an instruction's rule judges them tells whether it measures the instruction in a language. Here are
those to instructions that count words, letters and parts, in :mod:`.natural_shapes` the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from .instructions import ids
from .instructions.making import Kwargs, literal
from .natural import WITH_LETTER, Prose, prose_of
from .vocabulary import LATIN, scripts_of

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


def recipe(*instruction_ids: str) -> Callable[[Recipe], Recipe]:
    """Register how natural replies to some instructions look: ``recipe(prose, kwargs, count)`` as of the above."""

    def register(recipe: Recipe) -> Recipe:
        RECIPES.update(dict.fromkeys(instruction_ids, recipe))
        return recipe

    return register


def bounded(relation: str, number: int, holding: Callable[[int], list[str]], less: int = 1) -> Replies:
    """Replies that hold just enough of something, and ``less`` fewer; ``holding`` makes those of a number."""
    if number < 1:
        return UNKNOWN
    few, enough = [holding(number - less)], [holding(number)]
    return Replies(enough, few) if relation == "at least" else Replies(few, enough)


@recipe(ids.EXISTENCE)
def _existence(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    words = [word for each in kwargs["keywords"] if (word := (literal(each) or "").strip())]
    if len(words) < len(kwargs["keywords"]):
        return UNKNOWN
    ways = zip(*(prose.holding(word, 1) for word in words), strict=False)
    return Replies([[prose.between.join(parts) for parts in ways]], [prose.passages])


@recipe(ids.FREQUENCY)
def _frequency(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    word = (literal(kwargs["keyword"]) or "").strip()
    if not word:
        return UNKNOWN
    return bounded(
        kwargs["relation"], kwargs["frequency"], lambda n: prose.holding(word, n) if n else list(prose.passages)
    )


@recipe(ids.FORBIDDEN)
def _forbidden(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    words = [word for each in kwargs["forbidden_words"] if (word := (literal(each) or "").strip())]
    return Replies([prose.passages], [prose.holding(word, 1) for word in words]) if words else UNKNOWN


@recipe(ids.LETTER)
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


@recipe(ids.LANGUAGE)
def _language(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    asked = prose_of(kwargs["language"])
    other = prose_of("de" if kwargs["language"] == "en" else "en")
    return Replies([asked.passages] if asked else None, [other.passages] if other else None)


@recipe(ids.WORDS)
def _words(prose: Prose, kwargs: Kwargs, count: Callable[[str], int] | None) -> Replies:
    number = kwargs["num_words"]
    if count is None or number < 2:
        return UNKNOWN
    few, many = ([[prose.sized(count, most)]] for most in (min(int(number * _NEAR), number - 1), ceil(number * _FAR)))
    return Replies(many, few) if kwargs["relation"] == "at least" else Replies(few, many)


@recipe(ids.SENTENCES)
def _sentences(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    number = kwargs["num_sentences"]
    if number < 2:
        return UNKNOWN
    few, many = ([[prose.text(n, start) for start in range(3)]] for n in (number - 1, number + 1))
    return Replies(many, few) if kwargs["relation"] == "at least" else Replies(few, many)


def exactly(number: int, of: Callable[[int], list[str]]) -> Replies:
    """Replies of just so many parts, and of one more."""
    return Replies([of(number)], [of(number + 1)]) if 1 <= number <= _ALL else UNKNOWN


@recipe(ids.PARAGRAPHS)
def _paragraphs(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        return ["\n\n***\n\n".join(prose.text(2, n) for n in range(number))]

    return exactly(kwargs["num_paragraphs"], of)


@recipe(ids.NTH)
def _first_word(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    word, number, place = kwargs["first_word"].strip(), kwargs["num_paragraphs"], kwargs["nth_paragraph"]
    if not word or not 1 <= place <= number <= _ALL:
        return UNKNOWN

    def of(start: str) -> str:
        parts = [prose.text(2, n) for n in range(number)]
        parts[place - 1] = start + (" " if prose.spaced and start else "") + parts[place - 1]
        return "\n\n".join(parts)

    return Replies([[of(word[:1].upper() + word[1:])]], [[of("")]])
