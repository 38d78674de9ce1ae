"""The pipelined schedule on lm-eval's API models, against a server that is slow and fails on purpose."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from tests.conftest import make_row, write_csv
from turnswap.core.errors import UserError
from turnswap.tasks import tasks_path
from turnswap.tasks.multiturn.gate import Gate, Stopped

from .fault_server import FaultServer
from .stub_models import ScriptedLM

pytestmark = pytest.mark.usefixtures("short_pauses")
LANGUAGES = {"en": "English", "es": "Spanish", "hi": "Hindi"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight conversations in each of three languages; the fourth of each has two turns."""
    rows = [
        make_row(f"{n}:1:{code}", name, turns=2 if n == 4 else 3) for code, name in LANGUAGES.items() for n in range(8)
    ]
    return write_csv(tmp_path / "data.csv", rows)


def evaluate(server: FaultServer, data: Path, *, model: str = "local-chat-completions", **options: Any) -> Any:
    arguments = {"model": "served", "base_url": server.url, "num_concurrent": 6, "timeout": 5, "max_retries": 3}
    arguments |= options.pop("arguments", {})
    metadata = {"multiif_data": str(data), **options.pop("metadata", {})}
    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False, metadata=metadata)
    tasks = [f"multiif_{code}" for code in LANGUAGES]
    return simple_evaluate(model, model_args=arguments, tasks=tasks, task_manager=manager, bootstrap_iters=0, **options)


def replies_of(results: Any) -> dict[str, list[Any]]:
    return {
        sample["doc"]["key"]: sample["filtered_resps"] for samples in results["samples"].values() for sample in samples
    }


def asked(server: FaultServer) -> list[tuple[str, int]]:
    return [(record.conversation, record.turn) for record in server.requests]


def prompts_of(sample: Any) -> list[Any]:
    return [arguments[:2] for arguments in sample["arguments"]]


def without_seconds(results: Any) -> Any:
    """Figures that do not depend on how long the server took."""
    return {task: {n: v for n, v in figures.items() if "seconds" not in n} for task, figures in results.items()}


def test_both_schedules_give_the_same_samples_metrics_and_cache(data: Path, tmp_path: Path) -> None:
    from sqlitedict import SqliteDict

    outcomes = []
    for schedule in ("pipelined", "lockstep"):
        with FaultServer() as server:
            cache = str(tmp_path / schedule)
            results = evaluate(server, data, metadata={"schedule": schedule}, use_cache=cache)
            (file,) = tmp_path.glob(f"{schedule}*.db")
            with SqliteDict(str(file)) as cached:
                content = dict(cached)
            outcomes.append((results["samples"], without_seconds(results["results"]), content, sorted(asked(server))))
    assert outcomes[0][3] == outcomes[1][3]
    assert outcomes[0][2] == outcomes[1][2]
    assert len(outcomes[0][2]) == len(outcomes[0][3]) == 3 * (7 * 3 + 2)
    for one, other in zip(outcomes[0][0].values(), outcomes[1][0].values(), strict=True):
        assert [prompts_of(s) for s in one] == [prompts_of(s) for s in other]
        assert [s["filtered_resps"] for s in one] == [s["filtered_resps"] for s in other]
    assert json.dumps(outcomes[0][1], default=str) == json.dumps(outcomes[1][1], default=str)


@pytest.mark.parametrize("num_concurrent", [1, 4])
def test_never_more_requests_in_flight_than_asked_for(data: Path, num_concurrent: int) -> None:
    with FaultServer({"latency_median": 0.01}) as server:
        evaluate(server, data, arguments={"num_concurrent": num_concurrent})
        assert server.max_in_flight == num_concurrent
        assert len(server.requests) == 69


def test_a_slow_conversation_holds_up_no_other(data: Path) -> None:
    with FaultServer({"faults": [{"kind": "timeout", "hold": 1, "match": "about 2:1:es", "turn": 0}]}) as server:
        evaluate(server, data)
        slow = next(record for record in server.requests if "2:1:es" in record.conversation and record.attempt == 2)
        before = [record for record in server.requests if record.arrived < slow.arrived]
        assert len({record.conversation for record in before if record.turn == 2}) == 20


def test_fewest_turns_come_first_and_open_conversations_are_bounded(data: Path) -> None:
    with FaultServer({"latency_median": 0.02, "sigma": 0}) as server:
        evaluate(server, data, arguments={"num_concurrent": 2}, metadata={"open": 24})
        turns = [record.turn for record in server.requests]
        assert turns.index(1) >= 23  # the last first turn may still be under way
    with FaultServer({"latency_median": 0.02, "sigma": 0}) as server:
        evaluate(server, data, arguments={"num_concurrent": 2}, metadata={"open": 3})
        begun: set[str] = set()
        ended: set[str] = set()
        for record in server.requests:
            begun.add(record.conversation)
            assert len(begun - ended) <= 3
            last = 1 if record.conversation.startswith("Write about 4:") else 2
            ended |= {record.conversation} if record.turn == last else set()
        assert len(ended) == 24


PASSING = ["429", "500", "502", "drop", "drop_mid", "broken_json", "no_choices", "missing_choices", "null_content"]


@pytest.mark.parametrize("kind", [*PASSING, "error_200"])
def test_a_passing_fault_leaves_no_trace(data: Path, kind: str) -> None:
    with FaultServer() as server:
        expected = replies_of(evaluate(server, data))
    rule = {"kind": kind, "share": 0.2, "attempts": 2, "retry_after": 0.01}
    with FaultServer({"faults": [rule]}) as server:
        results = evaluate(server, data)
        assert any(record.fault == kind for record in server.requests)
        assert len(server.requests) > 69
    assert replies_of(results) == expected
    assert all(results["results"][task]["turn1_failed,none"] == 0 for task in results["results"])


@pytest.mark.parametrize("kind", ["500", "broken_json", "no_choices", "missing_choices", "null_content", "error_200"])
def test_what_fails_for_good_is_set_aside_and_never_graded(data: Path, kind: str) -> None:
    rules = [{"kind": kind, "attempts": None, "match": "about 3:1:es", "turn": 1}]
    with FaultServer({"faults": rules}) as server:
        results = evaluate(server, data, metadata={"max_failed": 0.05})
        tries = [record for record in server.requests if record.fault]
        assert [record.attempt for record in tries] == [1, 2, 3]
        assert len(server.requests) == 69 - 2 + 3
    replies = replies_of(results)["3:1:es"]
    assert replies[0]
    assert replies[1:] == [None, None]
    spanish = results["results"]["multiif_es"]
    assert [spanish[f"turn{turn}_failed,none"] for turn in (1, 2, 3)] == [0, 1, 1]
    (sample,) = [s for s in results["samples"]["multiif_es"] if s["doc"]["key"] == "3:1:es"]
    assert sample["turn1_inst_strict_acc"][1] == 1
    assert sample["turn2_inst_strict_acc"] == sample["turn3_prompt_strict_acc"] == (0, 0)
    assert sample["arguments"][2][0].startswith("[turn 2 failed: ")
    others = [s for s in results["samples"]["multiif_es"] if s["doc"]["key"] != "3:1:es"]
    held = sum(s["turn2_inst_strict_acc"][0] for s in others)
    assert spanish["turn2_inst_strict_acc,none"] == held / sum(s["turn2_inst_strict_acc"][1] for s in others)


def test_a_failed_run_names_how_many_which_and_why_and_a_second_asks_for_the_rest(data: Path, tmp_path: Path) -> None:
    rules = [
        {"kind": "500", "attempts": None, "match": "about 3:1:es", "turn": 1},
        {"kind": "context_400", "attempts": None, "match": "about 5:1:hi", "turn": 2},
    ]
    with FaultServer({"faults": rules}) as server, pytest.raises(UserError) as failed:
        evaluate(server, data, use_cache=str(tmp_path / "cache"))
    message = str(failed.value)
    assert "2 of 24 conversations failed: " in message
    assert "multiif_es 3:1:es" in message
    assert "HTTP 500, once; first multiif_es 3:1:es, turn 2: The server had an error." in message
    assert "HTTP 400, once; first multiif_hi 5:1:hi, turn 3: This model's maximum context length is 4096" in message
    assert "Run the same command again" in message
    context = [record for record in server.requests if record.fault == "context_400"]
    assert len(context) == 1  # trying again cannot help

    with FaultServer() as server:
        results = evaluate(server, data, use_cache=str(tmp_path / "cache"), metadata={"cache": "adopt"})
        assert sorted((c.split()[2], t) for c, t in asked(server)) == [("3:1:es.", 1), ("3:1:es.", 2), ("5:1:hi.", 2)]
    with FaultServer() as server:
        assert replies_of(results) == replies_of(evaluate(server, data))


def test_more_failures_than_allowed_fail_the_run(data: Path) -> None:
    rules = [{"kind": "500", "attempts": None, "match": "about 3:"}]  # 3 of 24
    with FaultServer({"faults": rules}) as server, pytest.raises(UserError, match="3 of 24 conversations failed"):
        evaluate(server, data, metadata={"max_failed": 0.1})


def test_a_timeout_of_the_client_is_a_fault_like_others(data: Path) -> None:
    rules = [{"kind": "timeout", "hold": 20, "attempts": 1, "match": "about 2:1:en", "turn": 1}]
    with FaultServer({"faults": rules}) as server:
        results = evaluate(server, data, arguments={"timeout": 1})
        assert len(server.requests) == 70
    assert None not in replies_of(results)["2:1:en"]


def test_retry_after_is_waited_for(data: Path) -> None:
    rules = [{"kind": "429", "attempts": 1, "retry_after": 1.5, "match": "about 2:1:en", "turn": 0}]
    with FaultServer({"faults": rules}) as server:
        evaluate(server, data)
        first, second = [r for r in server.requests if "2:1:en" in r.conversation and r.turn == 0]
        assert second.arrived - first.arrived >= 1.5


def test_null_content_that_used_up_its_tokens_is_an_empty_reply(data: Path) -> None:
    with FaultServer({"faults": [{"kind": "length_null", "match": "about 2:1:en", "turn": 1}]}) as server:
        replies = replies_of(evaluate(server, data))["2:1:en"]
        assert replies[1] == ""
        assert replies[2]
        assert len(server.requests) == 69


def test_a_server_that_answers_nothing_ends_the_run_early(data: Path) -> None:
    with (
        FaultServer({"faults": [{"kind": "401", "attempts": None}]}) as server,
        pytest.raises(
            UserError, match=r"failed before any reply came: HTTP 401: Incorrect API key\. Check the address"
        ),
    ):
        evaluate(server, data)
    assert len(server.requests) < 20


def test_the_log_is_not_flooded(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer({"faults": [{"kind": "500", "share": 0.7, "attempts": 1}]}) as server:
        evaluate(server, data)
        assert sum(record.fault == "500" for record in server.requests) > 20
    assert not [record for record in caplog.records if "error" in record.getMessage().lower()]


def test_the_bar_counts_turns_failures_and_tokens(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = [{"kind": "500", "attempts": None, "match": "about 3:1:es", "turn": 1}]
    with FaultServer({"faults": rules, "latency_median": 0.02}) as server:
        evaluate(server, data, metadata={"max_failed": 1})
    last = capsys.readouterr().err.replace("\r", "\n").split("Requesting turns: 100%")[-1]
    assert "69/69" in last
    assert "reply/s" in last
    assert "failed=1" in last
    assert "tok/s=" in last


def test_text_endpoints_are_pipelined_with_the_tokenizers_template(
    data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for schedule in ("auto", "lockstep"):
        with FaultServer() as server:
            arguments = {"base_url": server.completions_url, "tokenizer": str(tiny_model), "max_length": 600}
            arguments |= {"tokenized_requests": True, "tokenizer_backend": "huggingface"}
            results = evaluate(
                server, data, model="local-completions", arguments=arguments, metadata={"schedule": schedule},
                gen_kwargs={"max_gen_toks": 20},
            )  # fmt: skip
            outcomes.append((replies_of(results), sorted(map(str, (record.messages for record in server.requests)))))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][1]) == 69


def test_sampled_replies_are_asked_for_again(data: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with FaultServer() as server:
            options: Any = {"gen_kwargs": {"do_sample": True}, "metadata": {"cache": "adopt"}}
            evaluate(server, data, use_cache=str(tmp_path / "cache"), **options)
            assert len(server.requests) == 69


def test_what_cannot_be_pipelined_goes_turn_by_turn_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    from .politeness import run

    results = run(ScriptedLM(), {"metadata": {"schedule": "pipelined"}})
    assert "Turn by turn, in lockstep: ScriptedLM takes batches, not single requests." in caplog.text
    assert results["configs"]["polite"]["metadata"]["run"]["schedule"] == "lockstep"


@pytest.mark.parametrize(
    ("name", "value"), [("schedule", "fast"), ("open", 0), ("wave", "many"), ("max_failed", 2), ("max_failed", True)]
)
def test_a_setting_that_cannot_be_used_is_refused(name: str, value: object) -> None:
    from .politeness import run

    with pytest.raises(UserError, match=f"--metadata: {name} cannot be "):
        run(ScriptedLM(), {"metadata": {name: value}})


def test_waves_go_through_all_turns_before_the_next() -> None:
    from .politeness import run

    lm = ScriptedLM()
    results = run(lm, {"metadata": {"wave": 2}})
    openings = [[prompt.split(">")[1].split("<")[0] for prompt, _ in call] for call in lm.calls]
    assert openings == [["Hi", "Hello"], ["Hi", "Hello"], ["Hi"], ["Hey"], ["Hey"], ["Hey"]]
    assert results["samples"]["polite"] == run(ScriptedLM())["samples"]["polite"]


def test_waves_are_not_for_an_engine_that_loads_at_every_call() -> None:
    from .politeness import run

    lm = ScriptedLM()
    lm.data_parallel_size = 2  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="loads the model again at every call"):
        run(lm, {"metadata": {"wave": 2}})


def test_the_gate_lets_the_most_urgent_in_and_loses_no_slot() -> None:
    async def scenario() -> list[str]:
        gate, order = Gate(1), []
        await gate.enter((0, 0.0))

        async def wait(name: str, turns: int, seconds: float) -> None:
            await gate.enter((turns, -seconds))
            order.append(name)
            gate.leave()

        waiting = [
            asyncio.create_task(wait(*who))
            for who in [("late", 2, 9.0), ("quick", 0, 1.0), ("slow", 0, 5.0), ("gone", 0, 99.0), ("second", 1, 3.0)]
        ]
        await asyncio.sleep(0)
        waiting[3].cancel()
        await asyncio.sleep(0)
        gate.leave()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert gate.in_flight == 0
        return order

    assert asyncio.run(scenario()) == ["slow", "quick", "second", "late"]


def test_a_closed_gate_turns_away_who_waits_and_who_comes() -> None:
    async def scenario() -> None:
        gate = Gate(1)
        await gate.enter((0, 0.0))
        waiting = asyncio.create_task(gate.enter((0, 0.0)))
        sleeping = asyncio.create_task(gate.sleep(60))
        await asyncio.sleep(0)
        gate.close()
        for turned_away in (waiting, sleeping, gate.enter((0, 0.0))):
            with pytest.raises(Stopped):
                await turned_away
        gate.leave()
        assert gate.in_flight == 0

    asyncio.run(scenario())
