"""lm-eval's model hf-layerswap: in process, through the registry and by the stock command; and what it refuses."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.api.registry import model_registry
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from turnswap.core.errors import UserError
from turnswap.merge_methods.recipe import Recipe
from turnswap.sweeps import capacity
from turnswap.sweeps.hf_layerswap import HFLayerSwap

from ..conftest import Command, read_results, read_samples
from ..merge_methods.models import TOKENS, merge, pair, recipe, save_model

pytestmark = pytest.mark.slow

ZONES: dict[str, Any] = {"bottom": 2, "top": 1, "transition": 1}


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    recipient, donor = pair(tmp_path_factory.mktemp("experts"), tokenizer=TOKENS)
    return str(recipient), str(donor)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the task ``words``: the likelihood of one word after two."""
    folder = tmp_path_factory.mktemp("tasks")
    lines = [{"question": f"w{n} w{n + 1}", "answer": f"w{n * 3 % 60}"} for n in range(12)]
    (folder / "words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "words.yaml").write_text(
        f"task: words\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder / 'words.jsonl'}}}}}\n"
        'test_split: test\noutput_type: loglikelihood\ndoc_to_text: "{{question}}"\ndoc_to_target: " {{answer}}"\n'
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    return folder


def evaluated(model: Any, tasks: Path, **arguments: Any) -> dict[str, Any]:
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    return simple_evaluate(  # type: ignore[no-any-return]
        model, model_args=arguments or None, tasks=["words"], task_manager=manager, batch_size=5, device="cpu"
    )


def likelihoods(results: dict[str, Any]) -> list[Any]:
    return [sample["resps"] for sample in results["samples"]["words"]]


@pytest.fixture(scope="module")
def merged(experts: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merge(recipe(*experts, ZONES), tmp_path_factory.mktemp("merged") / "model")


def test_an_evaluation_by_name_equals_that_of_the_merged_folder_and_tells_what_was_composed(
    experts: tuple[str, str], merged: Path, tasks: Path
) -> None:
    results = evaluated("hf-layerswap", tasks, pretrained=experts[0], donor=experts[1], **ZONES)
    assert likelihoods(results) == likelihoods(evaluated("hf", tasks, pretrained=str(merged)))
    assert likelihoods(results) != likelihoods(evaluated("hf", tasks, pretrained=experts[0]))
    told = results["config"]["layer_swap"]
    assert (told["recipient"], told["donor"], told["parameters"]) == (*experts, ZONES)
    assert told["name"] == f"{experts[0]} with {experts[1]} (bottom=2, top=1, transition=1)"
    other = HFLayerSwap(*experts, device="cpu", layers="0").get_model_info()["layer_swap"]
    assert other["plan"] != told["plan"]


def test_one_object_composes_one_swap_after_another(experts: tuple[str, str], merged: Path, tasks: Path) -> None:
    lm = HFLayerSwap(*experts, device="cpu", batch_size=5, layers="none")
    plain = likelihoods(evaluated(lm, tasks))
    assert plain == likelihoods(evaluated("hf", tasks, pretrained=experts[0]))
    composed = lm.compose(ZONES)
    assert isinstance(composed, Recipe)
    assert lm.recipe is composed
    assert likelihoods(evaluated(lm, tasks)) == likelihoods(evaluated("hf", tasks, pretrained=str(merged)))
    lm.compose({"layers": "0-7"})
    assert likelihoods(evaluated(lm, tasks)) == likelihoods(evaluated("hf", tasks, pretrained=experts[1]))
    lm.compose({"layers": "none"})
    assert likelihoods(evaluated(lm, tasks)) == plain


def test_a_refused_composition_leaves_the_one_before_and_its_name(experts: tuple[str, str]) -> None:
    lm = HFLayerSwap(*experts, device="cpu", **ZONES)
    before, told = lm.model.state_dict(), lm.get_model_info()
    with pytest.raises(UserError, match="The zones overlap"):
        lm.compose({"bottom": 8, "top": 8, "transition": 0})
    assert lm.get_model_info() == told
    after = lm.model.state_dict()
    assert [name for name in before if before[name].data_ptr() != after[name].data_ptr()] == []


def test_nothing_is_evaluated_after_a_composition_that_failed(
    experts: tuple[str, str], tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = HFLayerSwap(*experts, device="cpu", layers="none")
    with monkeypatch.context() as patched:
        patched.setattr(capacity, "free_bytes", lambda device: 0)
        with pytest.raises(UserError, match="Too little memory on cpu: the blends need"):
            lm.compose(ZONES)
    with pytest.raises(UserError, match="Nothing is composed"):
        evaluated(lm, tasks)
    lm.compose(ZONES)
    assert likelihoods(evaluated(lm, tasks))


def test_the_registry_and_the_entry_point_name_the_same_class() -> None:
    (entry,) = importlib.metadata.entry_points(group="lm_eval.models", name="hf-layerswap")
    assert entry.load() is model_registry.get("hf-layerswap") is HFLayerSwap


def test_without_mergekit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "turnswap.sweeps.hf_layerswap")
    monkeypatch.setitem(sys.modules, "mergekit.options", None)
    with pytest.raises(UserError, match=r"needs .* mergekit.*pip install 'turnswap\[hf,merge\]'"):
        importlib.import_module("turnswap.sweeps.hf_layerswap")


def stock_run(model: str, arguments: str, tasks: Path, out: str) -> list[object]:
    return [
        "lm_eval", "run", "--model", model, "--model_args", arguments, "--tasks", "words", "--include_path", tasks,
        "--batch_size", 5, "--output_path", out, "--log_samples",
    ]  # fmt: skip


HOOKED = "from turnswap.hosts import startup; startup.install(force=True); from lm_eval.__main__ import cli_evaluate"


@pytest.fixture
def enabled(run_command: Command) -> Command:
    """The stock command as in an environment where ``turnswap enable`` was called."""

    def run(*command: object, **more: Any) -> Any:
        program = f"import sys; sys.argv = {[str(part) for part in command]!r}; {HOOKED}; cli_evaluate()"
        return run_command(sys.executable, "-c", program, **more)

    return run


def test_the_stock_command_logs_the_merged_folders_likelihoods(
    enabled: Command, experts: tuple[str, str], tasks: Path, tmp_path: Path
) -> None:
    parameters = {"layers": "0-1,7", "blend_layers": "2,6"}
    written = f'pretrained={experts[0]},donor={experts[1]},layers="0-1,7",blend_layers="2,6"'
    done = enabled(*stock_run("hf-layerswap", written, tasks, "ours"))
    assert done.returncode == 0, done.stderr[-3000:]
    folder = merge(recipe(*experts, parameters), tmp_path / "model")
    results = evaluated("hf", tasks, pretrained=str(folder))
    logged = [[list(answer) for answer in sample["resps"][0]] for sample in read_samples(tmp_path / "ours", "words")]
    assert logged == [[[str(value) for value in answer] for answer in resps[0]] for resps in likelihoods(results)]
    assert read_results(tmp_path / "ours")["config"]["layer_swap"]["parameters"] == parameters


def test_the_stock_command_ends_in_a_message_without_traceback(
    enabled: Command, experts: tuple[str, str], tasks: Path
) -> None:
    done = enabled(*stock_run("hf-layerswap", f"pretrained={experts[0]},donor={experts[1]},bottom=7,top=3", tasks, "o"))
    assert done.returncode == 1
    assert "turnswap: transition is not given" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def swap_file(experts: tuple[str, str], tmp_path: Path) -> Path:
    path = tmp_path / "layerswap.yml"
    path.write_text(recipe(*experts, ZONES, dtype=None))
    return path


def test_a_layerswap_yml_says_what_to_compose(experts: tuple[str, str], swap_file: Path, merged: Path) -> None:
    ids = torch.arange(20)[None]
    expected = HFLM(str(merged), device="cpu").model(ids).logits
    for named in ({}, {"pretrained": experts[0], "donor": experts[1]}):
        assert torch.equal(HFLayerSwap(swap=str(swap_file), device="cpu", **named).model(ids).logits, expected)


def test_a_layerswap_yml_may_filter_and_declare_a_type(tmp_path: Path) -> None:
    models = pair(tmp_path, tokenizer=TOKENS, dtype=torch.float32)
    only_attention = {
        "bottom": [{"filter": "self_attn", "value": 3}, {"value": 0}], "top": 0, "transition": 0,
        "embeddings": "blend",
    }  # fmt: skip
    written = recipe(*models, only_attention, dtype="bfloat16")
    (tmp_path / "swap.yml").write_text(written)
    lm = HFLayerSwap(swap=str(tmp_path / "swap.yml"), device="cpu")
    folder = HFLM(str(merge(written, tmp_path / "merged")), device="cpu")
    assert lm.model.dtype == folder.model.dtype == torch.bfloat16
    ours, theirs = lm.model.state_dict(), folder.model.state_dict()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def test_reverted_layers_come_from_the_ancestor_which_is_loaded_when_it_is_needed(
    experts: tuple[str, str], tmp_path: Path
) -> None:
    ancestor = save_model(tmp_path / "ancestor", seed=3)
    lm = HFLayerSwap(*experts, str(ancestor), device="cpu", layers="0-1")
    assert set(lm._swap._loaded) == {"recipient", "donor"}
    lm.compose({"layers": "0-1", "revert": "4"})
    stored = HFLM(str(ancestor), tokenizer=experts[0], device="cpu").model.state_dict()
    name = "model.layers.4.mlp.up_proj.weight"
    assert torch.equal(lm.model.state_dict()[name], stored[name])


def test_an_adapter_is_merged_first(experts: tuple[str, str], tmp_path: Path) -> None:
    import peft
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(experts[1])
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    donor = f"{experts[1]}+{tmp_path / 'adapter'}"
    cache = str(tmp_path / "cache")
    lm = HFLayerSwap(experts[0], donor, lora_merge_cache=cache, device="cpu", **ZONES)
    folder = merge(recipe(experts[0], donor, ZONES), tmp_path / "merged", lora_merge_cache=cache)
    ids = torch.arange(20)[None]
    assert torch.equal(lm.model(ids).logits, HFLM(str(folder), device="cpu").model(ids).logits)
    # The recipient's tokenizer is not in the merged adapter's folder.
    assert HFLayerSwap(donor, experts[0], lora_merge_cache=cache, device="cpu", **ZONES).tokenizer.vocab_size == 64
    with pytest.raises(UserError, match="this needs a folder"):
        HFLayerSwap(experts[0], donor, device="cpu", **ZONES)


def test_the_donor_is_loaded_in_the_type_asked_for(experts: tuple[str, str]) -> None:
    lm = HFLayerSwap(*experts, device="cpu", dtype="float32", layers="0-7", blend_layers="none")
    assert {parameter.dtype for parameter in lm.model.parameters()} == {torch.float32}


def test_models_that_are_not_named_or_not_by_name_are_refused(experts: tuple[str, str], swap_file: Path) -> None:
    with pytest.raises(UserError, match="needs a recipient and a donor"):
        HFLayerSwap(experts[0], device="cpu", **ZONES)
    with pytest.raises(UserError, match="pretrained: expected a path or an id, got Linear"):
        HFLayerSwap(torch.nn.Linear(1, 1), experts[1])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is for another donor"):
        HFLayerSwap(experts[0], experts[0], swap=str(swap_file))
    with pytest.raises(UserError, match="bottom cannot be given beside swap="):
        HFLayerSwap(swap=str(swap_file), bottom=3)
    content = yaml.safe_load(swap_file.read_text()) | {"chat_template": "chatml"}
    swap_file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="chat_template changes the tokenizer's files"):
        HFLayerSwap(swap=str(swap_file))


def test_a_swap_generates_request_by_request_as_in_batches(experts: tuple[str, str]) -> None:
    import asyncio

    from lm_eval.api.instance import Instance

    from turnswap.tasks.multiturn.engines.hf import HFEngine, refusal

    lm = HFLayerSwap(pretrained=experts[0], donor=experts[1], dtype="float32", device="cpu", batch_size=2, **ZONES)
    asked: dict[str, Any] = {"until": [], "do_sample": False, "max_gen_toks": 8}
    prompts = ["w1 w2 w3", "w5 w6", "w9 w8 w7 w6"]

    async def run() -> list[str]:
        async with HFEngine(lm, [asked]) as engine:
            return [answer.text for answer in await asyncio.gather(*(engine.ask(p, dict(asked), 0) for p in prompts))]

    assert refusal(lm, [asked]) is None
    in_batches = lm.generate_until([Instance("generate_until", {}, (p, dict(asked)), 0) for p in prompts])
    assert asyncio.run(run()) == in_batches
