"""``python docs/corrected.py > docs/corrected.md``: the corrections as a page for readers."""

from __future__ import annotations

import json
import sys

from turnswap.tasks.multiif.corrected.corrections import ALL, Correction, Example, corrections
from turnswap.tasks.multiif.corrected.grading import VERSION

_HEAD = """\
# Corrected verdicts

The published rules of Multi-IF are the primary ones: figures without `_corrected` in their names are theirs, bit for
bit. Some of their verdicts no reader of the language would agree with. The corrected rules are a second set beside
them: {n} small corrections, version {version} of the set. What is not named here is graded as published.

```sh
lm_eval run … --tasks multiif --metadata '{{"verdicts": "both"}}'   # adds figures ending in _corrected
turnswap report results/ -o report.html   # where the two sets differ, for any run with --log_samples
```

Corrected figures hold for a version of the rules, a segmenter and what knows the forms of words, which the results name
as `corrected_rules` (`2,icu:78.3,simplemma:2.0.0,pymorphy3:2.0.6`). `pip install 'turnswap[cjk,morphology]'` brings
them; the rules that need one say so, and without it they do nothing. `turnT_unsatisfiable_corrected` counts the
instructions that were left out.

Made by `python docs/corrected.py > docs/corrected.md`; tests hold the examples against both graders, and this page
against the code.
"""


def page() -> str:
    """The page in Markdown."""
    head = _HEAD.format(n=len(corrections()), version=VERSION)
    return "\n".join([head, *map(_section, corrections())])


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


if __name__ == "__main__":
    sys.stdout.write(page())
