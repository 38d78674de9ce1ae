"""MultiTurnTask: the base class of a multi-turn task for lm-eval."""

from __future__ import annotations

import abc
import copy
import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from lm_eval.api.task import Task
from lm_eval.config.task import TaskConfig
from lm_eval.filters import build_filter_ensemble

from turnswap import __version__
from turnswap.core.errors import UserError, show_without_traceback

from . import runner
from .backend import TOKEN_CAPS
from .conversation import DEFAULT_SEED, Reply, Script
from .lm_eval_contract import count_once, share_sources
from .settings import Settings

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are


class MultiTurnTask(Task):
    """A task whose documents are conversations: the user's turns are scripted, the assistant's are the model's own.

    A subclass says where the documents come from, what the user says in each, and how the replies are graded:

    - :meth:`load_docs`: the documents, a list of dicts;
    - :meth:`doc_to_turns`: what the user says in each turn of a document;
    - :meth:`grade`: a document and its replies, one per turn, to a value per metric;
    - ``aggregation`` and ``higher_is_better``: by metric, as in any task of lm-eval.

    Its YAML holds ``class: !function your.module.YourTask`` and whatever else a task of lm-eval may say:
    ``generation_kwargs``, ``repeats``, ``filter_list`` (filters see the replies without reasoning),
    ``description`` (a system message), ``metadata`` with the ``version``. See CONTRIBUTING.md for a whole one.
    """

    OUTPUT_TYPE: ClassVar[Any] = runner.REQUEST_TYPE  # lm-eval pads ranks by it
    # What a subclass reads of --metadata itself: no misspelling of a setting of ours.
    own_metadata: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        data_dir: str | None = None,
        cache_dir: str | None = None,
        download_mode: Any = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        # Not Task.__init__, which puts the whole configuration into TaskConfig's first field.
        show_without_traceback()
        config = {key: value for key, value in (config or {}).items() if key != "class"}
        config["generation_kwargs"] = {"until": [], **(config.get("generation_kwargs") or {})}
        config["num_fewshot"] = 0
        self._config = TaskConfig(**config)
        self._config.metadata = {**(self._config.metadata or {}), "turnswap": __version__}
        self.VERSION = self._config.metadata.get("version")
        self.settings = Settings.from_metadata(self._config.metadata, self.own_metadata)
        if self.settings.repeats:
            self._config.repeats = self.settings.repeats
        self._seed = DEFAULT_SEED
        self._system: str | None = None
        self._template_asked_for = False
        self._instances: list[runner.TurnInstance] = []
        self._training_docs = self._fewshot_docs = self.fewshot_rnd = None
        # All repeats reach grade(); lm-eval's usual filter would take the first and drop the others.
        filters = self._config.filter_list or [{"name": "none", "filter": []}]
        self._filters = [
            build_filter_ensemble(
                f["name"],
                [[step["function"], {k: v for k, v in step.items() if k != "function"}] for step in f["filter"]],
            )
            for f in filters
        ]
        self.docs: list[dict[str, Any]] = list(self.load_docs())

    # ------------------------------------------------------------------------------- what a subclass says

    @abc.abstractmethod
    def load_docs(self) -> Sequence[dict[str, Any]]:
        """The documents, in a fixed order."""

    @abc.abstractmethod
    def doc_to_turns(self, doc: dict[str, Any]) -> Sequence[str]:
        """What the user says, turn by turn; at least one turn."""

    @abc.abstractmethod
    def grade(self, doc: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """A value per metric from one conversation's replies, one per turn.

        There are fewer, down to none, where a request failed for good and ``max_failed`` puts up with it: those
        turns are absent, which is not the same as wrong.

        Return the same metrics for every document: lm-eval gathers them by name from all ranks.
        """

    def combine_repeats(self, graded: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One document's values from what :meth:`grade` gave for each of its repeats; their means by default."""
        if len(graded) == 1:
            return graded[0]
        return {metric: sum(values[metric] for values in graded) / len(graded) for metric in graded[0]}

    # ---------------------------------------------------------------------------------- what lm-eval asks

    def has_training_docs(self) -> bool:
        """Never: there are no few-shot examples of conversations."""
        return False

    def has_validation_docs(self) -> bool:
        """Never: all documents are for testing."""
        return False

    def has_test_docs(self) -> bool:
        """Always."""
        return True

    def test_docs(self) -> list[dict[str, Any]]:
        """All documents."""
        return self.docs

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """``--seed`` (of its four numbers the last): what sampling starts from, each repeat one further on."""
        self._seed = DEFAULT_SEED if seed is None else seed

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        """The user's first turn."""
        return self.doc_to_turns(doc)[0]

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        """Nothing: there is no one right reply."""
        return ""

    def fewshot_context(self, doc: dict[str, Any], *args: Any, **kwargs: Any) -> str:
        """The user's first turn; the runner renders every prompt when its conversation gets there."""
        return self.doc_to_text(doc)

    def build_all_requests(
        self,
        *,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        cache_requests: bool = False,
        **kwargs: Any,
    ) -> None:
        """One Instance per turn of every document.

        ``cache_requests`` has no effect: prompts are made as the conversation goes, and a cached script would
        outlive a change of the data.
        """
        if cache_requests:
            log.warning("%s: --cache_requests is ignored; prompts depend on the replies.", self.config.task)
        self._system = "\n\n".join(filter(None, [system_instruction, self.config.description])) or None
        self._template_asked_for = apply_chat_template
        super().build_all_requests(system_instruction=system_instruction, **kwargs)

    def construct_requests(
        self, doc: dict[str, Any], ctx: str, metadata: tuple[str, int, int] = ("", 0, 1), **kwargs: Any
    ) -> list[runner.TurnInstance]:
        """One Instance per turn. Until the run its prompt is a stand-in: the scripted turns so far."""
        script = Script(
            tuple(self.doc_to_turns(doc)),
            self._system,
            self.settings,
            self._template_asked_for,
            self._config.metadata.setdefault("run", {}),  # which the results show
            name=f"{self.config.task} {doc.get('key', metadata[1])}",
            seed=self._seed,
        )
        if not script.user_turns:
            raise UserError(f"{self.config.task}: document {metadata[1]} has no turns.")
        return [
            runner.TurnInstance(
                request_type=runner.REQUEST_TYPE,
                doc=doc,
                arguments=("\n\n".join(script.user_turns[: turn + 1]), self._gen_kwargs()),
                idx=turn,
                metadata=metadata,
                script=script,
            )
            for turn in range(len(script.user_turns))
        ]

    def _gen_kwargs(self) -> dict[str, Any]:
        """The settings to generate with; a cap under another name replaces ours instead of standing beside it."""
        gen_kwargs = copy.deepcopy(self.config.generation_kwargs)
        for name in TOKEN_CAPS[1:]:
            if name in gen_kwargs:
                gen_kwargs["max_gen_toks"] = gen_kwargs.pop(name)
        return gen_kwargs  # type: ignore[no-any-return]

    def apply_filters(self) -> None:
        """lm-eval's filters, on the replies without reasoning; the raw answers stay in ``resps``."""
        raw = []
        for instance in self._instances:
            instance.resps = instance.resps[: instance.repeats]  # what is beyond was padding for other ranks
            raw.append(instance.resps)
            instance.resps = list(instance.replies)
        super().apply_filters()
        for instance, resps in zip(self._instances, raw, strict=True):
            instance.resps = resps
            for name, filtered in instance.filtered_resps.items():
                texts = filtered if isinstance(filtered, list) else [filtered]
                as_many = len(texts) == len(instance.replies)
                origins = instance.replies if as_many else [instance.replies[0]] * len(texts)
                replies = [origin.with_text(str(text)) for origin, text in zip(origins, texts, strict=True)]
                present = [None if reply.absent else reply for reply in replies]
                instance.filtered_resps[name] = present if len(present) > 1 else present[0]

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Grade each repeat of a document and combine them."""
        by_turn = [result if isinstance(result, list) else [result] for result in results]
        # An absent reply is None, and so are all after it.
        graded = [
            self.grade(doc, [reply for reply in replies if reply is not None]) for replies in zip(*by_turn, strict=True)
        ]
        return self.combine_repeats(graded)


count_once(MultiTurnTask)
share_sources(MultiTurnTask)
