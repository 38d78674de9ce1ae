"""What we rely on in another package: checked before it is used, and named where it does not hold."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Iterable

from packaging.requirements import Requirement

from .errors import UserError


def unmet(relied_on: Iterable[str]) -> list[str]:
    """What of the other package is not there, or does not take the arguments that we give.

    Args:
        relied_on: ``module:name`` or ``module:Class.method(argument, argument)``.

    >>> unmet(["json:loads(s)", "json:JSONDecoder.decode(s, twice)", "json:no_such"])
    ['json:JSONDecoder.decode takes no twice', 'json:no_such is missing']
    """
    found = []
    for said in relied_on:
        target, _, listed = said.rstrip(")").partition("(")
        module, _, name = target.partition(":")
        try:
            value: object = importlib.import_module(module)
            for part in name.split(".") if name else ():
                value = getattr(value, part)
        except (ImportError, AttributeError):
            found.append(f"{target} is missing")
            continue
        wanted = [argument.strip() for argument in listed.split(",") if argument.strip()]
        if wanted:
            taken = inspect.signature(value).parameters  # type: ignore[arg-type] # it is called, so it is callable
            found += [f"{target} takes no {argument}" for argument in wanted if argument not in taken]
    return found


def require(package: str, problems: list[str]) -> None:
    """Refuse to work with a package that does not fit.

    Args:
        package: the distribution's name.
        problems: as :func:`unmet` gives them.

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
