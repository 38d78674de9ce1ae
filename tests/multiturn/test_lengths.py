"""Replies that use up their tokens, and prompts that do not fit the model."""

from __future__ import annotations

import logging

import pytest

from turnswap.core.errors import UserError

from .politeness import run
from .stub_models import ScriptedLM, TokenLM


def test_replies_that_use_up_their_tokens_are_counted() -> None:
    lm = TokenLM(lambda prompt: "x" * 20 if "Hi" in prompt else "x" * 19)
    assert run(lm)["results"]["polite"]["truncated,none"] == 3


def test_a_backend_without_special_tokens_is_counted_too() -> None:
    class Bare(TokenLM):
        def tok_encode(self, string: str) -> list[int]:  # type: ignore[override]
            return [ord(c) for c in string]

    assert run(Bare(lambda prompt: "x" * 20))["results"]["polite"]["truncated,none"] == 8


def test_prompts_that_do_not_fit_are_counted_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("lm_eval").propagate = True
    lm = TokenLM(lambda prompt: "y" * 10, max_length=85)
    with caplog.at_level(logging.WARNING):
        results = run(lm)
    # turn 3: <user>Hi<assistant>yyyyyyyyyy<user>How are you?<assistant>yyyyyyyyyy<user>Bye<assistant> and one special
    assert results["results"]["polite"]["overflowing,none"] == 2
    (message,) = [m for m in caplog.messages if "exceed" in m]
    assert message.startswith("Turn 3: 2 of 2 prompts")
    assert "(89 tokens in the longest + max_gen_toks 20 > 85)" in message


def test_the_warning_comes_once_though_several_turns_do_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("lm_eval").propagate = True
    with caplog.at_level(logging.WARNING):
        results = run(TokenLM(lambda prompt: "y" * 10, max_length=65))
    assert results["results"]["polite"]["overflowing,none"] == 5  # three prompts of turn 2, two of turn 3
    assert sum("exceed" in message for message in caplog.messages) == 1


def test_prompts_that_do_not_fit_end_the_run_where_asked() -> None:
    lm = TokenLM(lambda prompt: "y" * 10, max_length=85)
    with pytest.raises(UserError, match=r"Turn 3: 2 of 2 prompts.*Lower --gen_kwargs max_gen_toks"):
        run(lm, {"metadata": {"on_overflow": "error"}})
    assert len(lm.calls) == 2


def test_a_cap_beyond_the_models_length_is_refused() -> None:
    lm = TokenLM(max_length=20)
    with pytest.raises(UserError, match="may take 20 tokens, but prompt and reply together have room for 20"):
        run(lm)
    assert lm.calls == []


def test_unknown_lengths_are_not_guessed() -> None:
    results = run(ScriptedLM(lambda prompt: "x" * 10_000))
    assert results["results"]["polite"]["truncated,none"] == 0
    assert results["samples"]["polite"][0]["filtered_resps"][0].truncated is None
