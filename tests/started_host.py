"""A process in which both hosts are imported once; every command runs in a fork of it.

A command of lm-eval's spends ten seconds on imports and on reading thousands of YAMLs that never change. Here the
hosts are imported, and lm-eval's own YAMLs read, before the fork; nothing of ours is, so that in the fork all that is
tested happens as in a fresh process: our import, registration, the run, and the end of the process. What depends on
the start of Python itself (the start-up hook, the order of imports, installations) is tested in ``tests/hosts``, in
processes of its own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

IMPORTED = ("torch", "pandas", "transformers.models.auto.modeling_auto", "lm_eval.__main__", "lm_eval.evaluator")
IMPORTED += ("lm_eval.models.huggingface", "lm_eval.models.openai_completions", "lm_eval.loggers", "datasets")
IMPORTED += ("nltk", "scipy.stats", "lemminflect", "pymorphy3")
# Not what holds mergekit's run_merge by name: the hook exchanges it, and is there before in a process of its own.
IMPORTED += ("mergekit.plan", "mergekit.card", "mergekit.tokenizer")
ENTRY_POINTS = {
    "lm_eval": "lm_eval.__main__:cli_evaluate",
    "mergekit-yaml": "mergekit.scripts.run_yaml:main",
    "turnswap": "turnswap.commands.main:main",
}


def informed(program: str, python: str = sys.executable) -> list[str]:
    """How a command begins that runs in a process of its own, which takes as found out what never changes."""
    return [python, __file__, program]


class StartedHost:
    """The process, from the side of the tests."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"TURNSWAP_DISABLE": "1"},  # also where make demo has enabled turnswap
        )
        theirs.close()

    @staticmethod
    def runs(program: str) -> bool:
        """Whether it can run this command."""
        return program in (*ENTRY_POINTS, "python", sys.executable)

    def run(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run`` with captured text."""
        request = json.dumps({"command": list(command), "cwd": str(cwd), "env": dict(env)}).encode()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            self._ours.settimeout(600)
            socket.send_fds(self._ours, [len(request).to_bytes(4, "big") + request], [out.fileno(), err.fileno()])
            pid = int(self._line())
            self._ours.settimeout(timeout)
            try:
                code = int(self._line())
            except TimeoutError:
                os.killpg(pid, signal.SIGKILL)
                self._ours.settimeout(600)
                self._line()
                raise subprocess.TimeoutExpired(list(command), timeout) from None
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(list(command), code, *texts)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            received = self._ours.recv(1)
            assert received, "the started host has ended"
            line += received
        return line

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self._process.wait(60)


def find_out_once() -> None:
    """Have lm-eval find out once what never changes, and what it finds out anew in every run.

    These are the thousands of YAMLs in its own folder, whose content is kept for other processes in pytest's cache, and
    the description of this machine, for which it asks pip and others each time.
    """
    import lm_eval.tasks
    from lm_eval.tasks import _index

    if getattr(_index.load_yaml, "reads_once", False):
        return
    if importlib.util.find_spec("torch"):
        from torch.utils import collect_env

        collect_env.get_pretty_env_info = functools.cache(collect_env.get_pretty_env_info)
    own = Path(lm_eval.tasks.__file__).parent
    read, listed = _index.load_yaml, _index.TaskIndex._iter_yaml_files
    version = importlib.metadata.version("lm-eval")
    kept = Path(__file__).parents[1] / ".pytest_cache" / f"lm-eval-{version}.pickle"
    known: dict[Any, Any] = {}
    try:
        known = pickle.loads(kept.read_bytes())
    except (OSError, EOFError, pickle.UnpicklingError):
        for path in listed(own):
            with contextlib.suppress(Exception):  # as lm-eval itself passes over what it cannot read
                known[str(path.relative_to(own))] = read(path, resolve_func=False, recursive=True)
        kept.parent.mkdir(exist_ok=True)
        unfinished = kept.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(pickle.dumps(known))
        unfinished.replace(kept)

    def load_yaml(path: Any, **how: Any) -> Any:
        if how == {"resolve_func": False, "recursive": True} and own in Path(path).parents:
            return known.get(str(Path(path).relative_to(own))) or read(path, **how)
        return read(path, **how)

    files = [own / name for name in known]
    load_yaml.reads_once = True  # type: ignore[attr-defined]
    _index.load_yaml = load_yaml
    _index.TaskIndex._iter_yaml_files = staticmethod(lambda root: files if root == own else listed(root))


def _serve(theirs: socket.socket) -> Callable[[], object]:
    """Fork for every request; returns, in the fork, what it is to do."""
    while True:
        begin, files, *_ = socket.recv_fds(theirs, 4, 2)
        if not begin:
            return lambda: None
        request = b""
        while len(request) < int.from_bytes(begin, "big"):
            request += theirs.recv(1 << 16)
        pid = os.fork()
        if pid == 0:
            theirs.close()
            return _prepared(json.loads(request), files)
        for file in files:
            os.close(file)
        theirs.sendall(f"{pid}\n".encode())
        theirs.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())


def _prepared(request: dict[str, Any], files: Sequence[int]) -> Callable[[], object]:
    """Make this process the one that was asked for."""
    os.setsid()
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
        os.dup2(file, number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    added = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in added if path and path not in sys.path]
    program, *arguments = request["command"]
    if program not in ENTRY_POINTS:
        assert arguments[0] == "-c"
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
        sys.modules["__main__"] = module = ModuleType("__main__")
        return lambda: exec(compile(arguments[1], "<string>", "exec"), module.__dict__)
    sys.argv = [program, *arguments]
    return lambda: _run(program)


def _run(program: str) -> None:
    """What the console script does."""
    module_name, _, function = ENTRY_POINTS[program].partition(":")
    sys.exit(getattr(__import__(module_name, fromlist=[function]), function)())


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of the tests
    sys.path.insert(0, str(Path(sys.executable).parent))  # what a console script has there
    if sys.argv[1] in ENTRY_POINTS:
        find_out_once()
        sys.argv.pop(0)
        _run(sys.argv[0])
    connection = socket.socket(fileno=int(sys.argv[1]))
    for name in IMPORTED:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            __import__(name)
    find_out_once()
    from lm_eval.tasks import TaskManager

    TaskManager()
    with contextlib.suppress(ImportError):
        from torch.utils import collect_env

        collect_env.get_pretty_env_info()
    started = [name for name in sys.modules if name.partition(".")[0] == "turnswap"]
    # Where turnswap is enabled, Python's start imports the hook itself; nothing else of ours may be here.
    assert set(started) <= {"turnswap", "turnswap.hosts", "turnswap.hosts.startup"}, started
    for name in started:
        del sys.modules[name]
    _serve(connection)()
