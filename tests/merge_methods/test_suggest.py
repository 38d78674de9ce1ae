"""The rules of ``turnswap suggest``: by figures computed by hand, and as merges of models changed by known amounts."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from turnswap.core.errors import UserError
from turnswap.merge_methods import suggest
from turnswap.merge_methods.analysis import analyze_references
from turnswap.merge_methods.analysis_file import Analysis, Cell, ExpertChange, as_json, from_json
from turnswap.merge_methods.layer_figures import module_filters
from turnswap.merge_methods.layout import Layout
from turnswap.merge_methods.proposal import Proposal, open_experts, propose
from turnswap.merge_methods.verify import verify
from turnswap.merge_methods.weights import WeightReader

from .models import MergeOptions, merge, save_model, tensors
from .test_analysis import changed

OPTIONS = MergeOptions(quiet=True)
UNTIED = Layout(4, {})
# Eight layers: the donor's change is at the ends, the recipient's in the middle; both add up to 0.36.
DONOR = (0.08, 0.06, 0.02, 0.04, 0.04, 0.02, 0.04, 0.06)
RECIPIENT = (0.02, 0.02, 0.06, 0.04, 0.04, 0.08, 0.06, 0.04)


def made(
    recipient: Sequence[Mapping[str, float]],
    donor: Sequence[Mapping[str, float]],
    norms: Mapping[str, float],
    cosines: Sequence[Mapping[str, float]] | None = None,
) -> Analysis:
    """An analysis with these relative changes per layer and component, and norms that changed a lot."""

    def change(relative: float) -> ExpertChange:
        return ExpertChange(relative, relative, 1.0 if relative else 0.0, 0.0, None, 1.0)

    cells = []
    for layer, (r, d) in enumerate(zip(recipient, donor, strict=True)):
        for name in r:
            cosine = cosines[layer][name] if cosines else 0.0 if r[name] and d[name] else math.nan
            cells.append(Cell(layer, name, 10, norms[name], change(r[name]), change(d[name]), cosine))
        cells.append(Cell(layer, "norms", 2, 1.0, change(0.15), change(0.01), 0.5))
    return Analysis({"base": "b", "recipient": "r", "donor": "d"}, len(recipient), cells)


def plain(values: Sequence[float]) -> list[dict[str, float]]:
    return [{"q": value} for value in values]


def test_ratio_takes_the_ends_where_the_donors_share_of_its_change_is_the_larger() -> None:
    # Of a layer: hypot(3 q, 4 up) / 5. Recipient 3/5, 1, 1, 2/5 of 0.1; donor 0.05 everywhere but in layer 2.
    recipient = [{"q": 0.1, "up": 0.0}, {"q": 0.1, "up": 0.1}, {"q": 0.1, "up": 0.1}, {"q": 0.04, "up": 0.04}]
    donor = [{"q": 0.05, "up": 0.05}] * 2 + [{"q": 0.01, "up": 0.01}, {"q": 0.05, "up": 0.05}]
    found = suggest.ratio(made(recipient, donor, {"q": 3, "up": 4}), UNTIED)
    assert found.parameters == {"bottom": 1, "top": 1, "transition": 0, "embeddings": "donor", "head": "donor"}
    assert [row["p_recipient"] for row in found.figures] == pytest.approx([0.2, 1 / 3, 1 / 3, 2 / 15])
    assert [row["p_donor"] for row in found.figures] == pytest.approx([0.3125, 0.3125, 0.0625, 0.3125])
    assert [row["from"] for row in found.figures] == ["donor", "recipient", "recipient", "donor"]


def test_ratio_does_not_take_rounding_for_a_difference() -> None:
    nearly = [0.05 + 1e-9, 0.05, 0.05, 0.05 - 1e-9]
    with pytest.raises(UserError, match=r"at either end.*layer 0: recipient 0.2500, donor 0.2500.*layer 3"):
        suggest.ratio(made(plain([0.02] * 4), plain(nearly), {"q": 1}), UNTIED)


def test_ratio_leaves_an_end_to_the_recipient_with_what_touches_it() -> None:
    found = suggest.ratio(made(plain([0.01, 0.04, 0.05]), plain([0.05, 0.03, 0.02]), {"q": 1}), UNTIED)
    assert found.parameters == {"bottom": 1, "top": 0, "transition": 0, "embeddings": "donor", "head": "recipient"}


def test_shin_hwang_blends_what_differs_by_no_more_than_the_threshold() -> None:
    # p of the recipient 0.25 each; of the donor 0.249, 0.2495, 0.2515, 0.25.
    analysis = made(plain([0.05] * 4), plain([0.0996, 0.0998, 0.1006, 0.1]), {"q": 1})
    assert suggest.shin_hwang(analysis, UNTIED, threshold=0.0009).parameters == {
        "layers": "2", "blend_layers": "1,3", "blend": 0.5, "embeddings": "recipient", "head": "blend",
    }  # fmt: skip
    everything_blended = suggest.shin_hwang(analysis, UNTIED, threshold=0.01, blend=0.25).parameters
    assert everything_blended == {
        "layers": "none", "blend_layers": "0-3", "blend": 0.25, "embeddings": "blend", "head": "blend",
    }  # fmt: skip


def test_shin_hwang_adds_up_matrices_whatever_their_size() -> None:
    # Layer 0: the recipient 0.01 + 0.07, layer 1: 0.06 + 0.02; r is summed, so the size of a matrix has no weight.
    recipient, donor = [{"q": 0.01, "up": 0.07}, {"q": 0.06, "up": 0.02}], [{"q": 0.03, "up": 0.03}] * 2
    found = suggest.shin_hwang(made(recipient, donor, {"q": 1, "up": 100}), Layout(2, {}))
    assert (found.parameters["layers"], found.parameters["blend_layers"]) == ("none", "0-1")


@pytest.mark.parametrize(("settings", "named"), [({"threshold": -1}, "threshold"), ({"blend": 1.5}, "blend"),
                                                 ({"threshold": math.nan}, "threshold")])  # fmt: skip
def test_settings_out_of_range_are_refused(settings: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=f"{named}: expected"):
        suggest.shin_hwang(made(plain([0.1] * 3), plain([0.1] * 3), {"q": 1}), Layout(3, {}), **settings)  # type: ignore[arg-type]


def test_alignment_weighs_each_cosine_by_what_changed() -> None:
    # ||change|| of q 3 x 0.1, of up 4 x 0.1 in both: layer 1 is (0.8 x 0.09 + 0.6 x 0.16) / 0.25 = 0.672.
    changes = [{"q": 0.1, "up": 0.1}] * 5
    cosines = [{"q": c, "up": c} for c in (0.1, 0.0, 0.7, 0.68, 0.2)]
    cosines[1] = {"q": 0.8, "up": 0.6}
    found = suggest.alignment(made(changes, changes, {"q": 3, "up": 4}, cosines), UNTIED)
    assert [row["cosine"] for row in found.figures] == pytest.approx([0.1, 0.672, 0.7, 0.68, 0.2])
    assert found.parameters == {"bottom": 1, "top": 1, "transition": 0, "embeddings": "donor", "head": "donor"}
    assert "layers 1-3, has a mean cosine of 0.6840, the layers around it 0.1500" in found.reasons[0]


@pytest.mark.parametrize("values", [(0.9, 0.1, 0.1, 0.9), (0.5, 0.5, 0.5, 0.5), (0.1, 0.9)])
def test_alignment_without_an_aligned_middle_is_refused_with_the_figures(values: tuple[float, ...]) -> None:
    changes = plain([0.1] * len(values))
    with pytest.raises(UserError, match=rf"no middle.*{values[0]:.3f}, {values[1]:.3f}"):
        suggest.alignment(made(changes, changes, {"q": 1}, plain(values)), UNTIED)


def test_an_unchanged_expert_or_layer_is_refused_where_the_rule_needs_its_change() -> None:
    still = made(plain([0.0] * 3), plain([0.1] * 3), {"q": 1})
    for rule in (suggest.ratio, suggest.shin_hwang):
        with pytest.raises(UserError, match="The recipient did not change in any layer"):
            rule(still, Layout(3, {}))
    with pytest.raises(UserError, match="layers 0-2 have no cosine"):
        suggest.alignment(still, Layout(3, {}))


@pytest.mark.parametrize(("layers", "zones"), [(32, (5, 2, 1)), (28, (4, 2, 1)), (64, (10, 4, 2))])
def test_the_papers_zones_are_scaled_to_the_model(layers: int, zones: tuple[int, int, int]) -> None:
    found = suggest.paper(made(plain([0.1] * layers), plain([0.1] * layers), {"q": 1}), Layout(layers, {}))
    assert tuple(found.parameters[name] for name in ("bottom", "top", "transition")) == zones
    assert "quoted from accounts of the paper" in found.source


def test_a_matrix_of_zeros_is_left_out_and_named() -> None:
    analysis = made(plain([0.01, 0.05, 0.02]), plain([0.04, 0.02, 0.03]), {"q": 1})
    nothing = ExpertChange(0.1, math.nan, 1.0, None, None, math.nan)
    cells = [*analysis.cells, Cell(1, "other", 4, 0.0, nothing, nothing, math.nan)]
    found = suggest.ratio(Analysis(analysis.models, 3, cells), Layout(3, {}))
    assert (found.parameters["bottom"], found.parameters["top"]) == (1, 1)
    assert "other of layer 1" in found.notes[0]


def scaled(
    base: Path, folder: Path, attention: Sequence[float], mlp: Sequence[float], rest: float, flip: Sequence[int] = ()
) -> Path:
    """A copy whose matrices grew by a share per layer (shrank in ``flip``), and whatever lies outside by ``rest``."""

    def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
        layer = next((int(part) for part in name.split(".") if part.isdigit()), None)
        if "norm" in name and layer is not None:
            return tensor
        share = rest if layer is None else (attention if ".attention." in name or "_attn" in name else mlp)[layer]
        return tensor * (1 - share if layer in flip else 1 + share)

    return changed(base, folder, change)


def proposed(base: Path, recipient: Path, donor: Path, rule: str, **settings: Any) -> Proposal:
    analysis = analyze_references(str(base), str(recipient), str(donor), OPTIONS)
    analysis = from_json(json.loads(json.dumps(as_json(analysis))))
    return propose(open_experts(analysis, OPTIONS), rule, settings)


def merged(proposal: Proposal, folder: Path) -> dict[str, str]:
    """Merge, verify, and tell which expert each tensor is bit by bit, if they differ; ``blend`` is neither."""
    merge(proposal.text, folder)
    report = verify(folder, OPTIONS)
    assert report.status == "verified", report.problems
    readers = {role: WeightReader(model, OPTIONS) for role, model in proposal.recipe.models.items()}
    result = tensors(folder)
    seen = {}
    for name, planned in proposal.recipe.tensors.items():
        ours, theirs = (readers[role].read(planned.weight) for role in ("recipient", "donor"))
        if not torch.equal(ours, theirs):
            copied = "recipient" if torch.equal(result[name], ours) else None
            seen[name] = copied or ("donor" if torch.equal(result[name], theirs) else "blend")
    return seen


def layer_of(name: str) -> int | None:
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


@pytest.mark.parametrize("kind", ["llama", "gemma3-tied", "gpt-neox", "mixtral"])
def test_ratio_as_a_merge(tmp_path: Path, kind: str) -> None:
    base = save_model(tmp_path / "base", kind, dtype=torch.float32)
    recipient = scaled(base, tmp_path / "r", RECIPIENT, RECIPIENT, 0.01)
    donor = scaled(base, tmp_path / "d", DONOR, DONOR, 0.02)
    seen = merged(proposed(base, recipient, donor, "ratio"), tmp_path / "out")
    assert {layer_of(name) for name in seen} == {None, 0, 1, 2, 5, 6, 7}  # both changed 3 and 4 alike
    for name, origin in seen.items():
        assert origin == ("donor" if layer_of(name) in (None, 0, 1, 7) else "recipient"), name


@pytest.mark.parametrize(("kind", "ends"), [("qwen3-tied", {"embeddings": "recipient"}),
                                            ("llama", {"embeddings": "donor", "head": "recipient"})])  # fmt: skip
def test_one_matrix_for_embeddings_and_lm_head_stays_where_the_ends_differ(
    tmp_path: Path, kind: str, ends: dict[str, str]
) -> None:
    base = save_model(tmp_path / "base", kind, dtype=torch.float32, layers=4)
    recipient = scaled(base, tmp_path / "r", (0.02, 0.02, 0.06, 0.06), (0.02, 0.02, 0.06, 0.06), 0.01)
    donor = scaled(base, tmp_path / "d", (0.06, 0.06, 0.02, 0.02), (0.06, 0.06, 0.02, 0.02), 0.02)
    found = proposed(base, recipient, donor, "ratio")
    assert found.suggestion.parameters == {"bottom": 2, "top": 0, "transition": 0} | ends
    seen = merged(found, tmp_path / "out")
    assert seen["model.embed_tokens.weight"] == ends["embeddings"]
    assert seen["model.norm.weight"] == "recipient"
    assert ("stays with the recipient" in found.text) == ("head" not in ends)


@pytest.mark.parametrize("kind", ["llama", "qwen3-tied", "gemma2-tied", "mixtral", "qwen3-moe", "gpt-neox"])
def test_every_tensor_of_a_module_has_the_modules_decision(tmp_path: Path, kind: str) -> None:
    base = save_model(tmp_path / "base", kind, dtype=torch.float32)
    # In per cent, 38 in sum each, so that equal changes are equal shares; where they are equal, they are opposite.
    recipient, donor = (
        scaled(base, tmp_path / name, [x / 100 for x in attention], [x / 100 for x in mlp], rest, flip)
        for name, attention, mlp, rest, flip in (
            ("recipient", (2, 2, 6, 6, 6, 6, 5, 5), (5, 5, 6, 6, 2, 6, 6, 2), 0.01, ()),
            ("donor", (8, 8, 3, 3, 3, 3, 5, 5), (5, 5, 3, 3, 8, 3, 3, 8), 0.02, (0, 1, 6, 7)),
        )
    )
    found = proposed(base, recipient, donor, "shin-hwang", granularity="module", threshold=0.005)
    words = {"D": "donor", "R": "recipient", "b": "blend"}
    expected = {"attention": "DDRRRRbb", "mlp": "bbRRDRRD", "neither": "DDRRDRRD"}
    seen = set()
    for name, planned in found.recipe.tensors.items():
        if planned.weight.place.layer is None:
            assert planned.source.origin == "donor", name
            continue
        inside = name.partition(f".{planned.weight.place.layer}.")[2].partition(".")[0]
        module = {"self_attn": "attention", "attention": "attention", "mlp": "mlp", "block_sparse_moe": "mlp"}.get(
            inside, "neither"
        )
        seen.add(module)
        assert planned.source.origin == words[expected[module][planned.weight.place.layer]], name
    assert seen == set(expected)
    moved = merged(found, tmp_path / "out")
    assert set(moved.values()) == {"donor", "recipient", "blend"}
    for name, origin in moved.items():
        assert origin == found.recipe.tensors[name].source.origin, name
    assert ("experts count as one matrix" in " ".join(found.suggestion.notes)) == (kind in ("mixtral", "qwen3-moe"))


def test_modules_that_names_do_not_tell_apart_are_refused(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", dtype=torch.float32, layers=2)
    layout = open_experts(analyze_references(*map(str, (base, base, base)), OPTIONS), OPTIONS).recipient.layout
    renamed = {}
    for name, weight in layout.weights.items():
        other = name.replace("self_attn.", "block.").replace("mlp.", "block.")
        renamed[other] = dataclasses.replace(weight, name=other)
    with pytest.raises(UserError, match=r"block holds down, gate, k, o, q, up, v.*--granularity layer"):
        module_filters(Layout(2, renamed))


@pytest.mark.parametrize("kind", ["llama", "smollm3", "gpt-neox"])
def test_alignment_as_a_merge(tmp_path: Path, kind: str) -> None:
    base = save_model(tmp_path / "base", kind, dtype=torch.float32)
    recipient = scaled(base, tmp_path / "r", [0.04] * 8, [0.04] * 8, 0.01)
    donor = scaled(base, tmp_path / "d", [0.03] * 8, [0.03] * 8, 0.02, flip=(0, 1, 2, 7))
    found = proposed(base, recipient, donor, "alignment")
    assert [row["cosine"] for row in found.suggestion.figures] == pytest.approx([-1] * 3 + [1] * 4 + [-1], abs=1e-4)
    for name, origin in merged(found, tmp_path / "out").items():
        assert origin == ("donor" if layer_of(name) in (None, 0, 1, 2, 7) else "recipient"), name


def test_experts_stored_in_different_types_get_the_recipients(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", dtype=torch.float32, layers=4)
    recipient = scaled(base, tmp_path / "r", [0.04] * 4, [0.04] * 4, 0.01)
    donor = save_model(tmp_path / "d", dtype=torch.bfloat16, layers=4)
    found = proposed(base, recipient, donor, "paper")
    assert yaml.safe_load(found.text)["dtype"] == "float32"
    merged(found, tmp_path / "out")
    assert {tensor.dtype for tensor in tensors(tmp_path / "out").values()} == {torch.float32}
