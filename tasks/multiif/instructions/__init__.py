"""The verifiable instructions of Multi-IF, with the semantics of the published grader, quirks included.

To add one, write a check and register it with :func:`instruction` in the module of its family; a check that native
readers would agree with more often goes below it, registered with :func:`corrects`. What the construction of data sets
knows of an instruction is in the module of the same name in :mod:`turnswap.construction.instructions`. Source of the
rules: the IFEval checkers (arXiv 2311.07911) with the language-aware counts of Multi-IF (arXiv 2410.15553).
"""

from collections.abc import Mapping

from . import case, combination, content, format, keywords, language, length, startend  # noqa: F401
from .own import load_instructions, load_listed
from .spec import INSTRUCTIONS, Instruction, MalformedInstruction, instruction

__all__ = [
    "INSTRUCTIONS",
    "Instruction",
    "MalformedInstruction",
    "get_instruction",
    "instruction",
    "load_instructions",
    "parse_kwargs",
]


def get_instruction(instruction_id: str) -> Instruction:
    """The instruction of this id: one of those here, or of the files that ``TURNSWAP_INSTRUCTIONS`` lists.

    Raises:
        MalformedInstruction: there is none.
        UserError: one of these files cannot be run.
    """
    if instruction_id not in INSTRUCTIONS:
        load_listed()
    try:
        return INSTRUCTIONS[instruction_id]
    except KeyError:
        family = instruction_id.split(":")[0]
        near = [known for known in INSTRUCTIONS if known.startswith(family + ":")] or sorted(INSTRUCTIONS)
        raise MalformedInstruction(
            f"unknown instruction id {instruction_id!r}; expected one of {', '.join(near)}"
        ) from None


def parse_kwargs(instruction_id: str, kwargs: Mapping[str, object]) -> dict[str, object]:
    """Validated kwargs of one instruction; raises MalformedInstruction, see :meth:`Instruction.parse`."""
    return get_instruction(instruction_id).parse(kwargs)
