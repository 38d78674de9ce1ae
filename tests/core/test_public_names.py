"""The public names are those of docs/reference/api.md, and a missing extra is named."""

from __future__ import annotations

import re
import subprocess
import sys

import turnswap

from ..conftest import REPOSITORY


def test_the_page_and_the_package_say_the_same() -> None:
    table = (REPOSITORY / "docs" / "reference" / "api.md").read_text("utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    told = {name: re.findall(r"turnswap[.\w]*", row[3])[0] for row in rows for name in re.findall(r"`(\w+)", row[1])}
    assert told == {name: f"turnswap.{module}" for name, module in turnswap._MODULE_OF.items()}
    assert set(turnswap.__all__) == {"__version__", *told} <= set(dir(turnswap))


def test_every_name_is_there() -> None:
    for name in turnswap.__all__:
        assert getattr(turnswap, name) is not None


def test_a_name_whose_extra_is_missing_says_what_to_install() -> None:
    program = "import sys; sys.modules['mergekit'] = None\nimport turnswap\nturnswap.verify"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY)
    assert "UserError: turnswap.verify needs mergekit" in done.stderr
    assert "pip install 'turnswap[hf,merge]'" in done.stderr
