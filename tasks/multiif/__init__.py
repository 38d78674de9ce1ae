"""Multi-IF (He et al. 2024, arXiv 2410.15553): data, instructions, grading, metrics and tasks."""
