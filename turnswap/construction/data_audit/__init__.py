"""What a data set's prompts say, held against what its kwargs grade: ``turnswap audit``."""
