"""The server that fails on purpose does so as it was told, and nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .fault_answers import KINDS, Config, latencies
from .fault_server import FaultServer, server_process

OK = 200


def chat(*said: str, **more: Any) -> dict[str, Any]:
    """A chat request whose messages are the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)], **more}


async def post_one(
    session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]
) -> tuple[Any, str, Mapping[str, str]]:
    """Status (or the client's error), body and headers of the response."""
    try:
        async with session.post(url, json=body, headers={"Authorization": "Bearer x"}) as response:
            return response.status, await response.text(), response.headers
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error), "", {}


def post(url: str, *bodies: Mapping[str, Any], timeout: float = 5) -> list[tuple[Any, str, Mapping[str, str]]]:
    """All at once."""

    async def run() -> list[tuple[Any, str, Mapping[str, str]]]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session:
            return await asyncio.gather(*(post_one(session, url, body) for body in bodies))

    return asyncio.run(run())


def ask(url: str, body: Mapping[str, Any]) -> str:
    """The reply to one request that must succeed."""
    ((status, text, _),) = post(url, body)
    assert status == OK, text
    choice = json.loads(text)["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_response_has_openais_shape() -> None:
    with FaultServer() as server:
        ((status, text, _),) = post(server.url, chat("one two three", model="m"))
    response = json.loads(text)
    (choice,) = response["choices"]
    assert (status, response["model"], choice["index"], choice["finish_reason"]) == (OK, "m", 0, "stop")
    assert choice["message"]["role"] == "assistant"
    assert response["usage"]["prompt_tokens"] == 3
    assert response["usage"]["completion_tokens"] == len(choice["message"]["content"].split()) > 0


def test_a_reply_follows_from_the_whole_history_and_from_nothing_else() -> None:
    histories = [("a",), ("b",), ("a", "x", "c"), ("a", "y", "c")]
    replies = []
    for seed in (1, 2):
        with FaultServer({"seed": seed}) as server:
            order = histories if seed == 1 else histories[::-1]
            asked = {history: ask(server.url, chat(*history, max_tokens=seed)) for history in order}
            replies.append([asked[history] for history in histories])
    assert replies[0] == replies[1]
    assert len(set(replies[0])) == len(histories)


def test_replies_can_be_scripted_even_with_half_a_surrogate_pair() -> None:
    with FaultServer(reply=lambda messages: f"{len(messages)} \ud83d") as server:
        assert ask(server.url, chat("a", "b", "c")) == "3 \ud83d"


@pytest.mark.parametrize(
    ("settings", "prompts"),
    [
        ({"marker": "<A>"}, ["hi<A>", "hi<A>x<U>more<A>"]),
        ({"token_marker": [7, 8]}, [[[1, 2, 7, 8]], [[1, 2, 7, 8, 5, 78, 7, 8]]]),
        ({"token_marker": [7, 8]}, [[1, 2, 7, 8], [1, 2, 7, 8, 5, 78, 7, 8]]),
    ],
)
def test_text_completions_know_conversation_and_turn_by_a_marker(settings: dict[str, Any], prompts: list[Any]) -> None:
    with FaultServer(settings) as server:
        replies = [ask(server.completions_url, {"prompt": prompt}) for prompt in prompts]
        first, second = server.requests
    assert replies[0] != replies[1]
    assert first.conversation == second.conversation
    assert [first.turn, second.turn] == [0, 1]
    assert first.messages == prompts[0]


def test_a_batch_of_prompts_has_a_choice_each() -> None:
    with FaultServer() as server:
        ((_, text, _),) = post(server.completions_url, {"prompt": ["a", "b"]})
        alone = ask(server.completions_url, {"prompt": "b"})
    assert [choice["index"] for choice in json.loads(text)["choices"]] == [0, 1]
    assert json.loads(text)["choices"][1]["text"] == alone


def test_the_models_are_listed_and_other_paths_are_not_found() -> None:
    async def get(url: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.json()

    with FaultServer({"model": "mine"}) as server:
        base = server.url.removesuffix("chat/completions")
        status, listed = asyncio.run(get(base + "models"))
        assert (status, listed["data"][0]["id"]) == (OK, "mine")
        assert asyncio.run(get(base + "tokenizer_info"))[0] == 404
        assert server.requests == []


EXPECTED = {  # the status, or the client's error, and what the body contains
    "429": (429, "rate_limit_exceeded"),
    "500": (500, "server_error"),
    "502": (502, "<h1>"),
    "timeout": (TimeoutError, ""),
    "drop": (aiohttp.ServerDisconnectedError, ""),
    "drop_mid": (aiohttp.ClientPayloadError, ""),
    "broken_json": (OK, '{"object"'),
    "no_choices": (OK, '"choices": []'),
    "missing_choices": (OK, '"usage"'),
    "null_content": (OK, '"content": null'),
    "length_null": (OK, '"finish_reason": "length"'),
    "error_200": (OK, '{"error"'),
    "context_400": (400, "context_length_exceeded"),
    "401": (401, "invalid_api_key"),
}


def test_every_kind_is_expected_below() -> None:
    assert set(EXPECTED) == KINDS


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_fault_is_what_its_name_says_and_passes(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    config = {"faults": [{"kind": kind, "match": "bad", "retry_after": 7, "hold": 5}]}
    with caplog.at_level(logging.WARNING), FaultServer(config) as server:
        (failed, fine) = post(server.url, chat("bad"), chat("good"), timeout=1 if kind == "timeout" else 10)
        again = ask(server.url, chat("bad"))
        records = {(record.conversation, record.attempt): record for record in server.requests}
        if kind == "timeout":
            wait_for(lambda: records["bad", 1].client_gone)
    status, contained = EXPECTED[kind]
    assert failed[0] is status or failed[0] == status
    assert contained in failed[1]
    assert failed[2].get("Retry-After") == ("7" if kind == "429" else None)
    assert ("choices" in failed[1]) == (kind in ("broken_json", "no_choices", "null_content", "length_null"))
    if kind == "broken_json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(failed[1])
    assert fine[0] == OK
    assert again
    record = records["bad", 1]
    assert record.fault == kind
    assert records["bad", 2].fault is records["good", 1].fault is None
    assert (record.sent is None) == (kind in ("timeout", "drop", "drop_mid"))
    assert record.client_gone == (kind == "timeout")
    assert not caplog.records


def test_text_completions_can_be_null_too() -> None:
    with FaultServer({"faults": [{"kind": "null_content"}]}) as server:
        ((_, text, _),) = post(server.completions_url, {"prompt": "a"})
    assert json.loads(text)["choices"][0]["text"] is None


def test_faults_hit_a_seeded_share_of_turns_at_their_first_attempts() -> None:
    def hit(seed: int, attempt: int, **rule: Any) -> set[tuple[str, int]]:
        config = Config(seed=seed, faults=[{"kind": "500", "share": 0.1, **rule}])
        pairs = [(f"conversation {n}", turn) for n in range(1000) for turn in range(3)]
        return {pair for pair in pairs if config.fault(*pair, attempt)}

    first = hit(1, 1, attempts=2)
    assert 240 < len(first) < 360
    assert hit(1, 2, attempts=2) == first
    assert hit(1, 3, attempts=2) == set()
    assert hit(1, 99, attempts=None) == first
    assert hit(2, 1, attempts=2) != first
    assert hit(1, 1, turn=1) == {pair for pair in first if pair[1] == 1}
    assert hit(1, 1, share=1.0, match="conversation 77", turn=0) == {
        (f"conversation {n}", 0) for n in range(1000) if str(n).startswith("77")
    }


def test_the_first_rule_that_applies_decides() -> None:
    config = Config(faults=[{"kind": "500", "attempts": 1}, {"kind": "429", "attempts": 2}])
    assert [rule and rule.kind for rule in (config.fault("a", 0, attempt) for attempt in (1, 2, 3))] == [
        "500",
        "429",
        None,
    ]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="50O"):
        FaultServer({"faults": [{"kind": "50O"}]})


def test_a_record_says_what_was_sent_and_when() -> None:
    with FaultServer({"latency_median": 0.05}) as server:
        body = chat("hi", "yes", "more", max_tokens=9, stop=["."], temperature=0.5)
        before = time.monotonic()
        ask(server.url, body)
        (record,) = server.requests
        after = time.monotonic()
    assert (record.conversation, record.turn, record.attempt, record.status) == ("hi", 1, 1, OK)
    assert record.messages == body["messages"]
    assert (record.max_tokens, record.stop, record.temperature, record.authorization) == (9, ["."], 0.5, True)
    assert record.sent is not None
    assert before <= record.arrived < record.sent <= after
    assert abs(record.arrived_wall - time.time()) < 60
    assert record.sent - record.arrived >= Config(latency_median=0.05).latency("hi", 1) * 0.99


def test_requests_in_flight_are_counted() -> None:
    with FaultServer({"latency_median": 0.5, "sigma": 0}) as server:
        post(server.url, *(chat(str(n)) for n in range(20)))
        assert sorted(record.in_flight for record in server.requests) == list(range(1, 21))
        assert server.max_in_flight == 20
        ask(server.url, chat("alone"))
        assert server.requests[-1].in_flight == 1


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    return statistics.correlation(list(first), list(second))


def test_latencies_are_lognormal_and_share_half_their_variance_within_a_conversation() -> None:
    conversations = [f"conversation {n}" for n in range(4000)]
    drawn = latencies(conversations, 3, seed=5, median=2.0)
    turns = [[math.log(seconds[turn]) for seconds in drawn] for turn in range(3)]
    for logs in turns:
        assert statistics.fmean(logs) == pytest.approx(math.log(2), abs=0.05)
        assert statistics.stdev(logs) == pytest.approx(0.8, rel=0.04)
    assert correlation(turns[0], turns[1]) == pytest.approx(0.5, abs=0.05)
    assert correlation(turns[0], turns[2]) == pytest.approx(0.5, abs=0.05)
    assert correlation(turns[0][:-1], turns[0][1:]) == pytest.approx(0, abs=0.05)
    alike = latencies(conversations[:9], 2, median=1.0, shared_variance=1.0)
    assert all(first == second for first, second in alike)


def test_latencies_follow_from_the_seed_and_the_conversation_alone() -> None:
    assert latencies(["a", "b"], 3, seed=1) == latencies(["b", "a"], 3, seed=1)[::-1]
    assert latencies(["a"], 3, seed=1) != latencies(["a"], 3, seed=2)
    assert latencies(["a"], 2, seed=1)[0] == latencies(["a"], 3, seed=1)[0][:2]
    config = Config(seed=1, latency_median=1.0)
    assert latencies(["a"], 1, seed=1) == [[config.latency("a", 0)]]


def test_the_server_ends_after_its_requests() -> None:
    with FaultServer({"max_requests": 2}) as server:
        statuses = [post(server.url, chat("a"))[0][0] for _ in range(3)]
        server.join()
        statuses.append(post(server.url, chat("a"))[0][0])
    assert statuses == [OK, OK, 503, aiohttp.ClientConnectorError]
    assert (len(server.requests), server.refused) == (2, 1)


def test_the_server_ends_after_its_time_even_while_it_holds_a_request() -> None:
    config = {"max_seconds": 0.7, "faults": [{"kind": "timeout", "match": "held"}]}
    with FaultServer(config) as server:
        ((held, _, _),) = post(server.url, chat("held"))
        server.join()
    assert held is aiohttp.ServerDisconnectedError


CLIENT = """
import asyncio, sys, aiohttp

async def main():
    async with aiohttp.ClientSession() as session:
        for said in ("quick", "held"):
            await session.post(sys.argv[1], json={"messages": [{"role": "user", "content": said}]})

asyncio.run(main())
"""


def test_a_process_of_its_own_tells_what_a_killed_client_had_asked(tmp_path: Path) -> None:
    config = {"faults": [{"kind": "timeout", "match": "held"}]}
    with server_process(config, tmp_path / "log.jsonl") as server:
        with subprocess.Popen([sys.executable, "-c", CLIENT, server.url]) as client:
            wait_for(lambda: len(server.requests) == 2)
            assert not server.requests[1].client_gone
            client.send_signal(signal.SIGKILL)
        wait_for(lambda: server.requests[1].client_gone)
        assert ask(server.url, chat("held")) == ask(server.url, chat("held"))
        quick, held, again, _ = server.requests
    assert quick.status == OK
    assert quick.sent is not None
    assert (held.status, held.sent) == (None, None)
    assert (again.attempt, again.fault, again.status) == (2, None, OK)
    assert server.process.returncode is not None
