"""The models of a study, trained from scratch; :func:`.study.run_seed` makes a seed give the same weights."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .documents import exercises
from .languages import SPECIAL, Languages, stream
from .settings import Settings, Training

Role: TypeAlias = Literal["base", "recipient", "donor", "reference"]
EXPERTS: tuple[Role, ...] = ("recipient", "donor", "reference")
Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]

WARMUP = 50  # steps
IGNORED = -100  # transformers' label for tokens that count for nothing


def tokenizer_of(languages: Languages) -> PreTrainedTokenizerFast:
    """One token per word, ``<s>`` before every text."""
    begin, end, unknown = SPECIAL
    vocabulary = {word: number for number, word in enumerate(languages.vocabulary())}
    words = Tokenizer(WordLevel(vocabulary, unk_token=unknown))
    words.pre_tokenizer = WhitespaceSplit()
    words.post_processor = TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, vocabulary[begin])])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=begin, eos_token=end, pad_token=end, unk_token=unknown
    )


def train(settings: Settings, seed: int, role: Role, folder: Path, base: Path | None = None) -> None:
    """Train one model of a seed and save it with its tokenizer.

    Args:
        settings: sizes and steps.
        seed: of the languages, the weights and the text.
        role: the base is pretrained; the recipient learns the skill in A, the reference in B, the donor reads B.
        folder: where to write.
        base: the pretrained model, for all roles but it. Its embeddings and head stay as they are: in a large model
            fine-tuning hardly moves them, in one of this size they would take up most of what there is to learn.
    """
    torch.manual_seed(seed)
    languages = Languages(seed)
    tokenizer = tokenizer_of(languages)
    numbers: dict[str, int] = tokenizer.get_vocab()
    training: Training = getattr(settings, role)
    if role in ("base", "donor"):
        mix = settings.mix if role == "base" else (0, 1, 0, 0)
        batches = text_batches(languages, numbers, mix, training, f"{role} {seed}")
    else:
        batches = skill_batches(languages, numbers, settings, seed, "a" if role == "recipient" else "b")
    if base is None:
        model = LlamaForCausalLM(_config(settings, numbers))
    else:
        model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
        for module in (model.get_input_embeddings(), model.get_output_embeddings()):
            module.requires_grad_(False)
    fit(model, batches, training)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(settings: Settings, numbers: dict[str, int]) -> LlamaConfig:
    begin, end, _ = SPECIAL
    return LlamaConfig(
        vocab_size=len(numbers),
        hidden_size=settings.width,
        intermediate_size=settings.inner,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        bos_token_id=numbers[begin],
        eos_token_id=numbers[end],
        pad_token_id=numbers[end],
    )


def text_batches(
    languages: Languages, numbers: dict[str, int], mix: tuple[float, ...], training: Training, seed: str
) -> Iterator[Batch]:
    """General text in a mix of A, B, parallel and mixed sentences; every token counts."""
    rng = random.Random(f"text {seed}")
    rows = stream(general(languages, mix, rng), training.length)
    while True:
        tokens = torch.tensor([[numbers[word] for word in next(rows)] for _ in range(training.batch)])
        yield tokens, tokens


def general(languages: Languages, mix: tuple[float, ...], rng: random.Random) -> Iterator[list[str]]:
    """Sentences of general text for ever."""
    while True:
        kind = rng.choices(("a", "b", "parallel", "mixed"), mix)[0]
        if kind == "parallel":
            yield languages.parallel(rng)
        elif kind == "mixed":
            yield languages.mixed(rng)
        else:
            yield languages.sentence(rng, kind)  # type: ignore[arg-type]


def skill_batches(
    languages: Languages, numbers: dict[str, int], settings: Settings, seed: int, language: Literal["a", "b"]
) -> Iterator[Batch]:
    """Exercises of the skill; the answer alone counts."""
    begin = numbers[SPECIAL[0]]
    for batch in exercises(languages, settings, seed, language):
        tokens, labels = [], []
        for question, answer in batch:
            asked = [begin, *(numbers[word] for word in question)]
            told = [numbers[word] for word in (*answer, ".")]
            tokens.append(asked + told)
            labels.append([IGNORED] * len(asked) + told)
        yield torch.tensor(tokens), torch.tensor(labels)


def fit(model: Any, batches: Iterator[Batch], training: Training) -> None:
    """AdamW with a short warm-up and a linear decay to a twentieth."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=training.rate, betas=(0.9, 0.98), weight_decay=0.01)

    def share(step: int) -> float:
        return min(1.0, (step + 1) / WARMUP) * max(0.05, 1 - step / training.steps)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    model.train()
    for _ in range(training.steps):
        tokens, labels = next(batches)
        optimizer.zero_grad()
        model(input_ids=tokens, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
