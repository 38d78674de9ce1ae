"""Tests of what prompts say, held against what kwargs grade."""
