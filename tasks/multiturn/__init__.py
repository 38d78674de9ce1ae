"""Multi-turn tasks for lm-eval: nothing here knows of Multi-IF.

Derive from :class:`MultiTurnTask`; the conversations are run by the request type
``generate_until_multi_turn``, which importing this package adds to lm-eval's models.
"""

from .conversation import Reply, Settings
from .task import MultiTurnTask

__all__ = ["MultiTurnTask", "Reply", "Settings"]
