"""Results people look at: tidy figures with intervals, reports, comparisons, leaderboards, from lm-eval's own files."""
