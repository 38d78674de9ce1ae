"""What went wrong with a request, and what is said of the conversations that failed by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from turnswap.core.errors import UserError

_SHOWN = 5
_AGAIN = "Run the same command again: with --use_cache it asks only for what is missing."
_IN_VAIN = "Another run would fail in the same way: fix the cause first. With --use_cache it asks only for the rest."
_PUT_UP = """--metadata '{"max_failed": 0.01}' accepts up to 1 % of failed conversations and counts them."""


class Fault(Exception):
    """One request got no answer.

    Attributes:
        kind: what happened, in a few words that are the same for all faults of the kind, such as ``HTTP 500``.
        words: what the server said, or the error's own text, on one line and not too long.
        may_pass: whether another try could end otherwise.
        throttled: the server asks for fewer requests: the try does not count.
        wait: the seconds that the server asks to wait.
    """

    def __init__(
        self, kind: str, *, words: str = "", may_pass: bool = True, throttled: bool = False, wait: float = 0.0
    ) -> None:
        self.kind, self.words = kind, " ".join(words.split())[:500]
        super().__init__(f"{kind}: {self.words}" if words else kind)
        self.may_pass, self.throttled, self.wait = may_pass, throttled, wait


@dataclass(frozen=True)
class Failure:
    """A conversation that was set aside: which, in which turn (from 0), and the last fault of its request."""

    conversation: str
    turn: int
    fault: Fault


def summary(failures: Sequence[Failure], conversations: int) -> str:
    """How many failed, which, and the first of each kind with the server's own words."""
    kinds = Counter(failure.fault.kind for failure in failures)
    first = {failure.fault.kind: failure for failure in reversed(failures)}
    names = [failure.conversation for failure in failures]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    lines = [f"{len(failures)} of {conversations} conversations failed: {shown}."]
    for kind, count in kinds.most_common():
        where = first[kind]
        times = "once" if count == 1 else f"{count} times"
        said = f": {where.fault.words}" if where.fault.words else "."
        lines.append(f"{kind}, {times}; first {where.conversation}, turn {where.turn + 1}{said}")
    return "\n".join(lines)


def require_few(failures: Sequence[Failure], conversations: int, max_failed: float) -> None:
    """Raise UserError where a larger share of the conversations failed than was allowed."""
    if failures and len(failures) > max_failed * conversations:
        again = _AGAIN if any(failure.fault.may_pass for failure in failures) else _IN_VAIN
        raise UserError(summary(failures, conversations), f"{again} {_PUT_UP}")
