"""Settings from YAML files, and their checks: unknown names, missing ones and wrong kinds are said in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from .errors import UserError, reason_of
from .files import similar

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """YAML without two of its traps: of a key that stands twice one is lost, and 012, 1_0 and 1:2 are other numbers."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise _Trap(f"line {key.start_mark.line + 1}: {key.value} stands twice.", "Remove one of the two.")
            seen.add((key.tag, str(key.value)))
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if node.tag == "tag:yaml.org,2002:int" and not re.fullmatch(r"[-+]?(0|[1-9]\d*)", node.value):
            raise _Trap(
                f"line {node.start_mark.line + 1}: YAML reads {node.value} as {self.construct_yaml_int(node)}.",
                'Write a number with the digits 0 to 9 alone. Texts, such as the layers "1-2", stand in quotes.',
            )
        return node


class _Trap(UserError):
    pass


def parse_yaml(text: str, where: str, advice: str) -> Any:
    """What a YAML text holds.

    Args:
        text: YAML.
        where: it stands, such as a path.
        advice: where to see an example.

    Raises:
        UserError: it is no YAML, a key stands twice in a mapping, or a number is one that few would read as YAML does.
    """
    try:
        return yaml.load(text, _Loader)
    except _Trap as error:
        raise UserError(f"{where}, {error.message}", error.advice) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        raise UserError(f"{where} cannot be read as YAML: {reason_of(error)}.", advice) from error


def read_yaml(path: Path, advice: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: it cannot be read, or holds something else; ``advice`` says where to see one.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {reason_of(error)}.{similar(path)}", advice) from error
    content = parse_yaml(text, str(path), advice)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings: expected lines such as name: value.", advice)
    return content


def read_settings(kind: type[T], content: object, where: str, advice: str = "") -> T:
    """Settings as a dataclass or a pydantic model; names that it does not have are refused.

    So is what pydantic would take for a number: true and false; and of dataclasses' fields nan and infinity.

    Args:
        kind: the class; the fields of a dataclass may carry pydantic's annotations.
        content: what a YAML file or options say; None for nothing.
        where: of what, such as ``translate`` or ``a sweep``.
        advice: where to see an example.

    Raises:
        UserError: it names the setting, what it holds, and what was expected.
    """
    strict = (
        kind if hasattr(kind, "model_fields") else with_config(ConfigDict(extra="forbid", allow_inf_nan=False))(kind)
    )
    try:
        made = TypeAdapter(strict).validate_python({} if content is None else content)
    except ValidationError as error:
        unknown, missing = {"extra_forbidden", "unexpected_keyword_argument"}, {"missing", "missing_argument"}
        # A misspelt name is also a missing one: the misspelling says more.
        first = min(error.errors(), key=lambda each: each["type"] not in unknown)
        name = _place(content, first["loc"])
        if first["type"] in unknown:
            known: Any = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {})
            near = difflib.get_close_matches(str(first["loc"][-1]), known, 1) if len(first["loc"]) == 1 else []
            hint = f" Did you mean {near[0]}?" if near else ""
            listed = f"There are: {', '.join(known)}." if len(first["loc"]) == 1 else advice
            raise UserError(f"{name} is no setting of {where}.", f"{listed}{hint}") from None
        if first["type"] in missing:
            names = [".".join(map(str, each["loc"])) for each in error.errors() if each["type"] in missing]
            raise UserError(f"{where} needs {', '.join(names)}.", advice) from None
        reasons = dict.fromkeys(_reason(each) for each in error.errors() if _place(content, each["loc"]) == name)
        reason = " or ".join([*reasons][:1] + [each.removeprefix("Input should be ") for each in [*reasons][1:]])
        raise UserError(f"{where}: {name} cannot be {first['input']!r}: {reason}.", advice) from None
    if truth := _as_number(content, made):
        raise UserError(f"{where}: {truth[0]} cannot be {truth[1]}: expected a number.", advice)
    return made


def _place(content: object, loc: Sequence[int | str]) -> str:
    """Where an error is, as keys; pydantic names members of unions and other kinds between them."""
    names = []
    for part in loc:
        if isinstance(content, Mapping) and part in content:
            content = content[part]
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part] if part < len(content) else None
        else:
            continue
        names.append(str(part))
    return ".".join(names)


def _reason(error: Any) -> str:
    kind, given = error["type"], error["input"]
    if kind in ("list_type", "tuple_type", "set_type"):
        return f"expected a list, such as [{given}]" if isinstance(given, str) else "expected a list"
    if kind in ("mapping_type", "dict_type", "dataclass_type", "model_type"):
        return "expected names with values, such as {name: value}"
    return str(error["msg"]).removeprefix("Value error, ")


def _as_number(given: object, made: object) -> tuple[str, object] | None:
    """Where true or false was taken for a number, as keys, and which."""
    if isinstance(given, bool):
        return ("", given) if isinstance(made, int | float) and not isinstance(made, bool) else None
    if isinstance(given, Mapping):
        of = made if isinstance(made, Mapping) else getattr(made, "__dict__", {})
        pairs = [(name, value, of.get(name)) for name, value in given.items()]
    elif isinstance(given, list) and isinstance(made, list | tuple):
        pairs = [(number, *pair) for number, pair in enumerate(zip(given, made, strict=False))]
    else:
        return None
    for name, *pair in pairs:
        if found := _as_number(*pair):
            return f"{name}.{found[0]}".rstrip("."), found[1]
    return None
