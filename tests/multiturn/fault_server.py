"""An OpenAI-compatible server for tests and benchmarks that is slow and fails on purpose.

It listens on loopback only, ends by itself, and is seeded: replies, latencies and faults follow from its configuration
and from what is asked (faults also from how often the same turn was asked), never from time or order of arrival.

    with FaultServer({"latency_median": 0.1, "faults": [{"kind": "500", "share": 0.1}]}) as server:
        ...  # server.url, server.requests, server.max_in_flight

    with server_process({"seed": 1}, log) as server:  # a process of its own, which outlives a killed client
        ...  # server.url, server.requests
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from .fault_answers import AT_ONCE, CUT, REFUSALS, Config, Rule, completion, default_reply

REPOSITORY = Path(__file__).parents[2]
GRACE = 1.0  # seconds in which an expired server still answers, with 503
LONGEST_HOLD = 120.0
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@dataclass(slots=True)
class Record:
    """One request. ``sent``: when the response was out in full; None while it is not, or if it never was."""

    id: int
    path: str
    arrived: float  # time.monotonic()
    arrived_wall: float  # time.time()
    conversation: str  # its first user message
    turn: int  # from 0: the number of assistant messages
    attempt: int  # from 1: how often this turn was asked
    fault: str | None
    messages: Any  # or the prompt
    max_tokens: int | None
    stop: Any
    temperature: float | None
    authorization: bool
    in_flight: int  # this one included
    status: int | None = None
    sent: float | None = None
    client_gone: bool = False  # before the response was out


def read_log(log: Path) -> list[Record]:
    """The records of a log, in which a request has a line when it arrives and another with what came of it."""
    records: dict[int, Record] = {}
    for line in log.read_text("utf-8").split("\n"):
        with suppress(json.JSONDecodeError):  # the last line may be half written
            fields = json.loads(line)
            if fields["id"] in records:
                for name, value in fields.items():
                    setattr(records[fields["id"]], name, value)
            else:
                records[fields["id"]] = Record(**fields)
    return list(records.values())


class Address:
    """Where a server listens."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{CHAT}"

    @property
    def completions_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{COMPLETIONS}"


@dataclass
class FaultServer(Address):
    """The server, in a thread with an event loop of its own while the ``with`` block lasts."""

    config: Config | Mapping[str, Any] = field(default_factory=Config)
    # Of the messages, or of the prompt; a dict is the whole body of the response.
    reply: Callable[[Any], str | dict[str, Any]] = default_reply
    # Of the request's body: a refusal (status, headers, body), or None to answer as ever.
    refuse: Callable[[dict[str, Any]], tuple[int, dict[str, str], Any] | None] = lambda body: None
    log: TextIO | None = None
    port: int = 0
    max_in_flight: int = 0
    refused: int = 0  # requests that came after the end: no records

    def __post_init__(self) -> None:
        self.settings = self.config if isinstance(self.config, Config) else Config(**self.config)
        self._records: list[Record] = []
        self._attempts: Counter[tuple[str, int]] = Counter()
        self._ids = itertools.count(1)
        self._in_flight = 0
        self._expired = False

    @property
    def requests(self) -> list[Record]:
        """The records so far, in order of arrival."""
        return list(self._records)

    def __enter__(self) -> FaultServer:
        listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening.set)), daemon=True)
        self._thread.start()
        if not listening.wait(10):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(RuntimeError):  # it ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def join(self) -> None:
        """Wait for the end of its life."""
        self._thread.join()

    async def _serve(self, listening: Callable[[], object]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            self.port = runner.addresses[0][1]
            self._loop.call_later(self.settings.max_seconds, self._expire)
            listening()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    def _expire(self) -> None:
        if not self._expired:
            self._expired = True
            self._loop.call_later(GRACE, self._stop.set)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        number = next(self._ids)
        if number > self.settings.max_requests:
            self._expire()
        if self._expired:
            self.refused += 1
            return _json_response({"error": {"message": "The server has reached its bounds."}}, 503)
        if (request.method, request.path) == ("GET", "/v1/models"):
            return _json_response({"object": "list", "data": [{"id": self.settings.model, "object": "model"}]})
        if request.method != "POST" or request.path not in (COMPLETIONS, CHAT):
            return _json_response({"error": {"message": "Not found."}}, 404)
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        record = None
        try:
            body = json.loads(await request.read())
            record, rule = self._arrived(request, number, body)
            if not (rule and rule.kind in AT_ONCE):
                held = rule and rule.kind == "timeout" and min(rule.hold, LONGEST_HOLD)
                await asyncio.sleep(held or self.settings.latency(record.conversation, record.turn))
        except asyncio.CancelledError:
            if record:
                self._ended(record, client_gone=not self._stop.is_set())
            raise
        finally:
            self._in_flight -= 1  # before the client has its response: it may send its next request at once
        try:
            return await self._send(request, record, rule, body)
        except (ConnectionError, asyncio.CancelledError):
            self._ended(record, client_gone=True, status=None, sent=None)
            raise

    def _arrived(self, request: web.BaseRequest, number: int, body: dict[str, Any]) -> tuple[Record, Rule | None]:
        times = time.monotonic(), time.time()
        asked = body["messages"] if "messages" in body else body.get("prompt", "")
        where = self.settings.whereabouts(asked)
        self._attempts[where] += 1
        rule = self.settings.fault(*where, self._attempts[where])
        limit = body.get("max_tokens", body.get("max_completion_tokens"))
        content = asked if self.settings.keep_messages else None
        sent = (content, limit, body.get("stop"), body.get("temperature"), "Authorization" in request.headers)
        known: tuple[Any, ...] = (*where, self._attempts[where], rule.kind if rule else None, *sent, self._in_flight)
        record = Record(number, request.path, *times, *known)
        self._records.append(record)
        if self.log:
            self._write({name: getattr(record, name) for name in Record.__slots__})
        return record, rule

    async def _send(
        self, request: web.BaseRequest, record: Record, rule: Rule | None, body: dict[str, Any]
    ) -> web.StreamResponse:
        kind = rule.kind if rule else None
        response: web.StreamResponse
        if refused := self.refuse(body):
            status, headers, content = refused
            response = _json_response(content, status)
            response.headers.update(headers)
        elif rule and kind in REFUSALS:
            response = _refusal(rule)
        else:
            data = json.dumps(completion(request.path == CHAT, kind, body, self.reply, self.settings.model)).encode()
            sent = data[: len(data) // 2] if kind in CUT else data
            response = web.Response(body=sent, content_type="application/json")
            if kind in ("drop", "drop_mid"):
                assert request.transport is not None
                response = web.StreamResponse(headers={"Content-Length": str(len(data))})
                if kind == "drop_mid":
                    await response.prepare(request)
                    await response.write(sent)
                self._ended(record, status=200 if kind == "drop_mid" else None)
                request.transport.close()
                return response
        await response.prepare(request)
        self._ended(record, status=response.status, sent=time.monotonic())  # whoever has the response finds it here
        await response.write_eof()
        return response

    def _ended(self, record: Record, **what: Any) -> None:
        for name, value in what.items():
            setattr(record, name, value)
        if self.log:
            self._write({"id": record.id} | what)

    def _write(self, fields: dict[str, Any]) -> None:
        assert self.log is not None
        self.log.write(json.dumps(fields) + "\n")
        self.log.flush()


def _json_response(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


def _refusal(rule: Rule) -> web.Response:
    status, error = REFUSALS[rule.kind]
    if error is None:
        return web.Response(status=status, text="<h1>502 Bad Gateway</h1>", content_type="text/html")
    response = _json_response({"error": error}, status)
    if rule.kind == "429":
        response.headers["Retry-After"] = str(rule.retry_after)
    return response


@dataclass
class ServerProcess(Address):
    """A server in a process of its own, and what its log says."""

    port: int
    log: Path
    process: subprocess.Popen[str]

    @property
    def requests(self) -> list[Record]:
        """The records so far, in order of arrival."""
        return read_log(self.log)


@contextmanager
def server_process(config: Config | Mapping[str, Any], log: Path) -> Iterator[ServerProcess]:
    """Run ``python -m tests.multiturn.fault_server`` while the ``with`` block lasts."""
    given = json.dumps(asdict(config) if isinstance(config, Config) else dict(config))
    command = [sys.executable, "-m", "tests.multiturn.fault_server", "--config", given, "--log", str(log.resolve())]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield ServerProcess(json.loads(process.stdout.readline())["port"], log, process)
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fault-injecting server on loopback; prints its port as JSON.")
    parser.add_argument("--config", default="{}", help="the fields of Config, as JSON")
    parser.add_argument("--log", type=Path, required=True, help="a file that every record is appended to")
    arguments = parser.parse_args()
    config = json.loads(arguments.config)
    with arguments.log.open("a", encoding="utf-8") as log, FaultServer(config, log=log) as server:
        print(json.dumps({"port": server.port}), flush=True)
        server.join()


if __name__ == "__main__":
    main()
