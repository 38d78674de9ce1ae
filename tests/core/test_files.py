"""Files are whole, or as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from turnswap.core.errors import UserError
from turnswap.core.files import similar, write_whole


def test_a_file_is_written_with_its_folder_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    assert write_whole(path, "नमस्ते\n") == path
    path.chmod(0o600)
    write_whole(path, b"\x00second")
    assert path.read_bytes() == b"\x00second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


def test_a_write_that_is_stopped_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_whole(tmp_path / "file.txt", "before")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "after")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["file.txt"]


def test_writers_of_one_process_number_do_not_share_an_unfinished_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished: list[Path] = []
    replace = os.replace
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "replace", lambda old, new: unfinished.append(old) or replace(old, new))
    for text in ("one", "other"):
        write_whole(tmp_path / "file.txt", text)
    assert len(set(unfinished)) == 2


def test_what_the_system_refuses_is_said_with_the_path_and_the_advice(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "")
    with pytest.raises(UserError) as refused:
        write_whole(tmp_path / "file" / "below.txt", "text", "Take another folder.")
    assert str(tmp_path / "file" / "below.txt") in refused.value.message
    assert refused.value.advice == "Take another folder."


def test_a_path_that_is_not_there_has_a_near_one_named(tmp_path: Path) -> None:
    (tmp_path / "results-b").mkdir()
    assert similar(tmp_path / "results_b") == f" Did you mean {tmp_path / 'results-b'}?"
    assert similar(tmp_path / "results-b") == similar(tmp_path / "other") == similar(tmp_path / "no" / "results") == ""
