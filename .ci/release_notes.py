"""Print the changelog's section of a version, which must be this checkout's: ``python .ci/release_notes.py 0.2.0``."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def notes(version: str) -> str:
    """The section of a version, without its heading."""
    (here,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "turnswap/__init__.py").read_text("utf-8"), re.MULTILINE)
    if version != here:
        sys.exit(
            f"This checkout is version {here}, not {version}: change turnswap/__init__.py, or name the tag v{here}."
        )
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not (
        found := re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    ):
        sys.exit(f"CHANGELOG.md has no section of {version}.")
    return found[1].strip()


if __name__ == "__main__":
    sys.stdout.write(notes(sys.argv[1]) + "\n")
