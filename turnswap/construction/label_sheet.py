"""Replies for people to label: drawn from those of a run, and written as a sheet that shows no verdict.

Pairs of a reply and an instruction are drawn at random within strata: by instruction, and by whether the published and
the corrected verdict differ, for those that differ say most and are rare. ``sampling.json`` tells how many there were
of each, so that what labels say can be weighed by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from pydantic import TypeAdapter, ValidationError

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.core.progress import progress
from turnswap.tasks.multiif.corrected import grade_corrected, rules_in_use
from turnswap.tasks.multiif.corrected.labels import read_lines
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.instructions import MalformedInstruction, parse_kwargs
from turnswap.tasks.multiif.languages import name_of

from .forms import Form, write_form
from .plain_words import PlainWords
from .records import digest

FILLED_IN = ("decision", "count", "comment", "reviewer")
LABELS = Form(
    "labels",
    "Does the reply follow the instruction?",
    "labels.html.j2",
    ("key", "digest", "language", "question", "prompt", "reply", *FILLED_IN),
    FILLED_IN,
    {"y": "yes", "n": "no", "c": "cannot tell"},
)
SAMPLING = "sampling.json"


@dataclass(frozen=True)
class Pair:
    """A reply and one instruction that it was to follow.

    Attributes:
        language: the code of the conversation's language.
        instruction_id: such as ``keywords:existence``, with its ``kwargs``.
        reply: the whole of it.
        prompts: the user's turns up to it, where they are known.
        source: where it is from.
        weight: how many pairs it stands for among those that it was drawn from.
    """

    language: str
    instruction_id: str
    kwargs: Mapping[str, Any]
    reply: str
    prompts: tuple[str, ...] = ()
    source: str = ""
    weight: float = 1.0

    @property
    def digest(self) -> str:
        """Of what is judged."""
        return digest(self.language, self.instruction_id, dict(self.kwargs), self.reply)


def read_pairs(path: Path) -> list[Pair]:
    """Pairs from JSON lines of language, instruction_id, kwargs and reply; and, where known, prompt or prompts, source.

    Raises:
        UserError: the file cannot be read, or a line is no such pair.
    """
    pairs = []
    for number, content in read_lines(path):
        more = {"prompts": [content["prompt"]]} if "prompt" in content else {}
        try:
            pair = TypeAdapter(Pair).validate_python({"source": path.name, **content, **more, "weight": 1})
            pairs.append(replace(pair, kwargs=parse_kwargs(pair.instruction_id, pair.kwargs)))
        except (ValidationError, MalformedInstruction) as error:
            told = error.errors()[0] if isinstance(error, ValidationError) else None
            said = f"{'.'.join(map(str, told['loc']))}: {told['msg']}" if told else str(error)
            raise UserError(
                f"{path}, line {number}, is no reply to label: {said}.",
                "Expected language, instruction_id, kwargs and reply; for a run of lm_eval name its folder.",
            ) from None
    return pairs


@dataclass(frozen=True)
class Stratum:
    """So many pairs there were of an instruction whose two verdicts do or do not ``differ``, and so many were drawn."""

    instruction_id: str
    differ: bool
    population: int
    drawn: int


def draw(pairs: Iterable[Pair], number: int, differing: float, seed: int) -> tuple[list[Pair], list[Stratum]]:
    """Pairs to label, those of an instruction together, and the strata that they were drawn from.

    Left out are the same reply to the same instruction once more, blank replies, and slots that the published grader
    cannot grade or no reply can follow.

    Args:
        pairs: to draw from.
        number: how many.
        differing: the share to take from pairs whose published and corrected strict verdicts differ; where there are
            not so many, more of the others.
        seed: of the draw.
    """
    strata: dict[tuple[str, bool], list[Pair]] = {}
    for pair in progress({pair.digest: pair for pair in pairs if pair.reply.strip()}.values(), "Grading"):
        asked = ([pair.instruction_id], [pair.kwargs])
        (published,) = grade_reply(pair.reply, *asked)
        (corrected,) = grade_corrected(pair.reply, *asked, pair.language, pair.prompts)
        if not (published.ungradeable or corrected.unsatisfiable):
            key = (pair.instruction_id, published.strict != corrected.strict)
            strata.setdefault(key, []).append(pair)
    random, strata = Random(seed), dict(sorted(strata.items()))
    for stratum in strata.values():
        random.shuffle(stratum)
    sizes = {differ: sum(len(strata[key]) for key in strata if key[1] is differ) for differ in (True, False)}
    wanted = min(sizes[True], max(round(number * differing), number - sizes[False]))
    taken = _spread(strata, True, wanted, random) | _spread(strata, False, number - wanted, random)
    drawn = [
        replace(pair, weight=len(stratum) / taken[key])
        for key, stratum in strata.items()
        for pair in stratum[: taken[key]]
    ]
    random.shuffle(drawn)  # within an instruction nothing tells which differ
    drawn.sort(key=lambda pair: pair.instruction_id)
    return drawn, [Stratum(*key, len(stratum), taken[key]) for key, stratum in strata.items()]


def _spread(strata: Mapping[tuple[str, bool], Sequence[Pair]], differ: bool, n: int, random: Random) -> dict[Any, int]:
    """How many of each such stratum: one after another, as evenly as their sizes allow."""
    keys = [key for key in strata if key[1] is differ]
    random.shuffle(keys)  # which of them get one more is no matter of their names
    taken = dict.fromkeys(keys, 0)
    while n > 0 and (open_ := [key for key in keys if taken[key] < len(strata[key])]):
        for key in open_[:n]:
            taken[key] += 1
        n -= len(open_)
    return taken


def write_label_sheet(
    folder: Path, pairs: Sequence[Pair], strata: Sequence[Stratum], words: PlainWords, drawn_with: Mapping[str, Any]
) -> None:
    """``labels.html`` and ``labels.csv`` for the readers, and ``sampling.json``, which is to stay with whoever asks.

    Args:
        folder: where to.
        pairs: at least one, all of one language, as :func:`draw` gives them with their ``strata``.
        strata: see there.
        words: to ask with.
        drawn_with: what else to tell of the draw, such as its seed.

    Raises:
        UserError: a sheet of other pairs is there, or a file cannot be written.
    """
    if (folder / SAMPLING).exists() and list(read_sampling(folder).values()) != list(pairs):
        raise UserError(f"{folder} holds another sheet: its {SAMPLING} lists other replies.", "Name another folder.")
    language = pairs[0].language
    rows = [_row(key, pair, words) for key, pair in enumerate(pairs, 1)]
    form = replace(LABELS, title=f"{LABELS.title} {name_of(language)}")
    write_form(form, folder, rows, "Name another folder.")
    content = {
        "turnswap": __version__,
        "language": language,
        "corrected_rules": rules_in_use(),
        **drawn_with,
        "drawing": "at random within strata: instruction, and whether published and corrected strict verdicts differ",
        "strata": [asdict(stratum) for stratum in strata],
        "pairs": [asdict(pair) for pair in pairs],
    }
    write_whole(folder / SAMPLING, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_sampling(folder: Path) -> dict[str, Pair]:
    """The pairs of a sheet by key, from the ``sampling.json`` that was written with it.

    Raises:
        UserError: it is not there, or was changed.
    """
    path = folder / SAMPLING
    try:
        content = json.loads(path.read_text("utf-8"))
        pairs = TypeAdapter(list[Pair]).validate_python(content["pairs"])
    except (OSError, ValueError, LookupError, TypeError, ValidationError) as error:
        said = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise UserError(
            f"{path} cannot be read: {said}.", "Name the folder that turnswap label make wrote, as it wrote it."
        ) from None
    return {str(number): pair for number, pair in enumerate(pairs, 1)}


def _row(key: int, pair: Pair, words: PlainWords) -> dict[str, str]:
    return dict.fromkeys(LABELS.columns, "") | {
        "key": str(key),
        "digest": pair.digest,
        "language": pair.language,
        "question": words.question(pair.instruction_id, pair.kwargs),
        "prompt": "\n\n".join(pair.prompts),
        "reply": pair.reply,
    }
