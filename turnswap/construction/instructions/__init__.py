"""What the construction knows of each instruction, by family as in :mod:`turnswap.tasks.multiif.instructions`.

Per instruction one record, a :class:`.making.Making`, of which every part may be missing: how to draw it, how a request
must name it, how to construct a reply. Below it the rules about what it excludes (:mod:`.rules`).
"""

from . import case, combination, content, format, keywords, language, length, startend  # noqa: F401
from .draw import Draw
from .making import making_of, must_contain
from .rules import RULES, Conflict, Demand, Severity, find_conflicts

__all__ = ["RULES", "Conflict", "Demand", "Draw", "Severity", "find_conflicts", "making_of", "must_contain"]
