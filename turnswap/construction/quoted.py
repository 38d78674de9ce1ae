"""What stands in quotation marks, whatever a language's marks are."""

from __future__ import annotations

import regex

QUOTED = regex.compile(
    r"“([^”\n]+)”|„([^“”\n]+)[“”]|\"([^\"\n]+)\"|「([^」\n]+)」|『([^』\n]+)』|«([^»\n]+)»|(?<!\w)['‘]([^'’\n]+)['’](?!\w)"
)


def quoted_in(text: str) -> list[str]:
    """The texts in quotation marks, in order."""
    return [next(filter(None, match.groups())).strip() for match in QUOTED.finditer(text)]
