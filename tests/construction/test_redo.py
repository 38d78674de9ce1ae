"""Steps that are made anew: what is asked again, what stays, and what a stop leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from turnswap.core.errors import UserError

from ..conftest import REPOSITORY, Turnswap
from .conftest import Serving
from .example_build import asked, built, configured, refusing

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")


def test_a_step_made_anew_asks_anew_and_the_steps_after_it_only_what_is_new(tmp_path: Path, serving: Serving) -> None:
    with serving() as server:
        built(tmp_path, server)
    with serving() as server:
        _, counts = built(tmp_path, server, redo="translate")
        assert {json.loads(each.rpartition("INPUT:\n")[2])["task"] for each in asked(server)} == {"translate"}
        assert len(server.requests) == 82
        assert counts[-1].kept == 41
    assert (tmp_path / "steps" / "4-translate.previous").exists()
    assert [path.name[:10] for path in (tmp_path / "steps" / "llm-answers").glob("*.previous")] == ["translate-"]


def test_a_redo_that_stops_keeps_all_answers_and_goes_on_without_redo(tmp_path: Path, serving: Serving) -> None:
    answers_of = "steps/llm-answers/translate-*"
    with serving() as server:
        built(tmp_path, server, "translate")
        (cache,) = tmp_path.glob(answers_of)
        whole = cache.stat().st_size
    with serving(refusing("", task="translate")) as server:
        for _ in range(2):  # the second one has answers of the first one to keep
            with pytest.raises(UserError) as raised:
                built(tmp_path, server, "translate", redo="translate", max_failed=0, model_args={"num_concurrent": 1})
            assert "run the command again without --redo" in raised.value.advice
    assert cache.with_suffix(".previous").stat().st_size == whole
    with serving() as server:
        assert built(tmp_path, server, "translate")[1][-1].kept == 41
        assert len(server.requests) == 82


@pytest.mark.parametrize("redo", ["prove", "release"])
def test_a_redo_behind_the_last_step_is_refused_before_anything_is_touched(
    tmp_path: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch, redo: str
) -> None:
    monkeypatch.chdir(REPOSITORY)
    path = configured(tmp_path)
    assert turnswap("build", "run", path, "--last", "translate").exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "steps").rglob("*")}
    for more in ([], ["--dry-run"]):
        ran = turnswap("build", "run", path, "--redo", redo, "--last", "translate", *more)
        assert ran.exit_code != 0
        assert f"The step {redo} cannot be made again" in str(ran.exception or ran.output) + ran.output
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "steps").rglob("*")} == before
