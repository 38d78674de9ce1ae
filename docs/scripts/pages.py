"""Write the pages of docs/reference that are made from the code; with --check, only tell which are not what it says.

python docs/scripts/pages.py
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "reference"
PAGES = ("build_keys", "commands", "metrics", "search_keys", "swap_keys", "task_settings")


def main() -> None:
    """Write, or check."""
    differ = []
    for name in PAGES:
        path, text = REFERENCE / f"{name}.md", importlib.import_module(name).page()
        if not path.exists() or path.read_text("utf-8") != text:
            differ.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, "utf-8")
    if differ and "--check" in sys.argv:
        sys.exit(f"{', '.join(differ)}: the code says otherwise. Run: python docs/scripts/pages.py")


if __name__ == "__main__":
    main()
