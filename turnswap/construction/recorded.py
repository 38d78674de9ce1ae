"""A model of lm-eval's that answers from a recording: deterministic, for examples and tests.

The recording is JSONL, one object per line: ``input``, the JSON object of a question, and ``answer``, a JSON object
(or a string, given as it is). How a question is worded does not matter, so that recordings outlive better wordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl

from .questions import read_prompt
from .records import digest, json_text


@register_model("turnswap-recorded")
class RecordedLM(LM):
    """Answers from the recording at ``path``; a UserError where a question is asked that it does not hold."""

    def __init__(self, path: str, **_: Any) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"There is no recording {path}.", "Name one: model_args: {path: recording.jsonl}.")
        self.answers = {digest(line["input"]): line["answer"] for line in read_jsonl(self.path)}

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache: no tokenizer, but a template of its own."""
        return "turnswap-recorded"

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Messages as they are."""
        return "last user message"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The last message alone."""
        return chat_history[-1]["content"]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """The recorded answers."""
        answers = []
        for request in requests:
            asked = read_prompt(request.args[0])
            answer = self.answers.get(digest(asked))
            if answer is None:
                raise UserError(
                    f"{self.path} holds no answer to: {json_text(asked)[:2000]}",
                    "Record it, or use a model that can answer.",
                )
            answers.append(answer if isinstance(answer, str) else json_text(answer))
            self.cache_hook.add_partial("generate_until", request.args, answers[-1])
        return answers

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Any]:
        """Not for a recording."""
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood
