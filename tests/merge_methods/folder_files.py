"""The files of a model's folder that decide what loads: all kinds of them made, changed, and verified."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from ..conftest import Turnswap

CHATML = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"


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


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write(name: str, content: str | bytes = "{}") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def check(turnswap: Turnswap, folder: Path, *options: object) -> list[str]:
    """The problems that are found, which the exit code agrees with."""
    done = turnswap("verify", folder, "--json", *options)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], done.exit_code) == (("differs", 1) if report["problems"] else ("verified", 0))
    return list(report["problems"])
