"""The example in Swahili and Korean, built as it is or with a server that answers from its recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from turnswap.construction.llm import read_prompt
from turnswap.construction.pipeline import Count
from turnswap.construction.steps import Build, assemble

from ..conftest import REPOSITORY
from ..multiturn.fault_server import FaultServer

CONFIG = REPOSITORY / "configs" / "build_sw_ko.yaml"
TEXTS = REPOSITORY / "configs" / "build_sw_ko"
RECORDING = TEXTS / "recording.jsonl"
QUESTIONS = 2 + 21 + 4 * 21 - 2 + 41  # extend, conflicts, translate (of one conversation not into Korean), filter
Body = dict[str, Any]
Refusal = tuple[int, dict[str, str], Any]


def configured(folder: Path, **sections: Any) -> Path:
    """The example's YAML with another folder of steps, and other sections."""
    content = yaml.safe_load(CONFIG.read_text("utf-8")) | {"folder": str(folder / "steps")} | sections
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def rejected(build: Build, step: str) -> dict[str, str]:
    return {each.conversation.key: each.reason for each in build.pipeline.outcomes(step) if each.reason is not None}


def asked_of(body: Body) -> dict[str, Any]:
    return read_prompt(body["messages"][-1]["content"])


def asked(server: FaultServer) -> list[str]:
    return [record.conversation for record in server.requests]


def built(folder: Path, server: FaultServer, last: str = "filter", **llm: Any) -> tuple[Build, list[Count]]:
    made = assemble(config(folder, server, **llm))
    return made, list(made.pipeline.run(last, llm.get("redo")))


def config(folder: Path, server: FaultServer, *, redo: str | None = None, **llm: Any) -> Path:
    args = {"base_url": server.url, "model": "served", "num_concurrent": 8, "max_retries": 2}
    args |= llm.pop("model_args", {})
    return configured(folder, llm={"model": "local-chat-completions", "model_args": args, **llm})


def also(path: Path, **sections: Any) -> Path:
    """The YAML with other sections."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text("utf-8")) | sections), "utf-8")
    return path


def refusing(*keys: str, task: str = "find_conflict", words: str = "Against our policy.") -> Any:
    """Refuses the questions of a task that hold one of some texts."""

    def refuse(body: Body) -> Refusal | None:
        told = asked_of(body)
        if told["task"] == task and any(key in json.dumps(told) for key in keys):
            return 400, {}, {"error": {"message": words}}
        return None

    return refuse
