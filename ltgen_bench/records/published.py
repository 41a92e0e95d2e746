"""Reader of published numbers, and of CSV files of the same form from users."""

import math
import re
from pathlib import Path

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.user_tables import read_table
from ltgen_bench.records.leaderboard_cells import ALL_COLUMNS, NUMBERS, REQUIRED, check_cells, known_metrics, number
from ltgen_bench.records.own_tables import is_own, read_own
from ltgen_bench.records.published_fields import extractor, group_rule, reference_set, sampler, unit_factor

__all__ = ["REQUIRED", "known_metrics", "method_key", "published", "read_leaderboard", "read_papers"]
ALIASES = {"t2h": "oc", "oclt": "oc", "mutual-learning-igd": "igd-ml"}
DIGITS = 10  # significant digits of a printed value converted to another unit


def read_leaderboard(path: str | Path) -> pd.DataFrame:
    """Read and check a CSV of published numbers, one row per result, with the columns of `results/published/README.md`.

    The frame has the file's columns (missing optional ones empty) and: `printed` (the value as text), `canonical` (in this
    program's units: KID not multiplied, accuracies as fractions), `method_key` (a name like the registry's: DDPM with
    guidance above 0 is `cfg`), `second_hand`, `row` (of the file, the header being row 1), `leaderboard` (file name), and the
    protocol as far as a row states it: `images` (generated), `reference_set` (train, test, longtail), `extractor` (inception,
    clip), `group_rule` (thirds, count), `sampler_name`, `sampler_steps`, `omega` (guidance), `train_steps` (the file's
    `steps`). `unit` is the factor of `value` and `value_std` to this program's units, `features` the extractor of a number
    measured by this program. Result tables of this program are accepted too, with mean and standard deviation over seeds.
    Raises `UserError` with all faults: row, column, correction.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no leaderboard file {path}.")
    table = read_table(path)
    table = table.map(lambda text: printable(text).strip())
    table = table[(table != "").any(axis=1)]
    if is_own(table):
        return _frame(read_own(path, table), path.name)
    check_cells(table, str(path))
    values = [number(text) if text else math.nan for text in table["value"]]
    units = [unit_factor(note) or 1.0 for note in table.get("unit_note", [""] * len(table))]
    return _frame(table.assign(printed=table["value"], value=values, unit=units, digits=DIGITS, features=""), path.name)


def published() -> pd.DataFrame:
    """Return all numbers of `results/published/`, generation and downstream, in the form of `read_leaderboard`."""
    folder = shipped_folder("results") / "published"
    frames = [read_leaderboard(folder / name) for name in ("generation.csv", "downstream.csv")]
    return pd.concat(frames, ignore_index=True)


def read_papers() -> pd.DataFrame:
    """Return `results/published/papers.csv`: one row per paper, all strings, indexed by `paper_id`."""
    path = shipped_folder("results") / "published" / "papers.csv"
    return pd.read_csv(path, dtype="str", keep_default_na=False, index_col="paper_id")


def _frame(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the columns of `read_leaderboard` for a table with `value`, `printed`, `unit`, `digits` and `features`."""
    frame = table.reindex(columns=[*ALL_COLUMNS, "printed", "unit", "digits", "features"])
    for column in ALL_COLUMNS:
        if column not in NUMBERS:
            frame[column] = frame[column].astype("str").where(frame[column].notna(), "")
    for column, (whole, _, _) in NUMBERS.items():
        numbers = [number(cell) if isinstance(cell, str) else float(cell) for cell in frame[column]]
        frame[column] = pd.array([None if math.isnan(one) else int(one) for one in numbers], dtype="Int64") if whole else \
            pd.Series(numbers, index=frame.index, dtype="float64")
    frame = frame.rename(columns={"steps": "train_steps"})
    frame["row"] = list(table.index)
    frame = frame.reset_index(drop=True)
    frame["canonical"] = frame["value"] * frame["unit"]
    frame["images"], frame["omega"] = frame["n_samples"], frame["guidance"]
    frame["reference_set"] = frame["reference"].map(reference_set)
    stated = [extractor(*pair) for pair in zip(frame["metric"], frame["unit_note"], strict=True)]
    frame["extractor"] = frame["features"].where(frame["features"].ne(""), stated)
    frame["group_rule"] = [group_rule(*pair) for pair in zip(frame["split"], frame["notes"], strict=True)]
    samplers = frame["sampler"].map(sampler)
    frame["sampler_name"] = [name for name, _ in samplers]
    frame["sampler_steps"] = pd.array([steps for _, steps in samplers], dtype="Int64")
    frame["method_key"] = [method_key(*pair) for pair in zip(frame["method"], frame["guidance"], strict=True)]
    frame["second_hand"] = frame["secondary"] == "yes"
    frame["leaderboard"] = name
    return frame


def method_key(method: str, guidance: float) -> str:
    """Return a paper's name of a method as a name like the registry's.

    Settings in brackets are removed (`CBDM (tau=1)` is `cbdm`), T2H and OCLT are `oc`, and DDPM with guidance above 0 is
    `cfg`, since guidance needs an unconditional prediction.
    """
    name = _without_settings(method.strip()).lower()
    key = re.sub(r"[^a-z0-9]+", "-", name).strip("-") or name  # a name in another script may have none of these letters
    key = ALIASES.get(key, key)
    return "cfg" if key == "ddpm" and guidance > 0 else key


def _without_settings(method: str) -> str:
    """Return the name without trailing brackets that hold an equals sign. Linear in the length, since files come from anyone."""
    before, opened, inside = method.removesuffix(")").rpartition("(")
    return before.rstrip() if method.endswith(")") and opened and "=" in inside and ")" not in inside else method
