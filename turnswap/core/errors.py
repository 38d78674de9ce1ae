"""Errors for people: what was expected, what came, what to do next."""

from __future__ import annotations

import functools
import importlib.util
import sys
import textwrap
from collections.abc import Sequence
from types import TracebackType


class UserError(Exception):
    """A mistake that the user can mend.

    ``message`` says what was expected and what came, ``advice`` what to do next. turnswap's commands show both
    without a traceback, and so do lm-eval's once a task of ours is loaded.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message} {advice}".strip())
        self.message = message
        self.advice = advice


def format_error(error: UserError) -> str:
    """The error as shown in a terminal: names of files stay whole, and nothing in it can steer the terminal."""
    lines = [*f"turnswap: {error.message}".splitlines(), *error.advice.splitlines()]
    fill = functools.partial(textwrap.fill, break_long_words=False, break_on_hyphens=False)
    return "\n".join(fill(visible(line), 110, subsequent_indent="  ") for line in lines)


def visible(text: str) -> str:
    """The text with control characters written out: sent to a terminal they could move its cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def reason_of(error: Exception) -> str:
    """Why something cannot be read, in one line: what the system or YAML says, else the error's own words."""
    if mark := getattr(error, "problem_mark", None):
        return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', '')}"
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def number_of(number: int, noun: str) -> str:
    """Such as ``1 conversation`` and ``2,000 conversations``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def require_packages(purpose: str, packages: Sequence[str], extra: str, more: str = "") -> None:
    """Refuse to go on where packages are missing.

    Args:
        purpose: what needs them, such as ``A sweep needs``.
        packages: as they are imported.
        extra: of ours, which brings them.
        more: what else the advice says, after the command that installs them.

    Raises:
        UserError: it names those that are missing, and the command.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        them = "it" if len(missing) == 1 else "them"
        raise UserError(f"{purpose} {' and '.join(missing)}.", f"Install {them}: pip install 'turnswap[{extra}]'{more}")


def show_without_traceback() -> None:
    """From now on a UserError that nobody catches ends the process with its message alone.

    For the time when a host's command runs our code: the host knows nothing of our errors.
    """
    previous = sys.excepthook
    if getattr(previous, "shows_user_errors", False):
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(error, UserError):
            print(format_error(error), file=sys.stderr)  # noqa: T201
        else:
            previous(kind, error, traceback)

    hook.shows_user_errors = True  # type: ignore[attr-defined]
    sys.excepthook = hook
