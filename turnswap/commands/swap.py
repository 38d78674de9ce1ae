"""The commands for layer swaps: plan, masks, verify, analyze, suggest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from rich.console import Console

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.hosts.mergekit_contract import require_mergekit

from .merge_view import show_plan, show_proposal, show_proposals, show_report
from .options import (
    ANYTHING,
    FILE,
    FOLDER,
    Names,
    accept_option,
    anyway_option,
    expert_options,
    format_option,
    mergekit_options,
)
from .results import emit

if TYPE_CHECKING:
    from mergekit.options import MergeOptions

RULES = ("paper", "ratio", "shin-hwang", "alignment")


@click.command()
@click.argument("config", type=FILE)
@click.option("--tensors", is_flag=True, help="List every tensor; JSON always does.")
@format_option("terminal", "json", default="terminal")
@click.option(
    "--check-ancestor", is_flag=True, help="Read all weights, and show how far each expert moved from the base."
)
@mergekit_options
def plan(config: Path, tensors: bool, format_: str | None, check_ancestor: bool, **reading: Any) -> None:
    """Show where each tensor of a swap will come from.

    \b
      turnswap plan layerswap.yml

    CONFIG and its models are checked as the merge will check them; only the models' headers are read, and nothing is
    written. In the picture each letter is a layer: D comes from the donor (E, F, … from further donors), R from the
    recipient, P from the pretrained model, b is blended, and * has several sources.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    options = read_as(reading)
    from turnswap.merge_methods import analysis
    from turnswap.merge_methods.claims import plan_as_json
    from turnswap.merge_methods.configuration import read_configuration
    from turnswap.merge_methods.recipe import read_recipe

    recipe = read_recipe(read_configuration(config), options)
    changes = None
    if check_ancestor:
        changes = analysis.layer_changes(recipe, options)
        said = map(str, analysis.drifts(recipe, changes))
        recipe = dataclasses.replace(recipe, warnings=(*recipe.warnings, *said))
    if format_ == "json":
        content = plan_as_json(recipe)
        if changes is not None:
            content["changes"] = [change.as_json() for change in changes]
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        show_plan(Console(), recipe, tensors, changes)


@click.command()
@click.argument("config", type=FILE)
@click.option("-o", "--output", type=FILE, help="Write this file.")
@format_option("yaml", "json", default="yaml")
@click.option("--model", metavar="MODEL", help="Take the names from this model, where CONFIG's are not there yet.")
@click.option("--role", metavar="ROLE", help="List one expert alone: recipient, donor, donor2, ….")
@mergekit_options
def masks(
    config: Path, output: Path | None, format_: str | None, model: str | None, role: str | None, **reading: Any
) -> None:
    """List what to train of each expert before a swap.

    \b
      turnswap masks layerswap.yml -o masks.yml

    What the swap throws away need not be trained. The experts of CONFIG, a layerswap.yml, need not exist yet: the names
    come from the first of recipient, pretrained model and donors that is there (its config.json is enough), or from
    --model. For each expert, train and freeze list parameters by their names in transformers; peft has the settings of
    a LoraConfig that adapts the linear modules of train.
    """  # noqa: D301
    options = read_as(reading)
    from turnswap.merge_methods.configuration import read_configuration
    from turnswap.merge_methods.masks import swap_masks

    content = swap_masks(read_configuration(config), options, model).as_json()
    if role is not None:
        if role not in content["models"]:
            there = ", ".join(content["models"])
            raise UserError(f"{config} has no expert {role}.", f"There are: {there}.")
        content["models"] = {role: content["models"][role]}
    if format_ == "json":
        text = json.dumps(content, indent=1, ensure_ascii=False)
    else:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6).rstrip()
    emit(text, output)


@click.command()
@click.argument("folder", type=ANYTHING)
@click.option("--config", type=ANYTHING, metavar="FILE", help="Use this instead of FOLDER/mergekit_config.yml.")
@format_option("terminal", "json", default="terminal")
@click.option("--load", is_flag=True, help="Load the model with transformers too, and compare what is in memory.")
@click.option(
    "--write-provenance", is_flag=True, help="If verified, add SHA256SUMS, layer_swap.json and a card section."
)
@mergekit_options
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    folder: Path,
    config: Path | None,
    format_: str | None,
    load: bool,
    write_provenance: bool,
    **reading: Any,
) -> None:
    """Prove that a merged folder is what it declares.

    \b
      turnswap verify merged

    Every tensor must be bit-equal to its declared source or blend, finite and of the declared type; none may be missing
    or extra. Every other file that decides what loads (configuration, tokenizer, templates, code) must be the
    recipient's, and there must be no further one (adapters, weights outside the index). The command exits with 0 only
    if all of this holds. Run it where the merge was run: relative paths in the configuration start there.
    """  # noqa: D301
    options = read_as(reading)
    from turnswap.merge_methods import provenance
    from turnswap.merge_methods import verify as verification

    report = verification.verify(folder, options, config, load)
    verified = report.status == "verified"
    written = provenance.write_provenance(report, options) if write_provenance and verified else None
    if format_ == "json":
        click.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    else:
        show_report(Console(), report)
        if written:
            click.echo(f"Plan, versions and hashes: {written}")
    ctx.exit(0 if verified else 1)


@click.command()
@expert_options(required=True)
@click.option(
    "-o", "--output", type=FOLDER, help="Write JSON, CSV and pictures here, in a folder per donor if several."
)
@format_option("terminal", "json", default="terminal")
@mergekit_options
def analyze(base: str, recipient: str, donor: Names, output: Path | None, format_: str | None, **reading: Any) -> None:
    """Show where fine-tuning changed two experts.

    \b
      turnswap analyze --base BASE --recipient TASK_EXPERT \\
        --donor LANGUAGE_EXPERT -o analysis

    MODEL is a folder or a Hub id, or MODEL+ADAPTER for a LoRA adapter, which is not merged. Every weight is read once,
    and changes are shown by layer and component. -o also writes the mean absolute change, the shares of changed
    parameters, rows and heads, and heat maps as PNG and as a page. Each of several donors is compared with the
    recipient.
    """  # noqa: D301
    options = read_as(reading)
    from turnswap.merge_methods.analysis import analyze_references
    from turnswap.merge_methods.analysis_file import as_json as content_of
    from turnswap.merge_methods.analysis_file import write_analysis

    from .analysis_view import show_analysis, write_pictures

    found, as_json = [analyze_references(base, recipient, each, options) for each in donor], format_ == "json"
    if as_json:
        contents = [content_of(one) for one in found]
        click.echo(json.dumps(contents if contents[1:] else contents[0], indent=1, ensure_ascii=False))
    else:
        for one in found:
            show_analysis(Console(), one)
    if output is not None:
        folders = [output / name for name in _folder_names(donor)] if donor[1:] else [output]
        for one, folder in zip(found, folders, strict=True):
            write_analysis(one, folder)
            for path in write_pictures(one, folder):
                click.echo(f"Written: {path}", err=as_json)


def _folder_names(models: Sequence[str]) -> list[str]:
    """A folder for each model: the last part of its name, with a number where another has it."""
    names: list[str] = []
    for model in models:
        name = Path(model).name.strip(".") or "donor"
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


@click.command()
@click.argument("analyses", metavar="[ANALYSIS]...", nargs=-1, type=ANYTHING)
@expert_options()
@click.option("--rule", type=click.Choice(RULES), help="Use this rule alone.  [default: show all]")
@click.option("-o", "--output", type=FILE, help="Write this layerswap.yml.")
@format_option("terminal", "json", default="terminal")
@click.option(
    "--granularity", type=click.Choice(["layer", "module"]), help="Decide by this: shin-hwang.  [default: layer]"
)
@click.option("--threshold", type=float, metavar="X", help="Blend shares this close: shin-hwang.  [default: 0.001]")
@click.option("--blend", type=float, metavar="SHARE", help="The donor's share in blends: shin-hwang.  [default: 0.5]")
@accept_option
@anyway_option
@mergekit_options
def suggest(
    analyses: tuple[Path, ...],
    rule: str | None,
    output: Path | None,
    format_: str | None,
    accept: Names,
    anyway: bool | None,
    **more: Any,
) -> None:
    """Suggest which layers to swap, by published rules.

    \b
      turnswap suggest analysis
      turnswap suggest analysis --rule ratio -o layerswap.yml

    \b
    paper       of 32 layers, 5 bottom and 2 top ones, 1 blended at each edge
    ratio       the ends, as far as the donor changed more than the recipient
    shin-hwang  per layer (or attention and MLP), what changed more, or a blend
    alignment   the ends, outside the middle in which the task vectors align

    The rule paper is scaled to other depths; ratio takes shares of each expert's own change. ANALYSIS is a folder that
    "turnswap analyze -o" wrote; --base, --recipient and --donor analyse now instead. Without --rule nothing is written.
    With it, a layerswap.yml is written to -o or to standard output, with the reasons and figures as comments, and its
    plan is shown. No rule is proven for your models: "turnswap sweep" measures. Several analyses need the same
    recipient: each donor gives the layers that the rule gives it. A layer that several donors would give comes from the
    one with the largest share of change.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    base, recipient, donors = [more.pop(role) for role in ("base", "recipient", "donor")]
    named = [bool(base), bool(recipient), bool(donors)]
    if named.count(True) != (0 if analyses else 3):
        raise UserError(
            "Expected the folder of an analysis, or --base, --recipient and --donor.",
            "To make one: turnswap analyze --base BASE --recipient TASK_EXPERT --donor LANGUAGE_EXPERT -o FOLDER",
        )
    if output is not None and rule is None:
        raise UserError("-o writes one suggestion, and there are several.", f"Name one: --rule {', '.join(RULES)}.")
    given = {name: more.pop(name) for name in ("granularity", "threshold", "blend")}
    settings = {name: value for name, value in given.items() if value is not None}
    if settings and rule not in (None, "shin-hwang"):
        raise UserError(
            f"--{min(settings)} is for shin-hwang, not for {rule}.", "Leave it out, or choose --rule shin-hwang."
        )
    options = read_as(more)
    from turnswap.merge_methods import proposal
    from turnswap.merge_methods.analysis import analyze_references
    from turnswap.merge_methods.analysis_file import read_analysis

    found = [*map(read_analysis, analyses)] or [analyze_references(base, recipient, one, options) for one in donors]
    experts, as_json = proposal.open_experts(found, options, bool(anyway)), format_ == "json"
    origin, file = " and ".join(map(str, analyses)) or None, str(output or "layerswap.yml")
    accepted = ",".join(accept) or None
    propose = partial(proposal.propose, experts, settings=settings, accept=accepted, origin=origin, output=file)
    if rule is None:
        proposals: dict[str, proposal.Proposal | UserError] = {}
        for name in RULES:
            try:
                proposals[name] = propose(name)
            except UserError as error:
                proposals[name] = error
        if as_json:
            told = [
                {"rule": name, "refused": str(made)} if isinstance(made, UserError) else made.as_json()
                for name, made in proposals.items()
            ]
            click.echo(json.dumps(told, indent=1, ensure_ascii=False))
        else:
            show_proposals(Console(), proposals, experts.warnings)
        return
    made = propose(rule)
    if output is not None:
        write_whole(output, made.text, "Name another file with -o.")
    if as_json:
        click.echo(json.dumps(made.as_json(), indent=1, ensure_ascii=False))
    else:
        if output is None:
            click.echo(made.text)
        # Standard output is the configuration alone where it is not written to a file.
        show_proposal(Console(stderr=output is None), made)
    if output is not None:
        click.echo(f"Written: {output}", err=as_json)


def read_as(reading: dict[str, Any]) -> MergeOptions:
    """mergekit's options of what :data:`.options.mergekit_options` took; UserError where mergekit is missing."""
    require_mergekit()
    from mergekit.options import MergeOptions

    return MergeOptions(**{name: value for name, value in reading.items() if value is not None})
