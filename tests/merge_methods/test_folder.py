"""What loads beside the weights: what a merge takes from the recipient, and every way to tamper with it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from turnswap.core.errors import UserError

from ..conftest import Turnswap
from .conftest import contents
from .models import merge, recipe, save_model
from .test_verify import edit_json

CHATML = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
CODE = "class Model:\n    pass\n"


def save_words(folder: Path) -> None:
    """A tokenizer with every part that one can have, and all the files that stand around it."""
    from tokenizers import decoders, models, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[:48] + ["<s>", "</s>"]
    words = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[], unk_token="</s>"))
    words.normalizer = normalizers.NFC()
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.post_processor = processors.ByteLevel(trim_offsets=False)
    words.add_special_tokens(["<s>", "</s>", "<|tool|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", model_max_length=64)
    fast.chat_template = {"default": CHATML, "rag": "{{ documents }}"}
    fast.save_pretrained(folder)
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(alphabet)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_resize": True}))


@pytest.fixture(scope="module")
def merged_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experts and their merge; the recipient's folder holds all kinds of files that decide what loads."""
    root = tmp_path_factory.mktemp("merged")
    for seed, name in enumerate(("recipient", "donor")):
        save_model(root / name, seed=seed, layers=6)
        save_words(root / name)
    (root / "recipient" / "training_args.bin").write_bytes(b"no weights")
    merge(recipe(root / "recipient", root / "donor"), root / "merged", out_shard_size=60_000)
    return root


@pytest.fixture
def merged(merged_once: Path, tmp_path: Path) -> Path:
    """A copy of the merge, to be tampered with."""
    return Path(shutil.copytree(merged_once / "merged", tmp_path / "merged"))


def check(turnswap: Turnswap, folder: Path, *options: object) -> list[str]:
    """The problems that are found, which the exit code agrees with."""
    done = turnswap("verify", folder, "--json", *options)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], done.exit_code) == (("differs", 1) if report["problems"] else ("verified", 0))
    return list(report["problems"])


def test_a_merge_has_every_deciding_file_of_the_recipient_byte_for_byte(merged_once: Path) -> None:
    recipient, out = merged_once / "recipient", merged_once / "merged"
    names = {str(path.relative_to(recipient)) for path in recipient.rglob("*") if path.is_file()}
    names -= {"config.json", "model.safetensors", "training_args.bin"}
    assert {"additional_chat_templates/rag.jinja", "vocab.json", "preprocessor_config.json"} <= names
    assert [name for name in sorted(names) if (recipient / name).read_bytes() != (out / name).read_bytes()] == []
    assert not (out / "training_args.bin").exists()


def test_what_a_merge_wrote_is_verified_and_loads_as_declared(merged: Path, turnswap: Turnswap) -> None:
    assert check(turnswap, merged, "--load") == []


def edit(name: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, **changes)


def write(name: str, content: str | bytes = "{}") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


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


@pytest.mark.parametrize("template", ["chatml", "{% for m in messages %}{{ m.content }} declared{% endfor %}"])
@pytest.mark.parametrize("stored", ["files", "settings", "list"])
def test_a_declared_template_is_the_default_one_and_all_else_the_recipients(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap, template: str, stored: str
) -> None:
    recipient = Path(shutil.copytree(merged_once / "recipient", tmp_path / "recipient"))
    if stored != "files":
        shutil.rmtree(recipient / "additional_chat_templates")
        (recipient / "chat_template.jinja").unlink()
        both = [{"name": "default", "template": CHATML}, {"name": "rag", "template": "{{ documents }}"}]
        edit_json(recipient / "tokenizer_config.json", chat_template=CHATML if stored == "settings" else both)
    merge(recipe(recipient, merged_once / "donor", chat_template=template), tmp_path / "out")
    assert check(turnswap, tmp_path / "out") == []
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    default = loaded if stored == "settings" else loaded.pop("default")
    assert "<|im_start|>" in default if template == "chatml" else default == template
    assert stored == "settings" or loaded == {"rag": "{{ documents }}"}
    assert "chat_template" not in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    (tmp_path / "out" / "chat_template.jinja").write_text(CHATML)
    assert any("the chat template is not the declared one" in problem for problem in check(turnswap, tmp_path / "out"))


def test_a_tokenizer_of_vocab_and_merges_is_copied_and_compared(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_once / name, tmp_path / name)
        (tmp_path / name / "tokenizer.json").unlink()
        edit_json(tmp_path / name / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    assert (out / "merges.txt").read_bytes() == (tmp_path / "recipient" / "merges.txt").read_bytes()
    assert not (out / "tokenizer.json").exists()
    assert check(turnswap, out) == []
    (out / "merges.txt").write_text("#version: 0.2\n! !\n")
    assert any(problem.startswith("merges.txt") for problem in check(turnswap, out))


def test_code_is_copied_compared_and_run_only_if_it_is_the_recipients(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_once / name, tmp_path / name)
        (tmp_path / name / "modeling_x.py").write_text(
            "from transformers import LlamaForCausalLM\nclass Model(LlamaForCausalLM):\n    pass\n"
        )
        edit_json(tmp_path / name / "config.json", auto_map={"AutoModelForCausalLM": "modeling_x.Model"})
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out", trust_remote_code=True)
    assert (out / "modeling_x.py").is_file()
    assert check(turnswap, out, "--load", "--trust-remote-code") == []
    marker = tmp_path / "ran"
    (out / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\n")
    problems = check(turnswap, out, "--load", "--trust-remote-code")
    assert any(problem.startswith("modeling_x.py: is not, byte for byte") for problem in problems)
    assert not marker.exists()


def test_a_tokenizer_of_its_own_code_is_loaded_for_those_who_trust_it(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_once / name, tmp_path / name)
        (tmp_path / name / "tokenization_x.py").write_text(
            "from transformers import PreTrainedTokenizerFast\nclass Words(PreTrainedTokenizerFast):\n    pass\n"
        )
        settings = {"tokenizer_class": "Words", "auto_map": {"AutoTokenizer": [None, "tokenization_x.Words"]}}
        edit_json(tmp_path / name / "tokenizer_config.json", **settings)
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    done = turnswap("verify", out)
    assert (done.exit_code, "Note: the recipient's tokenizer could not be loaded" in done.stdout) == (0, True)
    done = turnswap("verify", out, "--trust-remote-code")
    assert (done.exit_code, "Note" in done.stdout) == (0, False)
    (out / "tokenization_x.py").unlink()
    assert check(turnswap, out) == ["tokenization_x.py: missing; the recipient has it"]


DATA = ("rwkv_vocab_v20230424.txt", "source.spm", "target.spm", "bpe.codes", "word_shape.json")


def test_data_of_the_recipients_tokenizer_is_copied_and_compared(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    recipient = Path(shutil.copytree(merged_once / "recipient", tmp_path / "recipient"))
    for name in (*DATA, "LICENSE.txt", "plan.png"):
        (recipient / name).write_text('["theirs"]')
    out = merge(recipe(recipient, merged_once / "donor"), tmp_path / "out")
    assert [name for name in DATA if not (out / name).is_file()] == []
    (out / "LICENSE.txt").write_text("another licence")
    assert check(turnswap, out) == []
    for name in (*DATA, "plan.png"):
        (out / name).write_text('["ours"]')
    assert {problem.split(":")[0] for problem in check(turnswap, out)} == {*DATA, "plan.png"}


STRAYS = (
    "special_tokens_map.json", "vocab.json", "modeling_x.py", "additional_chat_templates/evil.jinja",
    "adapter_model.pt", "params.json", "SHA256SUMS", "layer_swap.json",
)  # fmt: skip


@pytest.mark.parametrize("name", STRAYS)
def test_a_stray_file_in_the_output_folder_is_refused_before_the_merge(
    merged_once: Path, tmp_path: Path, name: str
) -> None:
    write(name, "{}")(tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=re.escape(name)):
        merge(recipe(merged_once / "recipient", merged_once / "donor"), tmp_path / "out")
    assert contents(tmp_path) == before


def test_a_merge_fills_a_folder_that_holds_some_of_the_recipients_files(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    templates = "additional_chat_templates"
    shutil.copytree(merged_once / "recipient" / templates, tmp_path / "out" / templates)
    (tmp_path / "out" / "todo.txt").write_text("evaluate it")
    out = merge(recipe(merged_once / "recipient", merged_once / "donor"), tmp_path / "out")
    assert check(turnswap, out) == []
    assert (out / "todo.txt").is_file()


def test_a_move_that_fails_is_undone(merged_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "todo.txt").write_text("evaluate it")
    before = contents(tmp_path)
    move = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "out" / "vocab.json":
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(UserError, match="nothing was kept"):
        merge(recipe(merged_once / "recipient", merged_once / "donor"), tmp_path / "out")
    assert contents(tmp_path) == before


def test_a_template_that_is_none_is_refused_before_the_merge(
    merged_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnswap.merge_methods.merge_run._check_space", lambda *_: pytest.fail("it merges"))
    with pytest.raises(UserError, match="chat_template"):
        merge(recipe(merged_once / "recipient", merged_once / "donor", chat_template="nonsense"), tmp_path / "out")


def test_a_merge_without_tokenizer_says_so_and_what_verify_asks_for(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap, caplog: pytest.LogCaptureFixture
) -> None:
    configuration = recipe(merged_once / "recipient", merged_once / "donor")
    out = merge(configuration, tmp_path / "out", copy_tokenizer=False)
    assert "has no tokenizer, as asked: turnswap verify" in caplog.text
    problems = check(turnswap, out)
    assert (
        "tokenizer.json: missing; the recipient has it; copy it, or merge again without --no-copy-tokenizer" in problems
    )
    shutil.copytree(
        merged_once / "recipient",
        out,
        ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "c*.json", "R*"),
        dirs_exist_ok=True,
    )
    assert check(turnswap, out) == []


def test_a_recipient_with_parts_of_a_tokenizer_gives_what_it_has(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_once / name, tmp_path / name)
        for file in ("tokenizer.json", "vocab.json", "merges.txt"):
            (tmp_path / name / file).unlink()
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    assert (out / "tokenizer_config.json").is_file()
    assert check(turnswap, out) == []


def test_a_folder_in_place_of_the_recipients_settings_is_refused(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    recipient = Path(shutil.copytree(merged_once / "recipient", tmp_path / "recipient"))
    configuration = recipe(recipient, merged_once / "donor")
    out = merge(configuration, tmp_path / "before")
    (recipient / "tokenizer_config.json").unlink()
    (recipient / "tokenizer_config.json").mkdir()
    with pytest.raises(UserError, match=r"tokenizer_config\.json is a folder"):
        merge(configuration, tmp_path / "out")
    done = turnswap("verify", out)
    assert (done.exit_code, "is a folder" in " ".join(done.stderr.split())) == (1, True)
