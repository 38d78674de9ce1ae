"""Run the tutorials' notebooks and store them with their outputs: ``python docs/scripts/notebooks.py``.

Each runs from top to bottom in an empty folder. What is stored says by which code it was made (``executed_code``), so
that a test finds outputs that are older than their cells.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

TUTORIALS = Path(__file__).parents[1] / "tutorials"
# As "turnswap enable" does, for a kernel of an environment in which nobody called it.
ENABLED = "from turnswap.hosts.startup import install\ninstall()\n"


def code_sha256(notebook: Any) -> str:
    """The digest of a notebook's code, by which stale outputs are found."""
    cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join("".join(source) for source in cells).encode()).hexdigest()


def run(notebook: Path, folder: Path, timeout: int = 600) -> Any:
    """The notebook, executed in ``folder`` without a network; what it logged to standard error is left out.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    content: Any = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as start:
        Path(start, "sitecustomize.py").write_text(ENABLED, "utf-8")
        repository = str(TUTORIALS.parents[1])
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([start, repository]),
        }
        client = NotebookClient(
            content, timeout=timeout, kernel_name="python3", record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )  # fmt: skip
        client.execute(env=environment)
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    content.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "executed_code": code_sha256(content),
    }
    return content


def main() -> None:
    """Run those named, or all, and store them."""
    for notebook in [Path(name) for name in sys.argv[1:]] or sorted(TUTORIALS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            content = run(notebook, Path(folder))
        nbformat.write(content, notebook)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
