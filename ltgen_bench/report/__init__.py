"""Comparison tables and plots of finished runs, with what papers print beside them. Imports no torch.

The door is `report.report`; `terminal.score_table` is the table at the end of a run, `sheets` draws its pictures.
"""
