"""What lockstep learns of hf's replies beside their texts, against each prompt generated for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from turnswap.tasks.multiturn.engines.observed import observed

PROMPTS = ["a", "Write about rain.", "Why?", "One two three four five six.", "Sun", "Moon and sea"]


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(tiny_model), batch_size=4, dtype="float32", device="cpu")


def settings(**others: Any) -> dict[str, Any]:
    return {"until": [], "max_gen_toks": 24, "do_sample": False, **others}


def request(prompt: str, gen_kwargs: dict[str, Any]) -> Instance:
    return Instance("generate_until", {}, (prompt, gen_kwargs), 0, (None, None, 1))


def alone(lm: Any, prompt: str, cap: int) -> list[int]:
    """The tokens that the model goes on with, nothing but the cap and its own end stopping it."""
    encoded = lm.tokenizer(prompt, return_tensors="pt")
    row = lm.model.generate(**encoded, max_new_tokens=cap, do_sample=False, pad_token_id=lm.tokenizer.pad_token_id)
    return [int(token) for token in row[0][encoded.input_ids.shape[1] :]]


def test_replies_that_use_up_their_tokens_are_told_from_those_that_end(lm: Any, monkeypatch: Any) -> None:
    expected = {prompt: alone(lm, prompt, 24) for prompt in PROMPTS}
    # Random weights never end of themselves: a token that some replies hold is made an end.
    end = expected[PROMPTS[0]][10]
    monkeypatch.setattr(lm.model.generation_config, "eos_token_id", [end, lm.eot_token_id])
    reasons = set()
    with observed(lm) as seen:
        texts = lm.generate_until([request(prompt, settings()) for prompt in PROMPTS])
    for prompt, text in zip(PROMPTS, texts, strict=True):
        answer = seen.get(prompt, settings())
        ended = end in expected[prompt]
        used = expected[prompt].index(end) + 1 if ended else 24
        assert answer is not None
        assert (answer.text, answer.finish_reason) == (text, "stop" if ended else "length")
        assert (answer.prompt_tokens, answer.completion_tokens) == (len(lm.tok_encode(prompt)), used)
        assert answer.truncated(24) is not ended
        reasons.add(answer.finish_reason)
    assert reasons == {"stop", "length"}


def test_a_reply_that_a_stop_string_ended_counts_the_tokens_up_to_it(lm: Any) -> None:
    tokens = {prompt: alone(lm, prompt, 24) for prompt in PROMPTS}
    stop = lm.tokenizer.decode(tokens[PROMPTS[1]][5:8])  # three letters of one reply; the others of its batch go on
    gen_kwargs = settings(until=[stop])
    with observed(lm) as seen:
        lm.generate_until([request(prompt, gen_kwargs) for prompt in PROMPTS])
    for prompt, row in tokens.items():
        answer = seen.get(prompt, gen_kwargs)
        ends = [length for length in range(1, 25) if stop in lm.tokenizer.decode(row[:length])]
        assert answer is not None
        assert answer.finish_reason == ("stop" if ends else "length")
        assert answer.completion_tokens == min(ends, default=24)
    assert seen.get(PROMPTS[1], gen_kwargs).completion_tokens <= 8  # type: ignore[union-attr]


def test_requests_with_other_settings_and_repeats_are_told_apart(lm: Any) -> None:
    short, sampled = settings(max_gen_toks=3), {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0}
    requests = [request("a", short), request("a", sampled), request("a", settings()), request("a", sampled)]
    with observed(lm) as seen:
        texts = lm.generate_until(requests)
    answers = [seen.get(*each.args) for each in requests]
    assert [answer and answer.text for answer in answers] == texts
    assert texts[1] != texts[3]
    assert [answer and answer.completion_tokens for answer in answers] == [3, 12, 24, 12]
    assert seen.get("never asked", short) is None


def test_the_model_is_as_it_was_also_after_an_error(lm: Any, monkeypatch: Any) -> None:
    told = []

    class Hook:
        def add_partial(self, attr: str, request: Any, result: str) -> None:
            told.append((attr, request, result))

    monkeypatch.setattr(lm, "cache_hook", Hook())
    before = dict(vars(lm))
    with observed(lm):
        (text,) = lm.generate_until([request("a", settings())])
    assert told == [("generate_until", ("a", settings()), text)]
    assert vars(lm) == before
    with pytest.raises(AssertionError), observed(lm):
        lm.generate_until([request("a", settings(max_gen_toks=10**6))])
    assert vars(lm) == before


def test_of_other_models_nothing_is_seen() -> None:
    from lm_eval.models.dummy import DummyLM

    lm = DummyLM()
    with observed(lm) as seen:
        lm.generate_until([request("a", {"until": []})])
    assert seen.get("a", {"until": []}) is None
