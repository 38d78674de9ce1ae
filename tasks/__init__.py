"""Everything that lm-eval sees: this folder is its ``--include_path``."""
