"""Multi-IF (He et al. 2024): three-turn conversations in 8 languages whose instructions are checked by code."""

import json

from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask


try:
    from turnswap.tasks.multiif.grading import grade_reply
except ImportError as e:
    raise ModuleNotFoundError(
        "Multi-IF needs the `turnswap` package for its checks. Install it with `pip install lm-eval[multiif]`."
    ) from e

TURNS = (1, 2, 3)
KINDS = ("strict", "loose")


class MultiIF(ConfigurableTask):
    """One language. `metadata.language` is its name in the data's column `language`."""

    def __init__(self, config=None, **kwargs):
        config = {k: v for k, v in (config or {}).items() if k != "class"}
        self._language = config["metadata"]["language"]
        super().__init__(config=config, **kwargs)

    def download(self, *args, **kwargs):
        super().download(*args, **kwargs)
        self.dataset = self.dataset.filter(
            lambda doc: doc["language"] == self._language
        )

    def doc_to_text(self, doc, doc_to_text=None):
        """What the user says, turn by turn. Some conversations have two turns."""
        prompts = [doc[f"turn_{t}_prompt"] for t in TURNS]
        return [json.loads(p)["content"] for p in prompts if p and p != "None"]

    def doc_to_target(self, doc, doc_to_target=None):
        return ""

    def process_results(self, doc, results):
        """Lists of what is true and false, which `_pooled` puts together."""
        (replies,) = results
        verdicts = [
            grade_reply(
                reply.strip(),
                json.loads(doc[f"turn_{t}_instruction_id_list"]),
                [json.loads(kwargs) for kwargs in json.loads(doc[f"turn_{t}_kwargs"])],
            )
            for t, reply in zip(TURNS, replies)
        ]
        # A conversation of two turns is absent from the third turn's figures.
        verdicts += [[]] * (len(TURNS) - len(verdicts))
        values = {}
        for t, now in zip(TURNS, verdicts):
            accuracies = []
            for kind in KINDS:
                followed = [getattr(verdict, kind) for verdict in now]
                values[f"turn{t}_prompt_{kind}_acc"] = [all(followed)] if now else []
                values[f"turn{t}_inst_{kind}_acc"] = followed
                accuracies += [[all(followed)] if now else [], followed]
            values[f"turn{t}_overall_acc"] = accuracies
        for t, before, now in zip(TURNS[1:], verdicts, verdicts[1:]):
            # Each turn lists the instructions of the turn before first, in their order.
            pairs = [(b.strict, n.strict) for b, n in zip(before, now)]
            values[f"turn{t}_forgetting"] = [not n for b, n in pairs if b]
            values[f"turn{t}_correction"] = [n for b, n in pairs if not b]
        return values

    def aggregation(self):
        return {
            name: _overall if "overall" in name else _pooled
            for name in self.higher_is_better()
        }

    def higher_is_better(self):
        names = [
            f"turn{t}_{level}_{kind}_acc"
            for t in TURNS
            for level in ("prompt", "inst")
            for kind in ("strict", "loose")
        ]
        names += [f"turn{t}_overall_acc" for t in TURNS]
        rates = {f"turn{t}_correction": True for t in TURNS[1:]}
        rates |= {f"turn{t}_forgetting": False for t in TURNS[1:]}
        return dict.fromkeys(names, True) | rates


def _pooled(items):
    """Share of what is true, pooled over conversations."""
    pooled = [value for values in items for value in values]
    return mean(pooled) if pooled else float("nan")


def _overall(items):
    """The paper's headline: the mean of four accuracies, each pooled over conversations."""
    return mean([_pooled(each) for each in zip(*items, strict=True)])
