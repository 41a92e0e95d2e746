"""Whole runs and what is made of several: pipeline, curves, search, grid, checks and speed."""
