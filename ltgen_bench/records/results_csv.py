"""What this code measured, as the files in `results/`: one CSV a data set, and what its protocol ids stand for."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder, write_text
from ltgen_bench.core.plain_text import csv_plain
from ltgen_bench.evaluation.scores import LATER, csv_text, protocols_path
from ltgen_bench.records.store import LATER_COLUMNS, ROW_COLUMNS, UNKNOWN_TYPES

COUNTS = [name for name, kind in UNKNOWN_TYPES.items() if kind == "Int64"]
AMOUNTS = [name for name, kind in UNKNOWN_TYPES.items() if kind == "Float64"]
WHOLE = ["class_label", "class_count", "n_real", "n_generated", "half_n", "test_n", "wanted", *COUNTS]
NUMBERS = ["value", "uncertainty", "floor_half", "at_half", "floor_test", "at_test", "imbalance_factor"]


def measured_csv(rows: pd.DataFrame, path: Path, protocols: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Write `rows` (of `records.rows`) to `path`, floats to the last digit; returns `path`.

    With `protocols` (id -> description), those that occur go to `<path without .csv>.protocols.json` beside it.
    """
    write_text(path, csv_text(rows[ROW_COLUMNS]))
    if protocols is not None:
        used = {key: protocols[key] for key in sorted(set(rows["protocol"])) if key in protocols}
        write_text(protocols_path(path), json.dumps(used, indent=1, sort_keys=True, default=str) + "\n")
    return path


def read_measured(path: Path) -> pd.DataFrame:
    """Read what `measured_csv` wrote, with the types of `records.rows`. A missing or foreign file is a `UserError`.

    A file from before there were presets has none, one from before there were reference rows has runs alone, and of floors of
    earlier versions the number of images is not known.
    """
    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False).map(csv_plain)
        later = dict.fromkeys(LATER, "") | LATER_COLUMNS
        frame = frame.assign(**{name: text for name, text in later.items() if name not in frame.columns})
        missing = [name for name in ROW_COLUMNS if name not in frame.columns]
        if missing:
            raise UserError(
                f"{path} is no table of measured results: it has no column '{missing[0]}'. "
                "ltgen-bench report --update-benchmark writes one."
            )
        for name in WHOLE:
            frame[name] = pd.array([int(text) if text else None for text in frame[name]], dtype="Int64")
        frame["seed"] = [int(text) for text in frame["seed"]]
        for name in AMOUNTS:
            frame[name] = pd.array([float(text) if text else None for text in frame[name]], dtype="Float64")
        for name in NUMBERS:  # Python's float reads back the very number that repr wrote, whatever pandas' parser does
            frame[name] = pd.Series([float(text) if text else math.nan for text in frame[name]], dtype="float64")
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path} could not be read as a table of measured results: {error}.") from error
    return frame[ROW_COLUMNS]


def shipped_protocols() -> dict[Path, dict[str, dict[str, Any]]]:
    """Each `*.protocols.json` of the shipped `results/` -> its protocols (id -> description)."""
    files = sorted(shipped_folder("results").glob("*.protocols.json"))
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in files}
