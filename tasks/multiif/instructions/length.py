"""How many words, sentences and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import regex

from .. import matching, text
from ..layout import count_plain_words, has_stop, is_heading
from ..segmentation import asks_for_words, count_words
from ..sentences import count_sentences
from .spec import COUNT, PHRASE, RELATION, Asked, Relation, compares, corrects, counts, instruction

_LONGEST_TITLE = 8  # words

_HAS_LETTER = regex.compile(r"[\p{L}\p{N}]")
# Three stars or more, as they stand in the text; ***word*** is emphasis. Markdown also has them with blanks between.
_DIVIDER = regex.compile(r"\*{3,}|(?<![^\n])[^\S\n]*\*[^\S\n]\*[^\S\n]\*[^\S\n]*(?![^\n])")
_STRONG = regex.compile(r"(?<!\*)\*{3}(?=[^\s*])([^*\n]*[^\s*])\*{3}(?!\*)")
# By method; published.
_WORDS = {text.GENERAL: text.count_words, text.CJK: text.count_words_cjk, text.THAI: text.count_words_thai}
_SENTENCES = {
    text.GENERAL: lambda reply: len(text.split_sentences(reply)),
    text.CJK: text.count_sentences_cjk,
    text.HINDI: text.count_sentences_hindi,
    text.THAI: text.count_sentences_thai,
}


@instruction(
    "length_constraints:number_words",
    unreproducible=text.counted_without_pythainlp,
    least=1,
    num_words=COUNT,
    relation=RELATION,
)
def number_words(reply: str, num_words: int, relation: Relation) -> bool:
    """Enough or few enough words, counted in the way of the language found in the reply."""
    return text.decide_by_method(reply, _compared(_WORDS, reply, relation, num_words))


def _compared(
    counters: Mapping[str, Callable[[str], int]], reply: str, relation: Relation, threshold: int
) -> dict[str, Callable[[], bool]]:
    def verdict_by(count: Callable[[str], int]) -> Callable[[], bool]:
        return lambda: compares(count(reply), relation, threshold)

    return {method: verdict_by(count) for method, count in counters.items()}


@counts("length_constraints:number_words")
def _words(reply: str, asked: Asked | None, num_words: int, **_: object) -> int:
    if asked is None or not asked.by("unicode-words"):
        return text.by_method(reply, _WORDS)(reply)
    in_words = asked.by("words-by-dictionary") and asks_for_words(asked.prompts, num_words)
    return count_words(reply, _language(reply, asked), in_words, hyphenated=asked.by("hyphenated-words"))


def _language(reply: str, asked: Asked) -> str:
    """The language to count in: the one that the reply is to be in, or, as published, the one that is found in it."""
    return asked.language if asked.by("conversation-language") else text.detect_language(reply) or "en"


@corrects("length_constraints:number_words")
def _number_words(reply: str, asked: Asked, num_words: int, relation: Relation) -> bool:
    return compares(_words(reply, asked, num_words), relation, num_words)


@instruction(
    "length_constraints:number_sentences",
    unreproducible=text.counted_without_pythainlp,
    least=1,
    num_sentences=COUNT,
    relation=RELATION,
)
def number_sentences(reply: str, num_sentences: int, relation: Relation) -> bool:
    """Enough or few enough sentences, counted in the way of the language found in the reply."""
    # Fewer than asked for even at most: without splitting.
    few = text.most_sentences(reply) < num_sentences
    counters = {**_SENTENCES, text.GENERAL: text.most_sentences} if few else _SENTENCES
    return text.decide_by_method(reply, _compared(counters, reply, relation, num_sentences))


@counts("length_constraints:number_sentences")
def _sentences(reply: str, asked: Asked | None, **_: object) -> int:
    if asked is None or not asked.by("sentences-of-the-language"):
        return text.by_method(reply, _SENTENCES)(reply)
    return count_sentences(reply, _language(reply, asked), asked.by)


@corrects("length_constraints:number_sentences")
def _number_sentences(reply: str, asked: Asked, num_sentences: int, relation: Relation) -> bool:
    return compares(_sentences(reply, asked), relation, num_sentences)


@instruction(
    "length_constraints:number_paragraphs",
    hopeless=lambda num_paragraphs: None if num_paragraphs >= 1 else "a reply has at least one paragraph",
    num_paragraphs=COUNT,
)
def number_paragraphs(reply: str, num_paragraphs: int) -> bool:
    """Exactly n parts between ``***``; a blank part is allowed, and not counted, only at either end."""
    parts = re.split(r"\s?\*\*\*\s?", reply)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return _parts(reply) == num_paragraphs


@counts("length_constraints:number_paragraphs")
def _parts(reply: str, *_: object, **__: object) -> int:
    parts = re.split(r"\s?\*\*\*\s?", reply)
    return len(parts) - (not parts[0].strip()) - (len(parts) > 1 and not parts[-1].strip())


@corrects("length_constraints:number_paragraphs", by="dividers")
def _number_paragraphs(reply: str, asked: Asked, num_paragraphs: int) -> bool:
    parts = [part.strip() for part in _DIVIDER.split(_STRONG.sub(r"**\1**", reply))]
    kept = [part for part in parts if _HAS_LETTER.search(part) and not _is_title(part, first=False)]
    return len(kept) == num_paragraphs


def _is_title(part: str, first: bool) -> bool:
    """Whether a paragraph is a line that only names what follows: a heading, or a label such as "Paragraph 1:".

    ``first``: whether it opens the reply, where a short line without a stop is a title even without a mark.
    """
    part = part.strip()
    if "\n" in part:
        return False
    if first and not has_stop(part) and not part.endswith((",", "，", ";", ":", "：")):
        return count_plain_words(part) <= _LONGEST_TITLE
    return is_heading(part) or (part.endswith((":", "：")) and bool(re.search(r"\d", part[:40])))


def _no_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> str | None:
    if not 1 <= nth_paragraph <= num_paragraphs:
        return "it names the first word of a paragraph that it does not ask for"
    return None if _HAS_LETTER.search(first_word) else "its first word has no letter"


@instruction(
    "length_constraints:nth_paragraph_first_word",
    published=lambda num_paragraphs, nth_paragraph, **_: 1 <= nth_paragraph <= num_paragraphs,
    hopeless=_no_first_word,
    num_paragraphs=COUNT,
    nth_paragraph=COUNT,
    first_word=PHRASE,
)
def nth_paragraph_first_word(reply: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly n paragraphs between blank lines, the nth of which starts with a word.

    Blank parts are not counted, but they are when the nth is looked up, as in the published grader.
    """
    parts = reply.split("\n\n")
    counted = sum(1 for part in parts if part.strip())
    if counted != num_paragraphs or not 1 <= nth_paragraph <= counted:
        return False
    words = parts[nth_paragraph - 1].split()
    if not words:
        return False
    word = words[0].lstrip("'").lstrip('"')
    found = re.split(r"[.,?!'\"]", word, maxsplit=1)[0]
    # Letter by letter, as published: a sigma that ends a word has another small letter.
    return "".join(map(str.lower, found)) == first_word.lower()


@corrects("length_constraints:nth_paragraph_first_word", by="paragraphs-as-seen")
def _nth_paragraph_first_word(
    reply: str, asked: Asked, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    paragraphs = [part for part in re.split(r"\n\s*\n", reply) if _HAS_LETTER.search(part)]
    if asked.by("titles-are-no-paragraphs"):
        paragraphs = [part for at, part in enumerate(paragraphs) if not _is_title(part, first=at == 0)]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    return matching.starts_with(paragraphs[nth_paragraph - 1], first_word, asked.language)
