"""Whole runs and combinations of runs: pipeline, curves, search, grid, checks and speed."""
