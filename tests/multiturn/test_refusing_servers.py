"""What a server does not take: parameters, too many requests, a key that is missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_row, write_csv
from turnswap.core.errors import UserError
from turnswap.tasks.multiturn.engines.api import asked_to_wait, refused_parameter

from .endpoint import evaluate
from .fault_server import FaultServer

pytestmark = pytest.mark.usefixtures("short_pauses")


def refusing(parameter: str, error: Any, status: int = 400) -> Callable[[dict[str, Any]], Any]:
    return lambda asked: (status, {}, error) if parameter in asked else None


REFUSED = {
    "seed": {"error": {"message": "Unrecognized request argument supplied: seed", "type": "invalid_request_error"}},
    "stop": {"error": {"message": "Unsupported parameter: 'stop' is not supported with this model.", "param": "stop"}},
    "temperature": {
        "error": {
            "message": "Unsupported value: 'temperature' does not support 0 with this model.",
            "param": "temperature",
            "code": "unsupported_value",
        }
    },
    "max_tokens": {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs"}]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_parameter_that_is_refused_by_name_is_left_out_said_once_and_recorded(
    data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultServer(refuse=refusing(name, REFUSED[name])) as server:
        results = evaluate(server, data, 1, gen_kwargs={"until": ["\nUser:"]})
        assert len(server.requests) == 5
    assert sum(f"The server refuses {name}" in record.getMessage() for record in caplog.records) == 1
    assert results["configs"]["multiif_en"]["metadata"]["run"]["dropped_parameters"] == {name: ""}


def test_a_cap_is_sent_under_the_name_that_the_server_wants(data: Path) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with FaultServer(refuse=refusing("max_tokens", {"error": {"message": said, "param": "max_tokens"}})) as server:
        results = evaluate(server, data, 1)
        assert [record.max_tokens for record in server.requests[1:]] == [2048] * 4
    facts = results["configs"]["multiif_en"]["metadata"]["run"]
    assert facts["dropped_parameters"] == {"max_tokens": "max_completion_tokens"}


@pytest.mark.parametrize(
    "words",
    [
        "'max_tokens' is too large: 2048. This model's maximum context length is 4096 tokens.",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens. Reduce max_tokens.",
        "temperature must be between 0 and 1.",
    ],
)
def test_a_value_that_is_refused_is_no_name_that_is_refused(words: str) -> None:
    payload = {"max_tokens": 2048, "temperature": 0, "seed": 1}
    assert refused_parameter({"error": {"message": words}}, words, payload) is None


def test_an_empty_stop_list_is_not_sent(data: Path) -> None:
    with FaultServer() as server:
        evaluate(server, data)
        assert {record.stop for record in server.requests} == {None}


# ------------------------------------------------------------------------------------- asked to wait


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"Retry-After": "9999"}, 300),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "-3"}, 0),
        ({}, 0),
    ],
)
def test_a_server_says_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert asked_to_wait(headers) == seconds


def test_a_server_may_say_until_when_to_wait() -> None:
    until = datetime.now(UTC) + timedelta(seconds=60)
    assert asked_to_wait({"Retry-After": format_datetime(until, usegmt=True)}) == pytest.approx(60, abs=3)
    past = datetime.now(UTC) - timedelta(seconds=60)
    assert asked_to_wait({"Retry-After": format_datetime(past, usegmt=True)}) == 0


def test_being_asked_too_often_uses_up_no_try_and_fewer_are_sent_at_once(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en") for n in range(24)])
    most_at_once = []
    with FaultServer({"latency_median": 0.05, "sigma": 0}) as server:
        # A server that takes four at once.
        def refuse(body: Any) -> Any:
            if server._in_flight >= 4 and len(server.requests) < 60:
                return 429, {"retry-after-ms": "20"}, {"error": {"message": "Rate limit reached."}}
            return None

        server.refuse = refuse
        results = evaluate(server, data, 12, arguments={"max_retries": 1})
        most_at_once = [record.in_flight for record in server.requests]
    assert results["results"]["multiif_en"]["turn3_failed,none"] == 0
    assert max(most_at_once[:12]) > 6
    assert max(most_at_once[20:60]) <= 6


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit reached. Please try again in 0.1s. Need more tokens? Visit https://console/settings/billing",
        "You exceeded your current quota, please check your plan and billing details. Please retry in 0.1s.",
    ],
)
def test_a_limit_that_passes_is_waited_for_whatever_it_says_of_billing(data: Path, words: str) -> None:
    first = iter([True] * 3)

    def refuse(asked: Any) -> Any:
        return (429, {"retry-after": "0.1"}, {"error": {"message": words}}) if next(first, False) else None

    with FaultServer(refuse=refuse) as server:
        results = evaluate(server, data, arguments={"max_retries": 1})
    assert results["results"]["multiif_en"]["turn2_failed,none"] == 0


def test_whom_a_server_asks_to_wait_everybody_waits(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en") for n in range(12)])
    first = iter([True])

    def refuse(asked: Any) -> Any:
        return (429, {"retry-after": "2"}, {"error": {"message": "Slow down."}}) if next(first, False) else None

    with FaultServer({"latency_median": 0.05, "sigma": 0}, refuse=refuse) as server:
        evaluate(server, data, 4)
        arrived = [record.arrived for record in server.requests]
    assert not [
        moment for moment in arrived if arrived[0] + 1 < moment < arrived[0] + 2
    ]  # what was under way came before


def test_an_account_that_is_used_up_is_not_waited_for(data: Path) -> None:
    said = {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}
    with FaultServer(refuse=lambda asked: (429, {}, said)) as server, pytest.raises(UserError) as failed:
        evaluate(server, data)
    assert len(server.requests) == 2
    assert "You exceeded your current quota." in str(failed.value)


def test_what_cannot_pass_is_not_advised_to_be_tried_again(data: Path) -> None:
    said = {"error": {"message": "The model `served` does not exist."}}
    with FaultServer(refuse=lambda asked: (404, {}, said)) as server, pytest.raises(UserError) as failed:
        evaluate(server, data)
    assert len(server.requests) == 2
    assert "HTTP 404, 2 times; first multiif_en 0:1:en, turn 1: The model `served` does not exist." in str(failed.value)
    assert "Run the same command again" not in str(failed.value)
    assert "fix the cause first" in str(failed.value)


def test_a_missing_key_is_said_without_a_traceback(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FaultServer() as server, pytest.raises(UserError, match="OPENAI_API_KEY"):
        evaluate(server, data, model="openai-chat-completions", arguments={"model": "gpt-4o-mini"})
