"""What a translation must not touch: spans of the prompts.

A reader of the translated prompt and the grader must see the same markers, numbers and names. So they are found in
the source, named to the LLM, and counted in what comes back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from .instructions.content import MARKERS

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


def protected_spans(text: str) -> list[str]:
    """Code, URLs, addresses, placeholders, markers, formats and numbers of a text, in order, as often as they occur."""
    return [match.group() for match in _SPANS.finditer(text)]


def distinct_spans(texts: Sequence[str]) -> list[str]:
    """The protected spans of texts, each once, in the order in which they first occur: what the LLM is told."""
    return list(dict.fromkeys(span for text in texts for span in protected_spans(text)))


def check_spans(source: str, translation: str, where: str) -> None:
    """Every protected span of the source must have survived, as often as it occurred, and no marker been added.

    A number or a name may come more often: languages repeat where English refers back.

    Raises:
        ValueError: names the span.
    """
    before, after = (
        Counter(span.upper() if span.isalpha() else span for span in protected_spans(text))  # json is JSON
        for text in (source, translation)
    )
    for span in before | after:  # the source's first
        added = after[span] > before[span] and not any(character.isalnum() for character in span)
        if after[span] < before[span] or added:
            raise ValueError(
                f"a protected span is {'added' if added else 'lost'}: {span!r} occurs {before[span]} times in {where} "
                f"of the source and {after[span]} times in its translation"
            )
