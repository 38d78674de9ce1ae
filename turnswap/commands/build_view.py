"""What ``turnswap build`` shows: what will be asked, what each step kept, and who reviewed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnswap.core.errors import number_of, visible

if TYPE_CHECKING:
    from turnswap.construction.cost import Cost
    from turnswap.construction.pipeline import Count
    from turnswap.construction.steps import Build


def told(count: Count) -> str:
    """A line about a step: what came, and what became of it."""
    again = f", {count.done_now} of them now" if count.done_now < count.came - count.waiting else ""
    waits = f", {count.waiting} wait" if count.waiting else ""
    return f"{count.step:10} {count.came:5} came{again}: {count.kept} kept, {count.rejected} rejected{waits}"


def show_costs(costs: Sequence[Cost]) -> None:
    """What will be asked, step by step; nothing where nothing will be."""
    asking = [cost for cost in costs if cost.questions or cost.repeated_questions]
    if not asking:
        click.echo("The LLM will be asked nothing: every answer is there already.")
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
        f"answers of at most {first[2]:,}, if every answer is good. A bad answer is asked for once more: with "
        f"repetitions at most {number_of(total[0], 'question')}, about {total[1]:,} tokens of prompts, answers of at "
        f"most {total[2]:,}."
    )


def show_seeds(made: Build, count: Count) -> None:
    """The line about the seeds, and why some are not used."""
    from turnswap.construction.pipeline import reasons_told

    click.echo(told(count))
    for reason in reasons_told(made.pipeline.loaded):
        click.echo(f"  {visible(reason)}")


def show_waiting(made: Build, count: Count) -> None:
    """What waits for reviewers, and what to do."""
    awaited = next(getattr(step, "awaited", []) for step in made.pipeline.steps if step.name == count.step)
    click.echo(
        f"{number_of(count.waiting, 'conversation')} wait{'s' * (count.waiting == 1)} at {count.step}: give each "
        f"reviewer the sheet of their language in {made.settings.folder / count.step}. Name the files that they send "
        "back under audit.reviews, and run this again."
    )
    for line in awaited:
        click.echo(f"  {visible(line)}")


def show_review(made: Build, audited: bool, step: str = "audit", whole: str = "") -> None:
    """Who reviewed what the step kept."""
    from turnswap.construction.hub import NOBODY, who_reviewed
    from turnswap.construction.pipeline import kept

    if not audited:
        click.echo(f"The audit is off: {NOBODY}.")
    elif passed := kept(made.pipeline.outcomes(step)):
        click.echo(who_reviewed(passed, whole))


def show_failed(made: Build) -> None:
    """How many conversations were rejected because the LLM gave no answer; nothing where none was."""
    from turnswap.construction.asking import NO_ANSWER

    pipeline = made.pipeline
    reasons = [outcome.reason for name in pipeline.names for outcome in pipeline.outcomes(name)]
    if failed := sum(NO_ANSWER in (reason or "") for reason in reasons):
        click.echo(f"Rejected because {NO_ANSWER}: {failed}. Run this with --redo failed to ask again.")


def show_standing(made: Build) -> None:
    """A table of what each step kept and rejected, and why."""
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
        lines = ["out of date: turnswap build run makes it again"] * out_of_date + reasons_told(outcomes)
        numbers = map(str, (passed, len(outcomes) - passed, waiting))
        table.add_row(name, *numbers, Text("\n".join(map(visible, lines))))
    Console().print(table)
