"""lm-eval's cache as the schedules use it: whose replies it holds, and a disk that takes no more."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from turnswap.core.errors import UserError
from turnswap.tasks.multiturn.identity import fingerprint, identity

from .politeness import run
from .stub_models import ScriptedLM

SIZE = 200_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(os.urandom(SIZE))
    (folder / "config.json").write_text("{}")
    return folder


def of_folder(folder: Path, **attributes: Any) -> ScriptedLM:
    lm = ScriptedLM()
    for name, value in {"pretrained": str(folder), **attributes}.items():
        setattr(lm, name, value)
    return lm


def test_a_model_merged_anew_into_the_same_folder_does_not_get_the_olds_replies(folder: Path, tmp_path: Path) -> None:
    run(of_folder(folder), use_cache=str(tmp_path / "cache"))
    again = of_folder(folder)
    run(again, use_cache=str(tmp_path / "cache"))
    assert not again.calls  # the same weights: nothing to ask
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[SIZE // 3 : SIZE // 3 + SIZE // 15] = os.urandom(SIZE // 15)  # two layers of thirty
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match=r"was made by ScriptedLM .* and now ScriptedLM .* is asked"):
        run(of_folder(folder), use_cache=str(tmp_path / "cache"))


@pytest.mark.parametrize("other", [{"revision": "v2"}, {"peft": "adapter"}, {"pretrained": "org/model"}])
def test_what_changes_replies_tells_models_apart(folder: Path, other: dict[str, str]) -> None:
    assert identity(of_folder(folder)) != identity(of_folder(folder, **other))


def test_a_copy_of_a_folder_has_its_fingerprint(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert fingerprint(copy) == fingerprint(folder)


def test_a_cache_that_lm_eval_made_by_itself_is_used(tmp_path: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CachingLM

    alone = CachingLM(ScriptedLM(), str(tmp_path / "cache_rank0.db"))
    asked = ("<user>Hi<assistant>", {"until": [], "max_gen_toks": 20})
    alone.generate_until([Instance("generate_until", {}, asked, 0)])
    alone.dbdict.close()
    lm = ScriptedLM()
    run(lm, use_cache=str(tmp_path / "cache"), limit=1)
    assert len(lm.prompts) == 2  # the second and the third turn


@pytest.mark.parametrize("room", [6, 20])
def test_a_full_disk_ends_no_run_in_lockstep(
    room: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlitedict

    connect = sqlitedict.SqliteMultithread._connect

    def small(self: Any) -> Any:
        connection, cursor = connect(self)
        cursor.execute(f"PRAGMA max_page_count = {room}")  # SQLite's own "database or disk is full"
        return connection, cursor

    monkeypatch.setattr(sqlitedict.SqliteMultithread, "_connect", small)
    caplog.set_level(logging.WARNING)
    lm = ScriptedLM(lambda prompt: f"please {len(prompt)} " + "and so on " * 1000)
    results = run(lm, use_cache=str(tmp_path / "cache"))
    assert results["results"]["polite"]["polite,none"] == 1
    assert sum("The cache cannot be written" in record.getMessage() for record in caplog.records) == 1
    assert "are not in the cache: it could not be written to the end" in caplog.text
    monkeypatch.undo()
    again = ScriptedLM(lm.reply)
    assert run(again, use_cache=str(tmp_path / "cache"))["samples"]["polite"] == results["samples"]["polite"]
    assert len(again.prompts) <= len(lm.prompts)


def test_a_disk_that_has_room_again_gets_what_it_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.model import CachingLM

    from turnswap.tasks.multiturn import cache
    from turnswap.tasks.multiturn.answers import Answer
    from turnswap.tasks.multiturn.conversation import Conversation, Script

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(cache, "_PAUSE", -1.0)
    lm = CachingLM(ScriptedLM(), str(tmp_path / "cache.db"))
    lm.dbdict.conn.execute("PRAGMA max_page_count = 8")
    replies = cache.Replies(lm)
    conversation = Conversation(Script(("Hi",)), [{}])
    keys = [replies.key((f"prompt {number}", {}), conversation) for number in range(200)]
    for key in keys[:100]:
        replies.put(key, Answer("long " * 500, finish_reason="stop"))
    replies.finish()
    assert "are not in the cache" in caplog.text
    lm.dbdict.conn.execute("PRAGMA max_page_count = 1000000")
    for key in keys[100:]:
        replies.put(key, Answer("short", finish_reason="length"))
    replies.finish()
    lm.dbdict.close()
    later = cache.Replies(CachingLM(ScriptedLM(), str(tmp_path / "cache.db")))
    found = [later.get(key) for key in keys]
    assert (
        found == [Answer("long " * 500, finish_reason="stop")] * 100 + [Answer("short", finish_reason="length")] * 100
    )
    assert "The cache can be written again" in caplog.text


def cached(cache: Path, lm: ScriptedLM, **options: Any) -> Any:
    return run(lm, use_cache=str(cache), **options)


def test_a_second_run_asks_the_model_for_nothing(tmp_path: Path) -> None:
    first, second = ScriptedLM(), ScriptedLM()
    results = cached(tmp_path / "cache", first)
    again = cached(tmp_path / "cache", second)
    assert second.calls == []
    assert again["samples"]["polite"][0]["resps"] == results["samples"]["polite"][0]["resps"]


def test_a_run_killed_in_turn_2_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    asked = 0

    def dies(prompt: str) -> str:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise KeyboardInterrupt
        return "re " + str(len(prompt))

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "cache", ScriptedLM(dies))
    resumed = ScriptedLM(lambda prompt: "re " + str(len(prompt)))
    results = cached(tmp_path / "cache", resumed)
    assert [len(call) for call in resumed.calls] == [2, 2]  # of turns 2 and 3; one reply of turn 2 was saved
    undisturbed = run(ScriptedLM(lambda prompt: "re " + str(len(prompt))))
    assert results["samples"] == undisturbed["samples"]
