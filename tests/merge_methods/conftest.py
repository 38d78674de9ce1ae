"""What the tests share: tiny experts and a merge that stay as they are, and merges that must leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turnswap.core.errors import UserError


@pytest.fixture(scope="session")
def experts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipient and a donor of six layers, read by many tests and changed by none."""
    from .models import save_model

    root = tmp_path_factory.mktemp("experts")
    return save_model(root / "recipient", seed=1, layers=6), save_model(root / "donor", seed=2, layers=6)


@pytest.fixture(scope="session")
def merged_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experts and their merge; the recipient's folder holds all kinds of files that decide what loads."""
    from .folder_files import save_words
    from .models import merge, recipe, save_model

    root = tmp_path_factory.mktemp("merged")
    for seed, name in enumerate(("recipient", "donor")):
        save_model(root / name, seed=seed, layers=6)
        save_words(root / name)
    (root / "recipient" / "training_args.bin").write_bytes(b"no weights")
    merge(recipe(root / "recipient", root / "donor"), root / "merged", out_shard_size=60_000)
    return root


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden or not."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """Merge to ``tmp_path/work/out``, expect a refusal, and that it leaves the folder as it was; returns the words."""
    from .models import merge

    work = tmp_path / "work"
    work.mkdir()

    def refused(configuration: str, **options: Any) -> str:
        before = contents(work)
        with pytest.raises(UserError) as raised:
            merge(configuration, work / "out", **options)
        assert contents(work) == before
        return str(raised.value)

    return refused
