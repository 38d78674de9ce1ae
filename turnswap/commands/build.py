"""The commands that make a data set: ``turnswap build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnswap.construction import LAST, STEPS
from turnswap.core.errors import UserError, require_packages, visible

from .build_view import show_costs, show_failed, show_review, show_seeds, show_standing, show_waiting, told
from .options import ANYTHING, FILE, Commands

if TYPE_CHECKING:
    from turnswap.construction.steps import Build


@click.group(cls=Commands)
def build() -> None:
    """Make a Multi-IF in other languages.

    \b
      turnswap build run configs/build_sw_ko.yaml
      turnswap build status configs/build_sw_ko.yaml

    The steps are seeds, extend, conflicts, translate, filter, audit, prove and release. Each leaves a JSONL file in the
    YAML's folder. A second run does only what is missing or changed.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines


@build.command()
@click.argument("config", type=FILE)
@click.option("--dry-run", is_flag=True, help="Show what the LLM would be asked, and ask nothing.")
@click.option("--last", type=click.Choice(STEPS), metavar="STEP", help="End after this step.")
@click.option(
    "--redo",
    type=click.Choice([*STEPS, "failed"]),
    metavar="STEP",
    help="Make this step and ask the LLM again; the old file stays, as .previous. The STEP failed asks again what "
    "the LLM gave no answer to.",
)
@click.option("--push", "to", metavar="ORG/NAME", help="Open a pull request to this data set on the Hub at the end.")
def run(config: Path, dry_run: bool, last: str | None, redo: str | None, to: str | None) -> None:
    """Run the steps of CONFIG that are missing or changed.

    \b
      turnswap build run configs/build_sw_ko.yaml --dry-run
      turnswap build run configs/build_sw_ko.yaml

    It ends with a release, or at a step that waits for reviewers.
    """  # noqa: D301
    if to and last not in (None, LAST):
        raise click.UsageError(f"--push uploads what the step {LAST} writes; --last {last} ends before it.")
    made = _assemble(config)
    if to and not _is_audited(made):  # refused before work starts
        raise UserError(
            "The audit is off: nobody would have reviewed what --push uploads.",
            "Switch the audit on in the YAML and let people read it, or run without --push, then turnswap build push "
            "--anyway.",
        )
    from turnswap.construction.cost import costs
    from turnswap.construction.llm import RECORDED
    from turnswap.construction.release import evaluation, release

    made.pipeline.check_order(last, redo)
    redo = None if redo == LAST else redo
    if dry_run:
        show_seeds(made, made.pipeline.count_loaded())
        show_costs(costs(made.pipeline, last, redo))
        return
    waiting = None
    for count in made.pipeline.run(last, redo):
        if count.step != STEPS[0]:
            click.echo(told(count))
        else:  # before the first question, and after what is asked again was set aside
            show_seeds(made, count)
            show_costs(costs(made.pipeline, last, redo))
        waiting = count if count.waiting else None
    if waiting:
        show_waiting(made, waiting)
    show_failed(made)
    if not waiting and last in (None, LAST):
        for path in release(made.settings, made.pipeline):
            click.echo(f"Written: {path}")
        show_review(made, _is_audited(made), "prove", " of the release")
        try:
            if to:
                _push(_released(made), to)
        finally:  # the command stands last, also where the upload was declined
            if made.settings.llm.model == RECORDED:
                click.echo(
                    "For a small model without a network: turnswap demo-model MODEL, and pretrained=MODEL below."
                )
            click.echo("Evaluate a model on it, this one or another; then turnswap report results shows how it did:")
            click.echo(evaluation(made.settings))


@build.command()
@click.argument("config", type=FILE)
def status(config: Path) -> None:
    """Show what each step kept and rejected, and why.

    \b
      turnswap build status configs/build_sw_ko.yaml
    """  # noqa: D301
    made = _assemble(config)
    show_standing(made)
    show_review(made, _is_audited(made))


@build.command()
@click.argument("release", type=ANYTHING, metavar="CONFIG_OR_FOLDER")
@click.option(
    "--to",
    required=True,
    metavar="ORG/NAME",
    help="Upload to this data set on the Hub; a private one is made where there is none.",
)
@click.option("--anyway", is_flag=True, help="Upload even if nobody reviewed any of it.")
@click.option("--yes", is_flag=True, help="Do not ask before the upload.")
def push(release: Path, to: str, anyway: bool, yes: bool) -> None:
    """Upload a release to the Hub as a pull request.

    \b
      turnswap build push configs/build_sw_ko.yaml --to ORG/NAME

    The files are shown first, and nothing goes before you agree. From a YAML the release is written again; a folder is
    uploaded as it is, without files that belong to no release.
    """  # noqa: D301
    _push(release if release.is_dir() else _released(_assemble(release)), to, anyway, yes)


@build.command()
@click.argument("data", type=FILE)
@click.option("-o", "--output", type=FILE, help="Write every finding to this CSV.")
def conflicts(data: Path, output: Path | None) -> None:
    """Find instructions that exclude each other in a CSV.

    \b
      turnswap build conflicts multiIF_20241018.csv

    The CSV has the published format. "turnswap audit" finds more; this shows the rules' names and the kwargs.
    """  # noqa: D301
    from turnswap.construction.conflicts import audit_csv, summary, write_findings

    findings = audit_csv(data)
    for line in summary(findings):
        click.echo(visible(line))
    if output is not None:
        write_findings(findings, output)
        click.echo(f"Written: {output}")


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
            f"croissant.json lacks what its standard requires. Name in the YAML: release.{', release.'.join(names)}."
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


def _is_audited(made: Build) -> bool:
    from turnswap.construction.audit import AuditSettings

    return made.settings.section(AuditSettings, "audit").enabled
