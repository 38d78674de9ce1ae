"""The audit's sheets, filled in by reviewers and read back, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.construction.audit import Audit, AuditSettings
from turnswap.construction.forms import as_csv, read_csv
from turnswap.construction.records import DraftConversation, Outcome
from turnswap.construction.sheet import AUDIT, COLUMNS

PROOF = "Jirani mpendwa, *mvua* imenyesha *sana*.\nTutaonana kesho"


def audit(folder: Path, *reviews: Path, returned: Mapping[str, str] | None = None, **settings: Any) -> Audit:
    return Audit(AuditSettings(reviews=reviews, **settings), folder / "audit", returned or {})


def sheet(folder: Path) -> list[dict[str, str]]:
    return read_csv(AUDIT, (folder / "audit" / "audit.csv").read_bytes(), "audit.csv")


def written(folder: Path, conversations: Sequence[DraftConversation], **more: Any) -> list[dict[str, str]]:
    """The sheet of these conversations, none of them reviewed."""
    assert audit(folder, **more).run(conversations) == [None] * len(conversations)
    return sheet(folder)


def fill(folder: Path, name: str, rows: Sequence[Mapping[str, str]], filled: Mapping[str, Mapping[str, str]]) -> Path:
    """A copy of the sheet, filled in per key; the file's name is the reviewer's."""
    path = folder / f"{name}.csv"
    made = [{**row, **({"reviewer": name, **filled[row["key"]]} if row["key"] in filled else {})} for row in rows]
    path.write_bytes(as_csv(made, COLUMNS).encode("utf-8-sig"))
    return path


def decide(folder: Path, name: str, rows: Sequence[Mapping[str, str]], **decisions: str) -> Path:
    return fill(folder, name, rows, {f"{key}:sw": {"decision": decision} for key, decision in decisions.items()})


def reasons(outcomes: Sequence[Sequence[Outcome] | None]) -> list[Any]:
    """Per conversation: ``wait``, None for kept, or the reason."""
    return ["wait" if each is None else each[0].reason for each in outcomes]
