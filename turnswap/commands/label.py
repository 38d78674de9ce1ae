"""The commands by which people label replies: ``turnswap label``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turnswap.core.errors import UserError, visible
from turnswap.core.files import write_whole
from turnswap.core.journal import as_line

from . import results as common
from .options import ANYTHING, FILE, FOLDER, Commands, format_option

if TYPE_CHECKING:
    from turnswap.construction.label_sheet import Pair

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
SHOWN_AS = ("terminal", "md")


@click.group(cls=Commands)
def label() -> None:
    """Ask readers whether the verdicts are right.

    \b
      turnswap label make results --language hi -o sheet
      turnswap label read sheet asha.csv ravi.csv -o hi.jsonl
      turnswap label agreement hi.jsonl

    People read replies and say whether they follow their instructions: an hour's work for a native speaker, in
    sheet/labels.html. What they agree on becomes labels, and the verdicts are compared with these.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@label.command()
@click.argument("sources", nargs=-1, required=True, metavar="RESULT_OR_JSONL...")
@click.option("--language", required=True, metavar="CODE", help="Draw replies in this language, such as hi.")
@click.option("-o", "--output", type=FOLDER, required=True, help="Write the sheet here.")
@click.option("-n", "--number", default=60, type=click.IntRange(1), metavar="N", help="Draw N replies.")
@click.option(
    "--differing",
    default=0.25,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Draw this share where the published and the corrected verdict differ.",
)
@click.option("--seed", default=0, type=click.IntRange(0), metavar="N", help="Seed of the draw.")
@click.option("--words", type=FILE, help="Ask in the words of this TOML file, or in its language.")
@common.reading_options
def make(
    sources: tuple[str, ...],
    language: str,
    output: Path,
    number: int,
    differing: float,
    seed: int,
    words: Path | None,
    **how: Any,
) -> None:
    """Write a sheet of replies for people to read.

    \b
      turnswap label make results --language hi -o sheet

    RESULT_OR_JSONL is a folder that lm_eval wrote with --log_samples, or a file of JSON lines with language,
    instruction_id, kwargs, reply and, where it is known, prompt. The sheet is labels.html, for a browser, and
    labels.csv; it shows no verdict. Send labels.html to the readers. Keep sampling.json: it says how the replies were
    drawn.
    """  # noqa: D301
    from turnswap.construction.label_sheet import draw, read_pairs, write_label_sheet
    from turnswap.construction.plain_words import plain_words
    from turnswap.tasks.multiif.languages import name_of

    name_of(language)
    asked = plain_words(words)
    files = [source for source in sources if source.endswith((".jsonl", ".jsonl.gz"))]
    runs = tuple(source for source in sources if source not in files)
    pairs = [pair for file in files for pair in read_pairs(Path(file))] + (_pairs_of_runs(runs, how) if runs else [])
    if not (of_language := [pair for pair in pairs if pair.language == language]):
        there = ", ".join(sorted({pair.language for pair in pairs})) or "none"
        raise UserError(f"There is no reply in {language}.", f"There are some in: {there}.")
    drawn, strata = draw(of_language, number, differing, seed)
    if not drawn:
        raise UserError(f"No reply in {language} can be labelled: each is blank, or its instructions cannot be graded.")
    told = {"seed": seed, "number": number, "share_of_differing": differing, "sources": list(sources)}
    write_label_sheet(output, drawn, strata, asked, told)
    differ = sum(stratum.drawn for stratum in strata if stratum.differ)
    population = sum(stratum.population for stratum in strata)
    click.echo(f"{len(drawn)} of {population} replies; on {differ} the published and the corrected verdict differ.")
    click.echo(
        f"Send the readers {output / 'labels.html'}, or labels.csv. Keep {output / 'sampling.json'} for yourself."
    )


def _pairs_of_runs(paths: tuple[str, ...], how: dict[str, Any]) -> list[Pair]:
    from turnswap.construction.label_sheet import Pair
    from turnswap.reports.reading import Reading, read_models

    reading = Reading(**how)
    models = read_models(paths, reading)
    for warning in reading.warnings:
        click.echo(visible(f"Warning: {warning}"), err=True)
    if bare := next((model.name for model in models if not model.has_samples), None):
        raise UserError(f"The results of {bare} hold no replies.", "Run lm_eval again with --log_samples.")
    return [
        Pair(
            code, id_, kwargs, reply, tuple(t.prompt for t in c.turns[:number]), f"{model.name}, {c.key}, turn {number}"
        )
        for model in models
        for code, c in model.conversations
        for number, turn in enumerate(c.turns, 1)
        for reply in turn.replies
        for id_, kwargs in zip(turn.instruction_ids, turn.kwargs, strict=True)
    ]


@label.command()
@click.argument("sheet", type=FOLDER)
@click.argument("filled_in", nargs=-1, required=True, type=EXISTING, metavar="CSV...")
@click.option("-o", "--output", type=FILE, required=True, help="Write the labels to this .jsonl file.")
def read(sheet: Path, filled_in: tuple[Path, ...], output: Path) -> None:
    """Read the files that readers sent back.

    \b
      turnswap label read sheet asha.csv ravi.csv -o hi.jsonl

    SHEET is the folder that "turnswap label make" wrote. What the readers agree on is written as labels: replies of
    which all who read them say the same, yes or no. The command shows how far the readers agree with each other, and
    how far the verdicts agree with them.
    """  # noqa: D301
    from turnswap.construction.label_answers import labelled, read_answers
    from turnswap.construction.label_sheet import read_sampling
    from turnswap.tasks.multiif.corrected.agreement import judge
    from turnswap.tasks.multiif.corrected.labels import read_labels

    from .label_view import agreement_sheets, reader_sheets

    if output.suffix != ".jsonl":
        raise UserError(f"{output} is no .jsonl file.", "Labels are JSON lines. Name such a file: -o labels.jsonl.")
    pairs = read_sampling(sheet)
    answers = read_answers(pairs, {str(path): path.read_bytes() for path in filled_in})
    made = labelled(pairs, answers)
    if not made.labels:
        raise UserError(
            "The readers agree on no reply.", "Ask them to choose yes or no, and to export what they filled in."
        )
    write_whole(output, "".join(map(as_line, made.labels)), common.ELSEWHERE)
    sheets = [*reader_sheets(made), *agreement_sheets([judge(each) for each in read_labels(output)])]
    common.show(sheets, "terminal", None)
    readers = len({answer.reader for answer in answers})
    click.echo(
        f"{len(made.labels)} labels of {readers} {'readers' if readers > 1 else 'reader'}: {output}. Left out: "
        f"{len(made.disagreements)} on which readers disagree, {len(made.undecided)} that they cannot tell, "
        f"{len(made.unread)} that nobody read."
    )
    if readers == 1:
        click.echo("One reader alone: nobody knows how far another reader would agree.")


@label.command()
@click.argument("labels", nargs=-1, required=True, type=FILE, metavar="LABELS...")
@click.option("-o", "--output", type=ANYTHING, metavar="FILE", help="Write this .md file.")
@format_option(*SHOWN_AS, default=common.BY_NAME)
def agreement(labels: tuple[Path, ...], output: Path | None, format_: str | None) -> None:
    """Compare the verdicts with labels.

    \b
      turnswap label agreement hi.jsonl

    LABELS are files that "turnswap label read" wrote; they may be compressed by gzip. The tables are by language,
    instruction and correction.
    """  # noqa: D301
    from turnswap.tasks.multiif.corrected.agreement import judge
    from turnswap.tasks.multiif.corrected.labels import read_labels

    from .label_view import agreement_sheets

    format_ = common.format_of(format_, output, SHOWN_AS)
    if table := next((path for path in labels if path.suffix.lower() == ".csv"), None):
        raise UserError(
            f"{table} is a reader's CSV.", "Run turnswap label read first, and name the file that it writes."
        )
    judged = [judge(each) for path in labels for each in read_labels(path)]
    if not judged:
        raise UserError("There is no label.", "Name files that turnswap label read wrote.")
    common.show(agreement_sheets(judged), format_, output)
