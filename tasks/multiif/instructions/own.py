"""Instructions of a data set's own: a Python file that registers them, as the modules here do.

The file is run: it can do whatever its author likes. So only one that the user names is: in a build's YAML, beside the
tasks of a folder that lm-eval was told to include, or in ``TURNSWAP_INSTRUCTIONS``. What comes with the rows of a data
set is never run.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from types import ModuleType

from turnswap.core.errors import UserError

from .spec import INSTRUCTIONS

VARIABLE = "TURNSWAP_INSTRUCTIONS"
_loaded: dict[str, str] = {}  # content, by file


def load_instructions(path: Path) -> str:
    """Run a file that registers instructions, once; processes that are started later know of it too.

    Returns:
        A digest of its content.

    Raises:
        UserError: it cannot be read or run, registers nothing, or an id that there is already.
    """
    path = path.resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"The instructions {path} cannot be read: {error.strerror}.",
            "Expected a Python file that registers instructions.",
        ) from error
    digest = hashlib.sha256(content).hexdigest()[:16]
    known, _loaded[str(path)] = digest in _loaded.values(), digest  # while it runs it is not run again
    if not known:
        try:
            _run(path, content, f"turnswap_instructions_{digest}")
        except UserError:
            del _loaded[str(path)]
            raise
    listed = _listed()
    if str(path) not in listed:
        os.environ[VARIABLE] = os.pathsep.join([*listed, str(path)])
    return digest


def load_listed() -> None:
    """Run the files that ``TURNSWAP_INSTRUCTIONS`` lists."""
    for path in _listed():
        if path not in _loaded:
            load_instructions(Path(path))


def _listed() -> list[str]:
    return [str(Path(part).resolve()) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]


def _run(path: Path, content: bytes, name: str) -> None:
    before = dict(INSTRUCTIONS)
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    problem = ""
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # whatever the user's code does
        problem = f"cannot be run: {type(error).__name__}: {error}"
    changed = sorted(id_ for id_ in before if INSTRUCTIONS.get(id_) is not before[id_])
    if changed:
        problem = f"registers {changed[0]}, which exists already"
    elif not problem and len(INSTRUCTIONS) == len(before):
        problem = "registers no instruction"
    if problem:
        del sys.modules[name]
        INSTRUCTIONS.clear()
        INSTRUCTIONS.update(before)
        raise UserError(
            f"The instructions {path}: the file {problem}.",
            "CONTRIBUTING.md, section Add an instruction, says how to write one; configs/m_ifeval has some.",
        )
