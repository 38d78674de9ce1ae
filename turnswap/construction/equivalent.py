"""A conversation in another language: its turns put together from translated prompts and words, and checked.

The checks are those that need no model: the same for what an LLM translated and for what a reviewer edited. A reader of
the translated prompt and the grader must see the same markers, numbers and names: such spans are found in the source,
named to the LLM, and counted in what comes back. Placeholders such as ``[address]`` may be put in the language where
they are examples, or stand in kwargs that are translated with them: one for each, wherever it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from turnswap.tasks.multiif.instructions import MalformedInstruction, get_instruction, parse_kwargs
from turnswap.tasks.multiif.instructions.patterns import PATTERN, PATTERNS
from turnswap.tasks.multiif.text import detect_language, known_languages

from . import falsify
from .instructions import making_of
from .instructions.content import MARKERS
from .instructions.ids import PLACEHOLDERS
from .instructions.making import texts_of, with_texts
from .quoted import quoted_in
from .records import Turn, check_extension
from .vocabulary import occurs, scripts_of, share_in

_LEAST_OF_SCRIPT, _LETTERS_TO_DETECT = 0.5, 40
_PATTERN_CHARACTERS = frozenset(r"\.^$*+?{}[]|()")
_SPANS = re.compile(
    r"```.*?```"
    r"|`[^`\n]+`"
    r"|(?:https?://|www\.)[!-~]*[A-Za-z0-9/]"
    r"|[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
    r"|\[[^\[\]\n]{0,60}\]"  # a placeholder, such as [address]
    r"|\{[^{}\n]{0,60}\}"
    r"|</?[A-Za-z][^<>\n]{0,60}(?<!<)>(?!>)"  # a tag; <<a title>> is none
    r"|<<|>>"
    r"|\*+"  # sections, paragraphs, answers, bullets: each number of stars has its own meaning
    r"|#{2,}|-{3,}|={3,}|_{3,}|~{3,}"
    r"|(?<=[\"'“‘「])[^\w\s\"'“”‘’「」]{1,20}(?=[\"'”’」])"  # a quoted marker, such as "->"
    rf"|{MARKERS}"
    r"|My answer is (?:yes|no|maybe)\."
    r"|(?<![A-Za-z0-9])(?i:JSON|XML|HTML|YAML|CSV|Markdown|LaTeX)(?![A-Za-z0-9])"
    r"|\d+(?:[.,:/]\d+)*",
    re.DOTALL,
)
_PLACEHOLDER = re.compile(r"\[[^\[\]]*[^\W\d_][^\[\]]*\]")  # in brackets as the grader counts them, with a letter


def protected_spans(text: str) -> list[str]:
    """Code, URLs, addresses, placeholders, markers, formats and numbers of a text, in order, as often as they occur."""
    return [match.group() for match in _SPANS.finditer(text)]


def distinct_spans(texts: Sequence[str]) -> list[str]:
    """The protected spans of texts, each once, in the order in which they first occur: what the LLM is told."""
    return list(dict.fromkeys(span for text in texts for span in protected_spans(text)))


def without_spans(text: str, stand_in: str = " ", beside: Sequence[str] = (), numbers: bool = True) -> str:
    """A text with a stand-in for each protected span, and for each text in ``beside``: they are of no language.

    ``numbers``: whether these are replaced too.
    """
    spans = {span for span in protected_spans(text) if numbers or not span[0].isdigit()}
    for span in sorted({*spans, *beside}, key=len, reverse=True):
        text = text.replace(span, stand_in)
    return text


def foreign(text: str, language: str, without: Sequence[str] = ()) -> str | None:
    """What tells that a text is not in a language: another script, or English by langdetect; None where nothing does.

    Protected spans, and the texts in ``without``, are of no language. Short texts are told by their script alone.
    """
    text = without_spans(text, beside=without)
    if share_in(text, scripts_of(language)) < _LEAST_OF_SCRIPT:
        return f"it is not in the script of {language}"
    base = language.partition("-")[0]
    known = base != "en" and (base in known_languages() or language.startswith("zh"))
    if known and sum(map(str.isalpha, text)) >= _LETTERS_TO_DETECT and detect_language(text) == "en":
        return f"it is in English, not in {language}"
    return None


def foreign_turns(turns: Sequence[Turn], language: str) -> list[str]:
    """The turns that are not in their language, texts of kwargs aside."""
    texts = [text for id_, kwargs in turns[-1].instructions for text in texts_of(id_, kwargs)]
    found = (foreign(turn.prompt, language, texts) for turn in turns)
    return [f"the language is another: {each} in turn {number}" for number, each in enumerate(found, 1) if each]


def localisable_spans(turns: Sequence[Turn]) -> list[str]:
    """Placeholders that a translation may put in its language: examples, and those in kwargs that follow."""
    last = turns[-1]
    texts = [text for id_, kwargs in last.instructions for text in texts_of(id_, kwargs)]
    wanted = [turn.prompt for turn in turns] if PLACEHOLDERS in last.instruction_ids else []
    return [span for span in distinct_spans([*texts, *wanted]) if _PLACEHOLDER.fullmatch(span)]


def check_spans(source: str, translation: str, where: str, free: Collection[str] = ()) -> None:
    """Every protected span of the source must have survived, as often as it occurred, and no marker been added.

    A number or a name may come more often: languages repeat where English refers back. ``free`` ones may be lost.

    Raises:
        ValueError: names the span.
    """
    before, after = (
        Counter(span.upper() if span.isalpha() else span for span in protected_spans(text))  # json is JSON
        for text in (source, translation)
    )
    for span in before | after:  # the source's first
        added = after[span] > before[span] and not any(character.isalnum() for character in span)
        if (after[span] < before[span] and span not in free) or added:
            raise ValueError(
                f"a protected span is {'added' if added else 'lost'}: {span!r} occurs {before[span]} times in {where} "
                f"of the source and {after[span]} times in its translation"
            )


def _check_localised(free: Sequence[str], source: Sequence[str], made: Sequence[str]) -> None:
    """Free placeholders stand as they were, or each has one for itself, in the same texts and as often."""
    if all(
        after.count(span) >= before.count(span) for span in free for before, after in zip(source, made, strict=True)
    ):
        return
    fixed = {*distinct_spans(source)} - {*free}
    new = [span for span in distinct_spans(made) if _PLACEHOLDER.fullmatch(span) and span not in fixed]
    places = [
        sorted([text.count(span) for text in texts] for span in spans) for spans, texts in ((free, source), (new, made))
    ]
    if places[0] != places[1]:
        raise ValueError(
            f"a protected span is lost: {', '.join(free)} became {', '.join(new) or 'none'}; expected one placeholder "
            "in [ ] for each, the same wherever it stands"
        )


def unsuitable(turns: Sequence[Turn], language: str, tried: bool = True) -> str | None:
    """Why a conversation cannot be had in a language, by its instructions; ``tried`` as in :mod:`.falsify`."""
    try:
        check_extension(turns)
    except ValueError as error:
        return str(error)
    reasons = (falsify.unsuitable(id_, kwargs, language, tried) for id_, kwargs in turns[-1].instructions)
    return next(filter(None, reasons), None)


def questions_words(turns: Sequence[Turn]) -> list[list[str]]:
    """What to translate of each instruction of the last turn: :func:`.texts_of`, less what follows from the prompts.

    A ``prompt_to_repeat`` that is a whole prompt, or whole lines of one, is taken from the translated prompt.
    """
    last = turns[-1]
    return [[] if _repeated_lines(id_, kwargs, turns) else texts_of(id_, kwargs) for id_, kwargs in last.instructions]


def equivalent(source: Sequence[Turn], prompts: Sequence[str], values: Sequence[Sequence[str]]) -> tuple[Turn, ...]:
    """The source's turns with these prompts and words.

    Args:
        source: the turns; each turn's instructions extend those of the turn before.
        prompts: one per turn.
        values: per instruction of the last turn, in place of what :func:`questions_words` gave.

    Raises:
        ValueError: prompts or words are too few, blank, or do not fit the source, in words fit for a reason: a
            protected span was changed, say, or a word is not in the prompt in which the source's was.
    """
    check_extension(source)
    asked = questions_words(source)
    prompts = [_clean(prompt, f"turn {number}") for number, prompt in enumerate(prompts, 1)]
    values = [[_clean(value, "a kwarg") for value in each] for each in values]
    if len(prompts) != len(source):
        raise ValueError(f"turns are missing: {len(source)} in the source, {len(prompts)} in the translation")
    if [len(each) for each in values] != [len(each) for each in asked]:
        raise ValueError(
            f"kwargs do not match: {[len(each) for each in asked]} words per instruction in the source, "
            f"{[len(each) for each in values]} in the translation"
        )
    free = localisable_spans(source)
    for number, (turn, prompt) in enumerate(zip(source, prompts, strict=True), 1):
        check_spans(turn.prompt, prompt, f"turn {number}", free)
    last = source[-1]
    made, texts = [], [(turn.prompt, prompt) for turn, prompt in zip(source, prompts, strict=True)]
    for position, (id_, kwargs) in enumerate(last.instructions):
        new = new_texts(source, prompts, values, position)
        before = texts_of(id_, kwargs)
        _check_words(id_, before, new)
        for one, other in zip(before, new, strict=True):
            texts.append((one, other))
            check_spans(one, other, f"the kwarg {one!r}", free)
            _check_places(source, prompts, position, one, other)
        made.append(_checked_kwargs(id_, kwargs, new))
    _check_localised(free, *zip(*texts, strict=True))
    return tuple(
        Turn(prompt, turn.instruction_ids, tuple(made[: len(turn.kwargs)]))
        for turn, prompt in zip(source, prompts, strict=True)
    )


def new_texts(
    source: Sequence[Turn], prompts: Sequence[str], values: Sequence[Sequence[str]], position: int
) -> list[str]:
    """The texts of an instruction's kwargs, by its position: those given, or lines of the new prompts.

    Raises:
        ValueError: the prompt that they are lines of has other lines.
    """
    place = _repeated_lines(*source[-1].instructions[position], source)
    return [_lines(source, prompts, place)] if place else list(values[position])


def _clean(text: object, where: str) -> str:
    """Stripped, in composed form: a letter in two parts is found by no pattern that has it in one."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"a text is missing: {where} is {text!r}")
    clean = unicodedata.normalize("NFC", text.replace("\r\n", "\n").strip())
    for character in clean:  # no control characters, and no halves of characters
        if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"a character that no text has: U+{ord(character):04X} in {where}")
    return clean


def _repeated_lines(id_: str, kwargs: Any, turns: Sequence[Turn]) -> tuple[int, int, int] | None:
    """Where the prompt to repeat is whole lines of a prompt: the turn, its first line, and the one behind its last."""
    if not making_of(id_).from_prompts:
        return None
    wanted = "\n".join(texts_of(id_, kwargs)).strip()
    for number, turn in enumerate(turns):
        lines = turn.prompt.strip().split("\n")
        for start in range(len(lines)):
            for end in range(len(lines), start, -1):
                if "\n".join(lines[start:end]).strip() == wanted:
                    return number, start, end
    return None


def _lines(source: Sequence[Turn], prompts: Sequence[str], place: tuple[int, int, int]) -> str:
    number, start, end = place
    lines, total = prompts[number].split("\n"), len(source[number].prompt.strip().split("\n"))
    if (start, end) == (0, total):
        return prompts[number]
    if len(lines) != total:
        raise ValueError(
            f"lines do not match: {total} in turn {number + 1} of the source, {len(lines)} in its translation, and "
            "some of them are a prompt to repeat"
        )
    return "\n".join(lines[start:end]).strip()


def _check_words(id_: str, before: Sequence[str], after: Sequence[str]) -> None:
    if len({word.casefold() for word in after}) < len({word.casefold() for word in before}):
        raise ValueError(f"words became one: {', '.join(before)} of {id_} are {', '.join(after)}")
    patterns = any(kwarg in (PATTERN, PATTERNS) for kwarg in get_instruction(id_).kwargs.values())
    for one, other in zip(before, after, strict=True):
        special = sorted((set(other) - set(one)) & _PATTERN_CHARACTERS)
        if special and patterns:
            raise ValueError(f"a pattern arose: {other!r} of {id_} has {special[0]!r}, which the grader does not match")
        if wrong := making_of(id_).wrong_text(other):
            raise ValueError(f"a word does not fit: {other!r} of {id_} {wrong}")


def _check_places(source: Sequence[Turn], prompts: Sequence[str], position: int, one: str, other: str) -> None:
    """The word must stand where its source stood.

    That is the turn that brings the instruction, where the source's word stands there; otherwise every turn in which
    it stands. In other turns the language may inflect it. A whole word stays one: Regens does not name Regen, and where
    the source quotes it, 「家庭菜園」 does not name 菜園.
    """
    found = [number for number, turn in enumerate(source) if occurs(one, turn.prompt)]
    words = bool(found)
    found = found or [number for number, turn in enumerate(source) if one.strip().lower() in turn.prompt.lower()]
    brought = next(number for number, turn in enumerate(source) if len(turn.instruction_ids) > position)
    for number in [brought] if brought in found else found:
        as_written = str if one.strip() in source[number].prompt else str.lower
        quoted = _quoted(prompts[number]) if one.strip() in _quoted(source[number].prompt) else []
        longer = any(other in each for each in quoted) and other not in quoted
        there = as_written(other) in as_written(prompts[number]) and not longer
        if not there or (words and not occurs(other, prompts[number])):
            raise ValueError(
                f"a kwarg is not in the prompt: {other!r}, for {one!r}, does not occur in turn {number + 1}"
            )


def _quoted(prompt: str) -> list[str]:
    """What stands in quotation marks: each of several words in one pair too."""
    return [part.strip() for each in quoted_in(prompt) for part in (each, *re.split("[、，,;；・]", each))]


def _checked_kwargs(id_: str, kwargs: Any, new: Sequence[str]) -> dict[str, Any]:
    made = with_texts(id_, kwargs, new)
    try:
        parsed = parse_kwargs(id_, made)
    except MalformedInstruction as error:
        raise ValueError(f"kwargs are malformed: {error}") from None
    check = get_instruction(id_).as_published
    if check(parse_kwargs(id_, kwargs)) and not check(parsed):
        raise ValueError(f"kwargs cannot be graded as published: {id_} with {made}")
    return parsed
