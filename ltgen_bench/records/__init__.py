"""Finished runs and published numbers as plain rows, and what seeds allow to say about them. Imports no torch.

`schema` is the record of a run, `store` finds runs, `measured` and `published` are the CSVs in `results/`.
"""
