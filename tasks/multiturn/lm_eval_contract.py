"""What we rely on in lm-eval beyond its documented interface, all in one place.

``turnswap status`` shows the check, and a version of lm-eval that does not fit is refused by name. What is used:

- ``evaluate()`` calls the method that is named like ``Instance.request_type``, with the requests of all tasks
  together, on ``LM`` or on ``CachingLM``: :func:`serve`.
- A YAML's ``class:`` gets ``config=``, and ``Task.build_all_requests`` calls ``construct_requests``: ``task.py``.
- An aggregation that equals ``mean`` has a standard error: :class:`WithStandardError`.
- A group's standard errors come from its tasks' figures in ``Group.aggregate``: :func:`share_sources`.
- ``TemplateAPI`` makes payload and headers of a request by names that begin with an underscore: ``engines/api.py``.
- ``CachingLM`` finds a reply under ``hash_args(method, arguments)`` in its ``dbdict``: ``cache.py``.
- A model gives replies as they come to the cache hook that ``LM.set_cache_hook`` sets: ``lockstep.py``.
- ``apply_chat_template`` gives a string, or a ``JsonChatStr`` for chat endpoints: ``backend.py``.
- Models draw their progress bars with the name ``tqdm`` of their own module: :func:`bars_named`.
- ``TaskManager`` takes ``include_path``, and later folders win: ``turnswap.hosts.registration``.
- ``TaskManager.load`` hands what it has made to ``_check_duplicates``: :func:`count_once`.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from turnswap.core.contract import require, unmet
from turnswap.core.errors import show_without_traceback

RELIED_ON = (
    "lm_eval.__main__: cli_evaluate",
    "lm_eval.api.instance: Instance(request_type, doc, arguments, idx, metadata)",
    "lm_eval.api.metrics: mean mean_stderr stderr_for_metric(metric, bootstrap_iters)",
    "lm_eval.api.model: CachingLM LM.apply_chat_template(chat_history, add_generation_prompt)",
    "lm_eval.api.model: LM.chat_template(chat_template) LM.set_cache_hook(cache_hook) hash_args(attr, args)",
    "lm_eval.api.registry: model_registry.register",
    "lm_eval.api.task: Task.build_all_requests(system_instruction) Task.construct_requests(doc, ctx)",
    "lm_eval.config.task: TaskConfig",
    "lm_eval.filters: build_filter_ensemble(filter_name, components)",
    "lm_eval.models.api_models: JsonChatStr",
    "lm_eval.models.api_models: TemplateAPI.amodel_call(session, sem, messages, generate, gen_kwargs)",
    "lm_eval.models.api_models: TemplateAPI._create_payload(messages, generate, gen_kwargs, seed)",
    "lm_eval.models.api_models: TemplateAPI.create_message(messages) TemplateAPI.header",
    "lm_eval.models.openai_completions: LocalChatCompletion.parse_generations(outputs)",
    "lm_eval.models.openai_completions: LocalCompletionsAPI.parse_generations(outputs)",
    "lm_eval.api.group: Group.get_all_tasks Group.aggregate(task_metrics)",
    "lm_eval.tasks.manager: TaskManager.__init__(include_path, include_defaults, metadata)",
    "lm_eval.tasks.manager: TaskManager._check_duplicates(built)",
    "lm_eval.utils: hash_string",
)


def check_lm_eval() -> list[str]:
    """What does not hold in the lm-eval that is installed; nothing where it fits."""
    problems = unmet(RELIED_ON)
    if not problems:
        from lm_eval.api.metrics import mean_stderr, stderr_for_metric

        figure = WithStandardError(lambda items: (0.0, {}))
        if stderr_for_metric(metric=figure, bootstrap_iters=1) is not mean_stderr:
            problems.append("lm_eval.api.metrics:stderr_for_metric no longer looks an aggregation up by equality")
    return problems


def require_lm_eval() -> None:
    """Refuse an lm-eval that does not fit.

    Raises:
        UserError: it names what does not hold, and the version that works; a process that does not catch it ends
            without a traceback.
    """
    problems = check_lm_eval()
    if problems:
        show_without_traceback()
    require("lm-eval", problems)


def serve(request_type: str, method: Callable[..., Any]) -> None:
    """Have every model of lm-eval answer requests of a type: on ``LM``, and on ``CachingLM``, which is no subclass.

    An unknown name on ``CachingLM`` would be handed to the inner model, past the cache.
    """
    from lm_eval.api.model import LM, CachingLM

    for kind in (LM, CachingLM):
        setattr(kind, request_type, method)


def count_once(kind: type[Any]) -> None:
    """Have a task of this kind that is chosen beside a group that holds it be run as the group's.

    lm-eval takes it for a mistake, and ``--tasks 'multiif*'`` chooses both. A group that changes a setting of the task
    holds another one, which stays a mistake.
    """
    from lm_eval.api.group import Group
    from lm_eval.tasks.manager import TaskManager

    check = TaskManager._check_duplicates

    def check_others(built: list[Any]) -> None:
        groups = [item for item in built if isinstance(item, Group)]
        held = {task.task_name: task for group in groups for task in group.get_all_tasks() if isinstance(task, kind)}
        alone = [item for item in built if isinstance(item, kind) and item.task_name in held]
        same = [item for item in alone if item.dump_config() == held[item.task_name].dump_config()]
        check([item for item in built if item not in same])

    TaskManager._check_duplicates = staticmethod(check_others)


def share_sources(kind: type[Any]) -> None:
    """Have the standard errors of groups of such tasks count each independent unit once, whose tasks share it.

    lm-eval takes the tasks of a group for independent. Translations of one prompt are not: the group's error came out
    less than half as wide as it is. Where it cannot be computed, it is N/A.
    """
    from lm_eval.api.group import Group

    aggregate = Group.aggregate

    def aggregate_shared(self: Any, task_metrics: dict[str, Any]) -> Any:
        found = aggregate(self, task_metrics)
        tasks = self.get_all_tasks()
        if not any(isinstance(task, kind) for task in tasks):
            return found
        for key, error in found.items():
            name, is_error, of_filter = key.partition("_stderr,")
            if is_error and isinstance(error, float):
                told = [task_metrics.get(task.task_name, {}) for task in tasks]
                figures = [metrics[f"{name},{of_filter}"] for metrics in told if f"{name},{of_filter}" in metrics]
                if any(isinstance(figure, Estimated) for figure in figures):
                    asked = [each for each in self.aggregate_metric_list if each.metric == name]
                    found[key] = "N/A" if any(each.weight_by_size for each in asked) else _shared_error(figures)
        return found

    Group.aggregate = aggregate_shared


def _shared_error(figures: Sequence[Any]) -> float | str:
    """The standard error of the plain mean of these figures; N/A where one is not known by unit."""
    if not all(isinstance(figure, Estimated) for figure in figures):
        return "N/A"
    together: Counter[Any] = Counter()
    for figure in figures:
        together.update({unit: deviation / len(figures) for unit, deviation in figure.deviations.items()})
    return standard_error(together.values())


@contextmanager
def bars_named(lm: Any, prefix: str) -> Iterator[None]:
    """Progress bars that a model starts meanwhile say what they are about.

    Models offer no way to name their bars. The class that their own modules call ``tqdm`` is exchanged, no other.
    """

    class Named(tqdm):
        def __init__(self, iterable: Any = None, desc: str | None = None, *args: Any, **kwargs: Any) -> None:
            super().__init__(iterable, f"{prefix}: {desc}" if desc else prefix, *args, **kwargs)

    kinds = [kind for model in (lm, getattr(lm, "lm", None)) for kind in type(model).__mro__]
    modules = {sys.modules[kind.__module__] for kind in kinds}
    drawing = [module for module in modules if getattr(module, "tqdm", None) is tqdm]
    for module in drawing:
        module.tqdm = Named  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in drawing:
            module.tqdm = tqdm  # type: ignore[attr-defined]


def standard_error(deviations: Iterable[float]) -> float:
    """The standard error of a figure from how far each independent unit moves it; NaN of fewer than two."""
    squares = [deviation**2 for deviation in deviations]
    return math.sqrt(math.fsum(squares) * len(squares) / (len(squares) - 1)) if len(squares) > 1 else math.nan


class Estimated(float):
    """A figure that knows how far each independent unit moves it."""

    deviations: Mapping[Any, float]


class WithStandardError:
    """An aggregation that lm-eval computes a standard error for.

    lm-eval knows one for its own ``mean``: it looks the aggregation up in a dictionary, and computes the error from the
    very list that it has just aggregated. So this object equals ``mean``, and leaves in the list as many numbers as
    there were items, whose mean is the figure and whose mean's standard error is the figure's.

    Args:
        function: from the items to the figure and, by independent unit (documents, or clusters of them), how far each
            moves the figure: deviations that add up to 0.
    """

    def __init__(self, function: Callable[[Sequence[Any]], tuple[float, Mapping[Any, float]]]) -> None:
        self.function = function

    def __call__(self, items: list[Any]) -> float:
        """The figure; replaces the items."""
        value, deviations = self.function(items)
        figure, n = Estimated(value), len(items)
        figure.deviations = deviations
        apart = standard_error(deviations.values()) * math.sqrt(n * (n - 1) / 2)
        items[:] = ([value + apart, value - apart] + [value] * (n - 2))[:n]
        return figure

    def __eq__(self, other: object) -> bool:
        from lm_eval.api.metrics import mean

        return other is mean or (isinstance(other, WithStandardError) and other.function == self.function)

    def __hash__(self) -> int:
        from lm_eval.api.metrics import mean

        return hash(mean)
