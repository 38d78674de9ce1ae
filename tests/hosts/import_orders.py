"""A program for ``test_import_order``: imports each module of ours before and after each host, and tells what fails.

Every case is a fork of one process that holds what is slow to import and has no part in the matter: packages that
import neither a host nor us. So a case begins with the hosts and our modules unimported, as a fresh interpreter does,
and with the start-up hook in place, as where ``turnswap enable`` was called. (The packages that the hosts bring are
imported by nobody but them, and hold nothing of ours; that they are there already changes no order among the rest.)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence

from turnswap.hosts.startup import install

install()

NEUTRAL = (
    "torch", "transformers", "transformers.models.auto.modeling_auto", "peft", "datasets", "huggingface_hub",
    "pydantic", "networkx", "sacrebleu", "sklearn.metrics", "evaluate", "pandas", "jinja2", "rich.table", "click",
    "altair", "emoji", "nltk", "langdetect", "aiohttp", "tenacity", "regex", "joblib", "scipy.stats", "pyarrow.parquet",
    "more_itertools", "punkt.data", "optuna", "safetensors.torch",
)  # fmt: skip
HOSTS = ("mergekit.merge_methods", "mergekit.merge", "lm_eval.tasks", "lm_eval.models")
OURS_AND_HOSTS = ("turnswap", "mergekit", "lm_eval")
# Modules that only run, as commands of their own.
PROGRAMS = ("__main__",)
HOSTLESS = "brings no host"


def modules(package: str, folders: Sequence[str]) -> Iterator[str]:
    """Every public module below a package, without importing it."""
    for _, name, is_package in pkgutil.iter_modules(folders):
        if name in PROGRAMS or name.startswith("_"):
            continue
        yield f"{package}.{name}"
        if is_package:
            yield from modules(f"{package}.{name}", [f"{folder}/{name}" for folder in folders])


def unknown() -> list[str]:
    """What the hosts that are imported do not know of us."""
    missing = []
    if "mergekit.merge_methods.registry" in sys.modules:
        from mergekit.merge_methods import registry

        try:
            registry.get("layer_swap")
        except RuntimeError:
            missing.append("mergekit has no layer_swap")
    if "mergekit.merge" in sys.modules:
        from mergekit.merge import get_architecture_info, run_merge

        if not (hasattr(run_merge, "__wrapped__") and hasattr(get_architecture_info, "__wrapped__")):
            missing.append("mergekit.merge is not guarded")
    if "lm_eval.tasks" in sys.modules:
        from lm_eval.tasks import TaskManager

        if not hasattr(TaskManager.__init__, "__wrapped__"):
            missing.append("lm-eval does not look into our folder")
    if "lm_eval.models" in sys.modules:
        from lm_eval.api.registry import model_registry

        if "hf-layerswap" not in model_registry:
            missing.append("lm-eval has no hf-layerswap")
    return missing


def imported(names: Sequence[str]) -> list[str]:
    """Import modules one after the other; what went wrong."""
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in OURS_AND_HOSTS:
                return [traceback.format_exc(limit=-3)]
        except Exception:
            return [traceback.format_exc(limit=-3)]
    return unknown()


def in_forks(
    cases: Sequence[str], run: Callable[[str], dict[str, list[str]]], at_once: int = 1
) -> dict[str, list[str]]:
    """What went wrong in each case, each in a process of its own."""
    waiting, reading, found = list(cases), dict[int, int](), dict[str, list[str]]()
    while waiting or reading:
        if waiting and len(reading) < at_once:
            case = waiting.pop()
            out, into = os.pipe()
            child = os.fork()
            if child == 0:
                with os.fdopen(into, "w") as file:
                    json.dump(run(case), file)
                    file.flush()
                    os._exit(0)
            os.close(into)
            reading[child] = out
            continue
        child, out = reading.popitem()
        with os.fdopen(out) as file:
            text = file.read()
        os.waitpid(child, 0)
        found |= json.loads(text or '{"a child": ["died"]}')
    return found


def alone(module: str) -> dict[str, list[str]]:
    """A module of ours, then the hosts; ``HOSTLESS`` where it brings none of a host's modules."""
    wrong = imported([module])
    if not wrong and not any(name.startswith(("mergekit", "lm_eval")) for name in sys.modules):
        return {module: [HOSTLESS]}
    return {module: wrong or imported(HOSTS)}


def after(host: str, hostless: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """A host, then the modules that bring none, and after these each of the others."""
    together = imported([host, *hostless])
    found = {f"{host}, all the others": together}
    return found | in_forks(others, lambda module: {f"{host}, {module}": together or imported([module])})


if __name__ == "__main__":
    import turnswap

    for name in NEUTRAL:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    early = [name for name in sys.modules if name.partition(".")[0] in OURS_AND_HOSTS]
    assert set(early) == {"turnswap", "turnswap.hosts", "turnswap.hosts.startup"}, early
    warnings.filterwarnings("error", category=UserWarning)
    gc.disable()  # a collection touches every object, and so copies the whole process in every fork
    gc.freeze()
    every = sorted(modules("turnswap", list(turnswap.__path__)))
    found = in_forks(every, alone, 2)
    # Modules that bring no host are whole before one comes, and no hook runs while they are imported after one: what
    # follows is the same for each of them, and is shown for all together. Nor does their coming first change what the
    # others meet after a host: so they are imported once, not in every case.
    hostless = [module for module, wrong in found.items() if wrong == [HOSTLESS]]
    others = [module for module in every if module not in hostless]
    found = {module: wrong for module, wrong in found.items() if module not in hostless}
    found |= in_forks(["all the others"], lambda case: {case: imported([*hostless, *HOSTS])})
    found |= in_forks(HOSTS, lambda host: after(host, hostless, others), 2)
    wrong = {case: said for case, said in found.items() if said}
    json.dump({"modules": len(every), "hostless": hostless, "cases": len(found), "wrong": wrong}, sys.stdout)
