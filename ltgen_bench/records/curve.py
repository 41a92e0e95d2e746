"""The file of a curve: the scores of one run at several positions of its training, with what training had cost there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ltgen_bench.errors import UserError
from ltgen_bench.evaluation.scores import Scores, typed
from ltgen_bench.files import write_whole

CURVE_FILE = "curve.csv"
COSTS = ("images", "flops", "seconds")  # of training so far


class Point(NamedTuple):
    """Scores of the averaged weights after so many training images, operations and seconds."""

    images: int
    flops: float
    seconds: float
    scores: Scores


def curve_table(points: Sequence[Point]) -> pd.DataFrame:
    """The tables of scores below each other, with COSTS in front of each row."""
    frames = []
    for point in points:
        table = point.scores.table.copy()
        costs: dict[str, Any] = dict(zip(COSTS, point, strict=False))
        frames.append(table.assign(**costs)[[*costs, *table.columns]])
    return pd.concat(frames, ignore_index=True)


def save_curve(curve: pd.DataFrame, folder: Path) -> Path:
    """Write `curve.csv` into `folder`, floats to the last digit; returns its path."""
    path = folder / CURVE_FILE
    write_whole(path, lambda part: curve.to_csv(part, index=False, lineterminator="\n"))
    return path


def load_curve(path: Path) -> pd.DataFrame:
    """Read what `save_curve` wrote. A missing or foreign file is a `UserError`."""
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = typed(text.drop(columns=list(COSTS)))
        for place, (name, read) in enumerate(zip(COSTS, (int, float, float), strict=True)):
            table.insert(place, name, [read(cell) for cell in text[name]])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not the curve of a run ({error}); repeat the run's command to write it again.") from error
    return table
