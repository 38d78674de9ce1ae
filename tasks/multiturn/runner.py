"""The request type ``generate_until_multi_turn``: lm-eval hands over one Instance per turn, and gets its answer.

Importing this module makes the type known to all of lm-eval's models.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM
from lm_eval.utils import hash_string

from . import backend, engines, faults, lockstep, pipelined
from .cache import Replies
from .conversation import DEFAULT_SEED, Conversation, Reply, Script
from .lm_eval_contract import serve
from .reasoning import unknown_tags
from .turns import Turns

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
    instances = sorted({id(request): request for request in requests}.values(), key=lambda instance: instance.idx)
    by_script: defaultdict[int, list[TurnInstance]] = defaultdict(list)
    for instance in instances:
        by_script[id(instance.script)].append(instance)
    runs = {script_id: _conversations(lm, turns) for script_id, turns in by_script.items()}
    conversations = list(itertools.chain.from_iterable(runs.values()))
    _announce(lm, instances, conversations)
    _run(lm, conversations, {instance.script.name: instance.doc for instance in instances})

    for instance in instances:
        its_own = runs[id(instance.script)]
        instance.replies = [_reply(conversation, instance.idx) for conversation in its_own]
        _fill_in(instance, [_sent(conversation, instance) for conversation in its_own])
    answers = {id(each): itertools.chain(each.replies, itertools.repeat(each.replies[-1])) for each in instances}
    return [next(answers[id(request)]).raw for request in requests]


def _conversations(lm: LM | CachingLM, turns: Sequence[TurnInstance]) -> list[Conversation]:
    """The conversations of one script, a repeat each."""
    script, gen_kwargs = turns[0].script, [turn.arguments[1] for turn in turns]
    return [
        Conversation(script, gen_kwargs, repeat, _seed(lm, script) + repeat) for repeat in range(turns[0].repeats or 1)
    ]


def _seed(lm: LM | CachingLM, script: Script) -> int:
    """What sampling starts from: the seed in ``--model_args`` where there is one, else that of ``--seed``."""
    own = getattr(backend.inner_model(lm), "_seed", DEFAULT_SEED)
    return own if isinstance(own, int) and own != DEFAULT_SEED else script.seed


def _run(lm: LM | CachingLM, conversations: Sequence[Conversation], documents: dict[str, Any]) -> None:
    """Choose the schedule and run it; where several tasks run with different settings, the strictest holds."""
    settings = list({each.script.settings: None for each in conversations})
    asked = {each.schedule for each in settings}
    schedule = next(each for each in ("lockstep", "pipelined", "auto") if each in asked)
    wave = min((each.wave for each in settings if each.wave), default=None)
    replies = Replies(lm, adopt=any(each.cache == "adopt" for each in settings))
    replies.note_documents(documents)
    turns = Turns(lm)
    engine = engines.choose(lm, [gen_kwargs for each in conversations for gen_kwargs in each.gen_kwargs], schedule)
    facts: dict[str, Any] = {"schedule": "pipelined", "engine": getattr(engine, "name", "lm-eval")}
    if schedule == "lockstep" or isinstance(engine, str):
        facts["schedule"] = "lockstep"
    if isinstance(engine, str):
        log.log(logging.WARNING if schedule == "pipelined" else logging.INFO, "Turn by turn, in lockstep: %s", engine)
        facts["lockstep_because"] = engine
        lockstep.run(lm, turns, replies, conversations, wave)
    else:
        # What waves are for without barriers: few conversations whose earlier turns an engine still holds.
        bound = min((each.open for each in settings if each.open), default=wave)
        rounds = pipelined.turn_by_turn(conversations, wave) if schedule == "lockstep" else None
        failures = pipelined.run(engine, turns, replies, conversations, bound, rounds)
        facts |= engine.facts
        if failures:
            faults.require_few(failures, len(conversations), min(each.max_failed for each in settings))
            log.warning(
                "%s\nTheir missing turns are left out of the figures.", faults.summary(failures, len(conversations))
            )
    for conversation in conversations:
        conversation.script.run_facts.update(facts)
    _warn_of_unknown_tags(conversations)


def _warn_of_unknown_tags(conversations: Sequence[Conversation]) -> None:
    """Reasoning between tags that we do not know is graded as part of the reply: say so, by name."""
    for markers in {each.script.settings.reasoning_markers for each in conversations} - {()}:
        answers = [reply.raw for each in conversations for reply in each.replies]
        if tag := unknown_tags(answers, markers):
            pair = json.dumps([tag, f"{tag[0]}/{tag[1:]}"])
            log.warning(
                "Most replies start with %s, which is not known as reasoning and was graded as part of the reply. "
                """If it is reasoning, add --metadata '{"reasoning_markers": %s}'.""", tag, pair,
            )  # fmt: skip


def _reply(conversation: Conversation, turn: int) -> Reply:
    return conversation.replies[turn] if turn < len(conversation.replies) else Reply("", absent=True)


def _sent(conversation: Conversation, instance: TurnInstance) -> tuple[str, dict[str, Any]]:
    if instance.idx < len(conversation.requests):
        return conversation.requests[instance.idx]
    return f"[turn {len(conversation.replies) + 1} failed: {conversation.failure}]", instance.arguments[1]


def _fill_in(instance: TurnInstance, sent: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """The request as it was sent; where there is more to tell, as a third argument.

    That is what each repeat's answer said beside its text, and the repeats' prompts where they differ.
    """
    instance.arguments = sent[0]
    more: dict[str, Any] = {}
    if len({prompt for prompt, _ in sent}) > 1:
        more = {f"prompt of repeat {number}": prompt for number, (prompt, _) in enumerate(sent, 1)}
    costs = [{} if reply.cost is None else {"cost": reply.cost} for reply in instance.replies]
    answers = [reply.answer.beside() | cost for reply, cost in zip(instance.replies, costs, strict=True)]
    if any(answers):
        more["answers"] = answers
    if more:
        instance.arguments += (more,)


def _announce(lm: LM | CachingLM, instances: Sequence[TurnInstance], conversations: Sequence[Conversation]) -> None:
    tasks = sorted({str(instance.task_name) for instance in instances})
    turns = sum(len(each.script.user_turns) for each in conversations)
    log.info("%d conversations, %d turns, %d tasks: %s", len(conversations), turns, len(tasks), ", ".join(tasks))
    templated = [each for each in conversations if each.script.settings.prompts == "chat_template"]
    digest = None
    if templated:
        backend.render_with_template(lm, templated[0].messages())  # a model without a template ends here
        # As lm-eval computes it; there is none where a server applies its own.
        digest = hash_string(template) if (template := backend.inner_model(lm).chat_template(True)) else None
        if not templated[0].script.template_asked_for:
            log.info("Multi-turn tasks always use the model's chat template, with or without --apply_chat_template.")
    for script in (conversation.script for conversation in conversations):
        script.run_facts["prompts"] = script.settings.prompts
        if script.settings.prompts == "chat_template":
            script.run_facts["chat_template_sha"] = digest


serve(REQUEST_TYPE, generate_until_multi_turn)
