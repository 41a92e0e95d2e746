"""Comparison tables and plots of finished runs, with what papers print beside them. Imports no torch.

Entry point: `write_report.report`; `run_table.score_table` is the table at the end of a run, `sheets` draws its pictures.
"""
