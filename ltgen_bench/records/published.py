"""What papers print: reading and checking the published numbers, and any CSV of the same form that a user gives."""

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ltgen_bench.errors import UserError, did_you_mean
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.files import shipped_folder
from ltgen_bench.records.stated import extractor, group_rule, reference_set, sampler

REQUIRED = ("paper_id", "method", "dataset", "imbalance_factor", "split", "metric", "value")
OPTIONAL = (
    "train_data",
    "classifier",
    "unit_note",
    "n_samples",
    "reference",
    "steps",
    "guidance",
    "sampler",
    "source",
    "reported_by",
    "retrieved_from",
    "value_std",
    "method_origin",
    "evidence",
    "secondary",
    "notes",
)
FILLED = ("paper_id", "method", "split", "metric")  # the data set may be missing: a few tables name none
NUMBERS = {  # column -> (whole, smallest allowed)
    "value": (False, -math.inf),
    "value_std": (False, 0.0),
    "imbalance_factor": (False, 1.0),
    "n_samples": (True, 1.0),
    "steps": (True, 1.0),
    "guidance": (False, 0.0),
}
KEY = (
    "paper_id",
    "method",
    "dataset",
    "imbalance_factor",
    "split",
    "metric",
    "unit_note",
    "n_samples",
    "guidance",
    "sampler",
    "reference",
    "steps",
    "train_data",
    "classifier",
)
EXTRA_METRICS = ("ifid", "fid_clip", "ifid_clip", "fid_delta_vs_cbdm", "accuracy")
ALIASES = {"t2h": "oc", "oclt": "oc", "mutual-learning-igd": "igd-ml"}
ALL_COLUMNS = (*REQUIRED, *OPTIONAL)


def read_leaderboard(path: str | Path) -> pd.DataFrame:
    """Read and check one CSV of published numbers: one row a result, columns as in `results/published/README.md`.

    Beside the file's columns (missing optional ones empty) the frame has `printed` (the value as the file writes it),
    `canonical` (the value in this program's units: KID raw, accuracies as fractions), `method_key` (the alias: a name like
    the registry's, so that DDPM with guidance above 0 is `cfg`), `second_hand`, `row` (as in the file, the header being row
    1) and `leaderboard` (the file's name); and the protocol fields that a row states, empty where it does not: `images`
    (generated), `reference_set` (train, test, longtail), `extractor` (inception, clip), `group_rule` (thirds, count),
    `sampler_name` and `sampler_steps`, `omega` (its guidance), `train_steps` (the file's `steps`).
    Raises `UserError` with every fault of the file: row, column, cure.
    """
    path = Path(path)
    header, records = _read(path)
    problems = _header_problems(header)
    if not problems:
        problems = [*_cell_problems(header, records), *_duplicates(header, records)]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError(f"{path} has {count}", problems)
    return _frame(path, [(row, dict(zip(header, cells, strict=True))) for row, cells in records])


def published() -> pd.DataFrame:
    """Every number of `results/published/`, generation and downstream, as `read_leaderboard` gives them."""
    folder = shipped_folder("results") / "published"
    frames = [read_leaderboard(folder / name) for name in ("generation.csv", "downstream.csv")]
    return pd.concat(frames, ignore_index=True)


def read_papers() -> pd.DataFrame:
    """`results/published/papers.csv`, one row a paper, all text; the index is `paper_id`."""
    path = shipped_folder("results") / "published" / "papers.csv"
    return pd.read_csv(path, dtype="str", keep_default_na=False, index_col="paper_id")


def known_metrics() -> list[str]:
    """The metrics that a leaderboard may name: the registered ones and those that only papers print."""
    return sorted({*METRICS, *EXTRA_METRICS})


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and (row number, cells) of every row that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no leaderboard file {path}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 (byte {error.start}); save it as CSV in UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}.") from error
    if not text.strip():
        raise UserError(f"{path} is empty; its first row must name the columns: {', '.join(REQUIRED)}.")
    if "\0" in text:
        raise UserError(f"{path} is not a CSV file (it holds null bytes); save it as CSV in UTF-8.")
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file ({error}); save it as CSV in UTF-8.") from error
    stripped = [[cell.strip() for cell in cells] for cells in table]
    records = [(row, cells) for row, cells in enumerate(stripped, start=1) if any(cells)]
    first = records[0][0]
    return records[0][1], [(row - first + 1, cells) for row, cells in records[1:]]


def _header_problems(header: list[str]) -> list[str]:
    if len(header) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if mark in header[0]:
                return [f"row 1: the columns are separated by {name}; separate them by commas"]
    problems = [f"row 1: the column '{name}' is missing" for name in REQUIRED if name not in header]
    seen: set[str] = set()
    for name in header:
        if name in seen:
            problems.append(f"row 1: the column '{name}' is there twice")
        elif name not in ALL_COLUMNS:
            problems.append(
                f"row 1: unknown column '{name}'.{did_you_mean(name, ALL_COLUMNS)} Known: {', '.join(ALL_COLUMNS)}"
            )
        seen.add(name)
    return problems


def _cell_problems(header: list[str], records: list[tuple[int, list[str]]]) -> Iterator[str]:
    metrics = known_metrics()
    for row, cells in records:
        if len(cells) != len(header):
            yield (
                f"row {row}: {len(cells)} cells where the header has {len(header)} "
                "(put a text with a comma into double quotes)"
            )
            continue
        for column, text in zip(header, cells, strict=True):
            problem = _problem(column, text, metrics)
            if problem:
                yield f"row {row}, {column}: {problem}"


def _problem(column: str, text: str, metrics: list[str]) -> str:
    """What is wrong with one cell, or an empty text."""
    if not text:
        return "the cell is empty, and is needed" if column in FILLED else ""
    if column in NUMBERS:
        return _number_problem(text, *NUMBERS[column])
    if column == "metric" and text not in metrics:
        return f"unknown metric '{text}'.{did_you_mean(text, metrics)} Known: {', '.join(metrics)}"
    if column == "secondary" and text not in ("yes", "no"):
        return f"'{text}' is neither yes nor no"
    return ""


def _number_problem(text: str, whole: bool, smallest: float) -> str:
    try:
        number = float(text) if "_" not in text else math.nan  # Python would read 1_000
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return f"'{text}' is not a number (leave the cell empty when it is missing)"
    if whole and number != int(number):
        return f"'{text}' is not a whole number"
    return f"'{text}' is below {smallest:g}" if number < smallest else ""


def _duplicates(header: list[str], records: list[tuple[int, list[str]]]) -> Iterator[str]:
    """Rows that agree in everything but value and provenance: one result that stands there twice."""
    first: dict[tuple[str, ...], int] = {}
    for row, cells in records:
        if len(cells) != len(header):
            continue
        values = dict(zip(header, cells, strict=True))
        key = tuple(_same_number(name, values.get(name, "")) for name in KEY)
        if key in first:
            yield f"rows {first[key]} and {row} are the same result twice"
        first.setdefault(key, row)


def _same_number(column: str, text: str) -> str:
    if column not in NUMBERS or not text or _number_problem(text, False, -math.inf):
        return text
    return repr(float(text))


def _frame(path: Path, records: list[tuple[int, dict[str, str]]]) -> pd.DataFrame:
    frame = pd.DataFrame([values for _, values in records], columns=list(ALL_COLUMNS), dtype="str").fillna("")
    frame["printed"] = frame["value"]
    for name, (whole, _) in NUMBERS.items():
        numbers = pd.to_numeric(frame[name].where(frame[name] != ""), errors="coerce").astype("Float64")
        frame[name] = numbers.astype("Int64") if whole else numbers.astype("float64")
    frame = frame.rename(columns={"steps": "train_steps"})
    frame["canonical"] = frame["value"] * [
        _unit(*pair) for pair in zip(frame["metric"], frame["unit_note"], strict=True)
    ]
    frame["images"], frame["omega"] = frame["n_samples"], frame["guidance"]
    frame["reference_set"] = frame["reference"].map(reference_set)
    frame["extractor"] = [extractor(*pair) for pair in zip(frame["metric"], frame["unit_note"], strict=True)]
    frame["group_rule"] = [group_rule(*pair) for pair in zip(frame["split"], frame["notes"], strict=True)]
    samplers = frame["sampler"].map(sampler)
    frame["sampler_name"] = [name for name, _ in samplers]
    frame["sampler_steps"] = pd.array([steps for _, steps in samplers], dtype="Int64")
    frame["method_key"] = [method_key(*pair) for pair in zip(frame["method"], frame["guidance"], strict=True)]
    frame["second_hand"] = frame["secondary"] == "yes"
    frame["row"] = [row for row, _ in records]
    frame["leaderboard"] = path.name
    return frame


def _unit(metric: str, note: str) -> float:
    """What a printed value is multiplied by to stand in this program's units."""
    if metric == "kid" and note.startswith("x1e-3"):
        return 1e-3
    return 1e-2 if note.startswith("percent") else 1.0


def method_key(method: str, guidance: float) -> str:
    """A paper's name for a method as a name like the registry's.

    Settings in brackets are taken off (`CBDM (tau=1)` is `cbdm`), T2H and OCLT are `oc`, and DDPM with guidance above 0
    is `cfg`, since a network without label drop has no unconditional prediction to guide with.
    """
    plain = re.sub(r"\s*\([^()]*=[^()]*\)$", "", method)
    key = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    key = ALIASES.get(key, key)
    return "cfg" if key == "ddpm" and guidance > 0 else key
