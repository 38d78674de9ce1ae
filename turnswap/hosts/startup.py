"""What runs at every Python start where ``turnswap enable`` was called: as little as possible.

A finder on ``sys.meta_path`` that knows the names of the hosts' modules. When a host imports one, the finder lets the
other finders find it, and has our registration run after it. Nothing is imported until then: this module
imports ``sys`` alone, since importing ``importlib.util`` would cost more than all the rest.
"""

import sys

TYPE_CHECKING = False  # type checkers take it for typing's, which is not imported here
if TYPE_CHECKING:
    from typing import Any

# The host's module, after whose execution a function of ``turnswap.hosts.registration`` registers us.
HOST_MODULES = {
    "lm_eval.tasks.manager": "register_tasks",
    "lm_eval.models": "register_models",
    "mergekit.merge_methods.registry": "register_merge_method",
    "mergekit.merge": "guard_layer_swaps",
}


class HostFinder:
    """Finds the hosts' modules through the other finders, and attaches our registration."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """The module's own spec, whose loader registers us once the module has run; None for other modules."""
        if name not in HOST_MODULES:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, HostFinder) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _register_after(spec.loader, HOST_MODULES[name])
                return spec
        return None


def _register_after(loader: "Any", function: str) -> None:
    run_module = loader.exec_module

    def exec_module(module: "Any") -> None:
        run_module(module)
        _register(module, function)

    loader.exec_module = exec_module


def _register(module: "Any", function: str) -> None:
    try:
        from turnswap.hosts import registration

        getattr(registration, function)(module)
    except Exception as error:  # whatever has become of us or of the host: the host must go on working
        import warnings

        reason = str(error) if hasattr(error, "advice") else repr(error)  # a UserError says it in words
        warnings.warn(f"turnswap could not register with {module.__name__}: {reason}", stacklevel=2)


def install(*, force: bool = False) -> None:
    """Put the finder in place, once. ``TURNSWAP_DISABLE=1`` prevents it, unless forced."""
    import os

    if not force and os.environ.get("TURNSWAP_DISABLE", "") not in ("", "0"):
        return
    if not any(isinstance(finder, HostFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, HostFinder())
        for name, function in HOST_MODULES.items():
            if name in sys.modules:  # too late for the finder
                _register(sys.modules[name], function)
