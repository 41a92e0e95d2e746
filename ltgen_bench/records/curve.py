"""Curves: the scores of one run at several positions of its training, with the training cost at each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.files import read_checked_json, write_checked_json, write_text
from ltgen_bench.evaluation.scores import Scores, csv_text, read_cells, typed
from ltgen_bench.records.score_files import row_digests, unvouched

CURE = "repeat the run's command to write it again"
COSTS = ("images", "flops", "seconds")  # of training so far


class Point(NamedTuple):
    """Scores of the averaged weights at a position: training images, FLOPs and seconds."""

    images: int
    flops: float
    seconds: float
    scores: Scores


def curve_table(points: Sequence[Point]) -> pd.DataFrame:
    """Return the tables of scores below each other, with the columns COSTS first."""
    frames = []
    for point in points:
        table = point.scores.table.copy()
        costs: dict[str, Any] = dict(zip(COSTS, point, strict=False))
        frames.append(table.assign(**costs)[[*costs, *table.columns]])
    return pd.concat(frames, ignore_index=True)


def save_curve(curve: pd.DataFrame, path: Path) -> None:
    """Write a curve as CSV, floats to the last digit, and beside it the checksums of its rows (`<stem>.rows.json`)."""
    _checksums(path).unlink(missing_ok=True)  # they are not those of what is written now
    write_text(path, csv_text(curve))
    write_checked_json(_checksums(path), {"rows": "".join(row_digests(read_cells(path)))})


def _checksums(path: Path) -> Path:
    return path.with_suffix(".rows.json")


def load_curve(path: Path) -> pd.DataFrame:
    """Read a curve that `save_curve` wrote; older curves have no checksums.

    Raises `UserError` for a missing or foreign file, and `DamagedError` where rows do not match their checksums.
    """
    checksums = _checksums(path)
    try:
        text = read_cells(path)
        table = typed(text.drop(columns=list(COSTS)))
        for place, (name, read) in enumerate(zip(COSTS, (int, float, float), strict=True)):
            table.insert(place, name, [read(cell) for cell in text[name]])
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise UserError(f"{path} is not the curve of a run ({error}); {CURE}.") from error
    if checksums.is_file():
        faults = unvouched(text, str(read_checked_json(checksums, CURE).get("rows")))
        if faults:
            raise DamagedError(f"{path} holds values that were not measured: {faults}; {CURE}.")
    return table
