from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from turnswap import __version__
from turnswap.commands import demo_model
from turnswap.commands.main import main
from turnswap.core.errors import UserError, format_error
from turnswap.hosts import enable
from turnswap.tasks import tasks_path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site-packages folder of this test's own."""
    monkeypatch.setattr(enable.sysconfig, "get_path", lambda name: str(tmp_path))
    return tmp_path


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "turnswap", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"turnswap, version {__version__}\n"


def test_enable_writes_one_file_says_where_and_how_to_undo_it(site: Path) -> None:
    shown = invoke("enable")
    (path,) = site.iterdir()
    assert f"wrote {path}" in shown
    assert "turnswap disable" in shown
    assert len(path.read_text().splitlines()) == 1


def test_enable_twice_is_enable_once(site: Path) -> None:
    invoke("enable")
    (path,) = site.iterdir()
    content = path.read_bytes()
    assert "Already enabled" in invoke("enable")
    assert list(site.iterdir()) == [path]
    assert path.read_bytes() == content


def test_an_outdated_file_is_replaced(site: Path) -> None:
    path, content = enable.startup_file()
    path.write_text("import something_old\n")
    assert "not enabled" in invoke("status")
    invoke("enable")
    assert path.read_text() == content


def test_disable_undoes_enable(site: Path) -> None:
    invoke("enable")
    assert "removed" in invoke("disable")
    assert list(site.iterdir()) == []
    assert "Nothing to do" in invoke("disable")


def test_status_tells_whether_it_is_enabled(site: Path) -> None:
    assert "not enabled; run: turnswap enable" in invoke("status")
    invoke("enable")
    assert f"enabled by {enable.startup_file()[0]}" in invoke("status")


def test_where_it_may_not_write_it_refuses_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enable.sysconfig, "get_path", lambda name: "/dev/null/site-packages")
    result = CliRunner().invoke(main, ["enable"])
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    assert "virtual environment" in result.output
    assert "Traceback" not in result.output


def test_tasks_path_is_the_folder_of_our_yamls() -> None:
    shown = Path(invoke("tasks-path").strip())
    assert shown == tasks_path()
    assert (shown / "multiif" / "multiif_zh.yaml").is_file()


def test_demo_model_does_not_overwrite_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    result = CliRunner().invoke(main, ["demo-model", str(tmp_path)])
    assert result.exit_code == 1
    assert "already exists and is no model" in " ".join(result.output.split())


def test_a_missing_extra_is_reported_as_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs torch.*pip install 'turnswap\[demo\]'"):
        demo_model.write_demo_model(tmp_path / "model")


def test_errors_are_shown_as_message_and_advice() -> None:
    assert format_error(UserError("It broke.", "Mend it.")) == "turnswap: It broke.\nMend it."


def test_a_host_that_has_changed_goes_on_working_and_we_say_so(tmp_path: Path) -> None:
    package = tmp_path / "lm_eval" / "tasks"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "manager.py").write_text("answer = 42\n")  # no TaskManager in it
    program = (
        "from turnswap.hosts.startup import install; install()\nimport lm_eval.tasks.manager as m; print(m.answer)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
    assert "does not fit this turnswap: lm_eval.tasks.manager:TaskManager.__init__ is missing" in done.stderr
