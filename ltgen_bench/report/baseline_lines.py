"""The lines below a table: floors, the scores at their number of images, and what is to be said of both and of few images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ltgen_bench.core.words import listed
from ltgen_bench.records.statistics import summarise
from ltgen_bench.report.baseline_columns import KINDS, Kind, beside_score, beyond_real, is_few, number, repeated, unknown_n
from ltgen_bench.report.entries import Block, each
from ltgen_bench.report.numbers import FEW, MISSING, facts, marked, show
from ltgen_bench.report.table import Cell, Row

TOO_FEW = "not available: needs n"  # how a note of `evaluation.measure` begins where images are lacking
FLOOR_NOTE = (
    "Floors: the same score of real images, half of them against the other half, and held-out test images against "
    "the reference."
)
AGAIN_NOTE = (
    "Where a floor is of another number of images than the scores, it stands below, beside the scores of as many images: only "
    "these compare with it."
)
UNKNOWN_NOTE = (
    "Left out: floors of an earlier version, which has not written down of how many images they are; evaluate again to have them."
)


def mean_cell(metric: str, values: "pd.Series[float]") -> Cell:
    """Mean and standard deviation of values over seeds."""
    summary = summarise(values.to_numpy(dtype=np.float64).tolist())
    return Cell(show(metric, summary.mean, summary.sd), summary.mean, summary.sd, summary.n)


def floor_rows(block: Block, columns: Sequence[tuple[tuple[str, str, str, str], str]], before: int) -> list[Row]:
    """The same scores of real images, one line a kind of floor; a line without any value is left out.

    It holds the floors that compare with the scores as they are. Those of another number of images follow in a line of their
    own, below that number and the entries' scores at it. Each line begins with its name and `before` - 1 empty cells.
    """
    parts = [(key[0], block.part(key, scope)) for key, scope in columns]
    blank = [Cell("")] * (before - 1)
    rows = []
    for kind in KINDS:
        cells = [floor_cell(metric, part, beside_score(part, kind, metric), kind) for metric, part in parts]
        if any(cell.n for cell in cells):
            rows.append(Row((Cell(kind.title), *blank, *cells), "floor"))
        again = [(metric, repeated(part, kind)) for metric, part in parts]
        if not any(len(part) for _, part in again):
            continue
        counts = [number(part, kind) for _, part in again]
        rows.append(Row((Cell(f"n of {kind.images}"), *blank, *(Cell(text) for text in counts)), "n"))
        for entry in block.entries:
            of_entry = [(metric, part[part["entry"] == entry]) for metric, part in again]
            cells = [again_cell(metric, own, kind) if len(own) else Cell("") for metric, own in of_entry]
            rows.append(Row((Cell(f"{entry}, n of {kind.images}"), *blank, *cells), "again"))
        cells = [floor_cell(metric, part, part[kind.floor], kind) for metric, part in again]
        rows.append(Row((Cell(f"{kind.title}, at that n"), *blank, *cells), "floor"))
    return rows


def again_cell(metric: str, rows: pd.DataFrame, kind: Kind) -> Cell:
    """The mean over seeds of the scores at the number of images of a floor, marked where these are too few."""
    cell = mean_cell(metric, rows[kind.at])
    few = f"{number(rows, kind)} on each side" if any(is_few(row, kind) for row in each(rows)) else ""
    return replace(cell, text=marked(cell.text, bool(few)), few=few)


def floor_cell(metric: str, rows: pd.DataFrame, values: "pd.Series[float]", kind: Kind) -> Cell:
    """The first of the floors `values`, all of which are of the same images; an empty dash where there is none."""
    known = values.dropna()
    if not len(known):
        return Cell(MISSING)
    few = is_few(rows.loc[known.index[0]], kind)
    value = float(known.iloc[0])
    return Cell(marked(show(metric, value), few), value, n=1, few=f"{number(rows, kind)} real" if few else "")


def floor_notes(rows: pd.DataFrame) -> list[str]:
    """What floors are, and which of them stand elsewhere or are left out, for rows of any measurements."""
    there = rows[rows["floor_half"].notna() | rows["floor_test"].notna()]
    if not len(there):
        return []
    by_metric = [(str(metric), own) for metric, own in there.groupby("metric", sort=False)]
    again = any(len(repeated(own, kind)) for _, own in by_metric for kind in KINDS)
    unknown = any(unknown_n(own, kind, metric) for metric, own in by_metric for kind in KINDS)
    beyond = [facts(metric).title for metric, own in by_metric if beyond_real(own, metric).any()]
    said = f"{listed(beyond)}: some values are beyond that of as many real images, which is no gain." if beyond else ""
    return [FLOOR_NOTE, *([AGAIN_NOTE] if again else []), *([UNKNOWN_NOTE] if unknown else []), *([said] if said else [])]


def few_notes(rows: pd.DataFrame) -> list[str]:
    """One sentence on all values of too few images, and one on those that are not there for that reason; perhaps none."""
    notes = []
    few = rows[rows["few"] != ""]
    if len(few):
        wanted: dict[str, list[str]] = {}
        for metric, own in few.groupby("metric", sort=False):
            ends = sorted({int(own["wanted"].min()), int(own["wanted"].max())})
            wanted.setdefault(" to ".join(f"{n:,}" for n in ends), []).append(facts(str(metric)).title)
        words = "; ".join(f"{listed(names)}: {number} images" for number, names in wanted.items())
        notes.append(f"{FEW} of fewer images than say much ({words}); ltgen-bench list metrics says why.")
    lacking = rows[rows["note"].str.startswith(TOO_FEW)]
    if len(lacking):
        needs: dict[str, dict[str, None]] = {}
        for row in each(lacking):
            need = row.note.removeprefix(TOO_FEW).partition(", has")[0]
            needs.setdefault(f"n{need}", {})[facts(row.metric).title] = None
        reasons = [f"{listed(list(names))} {'need' if len(names) > 1 else 'needs'} {need}" for need, names in needs.items()]
        notes.append(f"{MISSING} of too few images: {'; '.join(reasons)}.")
    return notes
