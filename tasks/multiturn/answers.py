"""What a backend answered: the text, and all that it says beside it.

:func:`read_answer` reads the bodies of endpoints in OpenAI's shape, and those of Anthropic and SGLang. Engines that run
in this process make an :class:`Answer` themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .faults import Fault

# What endpoints call the end of a reply that used up its tokens.
_CAPPED = {"length", "max_tokens", "max_output_tokens", "model_length"}
# Why a reply may rightly hold no text. Null content for any other reason is no answer, and asked for again.
_SILENT = {*_CAPPED, "content_filter", "tool_calls", "function_call", "refusal"}
_UNKNOWN = (None, "", False)
_REASONING_FIELDS = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class Answer:
    """One answer to one request.

    Attributes:
        text: what the model said; may hold reasoning between tags.
        finish_reason: why it ended, in the backend's words; None where it does not tell.
        reasoning: what the backend gave apart from the text; empty where there is none.
        reasoning_field: under which name it did.
        unclosed: the reasoning never ended, so that there is no text.
        refused: the text is the model's refusal, given apart.
        prompt_tokens, completion_tokens, reasoning_tokens: as the backend counts them; reasoning is part of the
            completion. None where it does not tell.
        seconds: from sending the request to the whole answer.
    """

    text: str
    finish_reason: str | None = None
    reasoning: str = ""
    reasoning_field: str = _REASONING_FIELDS[0]
    unclosed: bool = False
    refused: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    seconds: float | None = None

    @property
    def filtered(self) -> bool:
        """Whether the endpoint's content filter held the text back."""
        return self.finish_reason == "content_filter"

    def truncated(self, cap: int | None) -> bool | None:
        """Whether the answer used up its tokens: by its finish reason, else by its count; None where neither tells.

        Args:
            cap: how many tokens it could have.
        """
        if self.finish_reason is not None:
            return self.finish_reason.lower() in _CAPPED
        return self.completion_tokens >= cap if cap and self.completion_tokens is not None else None

    def beside(self) -> dict[str, Any]:
        """All but the text, without what is not known: what a cache keeps beside lm-eval's own entry."""
        unsaid = {"text"} if self.reasoning else {"text", "reasoning_field"}
        return {name: value for name, value in asdict(self).items() if name not in unsaid and value not in _UNKNOWN}


def read_answer(body: Any) -> Answer:
    """The answer in the body of a chat or text completion.

    Raises:
        Fault: it holds none, which another try may cure: an error, no choice, no message, null for no reason.
    """
    if not isinstance(body, Mapping):
        raise Fault("no object")
    if body.get("error"):
        raise Fault("an error instead of a reply", words=words_of(body))
    choice, usage = _choice(body)
    message = choice.get("message", {"content": choice["text"]} if "text" in choice else None)
    if not isinstance(message, Mapping) or not {"content", "refusal", "tool_calls", *_REASONING_FIELDS} & set(message):
        raise Fault("no message")
    content, finish = message.get("content"), _reason(choice.get("finish_reason"))
    text, reasoning = _parts(content)
    field = next((name for name in _REASONING_FIELDS if message.get(name)), _REASONING_FIELDS[0])
    reasoning += _parts(message.get(field))[0]
    refusal = message.get("refusal")
    refused = not text and isinstance(refusal, str) and bool(refusal)
    if content is None and not (reasoning or refused or message.get("tool_calls") or finish in _SILENT):
        raise Fault("null content")
    reasoning_tokens = _count(usage.get("completion_tokens_details") or usage, "reasoning_tokens")
    silent_at_cap = finish in _CAPPED and (content is None or bool(reasoning_tokens))
    return Answer(
        text=str(refusal) if refused else text,
        finish_reason=finish,
        reasoning=reasoning,
        reasoning_field=field,
        unclosed=not text and not refused and bool(reasoning or silent_at_cap),
        refused=refused or finish == "refusal",
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        reasoning_tokens=reasoning_tokens,
    )


def words_of(body: Any) -> str:
    """The server's own words in the body of a refusal, on one line: its error's message, or the body itself."""
    found = body
    for name in ("error", "message", "detail"):
        if isinstance(found, Mapping) and found.get(name):
            found = found[name]
    return " ".join(str(found).split())[:500]


def _choice(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The first choice and the usage, of whichever shape the body is, as OpenAI has them."""
    usage = body.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    if body.get("type") == "message" and "content" in body:  # Anthropic
        tokens = {"prompt_tokens": usage.get("input_tokens"), "completion_tokens": usage.get("output_tokens")}
        return {"message": {"content": body["content"]}, "finish_reason": body.get("stop_reason")}, tokens
    if isinstance(about := body.get("meta_info"), Mapping) and "text" in body:  # SGLang's own
        return {"text": body["text"], "finish_reason": about.get("finish_reason")}, about
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise Fault("no choices")
    return choices[0], usage


def _reason(said: Any) -> str | None:
    """Why the answer ended: a word, or SGLang's object that holds it."""
    said = said.get("type") if isinstance(said, Mapping) else said
    return said if isinstance(said, str) else None


def _parts(content: Any) -> tuple[str, str]:
    """The text and the reasoning in a content: a string, null, or a list of parts."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        raise Fault(f"content of type {type(content).__name__}")
    text = reasoning = ""
    for part in content:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        inner = part.get("thinking" if kind == "thinking" else "text") if isinstance(part, Mapping) else part
        if kind in ("thinking", "reasoning"):
            reasoning += "".join(_parts(inner))
        else:
            text += _parts(inner)[0]
    return text, reasoning


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
