"""Validation of leaderboard files: allowed columns and values, with the faults by row and column."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence

import pandas as pd

from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.core.words import counted
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.records.published_fields import unit_factor

REQUIRED = ("paper_id", "method", "dataset", "imbalance_factor", "split", "metric", "value")
ALL_COLUMNS = (*REQUIRED, "train_data", "classifier", "unit_note", "n_samples", "reference", "steps", "guidance", "sampler",
               "source", "reported_by", "retrieved_from", "value_std", "method_origin", "evidence", "secondary", "notes")
KEY = tuple(name for name in ALL_COLUMNS[:ALL_COLUMNS.index("source")] if name != "value")  # what makes two rows one result
FILLED = ("paper_id", "method", "split", "metric")  # the data set may be missing: a few tables name none
NUMBERS = {  # column -> (whole, smallest and largest allowed)
    "value": (False, -math.inf, math.inf), "value_std": (False, 0.0, math.inf), "imbalance_factor": (False, 1.0, 1e9),
    "n_samples": (True, 1.0, 1e12), "steps": (True, 1.0, 1e12), "guidance": (False, 0.0, 1e6),
}
EXTRA_METRICS = {  # bounds of metrics that only papers print
    "ifid": (0.0, math.inf), "fid_clip": (0.0, math.inf), "ifid_clip": (0.0, math.inf),
    "fid_delta_vs_cbdm": (-math.inf, math.inf), "accuracy": (0.0, 1.0),
}
MOST_NAMES = {"dataset": 200, "split": 100}
LARGEST_UNSTATED = 500.0  # limit for metrics that papers print scaled (KID x1e3): a larger value without a unit is refused
ROUNDING = 1e-9


def known_metrics() -> list[str]:
    """Return the metrics that a leaderboard may name: the registered ones and those that only papers print."""
    return sorted({*METRICS, *EXTRA_METRICS})


def check_cells(table: pd.DataFrame, where: str) -> None:
    """Raise a `UserError` with all faults of a leaderboard (strings, indexed by row of the file)."""
    problems = _header_problems([str(name) for name in table.columns])
    if not problems:
        problems = [*_cell_problems(table), *_duplicates(table), *_too_many(table)]
    if problems:
        raise UserError(f"{where} has {counted(len(problems), 'problem')}", problems)


def _header_problems(header: Sequence[str]) -> list[str]:
    return [*(f"row 1: the column '{name}' is missing" for name in REQUIRED if name not in header),
            *(f"row 1: unknown column '{shown(name)}'.{did_you_mean(name, ALL_COLUMNS)} Known: {', '.join(ALL_COLUMNS)}"
              for name in header if name not in ALL_COLUMNS)]


def _cell_problems(table: pd.DataFrame) -> Iterator[str]:
    metrics = known_metrics()
    for row, cells in zip(table.index, table.to_dict("records"), strict=True):
        found = [(column, problem) for column, text in cells.items() if (problem := _problem(str(column), text, metrics))]
        for column, problem in found or _value_problems(cells):
            yield f"row {row}, {column}: {problem}"


def _problem(column: str, text: str, metrics: list[str]) -> str:
    """Return what is wrong with one cell, or an empty text."""
    if not text:
        return "the cell is empty, and is needed" if column in FILLED else ""
    if column in NUMBERS:
        return _number_problem(text, *NUMBERS[column])
    if column == "metric" and text not in metrics:
        return f"unknown metric '{shown(text)}'.{did_you_mean(text, metrics)} Known: {', '.join(metrics)}"
    if column == "secondary" and text not in ("yes", "no"):
        return f"'{shown(text)}' is neither yes nor no"
    return ""


def shown(text: str, most: int = 60) -> str:
    """Return a cell, cut to `most` characters, for use in a message."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(text: str) -> float:
    """Return the number in a cell (ASCII digits without grouping); NaN where there is none."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def _number_problem(text: str, whole: bool, smallest: float, largest: float) -> str:
    value = number(text)
    if not math.isfinite(value):
        return f"'{shown(text)}' is not a number (leave the cell empty when it is missing; digits are 0 to 9)"
    if whole and value != int(value):
        return f"'{shown(text)}' is not a whole number"
    if value < smallest:
        return f"'{shown(text)}' is below {smallest:g}"
    return f"'{shown(text)}' is above {largest:g}" if value > largest else ""


def _value_problems(cells: Mapping[Hashable, str]) -> Iterator[tuple[str, str]]:
    """Yield (column, what is wrong) for the unit of a row with valid cells, and for its value in that unit."""
    metric, text, note = cells["metric"], cells["value"], cells.get("unit_note", "")
    low, high = bounds(metric)
    scale = METRICS[metric].scale if metric in METRICS else 1.0
    try:
        stated = unit_factor(note)
    except ValueError as error:
        yield "unit_note", str(error)
        return
    if stated not in (None, 1.0) and scale == 1 and high != 1:
        yield "unit_note", f"{metric} has no unit, and '{shown(note)}' names one; write the plain value and leave the unit out"
    if not text:
        return
    value = number(text) * (stated or 1.0)
    if stated is None and scale != 1 and abs(value) * scale > LARGEST_UNSTATED:
        yield "value", (f"'{text}' is too large for a plain {metric}; say in the column unit_note what it is printed in: "
                        f"x{scale:g}, or raw where it is meant so")
    spread = number(cells.get("value_std") or "0") * (stated or 1.0)
    if value < low - ROUNDING:
        yield "value", f"'{text}' is below {low:g}, the least that {metric} can be"
    elif value > high + ROUNDING:
        percent = f"; write {number(text) / 100:g}, or percent into the column unit_note" if stated is None and high == 1 else ""
        unit = f" in that unit ({shown(note)})" if stated not in (None, 1.0) else ""
        yield "value", f"'{text}'{unit} is above {high:g}, the most that {metric} can be{percent}"
    elif spread > high - low:
        yield "value_std", f"'{cells['value_std']}' is more than {metric} can spread ({high - low:g}), in the unit of the value"


def bounds(metric: str) -> tuple[float, float]:
    """Return the smallest and largest value that a metric can have, in this program's units."""
    return METRICS[metric].bounds if metric in METRICS else EXTRA_METRICS[metric]


def _duplicates(table: pd.DataFrame) -> Iterator[str]:
    """Yield rows that agree in everything but value and provenance: one result that is given twice."""
    cells = pd.DataFrame({name: [_same_number(name, text) for text in table[name]] for name in KEY if name in table}, table.index)
    first = cells.index.to_series().groupby([cells[name] for name in cells]).transform("first")
    yield from (f"rows {before} and {row} are the same result twice" for row, before in first.items() if row != before)


def _too_many(table: pd.DataFrame) -> Iterator[str]:
    """Yield messages on too many data sets (each becomes a table) or splits (each becomes a column)."""
    for column, most in MOST_NAMES.items():
        names = table[column].drop_duplicates()
        if len(names) > most:
            yield f"row {names.index[most]}, {column}: more than {most} different ones; give the others in a file of their own"


def _same_number(column: str, text: str) -> str:
    value = number(text) if column in NUMBERS and text else math.nan
    return repr(value) if math.isfinite(value) else text
