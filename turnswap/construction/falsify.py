"""Whether a rule measures an instruction in a language: tried on natural replies, that some fail and some pass it.

The published rule is kept wherever it judges most of them as a reader does. Where it does not, the corrected rule
grades the instruction (:mod:`turnswap.tasks.multiif.corrected`). Where neither does, the language cannot have it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from turnswap.core.errors import require_packages
from turnswap.tasks.multiif import matching
from turnswap.tasks.multiif.corrected import asked_of, grade_corrected
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.instructions import get_instruction, parse_kwargs
from turnswap.tasks.multiif.kept import CORRECTED, PUBLISHED, grade_as_named
from turnswap.tasks.multiif.languages import name_of
from turnswap.tasks.multiif.segmentation import base_language, segmenter

from . import natural_shapes  # noqa: F401 - registers recipes
from .constructors import Attempt
from .instructions import making_of
from .instructions.making import Kwargs, texts_of
from .natural import prose_of
from .natural_replies import UNKNOWN, Groups, natural_replies
from .records import Turn, digest
from .vocabulary import scripts_of

_UNSUITABLE = "an instruction does not suit the language"
_THAI, _BY_DICTIONARY, _MAY_USE_IT = "th", ("th", "lo", "km", "my"), ("zh", "ja", "yue")
_REASON = re.compile(rf"{_UNSUITABLE}: (\S+) in (\S+), (.*)", re.DOTALL)


@dataclass(frozen=True)
class Fit:
    """Which rule measures an instruction in a language, and the replies that show it.

    Attributes:
        id: of the instruction.
        rule: that is to grade it: ``published``, ``corrected``; None where neither measures it.
        why: what is wrong with the published rule, or with both; empty where the published one is kept.
        fails: a natural reply that fails it by ``rule``; None where none is known.
        passes: a natural reply that follows it, by ``rule`` too.
        origin: where they are from.
    """

    id: str
    rule: str | None
    why: str = ""
    fails: str | None = None
    passes: str | None = None
    origin: str = ""

    def as_note(self) -> dict[str, Any]:
        """The reply that fails it and where that is from, or why there is none."""
        if self.fails is None:
            return {"id": self.id, "why": self.why or "no natural reply that fails it is known"}
        return {"id": self.id, "reply": self.fails, "from": self.origin}

    def failed_by(self, reply: str, origin: str) -> Fit:
        """The same with a reply that fails it."""
        return replace(self, fails=reply, origin=origin)

    def reason(self, language: str) -> str:
        """The reason to reject a conversation for, where no rule measures it; :func:`read_reason` reads it back."""
        return f"{_UNSUITABLE}: {self.id} in {language}, {self.why}"


def read_reason(reason: str) -> tuple[str, str, str] | None:
    """Instruction, language and why of such a reason; None of another."""
    match = _REASON.fullmatch(reason)
    return (match[1], match[2], match[3]) if match else None


def fits(turns: Sequence[Turn], language: str) -> list[list[Fit]]:
    """Which rule measures each instruction of each turn, in replies in the language that the turn's are to be in."""
    prompts = [turn.prompt for turn in turns]
    known: dict[str, Fit] = {}
    found = []
    for turn in turns:
        asked = asked_of(turn.instruction_ids, turn.kwargs, language).language
        for id_, raw in turn.instructions:
            if (key := digest(id_, dict(raw), asked)) not in known:
                known[key] = fit(id_, parse_kwargs(id_, raw), asked, prompts)
        found.append([known[digest(id_, dict(raw), asked)] for id_, raw in turn.instructions])
    return found


def fit(id: str, kwargs: Kwargs, language: str, prompts: Sequence[str] = ()) -> Fit:
    """Which rule measures an instruction in replies in a language.

    Args:
        id: of the instruction.
        kwargs: of the instruction, parsed.
        language: of the reply.
        prompts: what the user says. Sentences are taken from there in a language that turnswap has none of.
    """
    making, scripts = making_of(id), scripts_of(language)
    if making.unsuitable and (why := making.unsuitable(language.partition("-")[0], scripts)):
        return Fit(id, None, why)
    instruction = get_instruction(id)
    words = [] if making.from_prompts else texts_of(id, kwargs)
    prose = prose_of(language, prompts, lambda each: any(matching.count(each, word, language) for word in words))
    if prose is None or not instruction.as_published(kwargs):  # what is graded at random is told of elsewhere
        return Fit(id, PUBLISHED)
    counted = instruction.counted
    count = partial(counted, asked=asked_of([id], [kwargs], language, prompts), **kwargs) if counted else None
    replies = natural_replies(id, kwargs, prose, count) if instruction.why_unsatisfiable(kwargs) is None else UNKNOWN
    judge = _Judge(id, kwargs, language, prompts)
    faults = {rule: judge.fault(rule, replies.right, replies.wrong) for rule in (PUBLISHED, CORRECTED)}
    if faults[PUBLISHED] and judge.lacking:
        faults[PUBLISHED] = "this machine lacks the package that the published rule needs to split words and sentences"
    rule = next((rule for rule, fault in faults.items() if not fault), None)
    why = "" if rule == PUBLISHED else faults[PUBLISHED]
    if why and (warning := making.warning(scripts)):
        why += f": {warning}"
    if rule is None and faults[CORRECTED] != faults[PUBLISHED]:
        why += f"; {faults[CORRECTED]}"
    found = Fit(id, rule, why, passes=judge.first(rule, True, _flat(replies.right)), origin=prose.origin)
    return replace(found, fails=judge.first(rule, False, [*_flat(replies.wrong), *prose.passages]))


def graded_in_force(reply: str, turns: Sequence[Turn], language: str, found: Sequence[Sequence[Fit]]) -> Attempt:
    """A reply to the last turn, with its verdicts by the rule that grades each instruction there.

    Args:
        reply: to the last turn.
        turns: of a conversation.
        language: theirs.
        found: of :func:`fits`; the published rule grades all where it is empty.
    """
    last, rules = turns[-1], [str(each.rule) for each in found[-1]] if found else []
    prompts = [turn.prompt for turn in turns]
    verdicts = grade_as_named(reply, last.instruction_ids, last.kwargs, language, prompts, rules)
    return Attempt(reply, last.instruction_ids, verdicts)


def require_for(languages: Sequence[str]) -> None:
    """Refuse to build in languages whose words this machine cannot part: it would take every rule for a bad one.

    Raises:
        UserError: it names the languages, and the packages that are missing.
    """
    concerned = [code for code in languages if base_language(code) in _BY_DICTIONARY]
    thai = _THAI in map(base_language, concerned)
    if concerned:
        packages = ["pythainlp", "pycrfsuite", "icu4py"] if thai else ["icu4py"]
        names = " and ".join(map(name_of, concerned))
        require_packages(f"Building in {names} needs", packages, "thai,cjk" if thai else "cjk")


def segmenters(languages: Sequence[str]) -> list[str]:
    """What parts words in these languages where blanks do not, with versions: verdicts depend on it."""
    bases = set(map(base_language, languages))
    found = [str(segmenter())] if bases & {*_BY_DICTIONARY, *_MAY_USE_IT} else []
    if _THAI in bases:
        try:
            found.append(f"pythainlp:{version('pythainlp')}")
        except PackageNotFoundError:
            found.append("no pythainlp")
    return found


def unsuitable(id: str, kwargs: Kwargs, language: str, tried: bool = True) -> str | None:
    """Why an instruction cannot be had in a language, whatever words it names there; None where it can.

    Args:
        id: of the instruction.
        kwargs: of the instruction, parsed.
        language: of the reply.
        tried: try it on natural replies too, where it names no words.
    """
    table = making_of(id).unsuitable
    if tried and not texts_of(id, kwargs):
        found = fit(id, kwargs, language)
    else:
        why = table(language.partition("-")[0], scripts_of(language)) if table else None
        found = Fit(id, None if why else PUBLISHED, why or "")
    return found.reason(language) if found.rule is None else None


class _Judge:
    """The verdicts of both rules on natural replies to one instruction.

    Attributes:
        lacking: whether a package was missing to grade a reply as published.
    """

    def __init__(self, id: str, kwargs: Kwargs, language: str, prompts: Sequence[str]) -> None:
        self._asked, self._reading = ([id], [kwargs]), (language, prompts)
        self._known: dict[tuple[str, str], bool] = {}
        self.lacking = False

    def holds(self, rule: str, reply: str) -> bool:
        """Whether a reply follows it strictly, by a rule; what this machine cannot grade as published does not."""
        if (rule, reply) not in self._known:
            if rule == PUBLISHED:
                (verdict,) = grade_reply(reply, *self._asked)
                self.lacking |= verdict.ungradeable
            else:
                (verdict,) = grade_corrected(reply, *self._asked, *self._reading)
            self._known[rule, reply] = verdict.strict and not verdict.ungradeable
        return self._known[rule, reply]

    def first(self, rule: str | None, held: bool, replies: Sequence[str]) -> str | None:
        """The first reply that follows it, or does not, by a rule."""
        return next((reply for reply in replies if rule and self.holds(rule, reply) is held), None)

    def fault(self, rule: str, right: Groups | None, wrong: Groups | None) -> str:
        """What a rule does to natural replies, in words; empty where it judges most of each group as a reader does."""
        for groups, label, done in ((wrong, False, "do not follow it pass"), (right, True, "follow it fail")):
            for group in groups or ():
                if not group:
                    return f"no natural reply {'follows' if label else 'fails'} it"
                # A recipe may go wrong: where the corrected rule bears some replies out, the others do not count.
                sure = [reply for reply in group if self.holds(CORRECTED, reply) is label] or group
                judged = sum(self.holds(rule, reply) is label for reply in sure)
                if 2 * judged < len(sure):
                    return f"{'most ' if judged else ''}natural replies that {done} the {rule} rule"
        return ""


def _flat(groups: Groups | None) -> list[str]:
    return [reply for group in groups or () for reply in group]
