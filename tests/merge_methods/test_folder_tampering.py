"""``turnswap verify`` finds every way to tamper with what loads beside the weights, and lets pass what is harmless."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from ..conftest import Turnswap
from .folder_files import check, edit_json, write

CODE = "class Model:\n    pass\n"


@pytest.fixture
def merged(merged_folders: Path, tmp_path: Path) -> Path:
    """A copy of the merge, to be tampered with."""
    return Path(shutil.copytree(merged_folders / "merged", tmp_path / "merged"))


def test_what_a_merge_wrote_is_verified_and_loads_as_declared(merged: Path, turnswap: Turnswap) -> None:
    assert check(turnswap, merged, "--load") == []


def edit(name: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, **changes)


def weights(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        save_file({"model.norm.weight": torch.zeros(32)}, folder / name, metadata={"format": "pt"})

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def tokenizer_part(part: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        content[part] = value if not callable(value) else value(content[part])
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return change


def flag_of_a_token(tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [token | {"lstrip": True} if token["content"] == "<|tool|>" else token for token in tokens]


def pickled(folder: Path) -> None:
    torch.save({"model.norm.weight": torch.zeros(32)}, folder / "pytorch_model.bin")


TAMPERING: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "adapter": (write("adapter_config.json"), "adapter_config.json", "transformers loads an adapter"),
    "adapter weights": (weights("adapter_model.safetensors"), "adapter_model.safetensors", "loads an adapter"),
    "adapter pickle": (write("adapter_model.bin"), "adapter_model.bin", "loads an adapter"),
    "tokenizer class": (
        edit("tokenizer_config.json", tokenizer_class="LlamaTokenizer"), "tokenizer_config.json",
        "tokenizer_class is 'LlamaTokenizer', the recipient's is ",
    ),
    "eos": (edit("tokenizer_config.json", eos_token="<s>"), "tokenizer_config.json",
            "eos_token is '<s>', the recipient's is '</s>'"),
    "bos": (edit("tokenizer_config.json", bos_token="</s>"), "tokenizer_config.json", "bos_token is '</s>'"),
    "length": (edit("tokenizer_config.json", model_max_length=8), "tokenizer_config.json",
               "model_max_length is 8, the recipient's is 64"),
    "side": (edit("tokenizer_config.json", padding_side="left"), "tokenizer_config.json", "padding_side is 'left'"),
    "template in the settings": (
        edit("tokenizer_config.json", chat_template="{{ bos_token }}"), "tokenizer_config.json", "chat_template is"
    ),
    "tokenizer's code": (
        edit("tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}), "tokenizer_config.json", "auto_map"
    ),
    "special tokens": (edit("special_tokens_map.json", eos_token="<s>"), "special_tokens_map.json", "eos_token is"),
    "added tokens": (write("added_tokens.json", '{"<x>": 51}'), "added_tokens.json", "no such file, which sets <x>"),
    "decoder": (tokenizer_part("decoder", {"type": "Fuse"}), "tokenizer.json", "decoder"),
    "no decoder": (tokenizer_part("decoder", None), "tokenizer.json", "decoder is None"),
    "normaliser": (tokenizer_part("normalizer", {"type": "Lowercase"}), "tokenizer.json", "normalizer.type is"),
    "pre-tokenizer": (tokenizer_part("pre_tokenizer", lambda part: part | {"add_prefix_space": True}),
                      "tokenizer.json", "pre_tokenizer.add_prefix_space is True, the recipient's is False"),
    "post-processor": (tokenizer_part("post_processor", None), "tokenizer.json", "post_processor is None"),
    "truncation": (
        tokenizer_part(
            "truncation", {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
        ), "tokenizer.json", "truncation is",
    ),
    "a token's flag": (tokenizer_part("added_tokens", flag_of_a_token), "tokenizer.json",
                       "added_tokens.<|tool|>.lstrip is True, the recipient's is False"),
    "tokenizer's model": (
        tokenizer_part("model", lambda model: model | {"byte_fallback": True}), "tokenizer.json", "model.byte_fallback"
    ),
    "vocab": (edit("vocab.json", **{"<s>": 3}), "vocab.json", "<s> is 3, the recipient's is 48"),
    "merges": (write("merges.txt", "#version: 0.2\na b\n"), "merges.txt", "not, byte for byte, the recipient's"),
    "no tokenizer": (remove("tokenizer.json"), "tokenizer.json", "missing; the recipient has it"),
    "template": (write("chat_template.jinja", "{{ messages }}"), "chat_template.jinja", "is not the recipient's"),
    "other template": (write("additional_chat_templates/rag.jinja", "x"), "additional_chat_templates/rag.jinja",
                       "is not the recipient's"),
    "further template": (write("additional_chat_templates/tool_use.jinja", "x"),
                         "additional_chat_templates/tool_use.jinja", "no such file"),
    "template lost": (remove("additional_chat_templates/rag.jinja"), "additional_chat_templates/rag.jinja", "missing"),
    "older template": (write("chat_template.json", '{"chat_template": "x"}'), "chat_template.json", "no such file"),
    "generation's eos": (edit("generation_config.json", eos_token_id=7), "generation_config.json", "eos_token_id is 7"),
    "temperature": (edit("generation_config.json", do_sample=True, temperature=9.0), "generation_config.json",
                    "temperature is 9.0, the recipient's is absent"),
    "no generation": (remove("generation_config.json"), "generation_config.json", "missing"),
    "preprocessor": (edit("preprocessor_config.json", do_resize=False), "preprocessor_config.json", "do_resize"),
    "processor": (write("processor_config.json", '{"image_seq_length": 1}'), "processor_config.json", "no such file"),
    "code": (write("modeling_x.py", CODE), "modeling_x.py", "no such code"),
    "code of generation": (write("custom_generate/generate.py", CODE), "custom_generate/generate.py", "no such code"),
    "auto_map": (edit("config.json", auto_map={"AutoModelForCausalLM": "modeling_x.Model"}), "config.json",
                 "auto_map is"),
    "architecture": (edit("config.json", architectures=["MistralForCausalLM"]), "config.json", "architectures"),
    "config's eos": (edit("config.json", eos_token_id=5), "config.json", "eos_token_id is 5, the recipient's is 2"),
    "rope": (edit("config.json", rope_parameters={"rope_type": "default", "rope_theta": 5}), "config.json",
             "rope_parameters is"),
    "quantised": (edit("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "config.json",
                  "quantization_config is"),
    "other weights": (edit("config.json", transformers_weights="model-00001-of-00002.safetensors"), "config.json",
                      "transformers_weights is"),
    "unknown key": (edit("config.json", something=1), "config.json", "something is 1, the recipient's is None"),
    "single file": (weights("model.safetensors"), "model.safetensors", "outside model.safetensors.index.json"),
    "further shard": (weights("model-00009.safetensors"), "model-00009.safetensors", "other loaders read it"),
    "consolidated": (weights("consolidated.safetensors"), "consolidated.safetensors", "other loaders read it"),
    "variant": (weights("model.fp16.safetensors"), "model.fp16.safetensors", "other loaders read it"),
    "second format": (pickled, "pytorch_model.bin", "other loaders read it"),
    "second index": (write("pytorch_model.bin.index.json", '{"weight_map": {}}'), "pytorch_model.bin.index.json",
                     "other loaders read it"),
    "code as a document": (write("LICENSE.py", CODE), "LICENSE.py", "no such code"),
    "code in a folder": (write("assets/x.py", CODE), "assets/x.py", "no such file, and it is no document"),
    "gguf": (write("model-q4.gguf", b"GGUF"), "model-q4.gguf", "other loaders read it"),
    "pth": (write("original/consolidated.00.pth", b"PK"), "original/consolidated.00.pth", "other loaders read it"),
    "recipient's file": (write("training_args.bin", b"no weights"), "training_args.bin", "other loaders read it"),
    "subfolder": (weights("checkpoint-5/model.safetensors"), "checkpoint-5/model.safetensors", "other loaders"),
    "vocabulary": (write("vocab.txt", "a"), "vocab.txt", "no such file"),
    "unknown file": (write("params.json", '{"dim": 32}'), "params.json", "no such file, and it is no document"),
    "link to nothing": (lambda folder: (folder / "x.json").symlink_to("y"), "x.json", "a link to what is not there"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "name", "said"), TAMPERING.values(), ids=TAMPERING)
def test_every_way_to_tamper_is_not_verified_and_named(
    merged: Path, turnswap: Turnswap, change: Callable[[Path], None], name: str, said: str
) -> None:
    change(merged)
    problems = check(turnswap, merged)
    assert any(problem.startswith(f"{name}: ") and said in problem for problem in problems), problems
    shown = turnswap("verify", merged).stdout
    assert shown.startswith("not verified")
    assert name in shown


def link(folder: Path) -> None:
    for name in ("tokenizer.json", "model-00001-of-00002.safetensors", "additional_chat_templates"):
        (folder / name).rename(folder.parent / Path(name).name)
        (folder / name).symlink_to(folder.parent / Path(name).name)


HARMLESS: dict[str, Callable[[Path], None]] = {
    "card edited": write("README.md", "# A model"),
    "card removed": remove("README.md"),
    "license": write("LICENSE", "Apache-2.0"),
    "notes": write("notes/todo.txt", "evaluate it"),
    "pictures": write("assets/plan.png", b"PNG"),
    "git": write(".git/objects/pack.bin"),
    "download": write(".cache/huggingface/download/config.json.metadata"),
    "attributes": write(".gitattributes"),
    "links": link,
    "spaces in JSON": lambda folder: edit_json(folder / "tokenizer_config.json"),
    "tokenizer written anew": lambda folder: Tokenizer.from_file(str(folder / "tokenizer.json")).save(
        str(folder / "tokenizer.json"), pretty=False
    ),
    "another version": edit("generation_config.json", transformers_version="9"),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_changes_nothing_that_loads_is_verified(
    merged: Path, turnswap: Turnswap, change: Callable[[Path], None]
) -> None:
    change(merged)
    assert check(turnswap, merged) == []
