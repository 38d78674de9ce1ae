"""Make a checkout ready for a package index: ``python .ci/release_links.py REPOSITORY_URL TAG``.

PyPI shows the README without the repository around it: its relative links and pictures get the repository's address.
The project's own addresses go into pyproject.toml. The release workflow runs this; the changes are never committed.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def with_links(readme: str, repository: str, tag: str) -> str:
    """The README for who has no checkout: whole addresses, and the package by its name."""

    def whole(found: re.Match[str]) -> str:
        shown, target = found[1], found[2]
        return f"{shown}({repository}/{'raw' if shown.startswith('!') else 'blob'}/{tag}/{target})"

    linked = re.sub(r"(!?\[[^\]]*\])\((?!\w+:|#)([^)\s]+)\)", whole, readme)
    return linked.replace("URL_OF_THIS_REPOSITORY", repository).replace("pip install '.[", "pip install 'turnswap[")


def with_addresses(project: str, repository: str) -> str:
    """pyproject.toml with ``[project.urls]``."""
    addresses = f'[project.urls]\nRepository = "{repository}"\nChangelog = "{repository}/blob/main/CHANGELOG.md"\n\n'
    return project.replace("[project.optional-dependencies]", addresses + "[project.optional-dependencies]", 1)


if __name__ == "__main__":
    repository, tag = sys.argv[1:]
    for name, changed in (
        ("README.md", lambda text: with_links(text, repository, tag)),
        ("pyproject.toml", lambda text: with_addresses(text, repository)),
    ):
        file = ROOT / name
        file.write_text(changed(file.read_text("utf-8")), "utf-8")
