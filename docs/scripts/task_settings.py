"""The settings of a task, from the classes that read --metadata: a page that pages.py writes."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tables import keys_of, table

from turnswap.tasks.multiif.task import MultiIF
from turnswap.tasks.multiturn.settings import Price, Settings

_HEAD = """\
# The settings of a task

Made by `python docs/scripts/pages.py` from the code. They stand in lm-eval's `--metadata`, as JSON, or under
`metadata:` in a task's YAML. `--gen_kwargs` and lm-eval's other options are beside them.

```sh
lm_eval run --model hf --model_args pretrained=MODEL --tasks multiif_en --metadata '{"verdicts": "both", "repeats": 2}'
```

## Any multi-turn task
"""


def page() -> str:
    """The page in Markdown."""
    said = tomllib.loads((Path(__file__).parent / "keys.toml").read_text("utf-8"))
    if unsaid := MultiIF.own_metadata ^ said["metadata"].keys():
        raise KeyError(f"keys.toml, metadata: {', '.join(sorted(unsaid))}")
    own = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in said["metadata"].items())
    return "\n".join(
        [
            _HEAD,
            table(list(keys_of(Settings))),
            "### `price`\n",
            table(list(keys_of(Price, said["price"]))),
            f"## Multi-IF's own\n\n| key | meaning |\n|---|---|\n{own}",
        ]
    )
