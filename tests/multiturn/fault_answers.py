"""What a fault server answers: how long a turn takes, whether and how it fails, and the text of a reply.

All of it follows from the configuration and from what is asked, never from time or order of arrival.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

NORMAL = NormalDist()
WORDS = """rain sun, river stone; the of and with under over never always light dark house garden été naïve добро мир
दिन रात 水 山 ¿qué? città não one two three four five six seven eight nine ten. red green quiet **bold** road"""
VOCABULARY = WORDS.split()
TOO_LONG = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."
REFUSALS: dict[str, tuple[int, dict[str, str] | None]] = {  # kind: status and error
    "429": (429, {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "The server had an error.", "type": "server_error"}),
    "502": (502, None),
    "401": (401, {"message": "Incorrect API key.", "type": "invalid_request_error", "code": "invalid_api_key"}),
    "context_400": (400, {"message": TOO_LONG, "type": "invalid_request_error", "code": "context_length_exceeded"}),
    "error_200": (200, {"message": "The backend went away.", "type": "server_error"}),
    "timeout": (504, {"message": "Held for longer than expected.", "type": "server_error"}),
}
AT_ONCE = {"429", "401", "context_400"}  # all others come after the turn's latency
CUT = {"drop", "drop_mid", "broken_json"}
ODD = {"no_choices", "missing_choices", "null_content", "length_null"}
KINDS = {*REFUSALS, *CUT, *ODD}


def _uniform(*parts: object) -> float:
    """A number strictly between 0 and 1 that follows from the parts."""
    text = "\x1f".join(map(str, parts))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") // 2**12 + 0.5) / 2**52


@dataclass(frozen=True)
class Rule:
    """When to fail: a seeded ``share`` of (conversation, turn) pairs, at their first ``attempts`` (None: always)."""

    kind: str
    share: float = 1.0
    attempts: int | None = 1
    turn: int | None = None  # counted from 0
    match: str | None = None  # in the conversation's first user message
    retry_after: float | str = 1  # the header of a 429
    hold: float = 30.0  # seconds, of a timeout

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r} is none of {', '.join(sorted(KINDS))}")


@dataclass(frozen=True)
class Config:
    """What the server does. ``faults``: rules, or their dicts; the first one that applies decides."""

    seed: int = 0
    latency_median: float = 0.0
    sigma: float = 0.8
    shared_variance: float = 0.5
    faults: Sequence[Any] = ()
    max_requests: int = 20_000
    max_seconds: float = 600.0
    model: str = "fault-model"
    marker: str = "<|im_start|>assistant"  # begins a reply in a text prompt
    token_marker: Sequence[int] = ()  # the same in a prompt of token ids
    keep_messages: bool = True  # in the records

    def __post_init__(self) -> None:
        rules = tuple(rule if isinstance(rule, Rule) else Rule(**rule) for rule in self.faults)
        object.__setattr__(self, "faults", rules)

    def latency(self, conversation: str, turn: int) -> float:
        """Seconds that this turn takes, whatever the attempt."""
        if not self.latency_median:
            return 0.0
        shared = NORMAL.inv_cdf(_uniform(self.seed, "latency", conversation))
        own = NORMAL.inv_cdf(_uniform(self.seed, "latency", conversation, turn))
        share = self.shared_variance
        return self.latency_median * math.exp(self.sigma * (math.sqrt(share) * shared + math.sqrt(1 - share) * own))

    def fault(self, conversation: str, turn: int, attempt: int) -> Rule | None:
        """What goes wrong at this attempt (counted from 1), if anything."""
        for number, rule in enumerate(self.faults):
            if (
                (rule.attempts is None or attempt <= rule.attempts)
                and rule.turn in (None, turn)
                and (rule.match is None or rule.match in conversation)
                and _uniform(self.seed, number, rule.kind, conversation, turn) < rule.share
            ):
                return rule  # type: ignore[no-any-return]
        return None

    def whereabouts(self, asked: Any) -> tuple[str, int]:
        """The conversation that messages (or a prompt) belong to, and the turn, counted from 0."""
        if isinstance(asked, list) and asked and isinstance(asked[0], dict):
            first = next((message.get("content") for message in asked if message.get("role") == "user"), "")
            return str(first), sum(message.get("role") == "assistant" for message in asked)
        marker = self.marker
        while isinstance(asked, list) and asked and not isinstance(asked[0], int):
            asked = asked[0]  # of a batch
        if isinstance(asked, list):
            asked, marker = (" ".join(map(str, ["", *ids, ""])) for ids in (asked, self.token_marker))
        return (asked.partition(marker)[0], max(asked.count(marker) - 1, 0)) if marker.strip() else (asked, 0)


def latencies(
    conversations: Sequence[str], turns: int, seed: int = 0, median: float = 1.0, **settings: float
) -> list[list[float]]:
    """Per conversation (its first user message) the seconds of each turn, for simulations: the server's own.

    ``settings`` may be ``sigma`` and ``shared_variance``.
    """
    config = Config(seed=seed, latency_median=median, **settings)  # type: ignore[arg-type]
    return [[config.latency(conversation, turn) for turn in range(turns)] for conversation in conversations]


def default_reply(asked: Any) -> str:
    """Some words that follow from the whole of the messages (or prompt); some replies start with a title."""
    digest = hashlib.shake_128(json.dumps(asked, sort_keys=True).encode()).digest(40)
    words = [VOCABULARY[byte % len(VOCABULARY)] for byte in digest[1 : 6 + digest[0] % 34]]
    return f"<<{words[0]}>>\n" * (digest[0] % 2) + " ".join(words)


def completion(
    chat: bool, kind: str | None, body: dict[str, Any], answer: Callable[[Any], str | dict[str, Any]], model: str
) -> dict[str, Any]:
    """A response in OpenAI's shape, or what the fault makes of it."""
    asked = body["messages"] if chat else body.get("prompt", "")
    batch = asked if not chat and isinstance(asked, list) and asked and not isinstance(asked[0], int) else [asked]
    replies = [answer(each) for each in batch]
    if isinstance(replies[0], dict):
        return replies[0]
    read = sum(len(str(part).split()) for part in ([m.get("content") for m in asked] if chat else batch))
    written = sum(len(reply.split()) for reply in replies)
    choices: list[dict[str, Any]] = []
    for index, reply in enumerate(replies):
        text = None if kind in ("null_content", "length_null") else reply
        content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choices.append({"index": index, "finish_reason": "length" if kind == "length_null" else "stop"} | content)
    response = {
        "object": "chat.completion" if chat else "text_completion",
        "model": body.get("model") or model,
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }
    return response if kind == "missing_choices" else response | {"choices": choices if kind != "no_choices" else []}
