"""Settings in YAML files: what is wrong with them is said in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from turnswap.core.errors import UserError
from turnswap.core.settings import read_settings, read_yaml


@dataclass
class Plain:
    name: str
    number: int = 1
    more: list[str] = field(default_factory=list)


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    number: int = 1


@pytest.mark.parametrize("kind", [Plain, Model])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"nmae": "a"}, "nmae is no setting of a test. There are: name, number"),
        ({"number": 2}, "a test needs name. See test.yml."),
        (None, "a test needs name."),
        ({"name": "a", "number": "many"}, "a test: number cannot be 'many': "),
    ],
)
def test_what_is_wrong_is_named(kind: type[Any], content: object, words: str) -> None:
    with pytest.raises(UserError) as raised:
        read_settings(kind, content, "a test", "See test.yml.")
    assert words in str(raised.value)


@pytest.mark.parametrize("kind", [Plain, Model])
def test_settings_that_are_right_are_read(kind: type[Any]) -> None:
    found = read_settings(kind, {"name": "a", "number": 3}, "a test")
    assert (found.name, found.number) == ("a", 3)


@dataclass
class Kinds:
    names: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    pair: tuple[float, float] = (0, 1)
    either: int | str = 0
    on: bool = True


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"names": "sw"}, "names cannot be 'sw': expected a list, such as [sw]."),
        ({"scores": "high"}, "scores cannot be 'high': expected names with values, such as {name: value}."),
        ({"either": [1]}, "either cannot be [1]: Input should be a valid integer or a valid string."),
        ({"scores": {"a": True}}, "scores.a cannot be True: expected a number."),
        ({"pair": [0, True]}, "pair.1 cannot be True: expected a number."),
        ({"pair": [0, float("inf")]}, "pair.1 cannot be inf: Input should be a finite number."),
        ({"scores": {"a": float("nan")}}, "scores.a cannot be nan: Input should be a finite number."),
        ({"pair": [0]}, "a test needs pair.1."),
    ],
)
def test_errors_say_the_key_what_came_and_what_is_expected(content: object, words: str) -> None:
    with pytest.raises(UserError) as raised:
        read_settings(Kinds, content, "a test")
    assert words in str(raised.value)
    assert read_settings(Kinds, {"on": False, "pair": [1, 2.5]}, "a test") == Kinds(on=False, pair=(1, 2.5))


@pytest.mark.parametrize("text", ["- a\n", "a: [b\n", ""])
def test_a_file_without_settings_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.yml"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"settings\.yml .*See test\.yml"):
        read_yaml(path, "See test.yml.")


def test_broken_yaml_is_told_by_its_place_and_a_missing_file_by_the_one_that_is_near(tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("a: [b\n", "utf-8")
    with pytest.raises(UserError, match=r"settings\.yml cannot be read as YAML: line 2, column 1: expected ','"):
        read_yaml(path, "")
    with pytest.raises(UserError, match=r"setings\.yml cannot be read: No such file.*Did you mean .*/settings\.yml\?"):
        read_yaml(path.with_name("setings.yml"), "")
