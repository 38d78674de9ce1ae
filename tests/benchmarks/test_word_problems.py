"""The study on word problems: its problems, texts and figures; and a tiny run that is killed and goes on."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mergekit")

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from benchmarks.word_problems import __main__ as command
from benchmarks.word_problems import evaluation, inference, swaps, table
from benchmarks.word_problems.lines import Lines
from benchmarks.word_problems.problems import TEXTS, Part, problems, templates
from benchmarks.word_problems.settings import Settings, Training, fingerprint
from benchmarks.word_problems.texts_of_our_own import instructions
from benchmarks.word_problems.trees import Tree, hidden_of
from turnswap.core.errors import UserError

FEW = Training(4, 1e-3, batch=2)
TINY = Settings(
    seeds=(1,), task=FEW, language=FEW, further=FEW, select=4, report=8, report_english=4, generated=2,
    bottoms=(0, 1), tops=(0, 1), shares=(0.25, 0.5),
)  # fmt: skip
NUMBER_WORDS = (
    r"\d|\b(cero|uno|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce|trece|catorce|quince|veinte|treinta|"
    r"cuarenta|cincuenta|cien|ciento|cientos|mil|millón|millones|mitad|doble|triple|docena|primer\w*|segund\w*|"
    r"tercer\w*|cuart\w*|sumar?|restar?|multiplic\w*|divid\w*|cuánt\w*)\b"
)


@pytest.mark.parametrize("part", ["train", "select", "report"])
def test_a_problem_leads_to_its_answer_and_its_wrong_answers_to_others(part: Part) -> None:
    for problem in islice(problems(part, "1"), 100):
        *_, last = problem.steps.split("; ")
        for equation in problem.steps.split("; "):
            left, value = equation.split(" = ")
            assert eval(left) == float(value)
        assert last.split(" = ")[1] == str(problem.answer)
        results = [steps.split(" = ")[-1] for steps in (problem.steps, *problem.others)]
        assert len(results) == len(set(results)) > 1
        assert problem.answer in range(1, 10)


@pytest.mark.parametrize("part", ["select", "report"])
def test_both_languages_ask_for_the_same(part: Part) -> None:
    for problem in islice(problems(part, "1"), 100):
        numbers = [sorted(re.findall(r"\d+", text)) for text in problem.question.values()]
        names = [sorted(set(re.findall("|".join(templates()["names"]), text))) for text in problem.question.values()]
        assert numbers[0] == numbers[1]
        assert names[0] == names[1]
        assert "{" not in "".join(problem.question.values())
        assert set(numbers[0]) <= set(re.findall(r"\d+", problem.steps))


def test_templates_that_are_evaluated_are_not_trained_on() -> None:
    parts = {part: {texts[1] for texts in templates()[part]} for part in ("train", "select", "report")}
    assert len(parts["report"]) >= 6
    assert not parts["train"] & (parts["select"] | parts["report"])
    assert not parts["select"] & parts["report"]


def test_a_seed_gives_the_same_problems_and_another_seed_others() -> None:
    assert list(islice(problems("report", "1"), 50)) == list(islice(problems("report", "1"), 50))
    assert list(islice(problems("report", "1"), 50)) != list(islice(problems("report", "2"), 50))


def test_instructions_say_nothing_of_numbers() -> None:
    for part in ("train", "perplexity"):
        for pair in instructions(part):
            assert not re.search(NUMBER_WORDS, " ".join(pair).lower()), pair
    assert not {asked for asked, _ in instructions("train")} & {asked for asked, _ in instructions("perplexity")}


def test_the_settings_are_the_registered_ones() -> None:
    command.check_registered(Settings())


def test_other_settings_than_the_registered_ones_are_refused() -> None:
    with pytest.raises(UserError, match="not the registered ones"):
        command.check_registered(TINY)


def test_the_choice_takes_the_least_perplexity_that_keeps_english() -> None:
    scores = [{"log_likelihood": -0.4, "perplexity": 9.0}, {"log_likelihood": -0.44, "perplexity": 8.0}]
    scores.append({"log_likelihood": -0.9, "perplexity": 5.0})
    assert swaps.chosen(scores, {"log_likelihood": -0.4}, 0.05) == 1
    assert swaps.chosen(scores, {"log_likelihood": -0.1}, 0.05) == 0


def test_random_placements_are_as_wide_as_asked_and_differ() -> None:
    placed = [one["layers"] for one in swaps.random_placements(3, 18, 11, 1)]
    assert len(set(placed)) == 11
    assert {len(layers.split(",")) for layers in placed} == {3}


def test_intervals_tests_and_power() -> None:
    none = [np.zeros(50)] * 3
    assert inference.hierarchical_interval(none) == (0, 0)
    better = [np.array([1.0] * 20 + [0.0] * 30)] * 3
    low, high = inference.hierarchical_interval(better)
    assert 0 < low < 0.4 < high
    assert inference.sign_flip(np.array([1.0, -1.0] * 10)) > 0.9
    assert inference.holm({"a": 0.04, "b": 0.01, "c": 0.03}) == {"a": 0.06, "b": 0.03, "c": 0.06}
    assert inference.power(0.3, 0.0, 600, 0.05) < 0.06
    assert inference.power(0.3, 0.1, 600, 0.05) > 0.9


def test_a_line_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    made = Lines(path).of("one", {"bottom": 1}, lambda: {"value": 1})
    path.write_text(path.read_text() + '{"name": "two", "val')
    lines = Lines(path)
    assert lines.of("one", {"bottom": 1}, lambda: {"value": 9}) == made
    assert lines.of("two", None, lambda: {"value": 2})["value"] == 2
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["one", "two"]
    with pytest.raises(RuntimeError, match="was made of"):
        lines.of("one", {"bottom": 2}, dict)


def write_tiny(folder: Path) -> None:
    """A random Gemma of four layers that knows the study's characters."""
    letters = sorted(set((TEXTS / "spanish.json").read_text("utf-8")))
    letters += [letter for letter in sorted(set(json.dumps(templates(), ensure_ascii=False))) if letter not in letters]
    letters += [letter for letter in "0123456789+-*/=;:\n QAPRS" if letter not in letters]
    vocabulary = {token: at for at, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", *letters])}
    characters = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=512, pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    Gemma3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_a_tree_computes_what_its_continuations_would_alone(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    prompt, continuations = [5, 6, 7], [[8, 9, 10], [8, 11, 12], [13, 9]]
    trees = [Tree(prompt, continuations), Tree([9], [[5, 6], [6, 5]])]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        together = hidden_of(model, trees)[0]
        for tokens, option in zip(continuations, trees[0].options, strict=True):
            alone = model.model(input_ids=torch.tensor([prompt + tokens])).last_hidden_state[0]
            assert [token for _, token in option] == tokens
            for number, (at, _) in enumerate(option):
                assert torch.allclose(together[at].float(), alone[2 + number].float(), atol=0.05)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.word_problems.pretrained.write_pretrained", write_tiny)
    monkeypatch.setattr(evaluation, "LONGEST", 4)
    folder = tmp_path / "study"
    real, calls = evaluation.row_of, []

    def killed(*arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(evaluation, "row_of", killed)
    with pytest.raises(KeyboardInterrupt):
        command.run(TINY, TINY.seeds, folder)
    begun = (folder / "seed-1" / "swaps.jsonl").read_text()
    assert len(begun.splitlines()) == 4
    command.run(TINY, TINY.seeds, folder)
    assert (folder / "seed-1" / "swaps.jsonl").read_text().startswith(begun)
    results = json.loads((folder / "results.json").read_text())
    names = [row["row"] for row in results["rows"]]
    assert {"base", "recipient", "donor", "average", "tuned average", table.PAPER, table.SELECTED} <= set(names)
    assert {"selected random placement", "middle swap", "trained further", "TIES", "DARE-TIES"} <= set(names)
    assert results["fingerprint"] == fingerprint(TINY)
    assert "| selected swap - recipient |" in (folder / "table.md").read_text()
    trained = len(calls)
    command.run(TINY, TINY.seeds, folder)
    assert len(calls) == trained
