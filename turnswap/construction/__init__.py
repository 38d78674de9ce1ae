"""Multi-IF for languages that it lacks: from seeds to a released data set, step by step."""
