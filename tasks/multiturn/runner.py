"""The request type ``generate_until_multi_turn``: lm-eval hands over one Instance per turn, and gets its answer.

Importing this module makes the type known to all of lm-eval's models.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM

from turnswap.core.errors import UserError

from . import backend, faults, lockstep, pipelined
from .conversation import Conversation, Reply, Script, Settings
from .lm_eval_contract import serve
from .turns import Job

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are

REQUEST_TYPE = "generate_until_multi_turn"


@dataclass
class TurnInstance(Instance):
    """One turn of one scripted conversation.

    ``idx`` is the turn, counted from 0; ``arguments`` are ``(prompt, gen_kwargs)``. The prompt is only known
    when the conversation gets there: the runner fills it in. ``replies`` holds, per repeat, what came of it.
    """

    script: Script = field(default_factory=lambda: Script(()))
    replies: list[Reply] = field(default_factory=list)


def generate_until_multi_turn(lm: LM | CachingLM, requests: Sequence[TurnInstance]) -> list[str]:
    """Run the conversations that these Instances are turns of.

    An Instance that occurs ``repeats`` times is a turn of as many conversations. One that occurs more often is
    padding of lm-eval's for other ranks, which the schedule does by itself: it gets a copy of an answer.

    Returns:
        The model's raw answers, one per request, in order.
    """
    instances = list({id(request): request for request in requests}.values())
    by_script: dict[int, list[TurnInstance]] = {}
    for instance in instances:
        by_script.setdefault(id(instance.script), []).append(instance)

    runs: dict[int, list[Conversation]] = {}
    jobs: list[Job] = []
    for script_id, turns in by_script.items():
        turns.sort(key=lambda instance: instance.idx)
        runs[script_id] = [Conversation(turns[0].script) for _ in range(turns[0].repeats or 1)]
        gen_kwargs = [turn.arguments[1] for turn in turns]
        jobs += [Job(conversation, gen_kwargs) for conversation in runs[script_id]]
    _announce(lm, instances, jobs)
    _run(lm, jobs)

    for instance in instances:
        conversations = runs[id(instance.script)]
        instance.replies = [_reply(conversation, instance.idx) for conversation in conversations]
        _fill_in(instance, [_sent(conversation, instance) for conversation in conversations])
    answered: Counter[int] = Counter()
    answers = []
    for request in requests:
        repeat = min(answered[id(request)], len(request.replies) - 1)
        answers.append(request.replies[repeat].raw)
        answered[id(request)] += 1
    return answers


def _run(lm: LM | CachingLM, jobs: Sequence[Job]) -> None:
    """Choose the schedule and run it; where several tasks run with different settings, the strictest holds."""
    settings = list({job.conversation.script.settings: None for job in jobs})
    if _is_pipelined(lm, settings):
        bound = min((each.open for each in settings if each.open), default=None)
        failures = pipelined.run(lm, jobs, bound)
        if failures:
            faults.require_few(failures, len(jobs), min(each.max_failed for each in settings))
            log.warning("%s\nTheir missing turns are left out of the figures.", faults.summary(failures, len(jobs)))
    else:
        lockstep.run(lm, jobs, min((each.wave for each in settings if each.wave), default=None))


def _is_pipelined(lm: LM | CachingLM, settings: Sequence[Settings]) -> bool:
    suits = pipelined.suits(lm)
    asked = {each.schedule for each in settings}
    if "pipelined" in asked and not suits:
        raise UserError(
            f"The pipelined schedule was asked for, but {type(backend.inner_model(lm)).__name__} answers batches.",
            "It is for API models; leave --metadata schedule out.",
        )
    return suits and "lockstep" not in asked


def _reply(conversation: Conversation, turn: int) -> Reply:
    return conversation.replies[turn] if turn < len(conversation.replies) else Reply("", absent=True)


def _sent(conversation: Conversation, instance: TurnInstance) -> tuple[str, dict[str, Any]]:
    if instance.idx < len(conversation.requests):
        return conversation.requests[instance.idx]
    return f"[turn {len(conversation.replies) + 1} failed: {conversation.failure}]", instance.arguments[1]


def _fill_in(instance: TurnInstance, sent: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """The request as it was sent; where the repeats' prompts differ, all of them as a third argument."""
    instance.arguments = sent[0]
    if len({prompt for prompt, _ in sent}) > 1:
        instance.arguments += ({f"prompt of repeat {n}": prompt for n, (prompt, _) in enumerate(sent, 1)},)


def _announce(lm: LM | CachingLM, instances: Sequence[TurnInstance], jobs: Sequence[Job]) -> None:
    tasks = sorted({str(instance.task_name) for instance in instances})
    turns = sum(len(job.conversation.script.user_turns) for job in jobs)
    log.info("%d conversations, %d turns, %d tasks: %s", len(jobs), turns, len(tasks), ", ".join(tasks))
    templated = [job.conversation for job in jobs if job.conversation.script.settings.prompts == "chat_template"]
    digest = None
    if templated:
        backend.render_with_template(lm, templated[0].messages())  # a model without a template ends here
        digest = backend.template_hash(lm)
        if not templated[0].script.template_asked_for:
            log.info("Multi-turn tasks always use the model's chat template, with or without --apply_chat_template.")
    for job in jobs:
        script = job.conversation.script
        script.run_facts["prompts"] = script.settings.prompts
        if script.settings.prompts == "chat_template":
            script.run_facts["chat_template_sha"] = digest


serve(REQUEST_TYPE, generate_until_multi_turn)
