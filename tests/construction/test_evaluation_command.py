"""A build's last line: a command that evaluates a model on what was made."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from ..conftest import BIN, REPOSITORY, Command, Turnswap
from .conftest import Serving
from .example_build import config, configured

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")


@pytest.mark.slow
def test_the_last_line_is_a_command_that_evaluates(
    tmp_path: Path, run_command: Command, tiny_model: Path, turnswap: Turnswap
) -> None:
    os.chdir(REPOSITORY)
    (tmp_path / "a b").mkdir()
    result = turnswap("build", "run", configured(tmp_path / "a b"))
    assert result.exit_code == 0, result.output
    assert "turnswap demo-model MODEL" in result.output
    command = shlex.split(result.output.splitlines()[-1])
    assert command[:2] == ["lm_eval", "run"]
    small = command.index("pretrained=HuggingFaceTB/SmolLM2-135M-Instruct")
    command[small] = f"pretrained={tiny_model}"  # the one thing that needs a network
    command[command.index("results")] = str(tmp_path / "results")
    done = run_command(BIN / command[0], *command[1:], "--limit", "1", "--gen_kwargs", "max_gen_toks=8")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "everyday_sw" in done.stdout
    assert "sw: 1 of 21 conversations were run" in turnswap("report", str(tmp_path / "results")).output


def test_the_last_line_names_the_model_of_the_yaml_without_its_secrets(tmp_path: Path, serving: Serving) -> None:
    from turnswap.construction.release import evaluation
    from turnswap.construction.steps import read_build

    with serving() as server:
        path = config(tmp_path, server, model_args={"header": {"Authorization": "Bearer secret"}})
        told = evaluation(read_build(path))
    words = shlex.split(told)
    assert words[words.index("--model") + 1] == "local-chat-completions"
    assert {f"base_url={server.url}", "model=served"} <= {*words[words.index("--model_args") :]}
    assert "secret" not in told
    assert words[-3:] == ["--output_path", "results", "--log_samples"]
