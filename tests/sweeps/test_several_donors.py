"""Several donors, parameters under models and other vocabularies: in memory and in sweeps as in a merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from click.testing import CliRunner
from lm_eval.models.huggingface import HFLM

from turnswap.commands.search import sweep as sweep_command
from turnswap.core.errors import UserError
from turnswap.sweeps import outputs
from turnswap.sweeps.configurations import Configuration, Planner
from turnswap.sweeps.controls import placements
from turnswap.sweeps.hf_layerswap import HFLayerSwap
from turnswap.sweeps.settings import read_settings

from ..merge_methods.models import TOKENS, merge, recipe, save_model, save_tokenizer
from ..merge_methods.zoo import save_kind
from ..merge_methods.zoo_kinds import KINDS
from .sweeping import LAYERS, copying, evaluations, noise, own_tasks_alone, run

__all__ = ["copying", "noise", "own_tasks_alone"]  # fixtures

Models = dict[str, str]
NAMES = ("recipient", "swahili", "telugu", "pretrained")
ENDS = {"embeddings": "recipient", "head": "recipient"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    root = tmp_path_factory.mktemp("models") / "of the test"  # with spaces, which mergekit cannot dump
    return {
        name: str(save_model(root / name, seed=seed, layers=LAYERS, tokenizer=TOKENS))
        for seed, name in enumerate(NAMES, 1)
    }


def text(models: Models, shared: Any = None, **own: Any) -> str:
    """A layerswap.yml with parameters under its models."""
    listed = [
        {"model": models[name], "parameters": given | ({"role": name} if name == "pretrained" else {})}
        for name, given in own.items()
    ]
    return recipe(models["recipient"], "", shared or {"accept": "tokenizer"}, models=listed, dtype=None)


def planner(models: Models, swaps: Any, *donors: str, **more: Any) -> Planner:
    named = [models[name] for name in donors]
    content = {"recipient": models["recipient"], "donor": named, "select_on": "t", "metric": "m", "swaps": swaps}
    return Planner(read_settings(None, content | more))


def planned(models: Models, file: Path, content: str, *donors: str, **more: Any) -> Configuration:
    file.write_text(content, "utf-8")
    (found,), _ = planner(models, {"file": str(file)}, *donors, **more).swaps()
    return found


def test_a_file_keeps_what_stands_under_its_donor(models: Models, tmp_path: Path) -> None:
    written = text(models, {"bottom": 1, "top": 1, "transition": 0}, swahili={"bottom": 2, "embeddings": "recipient"})
    found = planned(models, tmp_path / "layerswap.yml", written, "swahili")
    assert found.layers == "DDRRRD"


def test_a_file_says_the_same_whatever_order_its_donors_have(models: Models, tmp_path: Path) -> None:
    own = {"swahili": {"layers": "0-1"}, "telugu": {"layers": "5"}}
    there, back = (
        planned(models, tmp_path / "layerswap.yml", text(models, **dict(given)), "swahili", "telugu")
        for given in (own.items(), reversed(own.items()))
    )
    assert there.layers == back.layers == "DDRRRE"
    assert there.plan == back.plan


def test_a_file_with_one_of_the_donors_takes_nothing_from_the_other(models: Models, tmp_path: Path) -> None:
    written = text(models, {"bottom": 1, "top": 2, "transition": 0, "blend": 0.3}, telugu={"head": "blend"})
    assert planned(models, tmp_path / "layerswap.yml", written, "swahili", "telugu").layers == "ERRREE"


def test_a_file_of_another_donor_is_refused(models: Models, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"is for another donor2, {models['telugu']}; this search has"):
        planned(models, tmp_path / "f.yml", text(models, swahili={"layers": "0"}, telugu={"layers": "5"}), "swahili")


def test_a_file_whose_blends_need_an_ancestor_that_the_search_lacks_is_refused(models: Models, tmp_path: Path) -> None:
    shared = {"layers": "0", "blend_layers": "3", "blend_method": "nuslerp"} | ENDS
    written = text(models, shared, swahili={}, pretrained={})
    with pytest.raises(UserError, match="makes one swap of its own models"):
        planned(models, tmp_path / "f.yml", written, "swahili")
    assert planned(models, tmp_path / "f.yml", written, "swahili", base=models["pretrained"]).layers == "DRRbRR"


def test_always_rows_have_each_donor_and_the_average_of_all(models: Models) -> None:
    of = planner(models, {"both": {"donor": {"layers": "0"}, "donor2": {"layers": "5"}}}, "swahili", "telugu")
    rows = of.always()
    assert {row.name: row.layers for row in rows} == {
        "recipient": "R" * LAYERS, "donor": "D" * LAYERS, "donor2": "E" * LAYERS, "average": "b" * LAYERS
    }  # fmt: skip
    shares = {tensor.source.shares for tensor in of.read(rows[-1].parameters).tensors.values()}
    assert shares == {(("donor", 1 / 3), ("donor2", 1 / 3))}
    (both,), _ = of.swaps()
    assert both.layers == "DRRRRE"
    placed, notes = placements(of, None, both, 3)
    assert notes == []
    assert all(sorted(one.layers) == sorted(both.layers) for one in placed)
    assert len({one.plan for one in (both, *placed)}) == 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"grid": {"bottom": 1, "top": 1}}, "A grid takes one donor.*List swaps.*donor2"),
        ({"swaps": {"donor2": {"layers": "0"}}}, "donor2 is the name of another row"),
        ({"swaps": {"one": {"donor": {"layers": "0"}}}}, "one: .*donor2 has no layers of its own"),
        ({"swaps": {"one": {"donor": "0-4"}}}, 'one: donor: expected parameters of its own, got 0-4.*layers: "0-4"'),
        (
            {"swaps": {"one": {"donor3": {"layers": "0"}}}},
            "one: donor3 is none of the models: recipient, donor, donor2",
        ),
    ],
)
def test_what_several_donors_cannot_do_is_refused_in_words(models: Models, more: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        planner(models, more.pop("swaps", {}), "swahili", "telugu", **more).swaps()


def test_the_command_takes_several_donors_and_says_what_to_write_for_them() -> None:
    models = ["--recipient", "r", "--donor", "a", "--donor", "b", "--select-on", "t", "--metric", "m"]
    refused = CliRunner().invoke(sweep_command, [*models, "--bottom", "1", "--top", "1", "-o", "out"]).exception
    assert isinstance(refused, UserError)
    assert "A grid takes one donor, and there are several." in str(refused)


def test_controls_leave_a_shared_block_where_the_best_swap_has_it(tmp_path: Path) -> None:
    models = {role: str(save_kind(tmp_path / role, KINDS["zamba2"], seed)) for seed, role in enumerate(NAMES[:2])}
    given = {"layers": "2", "shared": "donor", "embeddings": "recipient"}
    of = planner(models, {"one": given}, "swahili")
    (best,), _ = of.swaps()
    drawn, _ = placements(of, None, best, 3)
    assert [one.parameters["shared"] for one in drawn] == ["donor"] * 3


def test_controls_blend_as_the_best_swap_does(models: Models) -> None:
    swap = {"layers": "0", "blend_layers": "2", "blend_method": "slerp", "t": 0.3}
    of = planner(models, {"one": swap | ENDS}, "swahili")
    (best,), _ = of.swaps()
    drawn, _ = placements(of, None, best, 2)
    for one in (best, *drawn):
        mixes = {tensor.source.mix for tensor in of.read(one.parameters).tensors.values() if tensor.source.mix}
        assert {(mix.method, mix.parameters) for mix in mixes} == {("slerp", (("t", 0.3),))}


@pytest.mark.slow
def test_a_sweep_of_two_donors_evaluates_what_its_file_merges_to(copying: Path, noise: Path, tmp_path: Path) -> None:
    telugu = save_model(tmp_path / "telugu", seed=7, layers=LAYERS, tokenizer=TOKENS)
    swaps = {"both": {"donor": {"layers": "0-1"}, "donor2": {"layers": "5"}}}
    donors = [str(noise / "donor"), str(telugu)]
    sweep, _ = run(copying, tmp_path / "out", noise, donor=donors, swaps=swaps, select_on="copying:0-9", controls=2)
    names = {"recipient", "donor", "donor2", "average", "both", "control 1", "control 2"}
    assert {row.configuration.name for row in sweep.rows} == names
    outputs.write_outputs(sweep, tmp_path / "out", "sweep")
    written = (tmp_path / "out" / "layerswap.yml").read_text("utf-8")
    assert "#   donor2: " in written
    content = yaml.safe_load(written)
    assert [one["parameters"] for one in content["models"]] == [{"layers": "0-1"}, {"layers": "5"}]
    n_done = len(evaluations(tmp_path / "out"))
    save_model(telugu, seed=8, layers=LAYERS, tokenizer=TOKENS)
    with pytest.raises(UserError, match="models: donor2: model.safetensors was"):
        run(copying, tmp_path / "out", noise, donor=donors, swaps=swaps, select_on="copying:0-9")
    assert len(evaluations(tmp_path / "out")) == n_done == 7


def swap(recipient: Path, donor: Path, parameters: dict[str, Any]) -> str:
    return recipe(recipient, donor, parameters, dtype=None)


def check_as_merged(content: str, folder: Path) -> dict[str, torch.Tensor]:
    """The weights composed in memory, which are, bit for bit, those of the merged folder as it loads."""
    (folder / "swap.yml").write_text(content, "utf-8")
    lm = HFLayerSwap(swap=str(folder / "swap.yml"), device="cpu")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(merge(content, folder / "merged"), dtype="auto")
    ours, theirs = lm.model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    return dict(ours)


TIES = {"blend_method": "ties", "blend_layers": "2-3", "normalize": False} | ENDS
HALF = {"weight": 0.5, "density": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shared", "own"),
    [
        ({}, {"swahili": {"bottom": 2, "transition": 1}, "telugu": {"layers": "5"}}),
        (
            {"blend_layers": "3"},
            {"swahili": {"layers": "0", "blend": 0.25}, "telugu": {"layers": "5"}},
        ),
        (TIES, {"swahili": {"layers": "0"} | HALF, "telugu": {"layers": "5", "weight": 0.25}, "pretrained": {}}),
        ({"revert": "3"}, {"swahili": {"layers": "0-1"}, "telugu": {"layers": "5"}, "pretrained": {}}),
    ],
)  # fmt: skip
def test_several_donors_and_blend_methods_are_composed_as_merged(
    models: Models, tmp_path: Path, shared: Any, own: Any
) -> None:
    if "ties" in shared.values():
        own = {"recipient": HALF} | own
        shared = shared | {"density": 0.5}
    check_as_merged(text(models, shared, **own), tmp_path)


UNTIED: dict[str, Any] = {"tokenizer": TOKENS}
MOVED = {"tokenizer": [*TOKENS[:5], "habari", *TOKENS[5:], "asubuhi"], "vocab_size": 66}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipient", "donor", "parameters"),
    [
        (UNTIED, UNTIED | {"vocab_size": 96}, {}),
        (UNTIED | {"tie_word_embeddings": True}, UNTIED, {}),
        (UNTIED, UNTIED | {"tie_word_embeddings": True}, {"embeddings": "donor", "head": "blend"}),
        (UNTIED | {"vocab_size": 70}, MOVED, {"embeddings": "donor", "head": "blend", "accept": "tokenizer"}),
    ],
    ids=["padded", "tied recipient", "tied donor", "matched"],
)
def test_other_vocabularies_are_composed_as_merged(
    tmp_path: Path, recipient: dict[str, Any], donor: dict[str, Any], parameters: dict[str, Any]
) -> None:
    models = save_model(tmp_path / "r", seed=1, **recipient), save_model(tmp_path / "d", seed=2, **donor)
    check_as_merged(swap(*models, {"bottom": 2, "top": 1, "transition": 1} | parameters), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gemma3n", {"bottom": 2, "top": 0, "transition": 1, "embeddings": "recipient"}),
        ("zamba2", {"layers": "2", "shared": "donor", "embeddings": "recipient"}),
    ],
)
def test_slices_and_shared_blocks_are_composed_as_merged(tmp_path: Path, name: str, parameters: dict[str, Any]) -> None:
    recipient, donor = (save_kind(tmp_path / role, KINDS[name], seed) for seed, role in enumerate("rd"))
    for folder in (recipient, donor):
        save_tokenizer(folder, TOKENS)
    check_as_merged(swap(recipient, donor, parameters), tmp_path)


@pytest.mark.slow
def test_another_composition_keeps_nothing_of_what_stood_under_a_donor(models: Models) -> None:
    held = yaml.safe_load(text(models, swahili={"layers": "0"}, telugu={"layers": "5"}))
    lm = HFLayerSwap(swap=held, device="cpu")
    assert lm.recipe.letters == "DRRRRE"
    assert lm.compose({"layers": "none", "donor2": {"layers": "1"}}).letters == "RERRRR"
    assert lm.get_model_info()["layer_swap"]["donor2"] == models["telugu"]
    expected = HFLM(models["recipient"], device="cpu").model.state_dict()
    assert lm.compose({"layers": "none"}).letters == "R" * LAYERS
    assert all(torch.equal(tensor, expected[name]) for name, tensor in lm.model.state_dict().items())
