"""Natural replies to instructions about the shape of a reply, its case, commas, beginning and end."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import cycle, islice

from .instructions import ids
from .instructions.making import Kwargs, literal
from .natural import Prose
from .natural_replies import RECIPES, UNKNOWN, Recipe, Replies, bounded, exactly, recipe
from .vocabulary import CASED, scripts_of


@recipe(ids.PLACEHOLDERS)
def _placeholders(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        return [f"{prose.text(2)}\n" + "\n".join(f"[{word}]" for word in prose.words(number))]

    return bounded("at least", kwargs["num_placeholders"], of)


@recipe(ids.HIGHLIGHTS)
def _highlights(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        lines = list(zip(prose.words(number), cycle(prose.sentences), strict=False))
        return [
            "\n".join(f"{mark}{word}{mark} {each}" for word, each in lines) or prose.text(2) for mark in ("*", "**")
        ]

    return bounded("at least", kwargs["num_highlights"], of)


@recipe(ids.BULLETS)
def _bullets(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    def of(number: int) -> list[str]:
        items = list(islice(cycle(prose.sentences), 1, number + 1))
        return ["\n".join([prose.sentences[0], "", *(f"{mark} {each}" for each in items)]) for mark in "-*"]

    return exactly(kwargs["num_bullets"], of)


@recipe(ids.SECTIONS)
def _sections(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    splitter = literal(kwargs["section_spliter"].strip())
    if not splitter:
        return UNKNOWN

    def of(number: int) -> list[str]:
        return ["\n\n".join(f"{splitter} {n + 1}\n{prose.text(2, n)}" for n in range(number)) or prose.text(2)]

    return bounded("at least", kwargs["num_sections"], of)


def _plainly(*right: Callable[[Prose, Kwargs], str | None]) -> Recipe:
    """A recipe: right are these replies, wrong is plain text."""

    def made(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
        return Replies([[reply for make in right if (reply := make(prose, kwargs))]], [prose.passages])

    return made


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
    ids.TWO: _plainly(lambda prose, kwargs: f"{prose.text(1)}\n\n******\n\n{prose.text(2)}"),
    ids.REPEAT: _plainly(lambda prose, kwargs: f"{kwargs['prompt_to_repeat'].strip()}\n\n{prose.text(2)}"),
    ids.END: _plainly(lambda prose, kwargs: prose.between.join([prose.text(2), kwargs["end_phrase"].strip()])),
    ids.POSTSCRIPT: _plainly(
        lambda prose, kwargs: f"{prose.text(2)}\n\n{kwargs['postscript_marker'].strip()} {prose.text(1, 2)}"
    ),
    ids.QUOTATION: _plainly(lambda prose, kwargs: prose.text(2).join(prose.quotes)),
}


def _in_case(change: Callable[[str], str]) -> Recipe:
    def made(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
        texts = [*prose.passages, prose.text(len(prose.sentences))]
        return Replies([[change(text) for text in texts if text.upper() != text.lower()]], [texts])

    return made


RECIPES |= {ids.UPPER: _in_case(str.upper), ids.LOWER: _in_case(str.lower)}


@recipe(ids.CAPITALS)
def _capitals(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    cased = bool(scripts_of(prose.language) & CASED)

    def of(number: int) -> list[str]:
        if number and not cased:
            return []  # no word of the language is in capitals
        tokens = prose.text(max(3, number)).split()
        long = [at for at, token in enumerate(tokens) if len(token) > 3][:number]
        return [" ".join(token.upper() if at in long else token for at, token in enumerate(tokens))]

    return bounded(kwargs["capital_relation"], kwargs["capital_frequency"], of, kwargs["capital_frequency"])


@recipe(ids.NO_COMMA)
def _no_comma(prose: Prose, kwargs: Kwargs, count: object) -> Replies:
    commas = {prose.comma, ","} - {""}
    without = [each for each in prose.sentences if not any(map(each.__contains__, commas))] or prose.words(1)
    if not prose.comma:
        return Replies([without], [[]])
    separator = prose.comma + (" " if prose.spaced else "")
    with_one = [each for each in prose.sentences if prose.comma in each] or [separator.join(prose.words(3))]
    return Replies([without], [with_one])
