"""turnswap: multi-turn evaluation (Multi-IF) for lm-eval, layer swapping for mergekit.

The names below are the public ones (``docs/reference/api.md``). Each is imported when it is first asked for: they
bring the hosts, which take seconds, and extras that may not be installed.
"""

import os
import sys

__version__ = "0.2.0"

_PUBLIC = {
    "core.errors": ("UserError",),
    "tasks": ("tasks_path",),
    "tasks.multiturn": ("MultiTurnTask", "Reply"),
    "tasks.multiif.task": ("MultiIF",),
    "tasks.multiif.dataset": ("load_conversations",),
    "tasks.multiif.grading": ("Verdict", "grade_reply"),
    "merge_methods.zones": ("SwapParameters",),
    "merge_methods.swap_plan": ("layer_sources",),
    "merge_methods.configuration": ("read_configuration",),
    "merge_methods.recipe": ("read_recipe",),
    "merge_methods.verify": ("verify",),
    "merge_methods.analysis": ("analyze_references",),
    "reports.reading": ("read_models",),
    "reports.table": ("summarise",),
    "reports.compare": ("compare",),
    "hosts.enable": ("disable", "enable", "is_enabled"),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = ["__version__", *sorted(_MODULE_OF)]  # pyright: ignore[reportUnsupportedDunderAll]

for _folder in ("tasks", "merge_methods"):
    # ``os``, since this runs at every start of an enabled Python, which pathlib would slow down.
    if not os.path.isdir(os.path.join(os.path.dirname(__file__), _folder)):
        raise ImportError(
            f"turnswap/{_folder} should be a link to the folder {_folder} beside it, and is none: this checkout was "
            "made without symbolic links. Clone it anew with git clone -c core.symlinks=true (on Windows, in Developer "
            "Mode), or install a wheel, which holds files instead of links."
        )


def __getattr__(name: str) -> object:
    """Import a public name from where it lives."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'turnswap' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"turnswap.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        from .core.errors import UserError

        advice = "Install what layer swapping needs: pip install 'turnswap[hf,merge]'"
        raise UserError(f"turnswap.{name} needs {error.name}.", advice) from error


def __dir__() -> list[str]:
    """The public names, whether imported or not."""
    return sorted({*sys.modules[__name__].__dict__, *__all__})
