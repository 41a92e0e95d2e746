"""Records of runs, published numbers and statistics over seeds. Imports no torch.

`run_record` is the record of a run, `store` finds runs, `results_csv` and `published` read the CSVs in `results/`.
"""
