"""The corrections as a page for readers.

    python docs/scripts/corrected.py [--labels FILE...] > docs/reference/corrected.md

With ``--labels`` the counts that it shows are taken again, from these files of readers' labels. ``--readings`` and
``--cases`` name files of the same form: replies that were read once, and replies that were composed for the
tests. Their counts are in files of JSON beside this one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from turnswap.tasks.multiif.corrected import agreement
from turnswap.tasks.multiif.corrected.agreement import Cell, Share
from turnswap.tasks.multiif.corrected.corrections import ALL, Correction, Example, corrections
from turnswap.tasks.multiif.corrected.grading import VERSION
from turnswap.tasks.multiif.corrected.labels import read_labels
from turnswap.tasks.multiif.dataset import LANGUAGES

_KEPT = {
    "labels": Path(agreement.__file__).with_name(agreement.FILE),
    "readings": Path(__file__).with_name("corrected_readings.json"),
    "cases": Path(__file__).with_name("corrected_cases.json"),
}

_HEAD = """\
# Corrected verdicts

This page has every rule of the second set of verdicts: what it changes, why, replies on which it differs from the
published one, and how often readers agree. Why there are two sets, and which to report:
[corrected_verdicts.md](../explanation/corrected_verdicts.md). Made by:

```sh
python docs/scripts/corrected.py > docs/reference/corrected.md
```

There are {n} corrections; the set has version {version}. What is not named here is graded as published. Tests hold the
examples against both graders, and this page against the code.

Corrected figures hold for a version of the rules, a segmenter and what knows the forms of words. Results name them as
`corrected_rules`, such as `2,icu:78.3,lemminflect:0.2.3,simplemma:2.0.0,pymorphy3:2.0.6`. Figures of other versions are
not to be compared. `pip install 'turnswap[cjk,morphology]'` brings the libraries. The rules that need one say so, and
without it they do nothing. `turnT_unsatisfiable_corrected` counts the instructions that were left out.

## How far readers agree

**Labelled replies**: {n_labels} real replies in {n_languages} languages. Two careful readers read each for one
instruction, and agree. The table has how many of the strict verdicts say what they say, in per cent, with the 95 %
interval (Wilson 1927).

| language | replies read | published agrees | corrected agrees |
|---|---|---|---|
{languages}

**Further replies, each read once**: {n_read} more from the same models. A language model read them that saw no verdict
and no rule. Most of those in which the two sets differ are among them. Published verdicts say what it says in
{read_published}, corrected ones in {read_corrected}.

**Composed replies**: {n_composed} in ten languages: replies that follow, and near misses beside them. A language model
that had not seen the rules wrote and judged them, for the tests (`tests/multiif/reader_cases.jsonl`). Published
verdicts say what it says in {composed_published}, corrected ones in {composed_right}.

- **No figure here is of replies that were kept aside.** The rules were mended with the labelled and the composed
  replies at hand, and with part of those that were read once. The intervals say how few replies there are; on other
  replies fewer may agree.
- Part of the labelled replies was chosen because the two sets differ. So the shares tell one set from the other, and
  not how often verdicts are right in a run.
- **Languages of Multi-IF without labels: {unlabelled}.** There nobody has measured whether a corrected verdict is what
  readers say; results name them as `corrected_unlabelled`. A native speaker adds one in an hour:
  [label.md](../how_to/label.md).

{worse}

## What each correction changed

"12 of 12" means: with the correction switched off, 12 replies get another verdict; in 12 of these the reader says what
it says with the correction. Where either of two corrections is enough, neither counts. A correction below 90 % is
mended or taken out. Where nothing stands, nobody has read a reply whose verdict it changes; such a rule is kept for its
reason alone.

| correction | labelled | read once | composed |
|---|---|---|---|
{table}

Counted by `python docs/scripts/corrected.py --labels FILE...`, with the rules `{rules}`.
"""


def page() -> str:
    """The page in Markdown."""
    found = agreement.measured()
    read, composed = _counts("readings"), _counts("cases")
    every = {code: found.of(code) for code in found.cells} | {"all": found.of()}
    head = _HEAD.format(
        n=len(corrections()),
        version=VERSION,
        n_labels=found.of().n,
        n_languages=len(found.cells),
        languages="\n".join(f"| {name} | {cell.n} | {_agreed(cell)} |" for name, cell in every.items()),
        n_read=read.of().n,
        read_published=f"{read.of().published} ({Share(read.of().published, read.of().n)})",
        read_corrected=f"{read.of().corrected} ({Share(read.of().corrected, read.of().n)})",
        n_composed=composed.of().n,
        composed_published=composed.of().published,
        composed_right=composed.of().corrected,
        unlabelled=", ".join(found.unlabelled(LANGUAGES)) or "none",
        worse="\n".join(_worse(found)),
        table="\n".join(_measured(each.name, (found, read, composed)) for each in corrections()),
        rules=found.rules,
    )
    return "\n".join([head, *map(_section, corrections())])


def _counts(name: str) -> agreement.Agreement:
    path = _KEPT[name]
    return agreement.from_json(path.read_text("utf-8")) if path.exists() else agreement.Agreement("", {}, {})


def _agreed(cell: Cell, separator: str = " | ") -> str:
    return separator.join(f"{n} · {Share(n, cell.n)}" for n in (cell.published, cell.corrected))


def _worse(found: agreement.Agreement) -> Iterator[str]:
    if not found.worse():
        yield "In no labelled language and instruction do corrected verdicts agree less often than published ones."
        return
    yield "Here corrected verdicts agree less often than published ones:\n"
    for language, id_, cell in found.worse():
        yield f"- {language}, `{id_}`: published {cell.published} of {cell.n}, corrected {cell.corrected}."


def _measured(name: str, sets: Sequence[agreement.Agreement]) -> str:
    """What a correction changed in each set of replies, and how often that was right."""
    *read, composed = (of.changes.get(name, Share(0, 0)) for of in sets)
    told = [f"{share.right:g} of {share.n:g}: {share}" if share.n else "" for share in read]
    # No interval: these were composed, and the rules mended until they fitted.
    told.append(f"{composed.right:g} of {composed.n:g}" if composed.n else "")
    return f"| [{name}](#{name}) | {' | '.join(told)} |"


def _section(correction: Correction) -> str:
    languages = "all languages" if correction.languages == (ALL,) else ", ".join(correction.languages)
    extra = "cjk" if correction.needs_segmenter else "morphology" if correction.needs_morphology else ""
    needs = f" With `turnswap[{extra}]` only." if extra else ""
    instructions = ", ".join(f"`{id_}`" for id_ in correction.instructions)
    rows = "\n".join(map(_row, correction.examples))
    return (
        f"## {correction.name}\n"
        f"{instructions}; {languages}.\n\n"
        f"{correction.rule}{needs}\n\n"
        f"Why: {correction.reason}\n\n"
        f"| language | kwargs | reply | published | corrected |\n|---|---|---|---|---|\n{rows}\n"
    )


def _row(example: Example) -> str:
    kwargs = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in example.kwargs.items())
    reply = example.reply.replace("\n", "⏎")
    asked = f" (asked: {example.prompt})" if example.prompt else ""
    published = "pass" if example.published else "fail"
    corrected = {True: "pass", False: "fail", None: "left out"}[example.corrected]
    id_ = example.instruction_id.rpartition(":")[2]
    return f"| {example.language} | {id_} {kwargs} | {reply}{asked} | {published} | {corrected} |"


def main() -> None:
    """Take the counts again where labels are named, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in _KEPT:
        parser.add_argument(f"--{name}", nargs="+", type=Path, default=[], metavar="FILE")
    for name, paths in vars(parser.parse_args()).items():
        labels = [label for path in paths for label in read_labels(path)]
        if not labels:
            continue
        if lost := sorted(_counts(name).cells.keys() - {label.language for label in labels}):
            sys.exit(f"--{name}: no reply in {', '.join(lost)}, whose counts would be lost. Name all files there are.")
        counts = agreement.as_json(agreement.measure([agreement.judge(label) for label in labels]))
        _KEPT[name].write_text(counts, "utf-8")
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
