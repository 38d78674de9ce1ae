"""Writes instructions_en.jsonl next to itself: `python configs/experts/make_instructions.py`.

Each answer is put together from sentences of a topic, so that it follows every instruction by construction. The
instructions are of kinds that Multi-IF checks; the topics are none of the packaged sample's. A second turn adds an
instruction to the first, and its answer follows both. The file is the same on every run.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

SEED = 20241018
FILE = Path(__file__).with_name("instructions_en.jsonl")
SINGLE, DOUBLE = 200, 100  # conversations of one turn and of two

# What is asked for and a title; below, four sentences without commas.
TOPICS_TEXT = """
a note about a lost cat | Lost Cat
Our grey cat has been missing since Monday. | She is shy but friendly. |
Please look in your shed. | Call us if you see her.

an explanation of why we sleep | Why We Sleep
Sleep gives the body time to repair itself. | The brain sorts what it learned in the day. |
Children need more sleep than adults. | A dark room helps.

a message to a friend about a picnic | Picnic On Sunday
We are having a picnic by the river. | It starts at noon on Sunday. |
I will bring bread and cheese. | Please bring something to drink.

an advertisement for a used bicycle | Bicycle For Sale
This blue bicycle is five years old. | The brakes are new. |
It has been kept in a dry garage. | You can try it this week.

a short text about bees | Busy Bees
Bees carry pollen from flower to flower. | Many fruits depend on their work. |
A hive can hold thousands of bees. | They make honey for the winter.

an invitation to a school play | The School Play
The children have practised for months. | The play is about a brave fox. |
It begins at six in the main hall. | Every guest is welcome.

advice for a job interview | A Good Interview
Read about the company first. | Arrive ten minutes early. |
Answer with examples from your work. | Ask one question at the end.

a description of autumn | Autumn
The leaves turn red and gold. | Mornings are cool and misty. |
Farmers bring in the last apples. | The evenings get longer.

a thank-you note to a neighbour | Thank You
Thank you for watering my plants. | They look better than before. |
I brought you some jam from my trip. | Let me help you next time.

an explanation of how rain forms | How Rain Forms
The sun warms the sea. | Water rises as vapour. |
High in the cold air it becomes clouds. | The drops fall when they are heavy.

a text about the benefits of walking | Why Walk
Walking is good for the heart. | It costs nothing. | A short walk clears the mind. | You can start today.

a notice about a swimming pool | Pool Closed
The pool is closed for repairs. | It opens again on the first of May. |
Season tickets stay valid. | We are sorry for the trouble.

a story about a small boat | The Small Boat
A small boat wanted to see the sea. | The wind pushed it past the lighthouse. |
A dolphin showed it the way home. | It slept in the harbour that night.

a complaint about a noisy street | Noise At Night
The traffic in our street is too loud. | Lorries pass all night. |
The residents cannot sleep. | We ask for a lower speed limit.

a description of a lighthouse | The Lighthouse
The white tower stands on a rock. | Its light turns every ten seconds. |
Ships see it from far away. | A family of gulls lives on the roof.

instructions for making tea | A Cup Of Tea
Boil fresh water. | Put one bag in a warm cup. | Wait three minutes. | Add milk if you like.

a text about saving energy | Save Energy
Turn off lights that nobody needs. | Wash clothes at a low temperature. |
Close the windows when the heating is on. | Small steps add up.

a welcome message for a new colleague | Welcome
Welcome to the team. | Your desk is next to the window. |
Lunch is at half past twelve. | Ask us whatever you want to know.

a text about the moon | The Moon
The moon goes around the earth in a month. | It has no air and no weather. |
We always see the same side. | Its light comes from the sun.

a report about a football match | A Late Goal
The home team started well. | The visitors scored before the break. |
A late goal made it two all. | Both coaches were content.

a text about a market | Market Day
The market opens at seven. | Farmers sell eggs and flowers. |
The smell of fresh bread is everywhere. | By noon most tables are empty.
"""
TOPICS = [[part.strip() for part in re.split(r"[|\n]+", topic)] for topic in TOPICS_TEXT.strip().split("\n\n")]

Style = Callable[[str], str]
CLOSINGS = ["That is all for now.", "See you soon.", "Thank you for reading.", "Have a nice day."]


def first_form(chance: random.Random, title: str, lines: list[str]) -> tuple[str, str]:
    """An instruction about the form of the whole answer, and the answer."""
    count = chance.randint(2, 4)
    bullets = "\n".join(f"- {line}" for line in lines[:count])
    forms = [
        (f'Use exactly {count} bullet points that start with "- ".', bullets),
        ("Write exactly two paragraphs separated by ***", f"{' '.join(lines[:2])}\n***\n{' '.join(lines[2:])}"),
        ("Give two different versions separated by ******", f"{' '.join(lines[:2])}\n******\n{' '.join(lines[2:])}"),
        (f"Write fewer than {count + 1} sentences.", " ".join(lines[:count])),
        ("Keep it short.", " ".join(lines[:3])),
        ("Keep it brief.", " ".join(lines[:2])),
        ("Answer in JSON format.", json.dumps({"title": title, "text": " ".join(lines[:2])}, indent=1)),
    ]
    return chance.choice(forms)


def added(chance: random.Random, title: str, form: str) -> tuple[str, Style]:
    """A further instruction and what it does to an answer."""
    closing = chance.choice(CLOSINGS)
    changes: list[tuple[str, Style]] = [
        ("Use capital letters only.", str.upper),
        ("Write everything in lowercase letters.", str.lower),
        ("Do not use any commas.", str),
    ]
    if "JSON" not in form:
        changes += [
            ("Add a title in double angular brackets, such as <<title>>.", lambda text: f"<<{title}>>\n{text}"),
            (f'Finish with the exact words "{closing}"', lambda text: f"{text}\n{closing}"),
        ]
        if "sentences" not in form and "bullet" not in form:
            changes += [
                ("Add a postscript that starts with P.S.", lambda text: f"{text}\n\nP.S. {closing}"),
                ("Put the whole answer in double quotation marks.", lambda text: f'"{text}"'),
                (
                    "Leave at least 2 placeholders in square brackets, such as [name].",
                    lambda text: f"Dear [name]\n{text}\n[signature]",
                ),
            ]
    return chance.choice(changes)


def make_conversations() -> list[list[str]]:
    """Conversations as turns of user and assistant alternately, no two with the same words of the user."""
    chance = random.Random(SEED)
    found: dict[tuple[str, ...], list[str]] = {}
    while len(found) < SINGLE + DOUBLE:
        what, title, *lines = chance.choice(TOPICS)
        chance.shuffle(lines)
        form, answer = first_form(chance, title, lines)
        more, change = added(chance, title, form)
        turns = [f"Write {what}. {form} {more}", change(answer)]
        if len(found) >= SINGLE:
            turns = [f"Write {what}. {form}", answer, f"{chance.choice(['Good.', 'Thanks.', 'Now:'])} {more}", turns[1]]
        # Commas of JSON are its syntax; everything else is written without.
        if not ("JSON" in form and "commas" in more):
            found.setdefault(tuple(turns[::2]), turns)
    conversations = list(found.values())
    chance.shuffle(conversations)
    return conversations


def make_text() -> str:
    """The whole file."""
    rows = []
    for turns in make_conversations():
        spoken = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
        rows.append({"prompt": spoken[:-1], "completion": spoken[-1:]})
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    FILE.write_text(make_text(), encoding="utf-8", newline="\n")
