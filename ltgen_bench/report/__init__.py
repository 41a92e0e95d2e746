"""Comparison tables and plots of finished runs, and published results. Imports no torch.

`write_report.report` writes a report, `run_table.score_table` is the table at the end of a run, `sheets` draws its pictures.
"""
