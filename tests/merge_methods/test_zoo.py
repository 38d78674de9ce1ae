"""Every decoder architecture: plan, merge, verify, load, and each loaded tensor against its declared source."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from mergekit.options import MergeOptions

from turnswap.merge_methods.recipe import read_recipe
from turnswap.merge_methods.verify import verify

from ..conftest import REPOSITORY
from .loaded import both_ends, check_loaded, top_only
from .models import merge, recipe
from .zoo import save_kind
from .zoo_kinds import KINDS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", KINDS)
def test_what_loads_is_what_was_declared(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    recipient, donor = (save_kind(tmp_path / role, kind, seed) for seed, role in enumerate(("recipient", "donor"), 1))
    for n, swap in enumerate((both_ends(kind.n_layers), top_only(kind.n_layers))):
        configuration = recipe(recipient, donor, swap.parameters_for(kind))
        planned = read_recipe(yaml.safe_load(configuration), MergeOptions())
        assert planned.n_layers == kind.n_layers
        merged = merge(configuration, tmp_path / f"merged-{n}")
        report = verify(merged, MergeOptions())
        assert (report.status, report.problems) == ("verified", [])
        check_loaded(kind, swap, recipient, donor, merged)


def test_the_zoo_is_as_large_as_the_readme_tells() -> None:
    classes = {kind.config for kind in KINDS.values()}
    told = f"{len(KINDS)} kinds of tiny models with random weights, of {len(classes)} configuration classes"
    assert told in (REPOSITORY / "README.md").read_text("utf-8")
