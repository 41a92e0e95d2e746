"""Errors, registries, validation, files, progress and interruption: what every package uses. Imports no torch."""
