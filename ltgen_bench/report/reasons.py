"""The notes at the rows of scores, and of whole entries, as sentences below a table: each once."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import listed
from ltgen_bench.evaluation.measure import NO_CLASSES
from ltgen_bench.report.baseline_lines import TOO_FEW
from ltgen_bench.report.entries import Block, each, select
from ltgen_bench.report.numbers import facts

NUMBERS = r" \([^()]*\)$"  # what a note ends with where a number is of its own row
NAMED = 3  # entries
BETWEEN = "; "  # the notes of one row


def reasons(rows: pd.DataFrame) -> list[str]:
    """`FID (classifier) and KID (classifier): mostly bias: n < 2048.`: each note once, with the scores that it holds for.

    A note may end with a number of its own row in brackets: where rows differ in it, the rest is said once. Rows of other scopes
    than all classes name theirs, and a note that holds for few of the entries names them.
    """
    told = rows[rows["note"] != ""]
    told = told.assign(note=told["note"].str.split(BETWEEN)).explode("note", ignore_index=True)
    told = told[~told["note"].str.startswith(TOO_FEW)]  # said by `few_notes`
    every = rows["entry"].nunique() if "entry" in rows else 0
    found = []
    for note, own in told.groupby(told["note"].str.replace(NUMBERS, "", regex=True), sort=False):
        names = dict.fromkeys(f"{facts(row.metric).title} ({_place(row)})" for row in each(own))
        entries = list(dict.fromkeys(own["entry"])) if every else []
        whose = f" in the scores of {listed(entries)}" if len(entries) < every and len(entries) <= NAMED else ""
        words = own["note"].iloc[0] if own["note"].nunique() == 1 else note
        found.append(printable(f"{listed(list(names))}{whose}: {words}."))
    return found


def _place(row: Any) -> str:
    """`classifier`, and with a scope other than all classes `classifier, few` or `classifier, class cat`."""
    if row.scope == "all":
        return str(row.extractor)
    scope = f"class {row.class_name}" if row.scope == "class" else row.scope.partition("@")[0]
    return f"{row.extractor}, {scope}"


def missing(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without a value for another reason than that there are no such classes."""
    return rows[rows["value"].isna() & (rows["note"] != NO_CLASSES)]


def entry_notes(block: Block) -> list[str]:
    """What the scores of an entry or a reference row do not say of its images, under its name."""
    told = {**noted_entries(block.rows), **noted_entries(block.references)}
    return [f"{printable(entry)}: {printable(notes)}" for entry, notes in told.items()]


def noted_entries(rows: pd.DataFrame) -> dict[str, str]:
    """Name in the table -> notes of all its seeds, each once, for the entries that have any."""
    if not len(rows):
        return {}
    known = rows.loc[rows["notes"] != "", ["entry", "notes"]].drop_duplicates()
    return {str(name): " ".join(own["notes"]) for name, own in known.groupby("entry", sort=False)}


def missing_notes(block: Block, columns: Sequence[tuple[Sequence[str], str]]) -> list[str]:
    """Why values are missing in `columns` (measurement, scope)."""
    parts = [select(rows, key, scope) for key, scope in columns for rows in (block.rows, block.references) if len(rows)]
    return reasons(missing(pd.concat(parts))) if parts else []
