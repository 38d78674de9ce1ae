"""Padded, extended, tied and untied vocabularies: embeddings stay with the recipient, or rows are matched by token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from mergekit.options import MergeOptions
from safetensors.torch import save_file

from turnswap.merge_methods.configuration import parse_configuration
from turnswap.merge_methods.recipe import read_recipe
from turnswap.merge_methods.verify import verify

from .models import LAYERS, TOKENS, merge, recipe, same, save_model, save_tokenizer, tensors

Refusal = Callable[..., str]
EMBEDDINGS, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
MORE = [*TOKENS, "habari", "asubuhi"]


def models(folder: Path, recipient: dict[str, Any], donor: dict[str, Any]) -> tuple[Path, Path]:
    return save_model(folder / "recipient", seed=1, **recipient), save_model(folder / "donor", seed=2, **donor)


@pytest.mark.parametrize(
    ("recipient", "donor", "said"),
    [
        ({"tokenizer": TOKENS}, {"tokenizer": TOKENS, "vocab_size": 96}, "have 64 rows, those of {} 96"),
        ({"tokenizer": TOKENS, "vocab_size": 96}, {"tokenizer": TOKENS}, "have 96 rows, those of {} 64"),
        ({"tokenizer": TOKENS}, {"tokenizer": MORE, "vocab_size": 66}, "have 64 rows, those of {} 66"),
        (
            {"tokenizer": TOKENS, "vocab_size": 66},
            {"tokenizer": MORE, "vocab_size": 66},
            "tokenizer has 64 tokens, that of {} 66",
        ),
        ({"tie_word_embeddings": True}, {}, "ties its embeddings to its head, {} does not tie"),
        ({}, {"tie_word_embeddings": True}, "does not tie its embeddings to its head, {} ties"),
        ({}, {"vocab_size": 96}, "have 64 rows, those of {} 96"),
    ],
)
def test_embeddings_and_head_stay_with_the_recipient(
    tmp_path: Path, recipient: dict[str, Any], donor: dict[str, Any], said: str
) -> None:
    folders = models(tmp_path, recipient, donor)
    configuration = recipe_of(folders)
    merged = merge(configuration, tmp_path / "merged")
    ours, theirs, found = (tensors(folder) for folder in (*folders, merged))
    assert found.keys() == ours.keys()
    for name in found.keys() & {EMBEDDINGS, HEAD}:
        assert same(found[name], ours[name]), name
    assert same(found[NORM], theirs[NORM])  # it has no row per token
    for layer, source in {0: theirs, 4: ours, LAYERS - 1: theirs}.items():
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        assert same(found[name], source[name]), name
    assert verify(merged, MergeOptions()).status == "verified"
    _, report = transformers.AutoModelForCausalLM.from_pretrained(merged, output_loading_info=True)
    assert not any(report.values())
    notes = read_recipe(parse_configuration(loaded(configuration)), MergeOptions()).notes
    assert any(said.format(folders[1]) in note and "stay with the recipient" in note for note in notes)


def recipe_of(folders: tuple[Path, Path], **parameters: Any) -> str:
    return recipe(*folders, {"bottom": 2, "top": 1, "transition": 1} | parameters)


def loaded(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)


def test_rows_are_matched_by_token_where_embeddings_are_asked_of_the_donor(tmp_path: Path) -> None:
    moved = [*TOKENS[:5], "habari", *TOKENS[5:], "asubuhi"]  # the same tokens at other ids
    recipient = save_model(tmp_path / "recipient", seed=1, tokenizer=TOKENS, vocab_size=70)
    donor = save_model(tmp_path / "donor", seed=2, tokenizer=moved, vocab_size=66)
    asked = {"embeddings": "donor", "head": "blend", "accept": "tokenizer"}
    configuration = recipe_of((recipient, donor), **asked)
    merged = merge(configuration, tmp_path / "merged")
    ours, theirs, found = (tensors(folder) for folder in (recipient, donor, merged))
    for row in range(70):
        token = TOKENS[row] if row < len(TOKENS) else None
        other = moved.index(token) if token else None
        expected = ours[EMBEDDINGS][row] if other is None else theirs[EMBEDDINGS][other]
        assert same(found[EMBEDDINGS][row], expected), row
        counterpart = ours[HEAD][row] if other is None else theirs[HEAD][other]
        assert same(found[HEAD][row], ((ours[HEAD][row].float() + counterpart.float()) / 2).bfloat16()), row
    assert verify(merged, MergeOptions()).status == "verified"
    notes = read_recipe(parse_configuration(loaded(configuration)), MergeOptions()).notes
    assert any("of the 70 rows of model.embed_tokens.weight, 64 are matched" in note for note in notes)


def test_untied_embeddings_take_both_ends_from_a_donor_that_ties_them(tmp_path: Path) -> None:
    folders = models(tmp_path, {"tokenizer": TOKENS}, {"tokenizer": TOKENS, "tie_word_embeddings": True})
    merged = merge(recipe_of(folders, embeddings="donor", head="donor"), tmp_path / "merged")
    theirs, found = tensors(folders[1]), tensors(merged)
    assert torch.equal(found[EMBEDDINGS], theirs[EMBEDDINGS])
    assert torch.equal(found[HEAD], theirs[EMBEDDINGS])
    assert verify(merged, MergeOptions()).status == "verified"


@pytest.mark.parametrize(
    ("recipient", "donor", "said"),
    [
        (
            {"tokenizer": TOKENS, "tie_word_embeddings": True},
            {"tokenizer": TOKENS},
            ["has a head of its own, which would be lost", "embeddings: recipient"],
        ),
        ({"tokenizer": TOKENS}, {"vocab_size": 96}, ["donor cannot be read", "Copy the tokenizer's files"]),
    ],
)
def test_embeddings_whose_rows_cannot_be_matched_are_refused(
    tmp_path: Path, refusal: Refusal, recipient: dict[str, Any], donor: dict[str, Any], said: list[str]
) -> None:
    message = refusal(recipe_of(models(tmp_path, recipient, donor), embeddings="donor"))
    assert [part for part in said if part not in message] == []


def test_other_tokens_at_the_same_ids_are_still_refused(tmp_path: Path, refusal: Refusal) -> None:
    others = [*TOKENS[:-1], "habari"]
    folders = models(tmp_path, {"tokenizer": TOKENS}, {"tokenizer": [*others, "asubuhi"], "vocab_size": 65})
    assert "tokenizer: " in refusal(recipe_of(folders))


@pytest.mark.parametrize("method", ["slerp", "karcher"])
def test_rows_of_other_tokens_stay_whatever_the_method_of_the_blend(tmp_path: Path, method: str) -> None:
    recipient = save_model(tmp_path / "recipient", seed=1, tokenizer=TOKENS, vocab_size=72)
    donor = save_model(tmp_path / "donor", seed=2, tokenizer=TOKENS)
    merged = merge(recipe_of((recipient, donor), embeddings="blend", blend_method=method), tmp_path / "merged")
    found, ours = (tensors(folder)[EMBEDDINGS] for folder in (merged, recipient))
    assert same(found[64:], ours[64:])
    assert not same(found[:64], ours[:64])
    assert verify(merged, MergeOptions()).status == "verified"


def test_of_a_tokenizer_with_other_ids_that_is_accepted_no_row_is_taken_by_its_number(tmp_path: Path) -> None:
    exchanged = [*TOKENS[:7], TOKENS[8], TOKENS[7], *TOKENS[9:]]
    folders = models(tmp_path, {"tokenizer": TOKENS}, {"tokenizer": exchanged})
    ours, theirs = (tensors(folder) for folder in folders)
    kept = tensors(merge(recipe_of(folders, accept="tokenizer"), tmp_path / "kept"))
    assert all(same(kept[name], ours[name]) for name in (EMBEDDINGS, HEAD))
    asked = tensors(merge(recipe_of(folders, accept="tokenizer", embeddings="donor"), tmp_path / "asked"))
    assert same(asked[EMBEDDINGS][7], theirs[EMBEDDINGS][8])
    assert same(asked[EMBEDDINGS][8], theirs[EMBEDDINGS][7])
    assert same(asked[EMBEDDINGS][9:], theirs[EMBEDDINGS][9:])


def test_a_donor_that_stores_a_tensor_under_another_name_is_rounded_by_its_own_type(tmp_path: Path) -> None:
    recipient, donor = models(tmp_path, {}, {"dtype": torch.float32})
    prefix = "model."
    content = {name.removeprefix(prefix): tensor.clone() for name, tensor in tensors(donor).items()}
    save_file(content, donor / "model.safetensors", metadata={"format": "pt"})
    notes = read_recipe(loaded(recipe_of((recipient, donor))), MergeOptions()).notes
    assert any("48 tensors are rounded to the declared type, bfloat16" in note for note in notes), notes


def test_a_tokenizer_is_read_anew_when_a_model_is_opened_again(tmp_path: Path) -> None:
    folders = models(tmp_path, {"tokenizer": TOKENS, "vocab_size": 66}, {"tokenizer": MORE, "vocab_size": 66})
    assert any("66" in note for note in read_recipe(loaded(recipe_of(folders)), MergeOptions()).notes)
    save_tokenizer(folders[1], MORE[:-1])
    assert any("65" in note for note in read_recipe(loaded(recipe_of(folders)), MergeOptions()).notes)
