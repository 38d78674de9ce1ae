"""What ``--metadata`` says of how conversations are run."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from turnswap.core.errors import UserError
from turnswap.core.settings import read_settings

from .reasoning import KNOWN, Markers

_THEIRS = {"reasoning_parser"}  # arguments of vLLM's that are near names of ours


def _markers(value: Any) -> Markers:
    if value in (None, False, "none", "None") or value == []:
        return ()
    if value == "known":
        return KNOWN
    pairs = [value] if isinstance(value, list) and all(isinstance(item, str) for item in value) else value
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(m, str) and m for m in pair) and pair[0] != pair[1]
        for pair in pairs
    ):
        raise ValueError(
            'expected an opening and a closing marker, such as ["<think>", "</think>"]; a list of such pairs; '
            "known (the default: common markers); or none (reasoning stays in the replies)"
        )
    return tuple((opening, closing) for opening, closing in pairs)


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in a currency of your choice; reasoning is paid as part of the completion."""

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The cost of a request."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True)
class Settings:
    """How conversations are run; from ``--metadata``.

    Attributes:
        prompts: ``chat_template`` (the model's own) or ``plain`` (a ``User:``/``Assistant:`` transcript).
        reasoning_markers: pairs of opening and closing markers; ``known`` for the default; empty to keep everything.
        reasoning_in_history: send the reasoning of earlier turns back, for models that require it.
        on_overflow: ``warn`` counts prompts that do not fit and goes on, ``error`` ends the run before it asks.
        schedule: ``pipelined`` and ``lockstep`` ask for one; ``auto`` is what pays for the backend
            (docs/how_to/scale.md).
        open: conversations under way at once in the pipelined schedule; None for its default.
        wave: conversations that go through all their turns before the next ones, in lockstep; None for all.
        max_failed: share of conversations that may fail for good without failing the run.
        repeats: how many conversations to run of each script, each with a seed of its own; in place of the YAML's.
        price: of a million tokens, for the cost in the results.
        cache: ``adopt`` takes a cache over that another model or endpoint made, which is refused otherwise.
    """

    prompts: Literal["chat_template", "plain"] = "chat_template"
    reasoning_markers: Annotated[Markers, BeforeValidator(_markers)] = KNOWN
    reasoning_in_history: Annotated[bool, Field(strict=True)] = False
    on_overflow: Literal["warn", "error"] = "warn"
    schedule: Literal["auto", "pipelined", "lockstep"] = "auto"
    open: Annotated[int, Field(ge=1, strict=True)] | None = None
    wave: Annotated[int, Field(ge=1, strict=True)] | None = None
    max_failed: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    repeats: Annotated[int, Field(ge=1, strict=True)] | None = None
    price: Price | None = None
    cache: Literal["own", "adopt"] = "own"

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], others: Collection[str] = ()) -> Settings:
        """The settings asked for by ``--metadata``, which holds much else: the model's arguments, a task's own names.

        Args:
            metadata: all of it.
            others: names that a task reads itself.

        Raises:
            UserError: a value cannot be used, or a name is a misspelling of one of ours.
        """
        names = [*cls.__dataclass_fields__, *others]
        for name in metadata:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), names, 1, cutoff=0.8)
            if near and name not in names and name not in _THEIRS:
                raise UserError(f"--metadata: {name} is no setting.", f"Write {near[0]}.")
        ours = {name: metadata[name] for name in cls.__dataclass_fields__ if name in metadata}
        # null says nothing, but of reasoning markers that there are none
        asked = {name: value for name, value in ours.items() if value is not None or name == "reasoning_markers"}
        return read_settings(cls, asked, "--metadata")
