"""Writes arithmetic_en.jsonl next to itself: `python configs/experts/make_arithmetic.py`.

Only the left side of every sum is written down in the templates, `[a × b]`; its result is computed, and `#` is the
result before. So the answers are right by construction, and the file is the same on every run.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

SEED = 20241018
PER_TEMPLATE = 7
FILE = Path(__file__).with_name("arithmetic_en.jsonl")

NAMES = ["Ana", "Ben", "Chloe", "Emma", "Farid", "Hugo", "Ivy", "Kemi", "Liam", "Mina", "Noah", "Olga", "Ravi", "Yuki"]
THINGS = ["apples", "beads", "books", "buttons", "cards", "coins", "eggs", "marbles", "shells", "stamps", "stickers"]

# The numbers to draw, the question, the working.
TEMPLATES = [
    ("a 12-99, b 12-99", "What is {a} + {b}?", "[a + b]."),
    ("a 120-899, b 13-99", "Calculate {a} plus {b}.", "Add the two numbers: [a + b]."),
    ("a 40-99, b 11-39", "What is {a} - {b}?", "[a - b]."),
    ("a 200-900, b 25-180", "Subtract {b} from {a}.", "Take {b} away from {a}: [a - b]."),
    ("a 3-12, b 11-25", "What is {a} × {b}?", "[a × b]."),
    ("a 12-30, b 3-9", "Multiply {a} by {b}.", "The product is [a × b]."),
    ("a 24-144, b 3-12", "Divide {a} by {b}.", "The quotient is [a ÷ b]."),
    ("a 5-40, b 5-40, c 5-40", "Add up {a}, {b} and {c}.", "First [a + b]. Then [# + c]."),
    ("a 5-30, b 3-9, c 2-8", "What is {a} + {b} × {c}?", "Multiplication comes first: [b × c]. Then [a + #]."),
    ("a 4-20, b 4-20, c 2-9", "What is ({a} + {b}) × {c}?", "The brackets come first: [a + b]. Then [# × c]."),
    ("a 20-90, b 2-19, c 2-9", "What is ({a} - {b}) ÷ {c}?", "The brackets come first: [a - b]. Then [# ÷ c]."),
    ("a 12-90", "What is double {a}?", "Doubling means multiplying by two: [a × 2]."),
    ("a 20-180", "What is half of {a}?", "To halve a number, divide it by two: [a ÷ 2]."),
    ("a 4-15", "What is {a} squared?", "Squaring means multiplying a number by itself: [a × a]."),
    ("a 40-400", "What is 25% of {a}?", "25% is one quarter: [a ÷ 4]."),
    ("a 40-400", "Find 10% of {a}.", "10% is one tenth: [a ÷ 10]."),
    ("a 6-40, b 6-40", "What is the average of {a} and {b}?", "Their sum is [a + b], and half of it is [# ÷ 2]."),
    ("a 5-30, b 20-70", "Solve for x: x + {a} = {b}.", "Subtract {a} from both sides: [b - a]."),
    ("a 3-9, b 12-90", "Solve for x: {a}x = {b}.", "Divide both sides by {a}: [b ÷ a]."),
    (
        "a 12-60, b 5-40",
        "{name} has {a} {thing} and gets {b} more from {friend}. How many {thing} does {name} have now?",
        "{name} now has [a + b] {thing}.",
    ),
    (
        "a 20-80, b 5-30",
        "{name} had {a} {thing} and gave {b} of them to {friend}. How many are left?",
        "After giving some away, {name} has [a - b] {thing}.",
    ),
    (
        "a 3-9, b 6-24, c 2-15",
        "A shop packs {b} pencils in a box. How many pencils are in {a} full boxes and {c} loose pencils together?",
        "The boxes hold [a × b] pencils. With the loose ones there are [# + c].",
    ),
    (
        "a 24-120, b 3-8",
        "{name} shares {a} {thing} equally among {b} friends. How many does each friend get?",
        "Each friend gets [a ÷ b] {thing}.",
    ),
    (
        "a 3-12, b 2-9, c 40-99",
        "{name} buys {a} notebooks at {b} dollars each and pays with {c} dollars. How much change is due?",
        "The notebooks cost [a × b] dollars. The change is [c - #] dollars.",
    ),
    (
        "a 40-90, b 2-6",
        "A train travels at {a} km per hour. How far does it get in {b} hours?",
        "Distance is speed times time: [a × b] km.",
    ),
    (
        "a 120-480, b 2-8",
        "A car covers {a} km in {b} hours. What is its average speed in km per hour?",
        "Speed is distance divided by time: [a ÷ b] km per hour.",
    ),
    (
        "a 12-24, b 3-11",
        "A garden is {a} m long and {b} m wide. What is its area in square metres?",
        "The area is length times width: [a × b] square metres.",
    ),
    (
        "a 21-40, b 3-20",
        "How much fence goes around a rectangular field that is {a} m long and {b} m wide?",
        "One long and one short side make [a + b] m. There are two of each: [# × 2] m.",
    ),
    (
        "a 8-30, b 5-20, c 2-12",
        "{a} people are on a bus. At the next stop {b} get on and {c} get off. How many are on the bus now?",
        "When the new people are on, there are [a + b]. When the others are off, there are [# - c].",
    ),
    (
        "a 15-60, b 3-12",
        "{name} reads {a} pages a day. How many pages does {name} read in {b} days?",
        "In that time {name} reads [a × b] pages.",
    ),
    (
        "a 120-360, b 40-110, c 4-20",
        "A book has {a} pages. {name} has read {b} and reads {c} pages a day. In how many days will it be finished?",
        "There are [a - b] pages to go. At {c} a day that takes [# ÷ c] days.",
    ),
    (
        "a 3-9, b 4-12, c 2-20",
        "A farmer picks {a} baskets of {b} pears. {c} pears are bad. How many good pears are there?",
        "The farmer picked [a × b] pears, of which [# - c] are good.",
    ),
    (
        "a 5-12, b 11-40",
        "{friend} is {a} years old. {name} is {b} years older. How old is {name}?",
        "{name} is [a + b] years old.",
    ),
    (
        "a 3-12, b 2-5, c 2-9",
        "{name} has {a} {thing}. {friend} has {b} times as many and then finds {c} more. How many has {friend}?",
        "Before finding more, {friend} has [a × b]. Afterwards it is [# + c].",
    ),
    (
        "a 6-24, b 2-9, c 2-9",
        "A ticket costs {a} dollars for an adult and {b} dollars for a child. What do one adult and {c} children pay?",
        "The children pay [b × c] dollars. With the adult it is [# + a] dollars.",
    ),
    (
        "a 2-9, b 10-60",
        "How many minutes are {a} hours and {b} minutes?",
        "The hours are [a × 60] minutes. Altogether that is [# + b] minutes.",
    ),
    ("a 2-12, b 2-6", "How many days are {a} weeks and {b} days?", "The weeks are [a × 7] days. In all, [# + b] days."),
    (
        "a 40-200, b 2-8",
        "A coat costs {a} dollars and is reduced by 50%. {name} also has a {b} dollar voucher. What does {name} pay?",
        "Half price is [a ÷ 2] dollars. With the voucher it is [# - b] dollars.",
    ),
    (
        "a 9-20, b 5-12, c 2-6",
        "{name} earns {a} dollars an hour and works {b} hours a day. How much does {name} earn in {c} days?",
        "A day brings [a × b] dollars. All days together bring [# × c] dollars.",
    ),
    (
        "a 30-90, b 6-20, c 2-9",
        "A game costs {a} dollars. {name} has {b} and saves {c} dollars a week. How many weeks does it take?",
        "{name} still needs [a - b] dollars. That takes [# ÷ c] weeks.",
    ),
    (
        "a 10-30, b 10-30, c 2-6",
        "{a} girls and {b} boys split into {c} teams of the same size. How many children are in a team?",
        "There are [a + b] children. Each team has [# ÷ c].",
    ),
    (
        "a 3-8, b 4-9, c 2-6",
        "A recipe for {a} people needs {b} eggs for each person. How many eggs are needed for {c} such meals?",
        "One meal needs [a × b] eggs. All the meals need [# × c] eggs.",
    ),
    (
        "a 50-200, b 5-25, c 3-8",
        "A tank holds {a} litres. It loses {b} litres a day. How many litres are left after {c} days?",
        "It loses [b × c] litres. What is left is [a - #] litres.",
    ),
]


def compute(left: int, sign: str, right: int) -> int | None:
    """The result, or nothing if it is no positive whole number."""
    if sign == "÷":
        return left // right if left % right == 0 and left > right else None
    return {"+": left + right, "-": left - right, "×": left * right}[sign]


def work_out(working: str, numbers: dict[str, int]) -> tuple[str, int] | None:
    """The working with all results, and the last one; nothing if these numbers do not come out even."""
    result = 0
    for step in re.findall(r"\[.+?\]", working):
        left, sign, right = step[1:-1].split()
        x, y = ({**numbers, "#": result}.get(term) or int(term) for term in (left, right))
        outcome = compute(x, sign, y)
        if outcome is None or outcome < 1:
            return None
        result = outcome
        working = working.replace(step, f"{x} {sign} {y} = {result}", 1)
    return working, result


def make_example(chance: random.Random, numbers: str, question: str, working: str) -> tuple[str, str]:
    """A question of the template and its answer; numbers are drawn until everything comes out even."""
    name, friend = chance.sample(NAMES, 2)
    words: dict[str, object] = {"name": name, "friend": friend, "thing": chance.choice(THINGS)}
    while True:
        drawn = {n: chance.randint(int(low), int(high)) for n, low, high in re.findall(r"(\w) (\d+)-(\d+)", numbers)}
        if solved := work_out(working, drawn):
            fields = words | drawn
            return question.format(**fields), f"{solved[0].format(**fields)} The answer is {solved[1]}."


def make_text() -> str:
    """The whole file: every template equally often, no question twice, in random order."""
    chance = random.Random(SEED)
    examples: dict[str, str] = {}
    for n, template in enumerate(TEMPLATES, start=1):
        while len(examples) < n * PER_TEMPLATE:
            examples.setdefault(*make_example(chance, *template))
    pairs = list(examples.items())
    chance.shuffle(pairs)
    rows = (
        {"prompt": [{"role": "user", "content": q}], "completion": [{"role": "assistant", "content": a}]}
        for q, a in pairs
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    FILE.write_text(make_text(), encoding="utf-8", newline="\n")
