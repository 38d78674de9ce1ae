"""A model's figures on the study's problems and texts, in bfloat16 autocast on the processor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from .problems import ANSWER, QUESTION, Language, Part, Problem, problems
from .settings import Settings
from .texts_of_our_own import instructions
from .training import Example, example, padded
from .trees import Tree, hidden_of

BATCH = 32
ALPHABET = (" 0 1 2 3 4 5 6 7 8 9", "0", " + ", " - ", " * ", " / ", " = ", "; ")  # what equations are made of
LONGEST = 40  # tokens of a generated solution
SAID = re.compile(rf"(?:{'|'.join(ANSWER.values())}): ?(\d+)")


def drawn(part: Part, seed: int, count: int) -> list[Problem]:
    """The first problems of a seed's list."""
    return list(islice(problems(part, str(seed)), count))


@torch.no_grad()
def log_likelihoods(model: Any, tokenizer: Any, asked: Sequence[Problem], language: Language) -> list[list[float]]:
    """For each problem its numeric answers' log-likelihoods among each other, the right answer's first.

    An answer's is that of its equations after the question, where a token is one of :data:`ALPHABET`.
    """
    alphabet = sorted({token for text in ALPHABET for token in tokenizer(text, add_special_tokens=False).input_ids})
    column = {token: at for at, token in enumerate(alphabet)}
    head = model.get_output_embeddings().weight[alphabet].float().T
    found: list[list[float]] = []
    for start in range(0, len(asked), BATCH):
        trees = [
            Tree(
                tokenizer(problem.prompt(language)).input_ids,
                [
                    tokenizer(f" {steps}", add_special_tokens=False).input_ids
                    for steps in (problem.steps, *problem.others)
                ],
            )
            for problem in asked[start : start + BATCH]
        ]
        hidden = hidden_of(model, trees)
        for of, tree in zip(hidden, trees, strict=True):
            likely = (of.float() @ head).log_softmax(-1)
            sums = [sum(float(likely[at, column[token]]) for at, token in option) for option in tree.options]
            found.append(torch.tensor(sums).log_softmax(-1).tolist())
    return found


def graded(model: Any, tokenizer: Any, asked: Sequence[Problem], language: Language) -> dict[str, Any]:
    """Per problem, whether the right answer is the likeliest, and its log-likelihood."""
    found = log_likelihoods(model, tokenizer, asked, language)
    return {"right": [int(of[0] > max(of[1:])) for of in found], "log_likelihood": [round(of[0], 4) for of in found]}


@torch.no_grad()
def perplexity(model: Any, tokenizer: Any) -> float:
    """Per token of the Spanish answers that are kept for it."""
    texts: list[Example] = [
        example(tokenizer, f"{QUESTION['spanish']}: {asked}\n{ANSWER['spanish']}:", f" {answered}")
        for asked, answered in instructions("perplexity")
    ]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=padded([row for row, _ in texts])).last_hidden_state
        before = torch.cat([hidden[at, prompt - 1 : len(row) - 2] for at, (row, prompt) in enumerate(texts)])
        logits = model.get_output_embeddings()(before)
    told = torch.tensor([token for row, prompt in texts for token in row[prompt:-1]])
    return math.exp(float(torch.nn.functional.cross_entropy(logits.float(), told)))


@torch.no_grad()
def generated(model: Any, tokenizer: Any, asked: Sequence[Problem]) -> list[int]:
    """Per problem, asked in Spanish, whether the solution that the model writes ends in the right answer."""
    tokenizer.padding_side = "left"
    given = tokenizer([problem.prompt("spanish") for problem in asked], return_tensors="pt", padding=True)
    with torch.autocast("cpu", torch.bfloat16):
        replies = model.generate(**given, max_new_tokens=LONGEST, do_sample=False)
    texts = tokenizer.batch_decode(replies[:, given.input_ids.shape[1] :], skip_special_tokens=True)
    said = [SAID.search(text) for text in texts]
    return [int(bool(one) and int(one[1]) == problem.answer) for one, problem in zip(said, asked, strict=True)]


def row_of(model: Any, tokenizer: Any, settings: Settings, seed: int) -> dict[str, Any]:
    """Everything that a row of the table is made of."""
    asked = drawn("report", seed, settings.report)
    return {
        "spanish": graded(model, tokenizer, asked, "spanish"),
        "english": graded(model, tokenizer, asked[: settings.report_english], "english"),
        "exact_match": generated(model, tokenizer, asked[: settings.generated]),
        "perplexity": perplexity(model, tokenizer),
    }


def objectives(model: Any, tokenizer: Any, settings: Settings, seed: int) -> dict[str, float]:
    """What swaps are chosen by: never a Spanish problem."""
    english = graded(model, tokenizer, drawn("select", seed, settings.select), "english")
    return {
        "english": sum(english["right"]) / settings.select,
        "log_likelihood": sum(english["log_likelihood"]) / settings.select,
        "perplexity": perplexity(model, tokenizer),
    }
