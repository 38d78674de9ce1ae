"""Files of JSON lines: what a killed process leaves, what is refused, and figures without NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from turnswap.core.errors import UserError
from turnswap.core.journal import Journal, plain, read_jsonl


def test_half_a_line_of_a_killed_run_is_cut_off_and_the_next_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    # Text may hold a line separator, which is no end of a line here.
    Journal(path).start([{"n": 1, "text": "a\u2028b"}])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"n": 2, "te')
    journal = Journal(path)
    assert [line["n"] for line in journal.lines] == [1]
    journal.append({"n": 3}, {"n": 4})
    assert [line["n"] for line in read_jsonl(path)] == [1, 3, 4]


@pytest.mark.parametrize("line", ["{broken", "[1]"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(f'{{"n": 1}}\n{line}\n{{"n": 2}}\n', "utf-8")
    with pytest.raises(UserError, match="line 2"):
        read_jsonl(path)


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert read_jsonl(tmp_path / "none.jsonl") == []


def test_plain_content_is_json_without_nan() -> None:
    content = {"value": math.nan, "low": -math.inf, "rows": ((1, True, None), "–"), "where": Path("a")}
    expected = {"value": None, "low": None, "rows": [[1, True, None], "–"], "where": "a"}
    assert plain(content) == expected == json.loads(json.dumps(plain(content), allow_nan=False))
