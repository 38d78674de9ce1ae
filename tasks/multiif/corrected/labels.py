"""Readers' labels: whether a real reply follows one instruction, by people who read it (``turnswap label``)."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictBool, TypeAdapter, ValidationError

from turnswap.core.errors import UserError, reason_of
from turnswap.core.journal import parse_lines

from ..instructions import MalformedInstruction, parse_kwargs


@dataclass(frozen=True)
class Label:
    """What readers say of one reply and one instruction.

    Attributes:
        language: the code of the conversation's language.
        instruction_id: such as ``keywords:existence``, with its ``kwargs``.
        reply: the whole of it.
        reader: whether it follows the instruction.
        prompts: the user's turns up to it, where they are known.
        weight: how many replies it stands for among those that it was drawn from.
        why: a reason of each reader's.
    """

    language: str
    instruction_id: str
    kwargs: Mapping[str, Any]
    reply: str
    reader: StrictBool
    prompts: tuple[str, ...] = ()
    weight: Annotated[float, Field(gt=0)] = 1.0
    why: tuple[str, ...] = ()


def read_labels(path: Path) -> list[Label]:
    """The labels of a file of JSON lines, which may be compressed by gzip.

    Raises:
        UserError: it cannot be read, or a line is no label.
    """
    labels = []
    for number, content in read_lines(path):
        try:
            labels.append(TypeAdapter(Label).validate_python(content))
            parse_kwargs(labels[-1].instruction_id, labels[-1].kwargs)
        except (ValidationError, MalformedInstruction) as error:
            told = error.errors()[0] if isinstance(error, ValidationError) else None
            said = f"{'.'.join(map(str, told['loc']))}: {told['msg']}" if told else str(error)
            raise UserError(
                f"{path}, line {number}, is no label: {said}.",
                "Expected language, instruction_id, kwargs, reply and reader (true or false): turnswap label read "
                "writes such a file.",
            ) from None
    return labels


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, with their numbers; ``.gz`` is decompressed.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig") as file:
            return list(parse_lines(file, path))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {reason_of(error)}.", "Expected JSON lines in UTF-8.") from None
