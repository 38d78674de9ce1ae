"""Multi-turn tasks for lm-eval: nothing here knows of Multi-IF.

Derive from :class:`MultiTurnTask`; the conversations are run by the request type
``generate_until_multi_turn``, which importing this package adds to lm-eval's models.
"""

from .lm_eval_contract import require_lm_eval

require_lm_eval()  # before the modules below import from it what may not be there

from .conversation import Reply  # noqa: E402
from .settings import Settings  # noqa: E402
from .task import MultiTurnTask  # noqa: E402

__all__ = ["MultiTurnTask", "Reply", "Settings"]
