"""Finished pieces of work as JSON lines: a run that was killed goes on after the last whole one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Lines:
    """A file with a line per piece; what was cut off while it was written counts for nothing.

    Attributes:
        found: the pieces by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        held = path.read_text("utf-8") if path.is_file() else ""
        whole = held[: held.rfind("\n") + 1]
        if whole != held:
            path.write_text(whole, "utf-8")
        self.found = {line["name"]: line for line in map(json.loads, whole.splitlines())}

    def of(self, name: str, parameters: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A piece by its name, made unless it is there; it must have been made of the same parameters."""
        if name not in self.found:
            begin = time.perf_counter()
            made = {"name": name, "parameters": parameters, **make(), "seconds": round(time.perf_counter() - begin, 1)}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(made) + "\n")
            self.found[name] = made
        found = self.found[name]
        if found["parameters"] != json.loads(json.dumps(parameters)):
            raise RuntimeError(f"{self.path}: {name} was made of {found['parameters']}, not of {parameters}")
        return found
