"""A host that no longer fits is found at start and named, with the version that works; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnswap.hosts.mergekit_contract import check_mergekit
from turnswap.tasks import tasks_path
from turnswap.tasks.multiturn.lm_eval_contract import check_lm_eval

from ..conftest import Command, Turnswap


@pytest.fixture
def mergekit() -> None:
    pytest.importorskip("mergekit", reason="needs mergekit, of the extra merge")


FITS = "pip install 'lm-eval<0.5,>=0.4.13'"
# A later lm-eval, in which a name that we need is gone, and one in which it takes other arguments.
CHANGED = {
    "gone": "import lm_eval.api.model as m; del m.hash_args",
    "other arguments": "from lm_eval.models.api_models import TemplateAPI as m; m.amodel_call = lambda session: None",
    "no lookup": "import lm_eval.api.metrics as m; m.stderr_for_metric = lambda metric, bootstrap_iters: None",
}


def test_the_installed_lm_eval_fits() -> None:
    assert check_lm_eval() == []


@pytest.mark.usefixtures("mergekit")
def test_the_installed_mergekit_fits() -> None:
    assert check_mergekit() == []


@pytest.mark.usefixtures("mergekit")
def test_status_shows_the_check(turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = turnswap("status").output
    assert shown.count(", fits") == 2
    monkeypatch.delattr("mergekit.merge.run_merge")
    monkeypatch.delattr("lm_eval.api.model.hash_args")
    shown = turnswap("status").output
    assert f"does not fit: lm_eval.api.model:hash_args is missing; {FITS}" in shown
    assert "does not fit: mergekit.merge:run_merge is missing; pip install 'mergekit<0.2,>=0.1.5'" in shown


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_lm_eval_ends_with_the_version_that_works_and_no_traceback(
    change: str, run_command: Command, tmp_path: Path
) -> None:
    arguments = ["lm_eval", "run", "--model", "dummy", "--tasks", "multiif_en", "--include_path", str(tasks_path())]
    lines = [
        f"import sys; sys.argv = {arguments!r}",
        change,
        "from lm_eval.__main__ import cli_evaluate; cli_evaluate()",
    ]
    done = run_command("python", "-c", "\n".join(lines), TURNSWAP_MULTIIF="sample")
    assert done.returncode == 1
    assert "turnswap: lm-eval 0.4" in done.stderr
    assert FITS in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("mergekit")
def test_the_commands_of_swaps_refuse_a_mergekit_that_does_not_fit(
    turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("mergekit.merge.run_merge")
    refused = turnswap("plan", "layerswap.yml")
    assert refused.exit_code == 1
    assert "mergekit 0.1" in refused.output
    assert "run_merge is missing" in refused.output


GONE = (
    "import sys, mergekit.architecture.conversion as m; del m.convert_checkpoint_tensors\n"
    "from turnswap.hosts.startup import install; install(force=True)\n"
    "from mergekit.scripts.run_yaml import main\n"
)


@pytest.mark.usefixtures("mergekit")
def test_the_stock_mergekit_goes_on_and_is_told_which_version_works(run_command: Command) -> None:
    done = run_command("python", "-c", GONE + "import mergekit.merge; print(mergekit.merge.run_merge.__module__)")
    assert done.stdout == "mergekit.merge\n"
    said = " ".join(done.stderr.split())
    assert "mergekit 0.1" in said
    assert "convert_checkpoint_tensors is missing" in said
    assert "pip install 'mergekit<0.2,>=0.1.5'" in said


@pytest.mark.usefixtures("mergekit")
def test_a_swap_that_it_is_given_all_the_same_is_refused_without_a_traceback(
    run_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "swap.yml").write_text("merge_method: layer_swap\nbase_model: a\nmodels: [{model: b}]\n")
    done = run_command("python", "-c", GONE + "main(args=['swap.yml', 'merged'])")
    assert done.returncode == 1
    assert "turnswap: mergekit 0.1" in done.stderr
    assert "pip install 'mergekit<0.2,>=0.1.5'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
