"""What the study trains and evaluates. ``registered.json`` freezes it: see REGISTERED.md."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
REGISTERED = HERE / "registered.json"


@dataclass(frozen=True)
class Training:
    """AdamW with a short warm-up and a linear decay, over ``examples`` in batches."""

    examples: int
    rate: float
    batch: int = 16


@dataclass(frozen=True)
class Settings:
    """Sizes of the study.

    Attributes:
        seeds: of the confirmatory runs.
        task: the recipient: English problems with worked steps.
        language: the donor: Spanish instructions without numbers; so many examples, from the texts over and over.
        further: the recipient trained on the selection's problems in Spanish.
        select: English problems that the swaps are chosen by.
        report, report_english, generated: problems that rows are reported on; of the generated, the first in Spanish.
        bottoms, tops: the candidates' depths, each with each but (0, 0).
        shares: the donor's share in the averages that the tuned one is chosen from.
        allowance: how much less than the recipient's a chosen swap's mean log-likelihood in English may be.
        density, weight: of TIES and DARE.
    """

    seeds: tuple[int, ...] = (31, 32, 33)
    task: Training = field(default=Training(640, 3e-5))
    language: Training = field(default=Training(320, 3e-5))
    further: Training = field(default=Training(80, 3e-5))
    select: int = 40
    report: int = 160
    report_english: int = 40
    generated: int = 24
    bottoms: tuple[int, ...] = (0, 2, 4, 6)
    tops: tuple[int, ...] = (0, 1, 2)
    shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    allowance: float = 0.05
    density: float = 0.5
    weight: float = 0.5


def fingerprint(settings: Settings) -> str:
    """A hash of the settings and of every text that is trained or evaluated on."""
    texts = {path.name: path.read_text("utf-8") for path in sorted((HERE / "texts").glob("*.json"))}
    content = json.dumps([json.loads(json.dumps(asdict(settings))), texts], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
