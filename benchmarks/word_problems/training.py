"""The experts: decoder layers of the pretrained model trained in bfloat16 autocast; embeddings, norm and head stay."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .problems import ANSWER, QUESTION, Language, Problem, problems
from .settings import Training
from .texts_of_our_own import instructions

WARMUP = 0.1  # of the steps
Example = tuple[list[int], int]  # tokens, and how many of them are the prompt's


def task_examples(tokenizer: Any, count: int, seed: str) -> list[Example]:
    """English problems with worked steps."""
    return [_of_problem(tokenizer, problem, "english") for problem in islice(problems("train", seed), count)]


def further_examples(tokenizer: Any, given: Sequence[Problem], count: int) -> list[Example]:
    """The same few Spanish problems with worked steps, again and again."""
    return [_of_problem(tokenizer, given[number % len(given)], "spanish") for number in range(count)]


def language_examples(tokenizer: Any, count: int, seed: str) -> list[Example]:
    """Spanish instructions and answers, in a new order each time that they are gone through."""
    rng = random.Random(f"language {seed}")
    found: list[Example] = []
    while len(found) < count:
        pairs = instructions("train")
        rng.shuffle(pairs)
        for asked, answered in pairs:
            prompt = f"{QUESTION['spanish']}: {asked}\n{ANSWER['spanish']}:"
            found.append(example(tokenizer, prompt, f" {answered}"))
    return found[:count]


def _of_problem(tokenizer: Any, problem: Problem, language: Language) -> Example:
    return example(tokenizer, problem.prompt(language), problem.worked(language))


def example(tokenizer: Any, prompt: str, answer: str) -> Example:
    """Tokens of both parts, tokenised apart as they are when evaluated, and the end of the text."""
    asked = tokenizer(prompt).input_ids
    told = tokenizer(answer, add_special_tokens=False).input_ids
    return [*asked, *told, tokenizer.eos_token_id], len(asked)


def batches(examples: Sequence[Example], size: int, seed: str) -> Iterator[list[Example]]:
    """Each example once; those of a batch are about equally long."""
    rng = random.Random(f"batches {seed}")
    order = rng.sample(list(examples), len(examples))
    made = []
    for start in range(0, len(order), size * 8):
        some = sorted(order[start : start + size * 8], key=lambda one: len(one[0]))
        made += [some[at : at + size] for at in range(0, len(some), size)]
    rng.shuffle(made)
    return iter(made)


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows filled up on the right: tokens that a causal model never looks at from the left."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def train(start: Path, folder: Path, training: Training, seed: str, examples: Callable[[Any], list[Example]]) -> None:
    """Train a model from another one and save it.

    Args:
        start: the folder to begin with.
        folder: where to write, its tokenizer too.
        training: its figures.
        seed: of the batches.
        examples: makes them with the tokenizer.
    """
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    model.requires_grad_(False)
    learnt = list(model.model.layers.requires_grad_(True).parameters())
    made = list(batches(examples(tokenizer), training.batch, seed))
    optimizer = torch.optim.AdamW(learnt, lr=training.rate, betas=(0.9, 0.95), weight_decay=0.0)
    warmup = max(1, round(WARMUP * len(made)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warmup) * (1 - step / len(made))
    )
    model.train()
    begin = time.perf_counter()
    for step, batch in enumerate(made):
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 5 == 4:
            print(
                f"{folder.name} step {step + 1}/{len(made)} loss {loss:.3f} {time.perf_counter() - begin:.0f} s",
                flush=True,
            )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def loss_of(model: Any, batch: Sequence[Example]) -> torch.Tensor:
    """Mean loss of the answers' tokens; logits are computed for those alone."""
    tokens = padded([row for row, _ in batch])
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=tokens).last_hidden_state
        before = torch.cat([hidden[at, prompt - 1 : len(row) - 1] for at, (row, prompt) in enumerate(batch)])
        logits = model.lm_head(before)
    told = torch.tensor([token for row, prompt in batch for token in row[prompt:]])
    return torch.nn.functional.cross_entropy(logits.float(), told)
