"""A server that translates into German and Japanese from the example's recording, well or with a fault of some kind.

A fault is what a translator does to a good translation, and what its back-translation then says: what became of it, or,
where it hides the fault, what the source says.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnswap.construction.llm import read_prompt
from turnswap.core.journal import read_jsonl

from ..conftest import REPOSITORY

TEXTS = REPOSITORY / "configs" / "build_de_ja"
Change = Callable[[str, int, str, str], str]  # of a language's code, the turn (from 0), its text, and the source's


def as_it_is(_language: str, _turn: int, text: str, _source: str) -> str:
    return text


def as_the_source(_language: str, _turn: int, _text: str, source: str) -> str:
    return source


@dataclass(frozen=True)
class Fault:
    """What a bad translator does.

    Attributes:
        name: of the kind.
        reason: what a reason of rejection says, as a regular expression.
        forth: what becomes of a turn in German or Japanese.
        back: what becomes of its back-translation, in English.
        keys: the conversations that it is tried on; all where there are none.
    """

    name: str
    reason: str
    forth: Change
    back: Change = as_it_is
    keys: tuple[str, ...] = ()

    @property
    def hidden(self) -> Fault:
        """The same by a translator whose back-translation says what the source says."""
        return replace(self, name=f"{self.name}, hidden", back=as_the_source)


GOOD = Fault("good", "", as_it_is)


class Translator:
    """Answers questions of a build, as a server's ``reply``."""

    def __init__(self, fault: Fault = GOOD) -> None:
        self.fault, self.changed = fault, set[str]()
        lines = read_jsonl(TEXTS / "recording.jsonl")
        self.key_of = {line["turns"][0]["prompt"]: line["key"] for line in read_jsonl(TEXTS / "seeds.jsonl")}
        self._answers = {_known_by(line["input"]): line["answer"] for line in lines}
        self._back: dict[tuple[str, ...], list[str]] = {}
        self.good: set[str] = set()  # every turn as it should be
        for line in lines:
            if line["input"]["task"] == "translate" and line["input"]["to"] != "en":
                self.good |= set(line["answer"]["turns"])

    def __call__(self, messages: Any) -> str:
        return json.dumps(self.answer(read_prompt(messages[-1]["content"])), ensure_ascii=False)

    def answer(self, asked: Mapping[str, Any]) -> Any:
        """The recorded one, with the fault."""
        if asked["task"] != "translate":
            return self._answers[_known_by(asked)]
        if asked["to"] == "en":
            return {"turns": self._back[tuple(asked["turns"])], "kwargs": []}
        good, language = self._answers[_known_by(asked)], asked["to"]
        made = _each(self.fault.forth, language, good["turns"], asked["turns"])
        if made != good["turns"]:
            self.changed.add(f"{self.key_of[asked['turns'][0]]}:{language}")
        back = self._answers["translate", "en", *good["turns"]]["turns"]
        bad = made != good["turns"]
        self._back[tuple(made)] = _each(self.fault.back, language, back, asked["turns"]) if bad else back
        return {**good, "turns": made}


def _known_by(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a question of the recording from others, whatever else it will hold one day."""
    return (asked["task"], asked.get("to", ""), *asked["turns"])


def _each(change: Change, language: str, turns: Sequence[str], source: Sequence[str]) -> list[str]:
    return [change(language, n, *texts) for n, texts in enumerate(zip(turns, source, strict=True))]


def exchanging(**pairs: Sequence[tuple[str, str]]) -> Change:
    """Changes texts in each language, all at once: ``de=[("mindestens", "weniger als")]``."""

    def change(language: str, _turn: int, text: str, _source: str) -> str:
        table = dict(pairs.get(language, ()))
        if not table:
            return text
        return re.sub("|".join(map(re.escape, table)), lambda found: table[found[0]], text)

    return change


def both_ways(one: str, other: str) -> list[tuple[str, str]]:
    return [(one, other), (other, one)]


def in_english(*pairs: tuple[str, str]) -> Change:
    """The same of back-translations."""
    return exchanging(de=pairs, ja=pairs)


def sentences(language: str, text: str) -> list[str]:
    """Of a turn; lines of their own stay whole."""
    return re.split(r"(?<=[。？])(?=.)" if language == "ja" else r"(?<=[.?:]) +(?=[A-ZÄÖÜ])", text)


def joined(language: str, parts: Sequence[str]) -> str:
    return ("" if language == "ja" else " ").join(parts)


def without_the_first_sentence(language: str, _turn: int, text: str, source: str) -> str:
    """Where that tells something, and others follow: a word of thanks is no loss."""
    first, *others = sentences("en", source)
    tells = others and len(first.split()) >= 5
    return joined(language, sentences(language, text)[1:]) if tells else text


def back_without_the_first_sentence(_language: str, turn: int, text: str, source: str) -> str:
    return without_the_first_sentence("en", turn, text, source)


def half_in_english(language: str, turn: int, text: str, source: str) -> str:
    """The last turn's first sentence stays as the source has it, where it has several."""
    parts, english = sentences(language, text), sentences("en", source)
    return joined(language, [f"{english[0]} ", *parts[1:]]) if turn == 2 and len(parts) > 1 else text


def one_more(_language: str, _turn: int, text: str, _source: str) -> str:
    """Every number in digits is another."""
    return re.sub(r"\d+", lambda number: str(int(number[0]) + 1), text)


def word_salad(language: str, turn: int, text: str, _source: str) -> str:
    """The same words in no order."""
    found = re.findall(r"[A-Za-z.]+|[ァ-ヶー]+|[一-鿿]+|[ぁ-ん]+|\S", text) if language == "ja" else text.split()
    random.Random(turn).shuffle(found)
    return " ".join(found)


def dutch_or_chinese(language: str, turn: int, _text: str, _source: str) -> str:
    """The nearest language that is not the one asked for; of the stew alone."""
    return DUTCH_CHINESE[language][turn]


DUTCH_CHINESE: Mapping[str, Sequence[str]] = {
    "de": (
        "Thuis heb ik wortels, aardappelen, een ui en een beetje kokosmelk. Leg uit hoe ik daarmee een eenvoudige "
        "stoofpot kook, en noem in precies 5 punten die met een koppelteken (-) beginnen wat ik nodig heb.",
        "Bedankt. Mijn nicht zal het ook lezen, voeg dus een naschrift toe dat met P.S. begint en haar vertelt hoe ze "
        "de restjes tot de volgende dag bewaart.",
        "Dat is veel om te lezen bij het fornuis. Kort het hele antwoord alsjeblieft in tot minder dan 120 woorden.",
    ),
    "ja": (
        "我家里有胡萝卜、土豆、一个洋葱和一点椰奶。请告诉我怎样用它们做一道简单的炖菜，并用以连字符(-)开头的恰好5个要点列出我需要的东西。",
        "谢谢。我的表妹也会读，所以请加上一段以P.S.开头的附言，告诉她怎样把剩下的保存到第二天。",
        "站在炉子前读这么多太长了。请把整个回答缩短到120个词以内。",
    ),
}

FAULTS = [
    Fault(
        "exchanges at least and less than",
        r"(?i)something else|at least|less than|fewer|relation|constraint|mindestens|weniger|以上|未満",
        exchanging(de=both_ways("mindestens", "weniger als"), ja=both_ways("以上", "未満")),
        in_english(*both_ways("at least", "less than")),
    ),
    Fault("changes a number", "(?i)protected span|number|constraint", one_more, one_more),
    Fault(
        "changes a number in words",
        r"(?i)number|something else|constraint|six|sechs|六",
        exchanging(de=[("sechs", "fünf")], ja=[("六", "五")]),
        in_english(("six", "five")),
        keys=("moon-riddles", "coffee-stall"),
    ),
    Fault(
        "drops a negation",
        r"(?i)something else|negat|polarity|without|not|constraint|forbidden|ohne|使わず",
        exchanging(de=[("ohne die Wörter", "mit den Wörtern")], ja=[("使わずに", "使って")]),
        in_english(("without the words", "with the words"), ("without using the words", "using the words")),
        keys=("moon-riddles",),
    ),
    Fault(
        "drops a sentence",
        r"(?i)something else|length|far from|content|sentence|missing|dropped|constraint|lost|says less",
        without_the_first_sentence,
        back_without_the_first_sentence,
        keys=("stew", "bus-stop", "moon-riddles"),
    ),
    Fault("leaves half a turn in English", r"(?i)english|language|source|translated|Latin|script", half_in_english),
    Fault("answers in Dutch or Chinese", "(?i)language|script", dutch_or_chinese, keys=("stew",)),
    Fault("word salad", r"(?i)salad|order|sentence|natural|language|fluen|lost|constraint|keyword|kwarg", word_salad),
    Fault(
        "inflects a keyword",
        r"(?i)keyword|kwarg|form|Garten|菜園",
        exchanging(de=[('"Garten"', '"Gartens"')], ja=[("「菜園」", "「家庭菜園」")]),
        keys=("letter-home",),
    ),
]
