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
from .options import ANYTHING, FILE, FOLDER, together
from .results import emit

if TYPE_CHECKING:
    from mergekit.options import MergeOptions

RULES = ("paper", "ratio", "shin-hwang", "alignment")


# Options of mergekit's that tell how inputs are read; see :func:`mergekit_options`.
merge_options = together(
    click.option("--transformers-cache", type=click.Path(), help="As in mergekit: where models are downloaded to."),
    click.option("--lora-merge-cache", type=click.Path(), help="As in mergekit: where merged LoRA models lie."),
    click.option("--trust-remote-code", is_flag=True, help="As in mergekit: run code that comes with a model."),
)


@click.command()
@click.argument("config", type=FILE)
@click.option("--tensors", is_flag=True, help="List every tensor.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, tensors included.")
@click.option(
    "--check-ancestor", is_flag=True, help="Read all weights: how far are the experts from the pretrained model?"
)
@merge_options
def plan(config: Path, tensors: bool, as_json: bool, check_ancestor: bool, **reading: Any) -> None:
    """Show what a layer swap will take from where, before a byte is written.

    Checks CONFIG and its models as the merge will, from their headers alone. In the picture each cell is a layer: D of
    the donor (E, F, … of further ones), R of the recipient, b blended, P of the pretrained model, * of several.
    """
    options = mergekit_options(reading)
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
    if as_json:
        content = plan_as_json(recipe)
        if changes is not None:
            content["changes"] = [change.as_json() for change in changes]
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        show_plan(Console(), recipe, tensors, changes)


@click.command()
@click.argument("config", type=FILE)
@click.option("--model", metavar="MODEL", help="Whose build to go by, where none of CONFIG's is there yet.")
@click.option("--role", help="One of them alone: recipient, donor, donor2, …")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
@click.option("-o", "--output", type=FILE, help="A file to write, instead of standard output.")
@merge_options
def masks(
    config: Path, model: str | None, role: str | None, as_json: bool, output: Path | None, **reading: Any
) -> None:
    """List what to train of each expert, and what to freeze, so that nothing is trained that the swap throws away.

    CONFIG is a layerswap.yml. Its experts need not exist yet: the names come from the first of recipient, pretrained
    model and donors that is there (its config.json is enough), or from --model. For each: train and freeze, parameters
    by their names in transformers, and peft, the settings of a LoraConfig that adapts the linear modules of train.
    """
    options = mergekit_options(reading)
    from turnswap.merge_methods.configuration import read_configuration
    from turnswap.merge_methods.masks import swap_masks

    content = swap_masks(read_configuration(config), options, model).as_json()
    if role is not None:
        if role not in content["models"]:
            raise UserError(f"--role: {role} is no expert of {config}.", f"There are: {', '.join(content['models'])}.")
        content["models"] = {role: content["models"][role]}
    if as_json:
        text = json.dumps(content, indent=1, ensure_ascii=False)
    else:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6).rstrip()
    emit(text, output)


@click.command()
@click.argument("folder", type=ANYTHING)
@click.option("--config", type=ANYTHING, help="Instead of the folder's own mergekit_config.yml.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("--load", is_flag=True, help="Load the model with transformers too, and compare what is in memory.")
@click.option(
    "--write-provenance",
    is_flag=True,
    help="If verified, add SHA256SUMS, layer_swap.json and a section of the model card.",
)
@merge_options
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    folder: Path,
    config: Path | None,
    as_json: bool,
    load: bool,
    write_provenance: bool,
    **reading: Any,
) -> None:
    """Prove that a merged folder is what its configuration declares.

    Every tensor is bit-equal to its declared source or blend, none missing, none extra, finite, of the declared type;
    every other file that decides what loads (configuration, tokenizer, templates, code) is the recipient's, and there
    is no further one (adapters, weights outside the index). Exits with 0 only if all of it holds. Run it where the
    merge was run: relative paths in the configuration are taken from here.
    """
    options = mergekit_options(reading)
    from turnswap.merge_methods import provenance
    from turnswap.merge_methods import verify as verification

    report = verification.verify(folder, options, config, load)
    verified = report.status == "verified"
    written = provenance.write_provenance(report, options) if write_provenance and verified else None
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    else:
        show_report(Console(), report)
        if written:
            click.echo(f"Plan, versions and hashes: {written}")
    ctx.exit(0 if verified else 1)


@click.command()
@click.option("--base", required=True, metavar="MODEL", help="The pretrained model that both experts come from.")
@click.option("--recipient", required=True, metavar="MODEL", help="The task expert.")
@click.option("--donor", "donors", required=True, multiple=True, metavar="MODEL", help="A language expert; or several.")
@click.option(
    "-o", "--output", type=FOLDER, help="A folder for JSON, CSV, pictures; of several donors, one in it each."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@merge_options
def analyze(
    base: str, recipient: str, donors: tuple[str, ...], output: Path | None, as_json: bool, **reading: Any
) -> None:
    """Show where fine-tuning changed two experts, by layer and component.

    MODEL is a folder or a Hub id, or MODEL+ADAPTER for a LoRA adapter, which is not merged. Every weight is read once.
    With -o also: mean absolute change, the share of changed parameters, rows and heads, heat maps as PNG and a page.
    Of several donors each is compared with the recipient.
    """
    options = mergekit_options(reading)
    from turnswap.merge_methods.analysis import analyze_references
    from turnswap.merge_methods.analysis_file import as_json as content_of
    from turnswap.merge_methods.analysis_file import write_analysis

    from .analysis_view import show_analysis, write_pictures

    found = [analyze_references(base, recipient, donor, options) for donor in donors]
    if as_json:
        contents = [content_of(one) for one in found]
        click.echo(json.dumps(contents if contents[1:] else contents[0], indent=1, ensure_ascii=False))
    else:
        for one in found:
            show_analysis(Console(), one)
    if output is not None:
        folders = [output / name for name in _folder_names(donors)] if donors[1:] else [output]
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
@click.option("--base", metavar="MODEL", help="Instead of ANALYSIS: the pretrained model that both experts come from.")
@click.option("--recipient", metavar="MODEL", help="With --base: the task expert.")
@click.option("--donor", "donors", multiple=True, metavar="MODEL", help="With --base: a language expert; or several.")
@click.option("--rule", type=click.Choice(RULES), help="[default: show what each of them suggests]")
@click.option("-o", "--output", type=FILE, help="The layerswap.yml to write.")
@click.option(
    "--granularity", type=click.Choice(["layer", "module"]), help="shin-hwang: per what it decides.  [default: layer]"
)
@click.option(
    "--threshold", type=float, help="shin-hwang: shares that differ by no more are blended.  [default: 0.001]"
)
@click.option("--blend", type=float, help="shin-hwang: the donor's share in blends.  [default: 0.5]")
@click.option("--accept", metavar="NAMES", help="Differences between the experts to put up with, as in layerswap.yml.")
@click.option("--anyway", is_flag=True, help="Go on where an expert does not seem to come from the base.")
@click.option("--json", "as_json", is_flag=True, help="Print what is suggested as JSON, figures included.")
@merge_options
def suggest(
    analyses: tuple[Path, ...], rule: str | None, output: Path | None, anyway: bool, as_json: bool, **more: Any
) -> None:
    """Suggest which layers to swap, by published rules.

    \b
    paper       5 layers at the bottom, 2 at the top, 1 blended at each edge, of 32; scaled to other depths
    ratio       the ends, as far as the donor changed more than the recipient, each by its own measure
    shin-hwang  layer by layer, or per attention and MLP: whichever changed more, or a blend
    alignment   the ends, outside the middle in which the two task vectors align

    ANALYSIS is the folder that "turnswap analyze -o" wrote. Without --rule nothing is written. With it a layerswap.yml
    is, with the reasons and figures as comments (to -o, else to standard output), and its plan is shown. None of the
    rules is proven for your models: "turnswap sweep" measures. Of several analyses with one recipient, each donor gets
    the layers that the rule gives it; of those that several would give, where its share of change is the largest.
    """  # noqa: D301 - \b is click's mark for a block that keeps its lines
    base, recipient, donors = [more.pop(role) for role in ("base", "recipient", "donors")]
    named = [bool(base), bool(recipient), bool(donors)]
    if named.count(True) != (0 if analyses else 3):
        raise UserError(
            "Expected the folder of an analysis, or --base, --recipient and --donor.",
            "turnswap analyze --base BASE --recipient TASK_EXPERT --donor LANGUAGE_EXPERT -o DIR makes one.",
        )
    if output is not None and rule is None:
        raise UserError("Of several suggestions none is written.", f"Name one: --rule {', '.join(RULES)}.")
    given = {name: more.pop(name) for name in ("granularity", "threshold", "blend")}
    settings = {name: value for name, value in given.items() if value is not None}
    accept = more.pop("accept")
    if settings and rule not in (None, "shin-hwang"):
        raise UserError(f"--{min(settings)} is for shin-hwang, not for {rule}.", "Leave it out.")
    options = mergekit_options(more)
    from turnswap.merge_methods import proposal
    from turnswap.merge_methods.analysis import analyze_references
    from turnswap.merge_methods.analysis_file import read_analysis

    found = [*map(read_analysis, analyses)] or [analyze_references(base, recipient, one, options) for one in donors]
    experts = proposal.open_experts(found, options, anyway)
    origin, file = " and ".join(map(str, analyses)) or None, str(output or "layerswap.yml")
    propose = partial(proposal.propose, experts, settings=settings, accept=accept, origin=origin, output=file)
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


def mergekit_options(reading: dict[str, Any]) -> MergeOptions:
    """mergekit's options of what :func:`merge_options` took; UserError where mergekit is missing."""
    require_mergekit()
    from mergekit.options import MergeOptions

    return MergeOptions(**reading)
