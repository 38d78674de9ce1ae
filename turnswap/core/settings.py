"""Settings from YAML files, and their checks: unknown names, missing ones and wrong kinds are said in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from .errors import UserError

T = TypeVar("T")


def read_yaml(path: Path, advice: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: it cannot be read, or holds something else; ``advice`` says where to see one.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}.", advice) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings.", advice)
    return content


def read_settings(kind: type[T], content: object, where: str, advice: str = "") -> T:
    """Settings as a dataclass or a pydantic model; names that it does not have are refused.

    Args:
        kind: the class; the fields of a dataclass may carry pydantic's annotations.
        content: what a YAML file or options say; None for nothing.
        where: of what, such as ``translate`` or ``a sweep``.
        advice: where to see an example.

    Raises:
        UserError: it names the setting, what it holds, and what was expected.
    """
    strict = kind if hasattr(kind, "model_fields") else with_config(ConfigDict(extra="forbid"))(kind)
    try:
        return TypeAdapter(strict).validate_python({} if content is None else content)
    except ValidationError as error:
        unknown, missing = {"extra_forbidden", "unexpected_keyword_argument"}, {"missing", "missing_argument"}
        # A misspelt name is also a missing one: the misspelling says more.
        first = min(error.errors(), key=lambda each: each["type"] not in unknown)
        name = ".".join(map(str, first["loc"]))
        if first["type"] in unknown:
            known: Mapping[str, object] = getattr(kind, "model_fields", None) or getattr(
                kind, "__dataclass_fields__", {}
            )
            raise UserError(f"{name} is no setting of {where}.", f"There are: {', '.join(known)}.") from None
        if first["type"] in missing:
            names = [".".join(map(str, each["loc"])) for each in error.errors() if each["type"] in missing]
            raise UserError(f"{where} needs {', '.join(names)}.", advice) from None
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {name} cannot be {first['input']!r}: {reason}.", advice) from None
