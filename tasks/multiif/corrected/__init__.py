"""Corrected verdicts: what a native reader would say where the published rules err."""
