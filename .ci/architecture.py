"""The picture of the package in CONTRIBUTING.md, drawn from the imports; ``--check`` only says whether it is true."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import grimp

PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"
BEGIN, END = "<!-- drawn by make architecture -->\n```mermaid\n", "```\n<!-- end -->"


def picture() -> str:
    """A Mermaid flow chart: a box per package with its number of files, an arrow where one imports from another."""
    graph = grimp.build_graph("turnswap", cache_dir=None)
    packages = sorted(child for child in graph.find_children("turnswap") if graph.find_children(child))
    lines = ["flowchart TD"]
    for package in packages:
        name, files = package.removeprefix("turnswap."), len(graph.find_descendants(package)) + 1
        lines.append(f'  {name}["{name} ({files} files)"]')
    for one, other in itertools.permutations(packages, 2):
        if graph.direct_import_exists(importer=one, imported=other, as_packages=True):
            lines.append(f"  {one.removeprefix('turnswap.')} --> {other.removeprefix('turnswap.')}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Draw, or check."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    drawn, _, after = rest.partition(END)
    if drawn == picture():
        return
    if "--check" in sys.argv:
        sys.exit("The picture in CONTRIBUTING.md is not what the imports say: run make architecture.")
    PAGE.write_text(before + BEGIN + picture() + END + after, "utf-8")


if __name__ == "__main__":
    main()
