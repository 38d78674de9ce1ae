"""What ``turnswap label`` shows: how far readers agree with each other, and with the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from turnswap.construction.label_answers import Labelled
from turnswap.reports.sheets import Sheet
from turnswap.tasks.multiif.corrected.agreement import Agreement, Cell, Judged, Share, measure, weighed
from turnswap.tasks.multiif.dataset import LANGUAGES

_HEAD = 60  # characters of a reply that are shown


def reader_sheets(made: Labelled) -> list[Sheet]:
    """How far each two readers agree, and on which replies they do not."""
    kappas = []
    for each in made.agreements:
        kappa = "–" if each.kappa is None else f"{each.kappa:.2f}"
        bounds = "[{:.2f}, {:.2f}]".format(*each.interval) if each.interval else each.reason or ""
        agreed = "–" if each.agreed is None else f"{100 * each.agreed:.1f}"
        kappas.append([*each.reviewers, str(each.n), agreed, f"{kappa} {bounds}".rstrip()])
    differ = [
        [key, answer.reader, answer.decision, "–".join(map(str, sorted(set(answer.count or ())))), answer.why]
        for key, answers in made.disagreements.items()
        for answer in answers
    ]
    sheets = []
    if kappas:
        note = "The answers are yes, no and cannot tell. κ: Cohen 1960; 95 % interval by bootstrap."
        sheets.append(Sheet("Readers", ["reader", "reader", "read by both", "agree, %", "κ"], kappas, 2, [note]))
    if differ:
        note = "These replies are no labels."
        sheets.append(Sheet("Readers disagree", ["n", "reader", "says", "counted", "why"], differ, 5, [note]))
    return sheets


def agreement_sheets(judged: Sequence[Judged]) -> list[Sheet]:
    """How far verdicts agree with labels: by language, by instruction, by correction; and where they do not."""
    found = measure(judged)
    sheets = [_languages(found, judged), _instructions(found), _corrections(found)]
    return [sheet for sheet in (*sheets, _misses(judged)) if sheet.rows]


def _languages(found: Agreement, judged: Sequence[Judged]) -> Sheet:
    rows = [[code, *_shares(found.of(code))] for code in found.cells]
    rows += [["all", *_shares(found.of())]] if len(rows) > 1 else []
    notes = ["Strict verdicts that say what readers say; 95 % interval after Wilson."]
    if len({each.label.weight for each in judged}) > 1:
        by = "Weighed by how many replies each stands for among those it was drawn from"
        notes.append("{}: published {}, corrected {}.".format(by, *weighed(judged)))
    if missing := found.unlabelled(LANGUAGES):
        notes.append(f"Languages of Multi-IF without labels here: {', '.join(missing)}.")
    header = ["language", "n", "published", "corrected"]
    return Sheet("Verdicts and readers", header, rows, 1, notes, [f"corrected rules {found.rules}"])


def _instructions(found: Agreement) -> Sheet:
    worse = {(code, id_) for code, id_, _ in found.worse()}
    rows = [
        [id_.rpartition(":")[2], code, *_shares(cell), "worse" if (code, id_) in worse else ""]
        for code, row in found.cells.items()
        for id_, cell in row.items()
    ]
    header = ["instruction", "language", "n", "published", "corrected", ""]
    notes = ["worse: the corrected verdicts agree less often than the published ones."] if worse else []
    return Sheet("By instruction", header, rows, 2, notes)


def _shares(cell: Cell) -> list[str]:
    return [str(cell.n), *(f"{n} · {Share(n, cell.n)}" for n in (cell.published, cell.corrected))]


def _corrections(found: Agreement) -> Sheet:
    rows = [[name, str(each.n), str(each.right), str(each)] for name, each in found.changes.items() if each.n]
    notes = ["changed: verdicts that this correction alone changes; right: those that agree with the readers."]
    return Sheet("By correction", ["correction", "changed", "right", "share"], rows, 1, notes)


def _misses(judged: Sequence[Judged]) -> Sheet:
    missed = [each for each in judged if each.corrected != each.label.reader]
    rows = []
    for label in sorted((each.label for each in missed), key=lambda label: label.instruction_id):
        says, why = "yes" if label.reader else "no", next(filter(None, label.why), "")
        rows.append([label.instruction_id.rpartition(":")[2], label.language, says, why, label.reply[:_HEAD]])
    header = ["instruction", "language", "readers say", "why", "reply"]
    return Sheet("Corrected verdicts that readers do not share", header, rows, 5)
