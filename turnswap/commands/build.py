"""The commands that make a data set: ``turnswap build``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnswap.construction import LAST, STEPS
from turnswap.core.errors import UserError, number_of, require_packages, visible

from .options import ANYTHING, FILE

if TYPE_CHECKING:
    from turnswap.construction.cost import Cost
    from turnswap.construction.pipeline import Count
    from turnswap.construction.steps import Build


@click.group()
def build() -> None:
    """Make a Multi-IF for languages that it lacks, step by step.

    \b
      turnswap build run configs/build_sw_ko.yaml        every step, up to one that waits for reviewers
      turnswap build status configs/build_sw_ko.yaml     what each step kept and rejected, and why
      turnswap build push CONFIG --to ORG/NAME           the release as a pull request on the Hub
      turnswap build conflicts data.csv                  the rules alone; more of the same: turnswap audit

    The steps are seeds, extend, conflicts, translate, filter, audit, prove and release; each leaves a JSONL file in the
    YAML's folder. Running again does only what is missing or changed.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@build.command()
@click.argument("config", type=FILE)
@click.option("--dry-run", is_flag=True, help="Say what would be asked of the LLM, and ask nothing.")
@click.option("--last", type=click.Choice(STEPS), metavar="STEP", help="End after this step.")
@click.option(
    "--redo",
    type=click.Choice([*STEPS, "failed"]),
    metavar="STEP",
    help="Make this step's outcomes anew and ask the LLM again; its old file stays, as .previous. In place of a step, "
    "'failed': ask again what the LLM gave no answer to.",
)
@click.option("--push", "to", metavar="ORG/NAME", help='Then open a pull request on the Hub, as "push" does.')
def run(config: Path, dry_run: bool, last: str | None, redo: str | None, to: str | None) -> None:
    """Run the steps of CONFIG: what is done stays, what is missing or changed is done."""
    if to and last not in (None, LAST):
        raise click.UsageError(f"--push uploads what the step {LAST} writes; --last {last} ends before it.")
    made = _assemble(config)
    if to and not _is_audited(made):  # refused before work starts
        raise UserError(
            "The audit is off: nobody would have reviewed what --push uploads.",
            "Let people read it first (audit in the YAML), or run without --push, then turnswap build push --anyway.",
        )
    from turnswap.construction.cost import costs
    from turnswap.construction.llm import RECORDED
    from turnswap.construction.release import evaluation, release

    made.pipeline.check_order(last, redo)
    redo = None if redo == LAST else redo
    if dry_run:
        _show_seeds(made, made.pipeline.count_loaded())
        _show(costs(made.pipeline, last, redo))
        return
    waiting = None
    for count in made.pipeline.run(last, redo):
        if count.step != STEPS[0]:
            click.echo(_told(count))
        else:  # before the first question, and after what is asked anew was set aside
            _show_seeds(made, count)
            _show(costs(made.pipeline, last, redo))
        waiting = count if count.waiting else None
    if waiting:
        _show_waiting(made, waiting)
    _show_failed(made)
    if not waiting and last in (None, LAST):
        for path in release(made.settings, made.pipeline):
            click.echo(f"Written: {path}")
        _show_review(made, "prove", " of the release")
        if made.settings.llm.model == RECORDED:
            click.echo("For a small model without a network: turnswap demo-model DIR, and pretrained=DIR below.")
        click.echo("Evaluate a model on it, this one or another; then turnswap report results shows how it did:")
        click.echo(evaluation(made.settings))
        if to:
            _push(_released(made), to)


@build.command()
@click.argument("config", type=FILE)
def status(config: Path) -> None:
    """Show what each step kept and rejected, and for what reasons, as its file says."""
    made = _assemble(config)
    from turnswap.construction.pipeline import kept, reasons_told

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("step", "kept", "rejected", "waiting", "reasons"):
        table.add_column(column, justify="left" if column in ("step", "reasons") else "right")
    for name, (waiting, out_of_date) in made.pipeline.standing().items():
        if not made.pipeline.file(name).exists():
            table.add_row(name, "", "", "", "not run yet")
            continue
        outcomes = made.pipeline.outcomes(name)
        passed = len(kept(outcomes))
        told = ["out of date: turnswap build run makes it anew"] * out_of_date + reasons_told(outcomes)
        numbers = map(str, (passed, len(outcomes) - passed, waiting))
        table.add_row(name, *numbers, Text("\n".join(map(visible, told))))
    Console().print(table)
    _show_review(made)


@build.command()
@click.argument("release", type=ANYTHING, metavar="CONFIG_OR_FOLDER")
@click.option(
    "--to",
    required=True,
    metavar="ORG/NAME",
    help="The data set on the Hub; where there is none, a private one is made.",
)
@click.option("--anyway", is_flag=True, help="Also where nobody reviewed any of it.")
@click.option("--yes", is_flag=True, help="Do not ask before the upload.")
def push(release: Path, to: str, anyway: bool, yes: bool) -> None:
    """Upload a release to the Hub as a pull request, once you have seen what goes.

    Of a YAML the release is written anew first; a folder goes as it is. Other files in it stay here.
    """
    _push(release if release.is_dir() else _released(_assemble(release)), to, anyway, yes)


@build.command()
@click.argument("data", type=FILE)
@click.option("-o", "--output", type=FILE, help="Write every finding as CSV.")
def conflicts(data: Path, output: Path | None) -> None:
    """Look for instructions that exclude each other in a CSV in the published format, by rules alone.

    A part of "turnswap audit", with the rules' names and the kwargs.
    """
    from turnswap.construction.conflicts import audit_csv, summary, write_findings

    findings = audit_csv(data)
    for line in summary(findings):
        click.echo(visible(line))
    if output is not None:
        write_findings(findings, output)
        click.echo(f"Written: {output}")


def _show(costs: Sequence[Cost]) -> None:
    """What will be asked, step by step; nothing where nothing will be."""
    asking = [cost for cost in costs if cost.questions or cost.repeated_questions]
    if not asking:
        click.echo("The LLM will be asked nothing: all is done, or in the cache.")
        return
    for cost in asking:
        most = "" if cost.exact else "at most "
        click.echo(
            f"{cost.step:10} {cost.conversations:5} conversation{'s' * (cost.conversations != 1)} to do: "
            f"{most}{number_of(cost.questions, 'question')}, about {cost.prompt_tokens:,} tokens of prompts, answers "
            f"of at most {cost.answer_tokens:,}; with repetitions at most {cost.questions + cost.repeated_questions:,}"
        )
    names = ("questions", "prompt_tokens", "answer_tokens")
    first, again = ([sum(getattr(cost, of + name) for cost in asking) for name in names] for of in ("", "repeated_"))
    total = [one + more for one, more in zip(first, again, strict=True)]
    click.echo(
        f"Together at most {number_of(first[0], 'question')}, about {first[1]:,} tokens of prompts (four bytes each), "
        f"answers of at most {first[2]:,}, if every answer is good. One that is no good is asked for once more: with "
        f"repetitions at most {number_of(total[0], 'question')}, about {total[1]:,} tokens of prompts, answers of at "
        f"most {total[2]:,}."
    )


def _show_seeds(made: Build, count: Count) -> None:
    from turnswap.construction.pipeline import reasons_told

    click.echo(_told(count))
    for reason in reasons_told(made.pipeline.loaded):
        click.echo(f"  {visible(reason)}")


def _show_waiting(made: Build, count: Count) -> None:
    awaited = next(getattr(step, "awaited", []) for step in made.pipeline.steps if step.name == count.step)
    click.echo(
        f"{number_of(count.waiting, 'conversation')} wait{'s' * (count.waiting == 1)} at {count.step}: give each "
        f"reviewer the sheet of their language in {made.settings.folder / count.step}, name what comes back under "
        "audit.reviews, and run this again."
    )
    for told in awaited:
        click.echo(f"  {visible(told)}")


def _show_review(made: Build, step: str = "audit", whole: str = "") -> None:
    from turnswap.construction.hub import NOBODY, who_reviewed
    from turnswap.construction.pipeline import kept

    if not _is_audited(made):
        click.echo(f"The audit is off: {NOBODY}.")
    elif passed := kept(made.pipeline.outcomes(step)):
        click.echo(who_reviewed(passed, whole))


def _is_audited(made: Build) -> bool:
    from turnswap.construction.audit import AuditSettings

    return made.settings.section(AuditSettings, "audit").enabled


def _show_failed(made: Build) -> None:
    from turnswap.construction.asking import NO_ANSWER

    pipeline = made.pipeline
    reasons = [outcome.reason for name in pipeline.names for outcome in pipeline.outcomes(name)]
    if failed := sum(NO_ANSWER in (reason or "") for reason in reasons):
        click.echo(f"Rejected because {NO_ANSWER}: {failed}. Run this with --redo failed to ask again.")


def _push(folder: Path, to: str, anyway: bool = False, yes: bool = False) -> None:
    from turnswap.construction import push as hub
    from turnswap.construction.hub import NOBODY

    paths = hub.to_upload(folder, anyway)
    for path in paths:
        click.echo(f"{path.stat().st_size:10,} B  {visible(path.relative_to(folder).as_posix())}")
    if hub.unreviewed(folder):
        click.echo(f"{NOBODY.capitalize()}: the card and every row say so.")
    if names := hub.lacking(folder):
        click.echo(
            f"croissant.json lacks what its standard requires: name release.{', release.'.join(names)} in the YAML."
        )
    if not yes:
        click.confirm(f"Upload these {len(paths)} files of {folder} to {to}, as a pull request?", abort=True)
    click.echo(f"Pull request: {hub.push(folder, paths, to)}")


def _assemble(config: Path) -> Build:
    require_packages("Building a data set needs", ("sacrebleu",), "build")
    from turnswap.construction.judge import doubt
    from turnswap.construction.licences import check_licences
    from turnswap.construction.steps import assemble, read_release

    made = assemble(config)
    settings = read_release(made.settings)
    doubts = check_licences(settings.seeds_licence, settings.licence)
    for each in [*doubts, *filter(None, [doubt(made.settings.llm, made.settings.judge)])]:
        click.echo(visible(each), err=True)
    return made


def _released(made: Build) -> Path:
    from turnswap.construction.release import release

    return release(made.settings, made.pipeline)[0].parent


def _told(count: Count) -> str:
    anew = f", {count.done_now} of them now" if count.done_now < count.came - count.waiting else ""
    waits = f", {count.waiting} wait" if count.waiting else ""
    return f"{count.step:10} {count.came:5} came{anew}: {count.kept} kept, {count.rejected} rejected{waits}"
