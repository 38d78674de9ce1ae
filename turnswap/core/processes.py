"""One function, called many times over several processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from .errors import UserError

T = TypeVar("T")

PROCESSES = "TURNSWAP_PROCESSES"
_WORTH_IT = 3000  # calls of milliseconds each: a process takes about two seconds to start
_CHUNK = 100  # calls at a time
_MOST = 16


def call_many(function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[T]:
    """The results of ``function(*call)`` in the order of the calls, over processes where there are many.

    The processes are started afresh, not forked, so that nothing of torch or CUDA comes along, and they do not import
    the caller's main module: a script without a main guard is not run again, and a notebook may ask.

    Args:
        function: of a module that can be imported.
        calls: the arguments of each call, which can be pickled, as results can.

    Raises:
        UserError: the environment variable ``TURNSWAP_PROCESSES`` is no number of processes; 1 turns them off.
    """
    processes = _processes()
    if len(calls) < _WORTH_IT or processes == 1:
        return [function(*call) for call in calls]
    from joblib.externals.loky import ProcessPoolExecutor

    try:
        with ProcessPoolExecutor(processes) as pool:
            return list(pool.map(function, *zip(*calls, strict=True), chunksize=_CHUNK))
    except BrokenProcessPool as error:  # such as for want of memory; of loky's own errors it is the parent
        logging.getLogger(__name__).warning("A process was killed (%s): going on in one.", type(error).__name__)
        return [function(*call) for call in calls]


def _processes() -> int:
    given = os.environ.get(PROCESSES)
    if given is not None:
        if not given.isdecimal() or int(given) < 1:
            raise UserError(f"{PROCESSES} is {given!r}.", "Set it to a number of processes; 1 uses this process alone.")
        return int(given)
    from joblib import cpu_count

    # What this process may use, shared with the others of a distributed run.
    size = os.environ.get("LOCAL_WORLD_SIZE", "")
    others = int(size) if size.isdecimal() else 1  # a launcher's variable: what is no number says nothing
    return max(1, min(_MOST, int(cpu_count()) // max(1, others)))
