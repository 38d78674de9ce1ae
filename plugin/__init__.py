"""turnswap: multi-turn evaluation (Multi-IF) for lm-eval, layer swapping for mergekit."""

__version__ = "0.1.0"
