"""Reader of the result tables of this program (`results/NAME.csv`, a run's `scores.csv`) as rows of a leaderboard."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.plain_text import printable
from ltgen_bench.evaluation.scores import COLUMNS, Scores, protocols_path
from ltgen_bench.records.leaderboard_cells import bounds, known_metrics, shown
from ltgen_bench.records.results_csv import read_measured
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.records.store import ROW_COLUMNS, StoredRun, rows

# columns that identify an entry, besides its seed
ENTRY = ["dataset", "label", "train_digest", "sampler", "steps", "omega", "images_per_class", "preset", "imbalance_factor"]
SCORE_OF = ["metric", "extractor", "train_data", "scope"]
DIGITS = 4  # significant digits that are printed


def is_own(table: pd.DataFrame) -> bool:
    """Return whether a table has the columns of measured results instead of those of a leaderboard."""
    return set(COLUMNS[:5]) | {"value", "note"} <= set(table.columns) and "paper_id" not in table.columns


def read_own(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the results of `path` (cells in `table`) with a leaderboard's columns; the seeds of an entry become their mean.

    Scores with a record beside them (`record.json`) must match its checksums, else `DamagedError` is raised; without a record
    the method is named after the file. Rows of single classes are left out. Raises `UserError` for values outside a metric's
    bounds.
    """
    values = _scores(path) if set(table.columns) <= set(COLUMNS) else read_measured(path)  # earlier ones lack some
    numbers = list(table.index) if len(values) == len(table) else list(range(2, len(values) + 2))
    _check(values, numbers, path)
    protocols = _protocols(path)
    values = values[values["scope"].ne("class")]
    made = values.groupby([*ENTRY, "extractor", "train_data"], sort=False, dropna=False)
    values = values.assign(images=made["n_generated"].transform("max"))
    found = values.groupby([*ENTRY, *SCORE_OF, "protocol"], sort=False, dropna=False).agg(
        value=("value", "mean"), value_std=("value", "std"), seeds=("value", "count"), images=("images", "first")).reset_index()
    found["twins"] = found.groupby([*ENTRY, *SCORE_OF], sort=False, dropna=False)["protocol"].transform("size")
    return _leaderboard(found, protocols, path)


def _scores(path: Path) -> pd.DataFrame:
    """Return the rows of a run's table of scores, checked against its record where there is one."""
    files = ScoreFiles(path.parent)
    if files.exist:
        record, _ = files.read()
        if path == files.table:
            return rows([StoredRun(RunFolder(path.parent), "finished", record, files)])
    scores = Scores.load(path)
    name = path.stem if path.stem != "scores" else path.resolve().parent.name
    texts = scores.table.rename(columns={"label": "class_label"}).assign(dataset="", method=name, label=name)
    return texts.reindex(columns=ROW_COLUMNS).assign(seed=0, sampler="", preset="", train_digest="")


def _protocols(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return protocol id -> description, from the file next to the table; empty where there is none."""
    try:
        values = json.loads(protocols_path(path).read_text(encoding="utf-8"))
        values = values.get("protocols", values)
        return {one: own for one, own in values.items() if isinstance(own, dict)}
    except (OSError, ValueError, AttributeError):
        return {}


def _check(values: pd.DataFrame, numbers: list[int], path: Path) -> None:
    problems, metrics = [], known_metrics()
    for row, metric, value in zip(numbers, values["metric"], values["value"], strict=True):
        if metric not in metrics:
            problems.append(f"row {row}, metric: unknown metric '{shown(printable(metric))}'")
        elif not math.isnan(value):
            low, high = bounds(metric)
            if not (math.isfinite(value) and low - 1e-6 <= value <= high + 1e-6):
                problems.append(f"row {row}, value: {value:g} is outside {low:g} to {high:g}, where {metric} lies")
    if problems:
        raise UserError(f"{path} holds values that cannot have been measured", problems)


def _leaderboard(found: pd.DataFrame, protocols: Mapping[str, Mapping[str, Any]], path: Path) -> pd.DataFrame:
    """Return scores (a row for each score of an entry under a protocol, over its seeds) with a leaderboard's columns."""
    scope, trained = found["scope"].str.partition("@"), found["train_data"].ne("")
    samplers = zip(found["sampler"], found["steps"], strict=True)
    sources = zip(found["seeds"], found["twins"], found["protocol"], strict=True)
    table = pd.DataFrame({
        "paper_id": path.stem, "method": found["label"], "split": scope[0].where(scope[2].isin(["", "thirds"]), found["scope"]),
        "printed": found["value"].map(f"{{:.{DIGITS}g}}".format), "unit": 1.0, "digits": DIGITS,
        "features": found["extractor"].mask(trained, ""), "classifier": found["extractor"].where(trained, ""),
        "n_samples": found["images"].astype(float), "guidance": found["omega"].astype(float),
        "reference": [str(protocols.get(one, {}).get("reference", "")) for one in found["protocol"]],
        "sampler": [f"{name}-{int(steps)}" if name and pd.notna(steps) else name for name, steps in samplers],
        "source": [", ".join([path.name, *([f"{seeds} seeds"] if seeds > 1 else []), *([f"protocol {one}"] if twins > 1 else [])])
                   for seeds, twins, one in sources],
        "reported_by": path.stem, "evidence": found["train_digest"], "secondary": "no",
        "notes": scope[2].map({"thirds": "splits are thirds", "count": "splits are by count"}).fillna(""),
    })
    same = found[["dataset", "imbalance_factor", "metric", "value", "value_std", "train_data"]]
    return pd.concat([same, table], axis=1).set_axis(range(2, len(found) + 2))
