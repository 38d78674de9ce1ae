"""What we rely on in another package: checked before it is used, and named where it does not hold."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterable

from packaging.requirements import Requirement

from .errors import UserError


def unmet(relied_on: Iterable[str]) -> list[str]:
    """What of the other package is not there, or does not take the arguments that we give.

    Args:
        relied_on: a module and names in it, with the arguments of those that are called.

    >>> unmet(["json: loads(s) no_such JSONDecoder.decode(s, twice)"])
    ['json:no_such is missing', 'json:JSONDecoder.decode takes no twice']
    """
    found = []
    for said in relied_on:
        module, _, names = said.partition(":")
        for name, arguments in re.findall(r"([\w.]+)(?:\(([^)]*)\))?", names):
            try:
                value = functools.reduce(getattr, name.split("."), importlib.import_module(module))
            except (ImportError, AttributeError):
                found.append(f"{module}:{name} is missing")
                continue
            taken = inspect.signature(value).parameters if arguments else {}  # type: ignore[arg-type] # it is called
            wanted = arguments.split(", ") if arguments else []
            found += [f"{module}:{name} takes no {argument}" for argument in wanted if argument not in taken]
    return found


def require(package: str, problems: list[str]) -> None:
    """Refuse to work with a package (a distribution's name) that has problems, as :func:`unmet` gives them.

    Raises:
        UserError: there are some; it names the installed version and the one that works.
    """
    if problems:
        raise UserError(
            f"{package} {importlib.metadata.version(package)} does not fit this turnswap: {'; '.join(problems)}.",
            f"Install a version that does: pip install '{bounds(package)}', or a newer turnswap.",
        )


def bounds(package: str) -> str:
    """The versions of a package that turnswap asks for, such as ``lm-eval<0.5,>=0.4.13``, from its own metadata."""
    asked = (Requirement(said) for said in importlib.metadata.requires("turnswap") or ())
    return next((f"{each.name}{each.specifier}" for each in asked if each.name == package), package)
