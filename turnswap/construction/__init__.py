"""Multi-IF for languages that it lacks: from seeds to a released data set, step by step."""

LAST = "release"  # made of what all steps left, not conversation by conversation
STEPS = ("seeds", "extend", "conflicts", "translate", "filter", "audit", "prove", LAST)
