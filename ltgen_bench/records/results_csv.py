"""Measured results as CSV files in `results/`: scores, runs, and descriptions of the protocol ids, per data set."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder, write_text
from ltgen_bench.core.plain_text import csv_plain
from ltgen_bench.evaluation.scores import LATER, csv_text, protocols_path, read_cells
from ltgen_bench.records.store import ENTRY_COLUMNS, LATER_COLUMNS, ORIGIN_COLUMNS, ROW_COLUMNS, UNKNOWN_TYPES

COUNTS = [name for name, kind in UNKNOWN_TYPES.items() if kind == "Int64"]
AMOUNTS = [name for name, kind in UNKNOWN_TYPES.items() if kind == "Float64"]
WHOLE = ["class_label", "class_count", "n_real", "n_generated", "half_n", "test_n", "wanted", *COUNTS]
NUMBERS = ["value", "uncertainty", "floor_half", "half_sd", "at_half", "floor_test", "at_test", "imbalance_factor"]
RUN_KEY = ["run", "score_digest"]  # the columns that say of which run a row is: the folder, and which of its sets of scores
RUN_COLUMNS = [*RUN_KEY, *(name for name in (*ENTRY_COLUMNS, *LATER_COLUMNS, *ORIGIN_COLUMNS) if name not in RUN_KEY)]


def measured_csv(rows: pd.DataFrame, path: Path, protocols: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Write `rows` (of `records.rows`) to `path`, and what they share to the files next to it; returns `path`.

    `path` has the scores, floats to the last digit, and the columns RUN_KEY. `runs_path(path)` has one row per run:
    RUN_COLUMNS, among them settings, digests, versions, hardware and command. The descriptions of the ids in `protocols` that
    occur go to `<path without .csv>.protocols.json`.
    """
    runs = rows[RUN_COLUMNS].drop_duplicates(ignore_index=True)
    twice = runs.loc[runs.duplicated(RUN_KEY), "run"]
    assert twice.empty, f"two runs have one folder and one digest: {twice.iloc[0]}"
    write_text(runs_path(path), csv_text(runs))
    write_text(path, csv_text(rows[[*RUN_KEY, *(name for name in ROW_COLUMNS if name not in RUN_COLUMNS)]]))
    if protocols is not None:
        used = {key: protocols[key] for key in sorted(set(rows["protocol"])) if key in protocols}
        write_text(protocols_path(path), json.dumps(used, indent=1, sort_keys=True, default=str) + "\n")
    return path


def runs_path(path: Path) -> Path:
    """Return the path of the table of runs of a table of results: `digits-lt.runs.csv` for `digits-lt.csv`."""
    return path.with_suffix(".runs.csv")


def read_measured(path: Path) -> pd.DataFrame:
    """Read results that `measured_csv` wrote, with columns and types of `records.rows`. Raises `UserError`.

    Files of earlier versions, which repeat a run's columns in every row and have no table of runs, are accepted. Missing
    columns get the value that holds for their results.
    """
    try:
        frame = _with_runs(read_cells(path).map(csv_plain), path)
        later = dict.fromkeys(LATER, "") | LATER_COLUMNS
        frame = frame.assign(**{name: text for name, text in later.items() if name not in frame.columns})
        missing = [name for name in ROW_COLUMNS if name not in frame.columns]
        if missing:
            raise UserError(f"{path} is no table of measured results: it has no column '{missing[0]}'. ltgen-bench report "
                            "--update-benchmark writes one.")
        kinds: tuple[tuple[list[str], Any, type, Any], ...] = (
            (WHOLE, "Int64", int, None), (AMOUNTS, "Float64", float, None), (NUMBERS, "float64", float, math.nan))
        for names, kind, read, absent in kinds:
            for name in names:  # Python's float reads back the very number that repr wrote, whatever pandas' parser does
                frame[name] = pd.array([read(text) if text else absent for text in frame[name]], dtype=kind)
        frame["seed"] = [int(text) for text in frame["seed"]]
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path} could not be read as a table of measured results: {error}.") from error
    return frame[ROW_COLUMNS]


def _with_runs(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the rows joined with the table of runs next to `path`; a table of an earlier version unchanged."""
    if "command" in frame.columns or not set(RUN_KEY) <= set(frame.columns):
        return frame
    beside = runs_path(path)
    if not beside.is_file():
        raise UserError(f"{path} names its runs, and their table {beside.name} is missing; put it into the same folder.")
    runs = read_cells(beside).map(csv_plain)
    if not set(RUN_KEY) <= set(runs.columns) or runs.duplicated(RUN_KEY).any():
        raise UserError(f"{beside} is not the table of runs of {path.name}: it needs one row for each pair of "
                        f"{' and '.join(RUN_KEY)}.")
    joined = frame.merge(runs, on=RUN_KEY, how="left", indicator="found")
    unknown = joined.loc[joined.pop("found").eq("left_only"), "run"]
    if len(unknown):
        raise UserError(f"{beside} has no row for the run {unknown.iloc[0]} that {path.name} names; copy both files together.")
    return joined


def shipped_protocols() -> dict[Path, dict[str, dict[str, Any]]]:
    """Return file -> its protocols (id -> description), for each `*.protocols.json` of the shipped `results/`."""
    files = sorted(shipped_folder("results").glob("*.protocols.json"))
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in files}
