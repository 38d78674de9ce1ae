"""What the runner needs to know of an lm-eval model: how it renders a prompt, and how long one may be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from lm_eval.api.model import LM, CachingLM
from lm_eval.models.api_models import JsonChatStr, TemplateAPI

from turnswap.core.errors import UserError

from .conversation import Message

Prompt: TypeAlias = str | JsonChatStr
TOKEN_CAPS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")

_CHOICES = (
    "Choose a chat model or give the tokenizer a chat template; for an API, use local-chat-completions (its server "
    "applies the template) or local-completions with tokenizer=…; or ask for a plain User:/Assistant: transcript: "
    """--metadata '{"prompts": "plain"}'."""
)


def inner_model(lm: LM | CachingLM) -> LM:
    """The model behind ``--use_cache``."""
    return lm.lm if isinstance(lm, CachingLM) else lm


def is_a(lm: LM, module: str, kind: str) -> bool:
    """Whether it is one of lm-eval's models, or derived from it; a module that nobody imported made no model."""
    loaded = sys.modules.get(f"lm_eval.models.{module}")
    return loaded is not None and isinstance(lm, getattr(loaded, kind))


def prompt_text(prompt: Prompt) -> str:
    """The prompt as a plain string; a chat endpoint's messages as JSON."""
    return str(prompt.prompt if isinstance(prompt, JsonChatStr) else prompt)


def takes_messages(lm: LM | CachingLM) -> bool:
    """Whether it is a chat endpoint, whose server applies the template: its payload holds messages, not a prompt."""
    model = inner_model(lm)
    if not isinstance(model, TemplateAPI):
        return False
    try:
        return "messages" in model._create_payload([{"role": "user", "content": "?"}], generate=True, gen_kwargs={})
    except Exception:  # whatever it wants, it is no list of messages
        return False


def render_with_template(lm: LM | CachingLM, messages: list[Message]) -> Prompt:
    """The prompt in the model's own chat template.

    Raises:
        UserError: the model has no template, or cannot send what it renders.
    """
    model = inner_model(lm)

    def refused(why: str) -> UserError:
        return UserError(f"{type(model).__name__} {why}", _CHOICES)

    try:
        prompt = model.apply_chat_template(messages, add_generation_prompt=True)
        # An endpoint that takes strings or a server's tokens, and not the tokens that are made here, would get the
        # messages as they are.
        unrendered = isinstance(prompt, list) or (isinstance(prompt, JsonChatStr) and not takes_messages(lm))
        tokenizer: Any = getattr(model, "tokenizer", None)
        if unrendered and hasattr(tokenizer, "apply_chat_template"):
            kwargs = {"tokenize": False} if hasattr(tokenizer, "name_or_path") else {}
            prompt, unrendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, **kwargs), False
    except Exception as error:  # each backend fails in its own way: no template, no tokenizer, no Hub
        raise refused(f"cannot apply a chat template: {str(error).strip() or type(error).__name__}") from error
    if not isinstance(prompt, (str, JsonChatStr)):
        raise refused(f"renders a chat as {type(prompt).__name__}, which cannot be sent.")
    if unrendered:
        raise refused(
            "would send the messages as they are to an endpoint that expects text, because it has no tokenizer to "
            "apply a chat template with."
        )
    return prompt


def render_plain(lm: LM | CachingLM, messages: list[Message]) -> str:
    """The conversation as a ``User:``/``Assistant:`` transcript that ends where the model goes on.

    Raises:
        UserError: the model is a chat endpoint, which takes messages and no text.
    """
    if takes_messages(lm):
        raise UserError(
            "A plain transcript was asked for, but a chat endpoint takes messages and applies its own template.",
            "Leave out --metadata prompts, or use local-completions.",
        )
    parts = [f"{message['role'].capitalize()}: {message['content'].strip()}" for message in messages]
    return "\n\n".join([*parts, "Assistant:"])


# Where a transcript is plain text, a model that goes on as the user must be stopped.
PLAIN_STOP = "\nUser:"


class TokenCounter(NamedTuple):
    """Counts tokens as the model does: ``prompt`` with the special tokens it adds, ``reply`` without."""

    prompt: Callable[[str], int]
    reply: Callable[[str], int]


def token_counter(lm: LM | CachingLM) -> TokenCounter | None:
    """A counter for this model; None without a tokenizer at hand."""
    model = inner_model(lm)
    encode = getattr(model, "tok_encode", None)
    if encode is None:
        return None
    probe = encode("a")
    if isinstance(probe, list) and probe and isinstance(probe[0], int):
        bare = {"add_special_tokens": False}
        try:
            encode("a", **bare)
        except TypeError:  # a backend that never adds any
            bare = {}
        return TokenCounter(lambda text: len(encode(text)), lambda text: len(encode(text, **bare)) if text else 0)
    # Chat endpoints pass text through, but may have a tokenizer all the same.
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None or not hasattr(tokenizer, "encode"):
        return None

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    return TokenCounter(count, count)


class Limits(NamedTuple):
    """How many tokens fit: the model's length (None where prompts are never cut by lm-eval) and the reply's cap."""

    length: int | None
    reply: int | None


def limits(lm: LM | CachingLM, gen_kwargs: Mapping[str, Any]) -> Limits:
    """The limits for a request with these generation settings."""
    model = inner_model(lm)
    asked = next((gen_kwargs[name] for name in TOKEN_CAPS if gen_kwargs.get(name) is not None), None)
    reply = asked if asked is not None else getattr(model, "max_gen_toks", getattr(model, "_max_gen_toks", None))
    # A chat endpoint refuses what does not fit: lm-eval's max_length is no limit of its server's.
    length = None if takes_messages(lm) else getattr(model, "max_length", None)
    return Limits(int(length) if length is not None else None, int(reply) if reply is not None else None)
