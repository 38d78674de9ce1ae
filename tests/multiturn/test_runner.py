"""The request type and the lockstep schedule, through lm-eval's own simple_evaluate."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.models.api_models import JsonChatStr
from lm_eval.tasks import TaskManager

from turnswap.core.errors import UserError

from ..conftest import REPOSITORY
from .politeness import Politeness, run
from .stub_models import ScriptedLM


def test_turn_by_turn_each_prompt_holds_the_models_own_replies() -> None:
    lm = ScriptedLM(lambda prompt: f"please{prompt.count('<user>')}")
    results = run(lm)
    assert [[prompt for prompt, _ in call] for call in lm.calls] == [
        ["<user>Hi<assistant>", "<user>Hello<assistant>", "<user>Hey<assistant>"],
        [
            "<user>Hi<assistant>please1<user>How are you?<assistant>",
            "<user>Hello<assistant>please1<user>Thanks<assistant>",
            "<user>Hey<assistant>please1<user>a<assistant>",
        ],
        [
            "<user>Hi<assistant>please1<user>How are you?<assistant>please2<user>Bye<assistant>",
            "<user>Hey<assistant>please1<user>a<assistant>please2<user>b<assistant>",
        ],
    ]
    assert results["results"]["polite"]["polite,none"] == 1


def test_samples_show_the_exact_prompt_settings_and_answer_of_each_turn() -> None:
    lm = ScriptedLM(lambda prompt: "<think>hm</think>yes")
    sample = run(lm)["samples"]["polite"][1]
    sent = [call[1] for call in lm.calls[:2]]
    assert sample["arguments"] == sent
    assert sample["resps"] == [["<think>hm</think>yes"]] * 2
    assert sample["filtered_resps"] == ["yes", "yes"]
    assert "<assistant>yes<user>Thanks" in sent[1][0]


def test_all_tasks_share_one_call_per_turn() -> None:
    lm = ScriptedLM()
    tasks = [Politeness(config={"task": name, "description": f"Be {name}."}) for name in ("kind", "brief")]
    simple_evaluate(lm, tasks=tasks, task_manager=TaskManager(include_defaults=False), bootstrap_iters=0)
    assert [len(call) for call in lm.calls] == [6, 6, 4]


@pytest.mark.parametrize("sampled", [False, True])
def test_the_same_request_is_asked_once_unless_it_is_sampled(sampled: bool) -> None:
    counter = iter(range(1000))
    lm = ScriptedLM(lambda prompt: f"no {next(counter)}")
    tasks = [
        Politeness(config={"task": name, "generation_kwargs": {"do_sample": sampled}}) for name in ("one", "other")
    ]
    results: Any = simple_evaluate(lm, tasks=tasks, task_manager=TaskManager(include_defaults=False), bootstrap_iters=0)
    one, other = ([sample["resps"] for sample in results["samples"][name]] for name in ("one", "other"))
    assert [len(call) for call in lm.calls] == ([6, 6, 4] if sampled else [3, 3, 2])
    assert (one == other) is not sampled


def test_system_instruction_and_description_open_every_prompt() -> None:
    lm = ScriptedLM()
    run(lm, {"description": "Be kind."}, system_instruction="You are a robot.")
    assert all(prompt.startswith("<system>You are a robot.\n\nBe kind.<user>") for prompt in lm.prompts)


def test_limit_and_samples_choose_conversations() -> None:
    limited, chosen = ScriptedLM(), ScriptedLM()
    run(limited, limit=1)
    results = run(chosen, samples={"polite": [2]})
    assert limited.calls[0] == [limited.calls[0][0]]
    assert limited.prompts[0].startswith("<user>Hi")
    assert [prompt.split("<assistant>")[0] for prompt in chosen.prompts] == ["<user>Hey"] * 3
    assert results["samples"]["polite"][0]["doc_id"] == 2


def test_gen_kwargs_override_the_tasks_settings() -> None:
    lm = ScriptedLM()
    run(lm, gen_kwargs="temperature=0.5,do_sample=True,max_gen_toks=7")
    assert lm.calls[0][0][1] == {"until": [], "max_gen_toks": 7, "temperature": 0.5, "do_sample": True}


def test_a_cap_under_another_name_replaces_ours() -> None:
    lm = ScriptedLM()
    run(lm, gen_kwargs={"max_new_tokens": 9})
    assert lm.calls[0][0][1] == {"until": [], "max_gen_toks": 9}


def test_repeats_are_conversations_of_their_own() -> None:
    counter = iter(range(1000))
    lm = ScriptedLM(lambda prompt: f"{'please' if next(counter) % 2 else 'no'} {prompt.count('<user>')}")
    results = run(lm, {"repeats": 2})
    sample = results["samples"]["polite"][0]
    assert sample["resps"] == [["no 1", "please 1"], ["no 2", "please 2"], ["no 3", "please 3"]]
    assert [len(call) for call in lm.calls] == [6, 6, 4]
    first, second = lm.calls[2][0][0], lm.calls[2][1][0]
    assert "no 1" in first
    assert "please" not in first
    assert "no" not in second
    assert sample["arguments"][2][2] == {"prompt of repeat 1": first, "prompt of repeat 2": second}
    assert results["results"]["polite"]["polite,none"] == 0.5  # both repeats count


def test_predict_only_keeps_the_replies_and_grades_nothing() -> None:
    results = run(ScriptedLM(lambda prompt: "yes"), predict_only=True)
    assert results["samples"]["polite"][0]["filtered_resps"] == ["yes"] * 3
    assert "polite,none" not in results["results"]["polite"]


def test_filters_of_lm_eval_see_the_reply_without_reasoning() -> None:
    upper = {"name": "upper", "filter": [{"function": "uppercase"}, {"function": "take_first"}]}
    results = run(ScriptedLM(lambda prompt: "<think>a</think>please"), {"filter_list": [upper]})
    assert results["samples"]["polite"][0]["filtered_resps"] == ["PLEASE"] * 3
    assert results["results"]["polite"]["polite,upper"] == 0


def test_an_unclosed_trace_is_an_empty_reply_and_counted() -> None:
    lm = ScriptedLM(lambda prompt: "<think>on and on" if "How" in prompt else "please")
    results = run(lm, limit=1)
    assert results["results"]["polite"]["unclosed,none"] == 2
    assert lm.prompts[2].endswith("<user>How are you?<assistant><user>Bye<assistant>")


def test_half_a_surrogate_pair_neither_ends_the_run_nor_loses_the_samples() -> None:
    lm = ScriptedLM(lambda prompt: "please \ud83d")
    results = run(lm)
    assert json.dumps(results["samples"], ensure_ascii=False, default=str).encode("utf-8")
    assert results["samples"]["polite"][0]["filtered_resps"][0] == "please \ufffd"
    assert "please \ufffd" in lm.calls[1][0][0]
    assert results["results"]["polite"]["polite,none"] == 1


def test_markers_are_configurable() -> None:
    lm = ScriptedLM(lambda prompt: "[T]x[/T]yes<think>")
    run(lm, {"metadata": {"reasoning_markers": ["[T]", "[/T]"]}}, limit=1)
    assert "<assistant>yes<think><user>" in lm.prompts[1]


# ------------------------------------------------------------------------------------------ templates


def test_a_model_without_a_template_is_refused_with_the_choices() -> None:
    lm = ScriptedLM(template=False)
    with pytest.raises(UserError, match=r"(?s)ScriptedLM cannot apply a chat template.*local-chat-completions.*plain"):
        run(lm)
    assert lm.calls == []


def test_the_template_is_applied_unasked_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("lm_eval").propagate = True
    with caplog.at_level(logging.INFO):
        run(ScriptedLM())
    assert sum("always use the model's chat template" in message for message in caplog.messages) == 1
    assert "3 conversations, 8 turns, 1 tasks: polite" in caplog.messages
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run(ScriptedLM(), apply_chat_template=True)
    assert not any("always use" in message for message in caplog.messages)


def test_a_plain_transcript_must_be_asked_for() -> None:
    lm = ScriptedLM(lambda prompt: " fine\n", template=False)
    results = run(lm, {"metadata": {"prompts": "plain"}}, system_instruction="Be short.", limit=1)
    assert lm.prompts[1] == "System: Be short.\n\nUser: Hi\n\nAssistant: fine\n\nUser: How are you?\n\nAssistant:"
    assert lm.calls[0][0][1]["until"] == ["\nUser:"]
    facts = results["configs"]["polite"]["metadata"]["run"]
    assert facts["prompts"] == "plain"
    assert "chat_template_sha" not in facts


def test_messages_are_not_sent_to_an_endpoint_that_expects_text() -> None:
    class Completions(ScriptedLM):
        def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> Any:
            return JsonChatStr("[]")

    with pytest.raises(UserError, match="endpoint that expects text"):
        run(Completions())


# --------------------------------------------------------------------------------------------- extras


def test_progress_bars_say_which_turn_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    run(ScriptedLM())
    shown = capsys.readouterr().err
    assert "Turn 1 of 3: Generating" in shown
    assert "Turn 3 of 3: Generating: 100%" in shown
    from tqdm import tqdm

    assert tqdm(range(0), desc="after").desc == "after"


def test_cached_requests_of_lm_eval_are_not_used(tmp_path: Path) -> None:
    first, second = ScriptedLM(), ScriptedLM()
    run(first, cache_requests=True)
    run(second, {"description": "Changed."}, cache_requests=True)
    assert second.prompts[0].startswith("<system>Changed.")


def test_a_task_without_version_or_settings_works_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "polite.yaml").write_text(
        "task: polite\nclass: !function tests.multiturn.politeness.Politeness\nmetadata: {version: 2.0}\n"
    )
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    results = simple_evaluate(ScriptedLM(), tasks=["polite"], task_manager=manager, bootstrap_iters=0)
    assert results["versions"]["polite"] == 2.0


def test_the_task_in_contributing_md_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    code, yaml = (re.search(rf"```{kind}\n(.*?)```", document, re.DOTALL)[1] for kind in ("python", "yaml"))  # type: ignore[index]
    assert len(code.splitlines()) <= 30
    (tmp_path / "my_tasks").mkdir()
    (tmp_path / "my_tasks" / "politeness.py").write_text(code)
    (tmp_path / "my_tasks" / "politeness.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(tmp_path)
    manager = TaskManager(include_path=str(tmp_path / "my_tasks"), include_defaults=False)
    lm = ScriptedLM(lambda prompt: "Sorry." if "fool" in prompt else "No.")
    results = simple_evaluate(lm, tasks=["politeness"], task_manager=manager, bootstrap_iters=0)
    assert results["results"]["politeness"]["polite,none"] == pytest.approx(1 / 3)
    assert results["results"]["politeness"]["polite_to_the_end,none"] == 1
