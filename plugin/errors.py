"""Errors for people: what was expected, what came, what to do next."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend; shown without a traceback by turnswap's own commands.

    ``message`` says what is wrong, ``advice`` what to do next.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message} {advice}".strip())
        self.message = message
        self.advice = advice
