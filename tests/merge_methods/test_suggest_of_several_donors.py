"""``turnswap analyze`` and ``suggest`` of several donors: each compared with the recipient, all in one swap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mergekit.options import MergeOptions

from tests.conftest import Turnswap
from turnswap.merge_methods.recipe import parse_configuration, read_recipe

from .conftest import contents
from .models import save_model
from .test_suggest import scaled

# Each grew by 0.24 in sum, so that larger changes are larger shares.
GROWN = {
    "recipient": (0.02, 0.02, 0.06, 0.06, 0.04, 0.04),
    "swahili": (0.08, 0.06, 0.02, 0.01, 0.02, 0.05),
    "telugu": (0.06, 0.04, 0.02, 0.01, 0.03, 0.08),
}
BOTH = ("--base", "base", "--recipient", "recipient", "--donor", "./swahili", "--donor", "./telugu")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("family")
    for kind, folder in (("llama", root), ("qwen3-tied", root / "tied")):
        base = save_model(folder / "base", kind, dtype=torch.float32, layers=6)
        for name, shares in GROWN.items():
            scaled(base, folder / name, shares, shares, 0.02)
    return root


@pytest.fixture(autouse=True)
def here(turnswap: Turnswap, family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(family)


def letters(configuration: str) -> str:
    return read_recipe(parse_configuration(yaml.safe_load(configuration)), MergeOptions(quiet=True)).letters


def test_each_donor_is_compared_and_has_a_folder_of_its_own(turnswap: Turnswap, tmp_path: Path) -> None:
    out = tmp_path / "found"
    done = turnswap("analyze", *BOTH, "-o", out)
    assert done.exit_code == 0, done.output
    assert done.output.index("donor      ./swahili") < done.output.index("donor      ./telugu")
    written = {name: json.loads((out / name / "analysis.json").read_text()) for name in ("swahili", "telugu")}
    assert {name: content["models"]["donor"] for name, content in written.items()} == {
        "swahili": "./swahili",
        "telugu": "./telugu",
    }
    alone = json.loads(turnswap("analyze", *BOTH[:6], "--json").stdout)
    assert written["swahili"] == alone
    assert json.loads(turnswap("analyze", *BOTH, "--json").stdout) == [*written.values()]


def test_donors_of_one_name_have_folders_of_their_own(turnswap: Turnswap, tmp_path: Path) -> None:
    done = turnswap("analyze", *BOTH[:6], "--donor", "../" + Path.cwd().name + "/swahili", "-o", tmp_path / "found")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"swahili", "swahili-2"}


@pytest.mark.parametrize(("rule", "expected"), [("paper", "DbRRbE"), ("ratio", "DDRRRE"), ("shin-hwang", "DDRRRE")])
def test_a_layer_that_both_would_give_is_of_the_one_that_changed_more_there(
    turnswap: Turnswap, tmp_path: Path, rule: str, expected: str
) -> None:
    turnswap("analyze", *BOTH, "-o", tmp_path)
    done = turnswap("suggest", tmp_path / "swahili", tmp_path / "telugu", "--rule", rule, "-o", tmp_path / "swap.yml")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "swap.yml").read_text("utf-8")
    assert letters(text) == expected
    given = {listed["model"]: listed["parameters"] for listed in yaml.safe_load(text)["models"]}
    assert (given["./swahili"]["embeddings"], given["./telugu"]["embeddings"]) == ("donor", "recipient")
    assert (given["./swahili"]["head"], given["./telugu"]["head"]) == ("recipient", "donor")
    told = " ".join(text.replace("#", "").split())
    assert "./telugu and ./swahili would both give layers" in told
    assert ": ./telugu gives them, since its share of change there is larger" in told
    models = turnswap("suggest", *BOTH, "--rule", rule)
    assert yaml.safe_load(models.stdout) == yaml.safe_load(text)


def test_without_a_rule_all_are_shown_with_a_letter_for_each_donor(turnswap: Turnswap, family: Path) -> None:
    before = contents(family)
    done = turnswap("suggest", *BOTH)
    assert done.exit_code == 0, done.output
    assert "D ./swahili, E ./telugu, R recipient" in done.output
    assert "ratio       DDRRRE" in done.output
    assert contents(family) == before


def test_tied_embeddings_stay_with_the_recipient_where_the_ends_are_of_two_donors(
    turnswap: Turnswap, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(family / "tied")
    done = turnswap("suggest", *BOTH, "--rule", "ratio")
    assert done.exit_code == 0, done.output
    content = yaml.safe_load(done.stdout)
    assert [listed["parameters"]["embeddings"] for listed in content["models"]] == ["recipient", "recipient"]
    assert letters(done.stdout) == "DDRRRE"


def refused(turnswap: Turnswap, *arguments: Any) -> str:
    done = turnswap("suggest", *arguments)
    assert done.exit_code == 1, done.output
    return " ".join(done.output.split())


def test_what_cannot_be_one_configuration_is_refused(turnswap: Turnswap, tmp_path: Path) -> None:
    turnswap("analyze", *BOTH[:6], "-o", tmp_path / "one")
    turnswap("analyze", "--base", "base", "--recipient", "telugu", "--donor", "./swahili", "-o", tmp_path / "other")
    said = refused(turnswap, tmp_path / "one", tmp_path / "other", "--rule", "paper")
    assert "different models as recipient: recipient and telugu" in said
    assert "whole layers" in refused(turnswap, *BOTH, "--rule", "shin-hwang", "--granularity", "module")
    said = refused(turnswap, tmp_path / "one", tmp_path / "one", "--rule", "paper")
    assert "listed twice" in said
