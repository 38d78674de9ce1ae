"""lm-eval's API models: the model makes the payload and the headers, what comes back is read here.

lm-eval's own call hands on the text alone; what is dropped with the rest decides about truncation and reasoning.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from lm_eval.models.api_models import TemplateAPI
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

from turnswap.core.errors import UserError

from ..answers import Answer, read_answer, words_of
from ..backend import Prompt
from ..faults import Fault

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are

_THEIRS = (LocalCompletionsAPI.parse_generations, LocalChatCompletion.parse_generations)  # of shapes that we know too
LONGEST_WAIT = 300.0  # seconds that a server may make us wait
# Of 4xx only these may pass by waiting: timeout, conflict, too early, too many requests.
_PASSING = {408, 409, 425, 429}
# An account that is used up answers 429 too.
_USED_UP = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit balance")
# Another name that servers want for a parameter; all others are left out.
_RENAMED = {"max_tokens": "max_completion_tokens"}
_DROPPABLE = ("seed", "stop", "temperature", "max_tokens", "top_p", "top_k")
_REFUSING = re.compile(
    r"unsupported|not support|unknown|unrecognized|unexpected|not permitted|not allowed|extra|forbidden|invalid param",
    re.IGNORECASE,
)


class ApiEngine:
    """One request at a time over HTTP; as many at once as lm-eval's ``num_concurrent`` says.

    Attributes:
        dropped: parameters that the server refused by name, and what became of them.
    """

    name = "API"
    open_per_slot = 12
    advice = "Check the address, the model's name and the key in --model_args, and that the server is up."

    def __init__(self, model: TemplateAPI) -> None:
        self.model = model
        self.slots = max(1, int(model._concurrent))
        self.tries = max(1, int(model.max_retries))
        self.dropped: dict[str, str] = {}
        self.facts: dict[str, Any] = {}

    async def __aenter__(self) -> ApiEngine:
        from aiohttp import ClientSession, ClientTimeout, TCPConnector

        try:
            _ = self.model.header
        except ValueError as error:  # no key in the environment
            raise UserError(str(error), "Set the key that the endpoint wants, and run the command again.") from error
        # As lm-eval's own concurrent path sets them up.
        connector = TCPConnector(limit=self.slots, ssl=self.model.verify_certificate)
        self._session = ClientSession(connector=connector, timeout=ClientTimeout(total=self.model.timeout))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()

    async def ask(self, prompt: Prompt, gen_kwargs: dict[str, Any], seed: int) -> Answer:
        """See ``Engine.ask``."""
        message, started = self._message(prompt, gen_kwargs), time.monotonic()
        if type(self.model).amodel_call is TemplateAPI.amodel_call:
            body = await self._post(self._payload(message, gen_kwargs, seed))
        else:
            body = await self._through_the_model(message, gen_kwargs, seed)
        return replace(self._read(body), seconds=round(time.monotonic() - started, 3))

    def _message(self, prompt: Prompt, gen_kwargs: Mapping[str, Any]) -> Any:
        """What is sent: the prompt, or its tokens, cut as lm-eval's own path cuts them."""
        if not self.model.tokenized_requests:
            return prompt
        room = self.model.max_length - gen_kwargs.get("max_gen_toks", self.model._max_gen_toks)
        return self.model.tok_encode([prompt], add_special_tokens=self.model.add_bos_token)[0][-room:]

    def _payload(self, message: Any, gen_kwargs: dict[str, Any], seed: int) -> dict[str, Any]:
        model = self.model
        # Without a tokenizer the model warns at every request that it knows none.
        known = {"eos": model.eos_string} if model._eos_string or model.tokenizer is not None else {}
        payload = model._create_payload(
            model.create_message([message]),
            generate=True,
            gen_kwargs=copy.deepcopy(gen_kwargs),  # the model takes them apart
            seed=seed,
            **known,
        )
        if payload.get("stop") in ([], [None], None):  # some servers fail at an empty list
            payload.pop("stop", None)
        return self._adjusted(payload)

    def _adjusted(self, payload: dict[str, Any]) -> dict[str, Any]:
        adjusted = {name: value for name, value in payload.items() if name not in self.dropped}
        return adjusted | {now: payload[name] for name, now in self.dropped.items() if now and name in payload}

    async def _post(self, payload: dict[str, Any]) -> Any:
        from aiohttp import ClientError

        try:
            async with self._session.post(self.model.base_url, json=payload, headers=self.model.header) as response:
                content = await response.text()
                status, headers = response.status, response.headers
        except (ClientError, OSError, TimeoutError, UnicodeDecodeError, LookupError) as error:
            raise Fault(type(error).__name__, words=str(error) or "no details") from error
        try:
            body = json.loads(content)
        except json.JSONDecodeError:
            body = None
        if status >= 400:
            if 400 <= status < 500 and self._drop_refused(body, content, payload):
                return await self._post(self._adjusted(payload))
            raise refusal(status, headers, body if body is not None else content)
        if body is None:
            raise Fault("broken JSON", words=content)
        return body

    def _drop_refused(self, body: Any, content: str, payload: Mapping[str, Any]) -> bool:
        """Whether the server refuses a parameter by name, which from now on is left out or renamed; said once."""
        named = refused_parameter(body, content, payload)
        if named is None:
            return False
        if named not in self.dropped:
            now = _RENAMED.get(named, "")
            self.dropped[named] = now if now and now in content else ""
            self.facts["dropped_parameters"] = self.dropped
            instead = f"{self.dropped[named]} is sent instead" if self.dropped[named] else "it is left out from now on"
            log.warning("The server refuses %s (%s): %s.", named, words_of(body or content), instead)
        return True

    async def _through_the_model(self, message: Any, gen_kwargs: dict[str, Any], seed: int) -> Any:
        """The body, where the model has a way of its own to ask: its parsing sees it, and gives it to us instead."""
        seen: list[Any] = []
        asker = copy.copy(self.model)
        asker._seed = seed
        asker.parse_generations = lambda outputs, **_: seen.append(outputs) or [""]  # type: ignore[func-returns-value]
        try:
            one = asyncio.Semaphore(1)  # the schedule has counted already
            await asker.amodel_call(self._session, one, [message], generate=True, gen_kwargs=gen_kwargs)
        except Exception as error:  # each client library has faults of its own
            status = getattr(error, "status_code", getattr(error, "status", None))
            if isinstance(status, int):
                raise refusal(status, {}, str(error)) from error
            raise Fault(type(error).__name__, words=str(error) or "no details") from error
        return seen[0]

    def _read(self, body: Any) -> Answer:
        try:
            answer = read_answer(body)
        except Fault as fault:
            if (
                fault.kind not in ("no choices", "no message", "no object")
                or type(self.model).parse_generations in _THEIRS
            ):
                raise
            answer = self._parsed_by_the_model(body)
        if end := getattr(self.model, "think_end_token", None):  # lm-eval's own way to cut reasoning off
            answer = replace(answer, text=answer.text.split(end)[-1].lstrip())
        return answer

    def _parsed_by_the_model(self, body: Any) -> Answer:
        try:
            (text,) = self.model.parse_generations(outputs=body)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise Fault(f"an answer that cannot be read ({type(error).__name__})") from error
        if text is None:
            raise Fault("null content")
        return Answer(str(text))


def refusal(status: int, headers: Mapping[str, str], body: Any) -> Fault:
    """The fault behind a status of 400 or more."""
    words = words_of(body)
    wait = asked_to_wait(headers)
    used_up = status == 429 and not wait and any(word in f"{words} {body}".lower() for word in _USED_UP)
    return Fault(
        f"HTTP {status}",
        words=words,
        may_pass=not used_up and (not 400 <= status < 500 or status in _PASSING),
        throttled=status == 429 and not used_up,
        wait=wait,
    )


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """The seconds in ``retry-after-ms`` or ``Retry-After`` (seconds, or a date), bounded; 0 where there are none."""
    said = {name.lower(): value for name, value in headers.items()}
    milliseconds, after = said.get("retry-after-ms"), said.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif after is None:
            return 0.0
        elif re.fullmatch(r"\s*[\d.]+\s*", after):
            seconds = float(after)
        else:
            until = parsedate_to_datetime(after)
            seconds = (until - datetime.now(until.tzinfo or UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)


def refused_parameter(body: Any, content: str, payload: Mapping[str, Any]) -> str | None:
    """The parameter of the payload that a server does not know or support, where its answer names one."""
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    words = words_of(body or content)
    candidates = [name for name in _DROPPABLE if name in payload]
    if not _REFUSING.search(f"{words} {error.get('code', '') if isinstance(error, Mapping) else ''}"):
        return None
    if isinstance(error, Mapping) and error.get("param") in candidates:
        return str(error["param"])
    quoted = [name for name in candidates if re.search(rf"""['"`]{name}['"`]""", words)]
    # "stop" is also a word
    patterns = {name: rf"\b{name}\b" for name in candidates} | {"stop": r"\bstop (is|sequence)"}
    bare = [name for name in candidates if re.search(patterns[name], words)]
    return next(iter(quoted or bare), None)
