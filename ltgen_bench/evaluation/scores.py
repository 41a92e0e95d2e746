"""The scores of one set of samples: one tidy table, and the protocol behind every row."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.files import CURE, read_checked_json, write_text
from ltgen_bench.core.plain_text import csv_plain, csv_safe, printable

TEXT, NUMBER, COUNT = "text", "number", "count"

COLUMN_KINDS: dict[str, str] = {
    "metric": TEXT,  # name in the registry METRICS
    "extractor": TEXT,  # classifier, inception; of downstream_*: the trained network
    "train_data": TEXT,  # of downstream_*: real-lt, synthetic, real-lt+synthetic; else empty
    "protocol": TEXT,  # id of the measurement, 8 hex digits
    "scope": TEXT,  # all, many@thirds, ..., few@count, class
    "label": COUNT,  # of scope "class"
    "class_name": TEXT,  # likewise
    "value": NUMBER,  # NaN: not available, and `note` says why
    "uncertainty": NUMBER,  # KID: sd over subsets (all) or jackknife standard error; IS: sd over splits
    "floor_half": NUMBER,  # the same score, real half against real half
    "half_n": COUNT,  # images in each of these halves
    "half_sd": NUMBER,  # sd of the score over random halvings, where there are several
    "at_half": NUMBER,  # the score at that number, where it is another than its own and the metric depends on it
    "floor_test": NUMBER,  # the same score of held-out real images
    "test_n": COUNT,  # how many of them
    "at_test": NUMBER,  # likewise the score of as many generated images
    "n_real": COUNT,  # real images that entered
    "n_generated": COUNT,  # generated images that entered
    "note": TEXT,
    "wanted": COUNT,  # images on a side that are enough for the metric
    "few": TEXT,  # which sides have fewer, in words
}
COLUMNS = tuple(COLUMN_KINDS)
LATER = ("half_n", "half_sd", "at_half", "test_n", "at_test", "wanted", "few")  # earlier tables lack some; empty there
REST_KINDS = {"protocols": dict, "extractor_weights": dict, "preset": str, "departures": list, "confusions": dict, "notes": list}
_DTYPES = {TEXT: "str", NUMBER: "float64", COUNT: "Int64"}
_EMPTY: dict[str, Any] = {TEXT: "", NUMBER: float("nan"), COUNT: None}


@dataclass(frozen=True)
class Scores:
    """`table` has exactly the columns COLUMNS; `protocols` maps each id in it to its description.

    `extractor_weights` maps each extractor that was used to the SHA-256 of its weights. `confusions` maps an extractor that
    classifies the classes to a K x K table: row c are the shares of the images made for class c that it sees as each class
    (-1 throughout where there are none). `preset` names the rules that the
    measurement was asked to follow, `departures` says where it does not. `notes` are sentences on what the scores do not say of
    the images: copies and repeats among them, labels that contradict them.
    """

    table: pd.DataFrame
    protocols: dict[str, dict[str, Any]] = field(default_factory=dict)
    extractor_weights: dict[str, str] = field(default_factory=dict)
    preset: str = ""
    departures: list[str] = field(default_factory=list)
    confusions: dict[str, list[list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]], protocols: Mapping[str, dict[str, Any]],
                  extractor_weights: Mapping[str, str] = MappingProxyType({}), *, preset: str = "",
                  departures: Sequence[str] = (), notes: Sequence[str] = (),
                  confusions: Mapping[str, list[list[float]]] = MappingProxyType({})) -> "Scores":
        """A table of `rows`, each a mapping of some of COLUMNS; what a row leaves out is empty."""
        for row in rows:
            unknown = set(row) - set(COLUMNS)
            assert not unknown, f"a row of scores has unknown columns: {sorted(unknown)}"
        columns = {name: pd.Series([row.get(name, _EMPTY[kind]) for row in rows], dtype=_DTYPES[kind])
                   for name, kind in COLUMN_KINDS.items()}
        return cls(pd.DataFrame(columns), dict(protocols), dict(extractor_weights), preset, list(departures),
                   dict(confusions), list(notes))

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> "Scores":
        """The scores of all rules of one preset in one table; a measurement that two rules share stands there once."""
        table = pd.concat([part.table for part in parts], ignore_index=True)
        table = table.drop_duplicates(["metric", "extractor", "train_data", "protocol", "scope", "label"], ignore_index=True)
        return cls(table, {key: text for part in parts for key, text in part.protocols.items()},
                   {key: sha for part in parts for key, sha in part.extractor_weights.items()}, parts[0].preset,
                   list(dict.fromkeys(sentence for part in parts for sentence in part.departures)),
                   {key: table for part in parts for key, table in part.confusions.items()},
                   list(dict.fromkeys(sentence for part in parts for sentence in part.notes)))

    def save(self, path: Path) -> None:
        """Write the table as CSV, and the rest beside it as `<stem>.protocols.json`. Floats keep every digit."""
        rest: dict[str, Any] = {"protocols": self.protocols, "extractor_weights": self.extractor_weights}
        if self.preset:
            rest |= {"preset": self.preset, "departures": self.departures}
        if self.confusions:
            rest["confusions"] = self.confusions
        if self.notes:
            rest["notes"] = self.notes
        write_text(protocols_path(path), json.dumps(rest, indent=2, sort_keys=True) + "\n")
        write_text(path, csv_text(self.table))

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote; without the file beside it, `protocols` and `extractor_weights` are empty.

        Raises `UserError` for a file that is missing or no table of scores, and `DamagedError` for a broken one beside it.
        """
        try:
            table = typed(read_cells(path))
        except FileNotFoundError:
            raise UserError(f"there are no scores at {path}; repeat the command that measures them.") from None
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is not a table of scores ({error}); delete it and measure again.") from error
        beside = protocols_path(path)
        rest = read_checked_json(beside) if beside.is_file() else {}
        for name, kind in REST_KINDS.items():
            if not isinstance(rest.get(name, kind()), kind):
                raise DamagedError(f"{beside} is damaged ('{name}' is no {kind.__name__}); {CURE}.")
        return cls(table, rest.get("protocols", {}), rest.get("extractor_weights", {}), rest.get("preset", ""),
                   rest.get("departures", []), rest.get("confusions", {}), rest.get("notes", []))


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV, floats to the last digit. Texts are made `printable`, and none is a formula to a spreadsheet."""
    texts = [str(name) for name, kind in table.dtypes.items() if pd.api.types.is_string_dtype(kind)]
    safe = {name: table[name].map(lambda text: csv_safe(printable(text)) if isinstance(text, str) else text) for name in texts}
    return str(table.assign(**safe).to_csv(index=False, lineterminator="\n"))


def read_cells(path: Path) -> pd.DataFrame:
    """The table of a CSV as the texts that stand there. A broken file is a `ValueError`."""
    return pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")), dtype=str, keep_default_na=False)


def typed(text: pd.DataFrame) -> pd.DataFrame:
    """A table of texts, as a CSV holds it, with the types of COLUMN_KINDS. Other columns are a `ValueError`.

    A table of an earlier version lacks some of LATER, and gets them empty.
    """
    if not text.index.equals(pd.RangeIndex(len(text))):
        raise ValueError("its rows have more cells than its header")
    if tuple(text.columns) != tuple(name for name in COLUMNS if name in text.columns or name not in LATER):
        raise ValueError(f"its columns are {', '.join(map(str, text.columns))}")
    text = text.assign(**{name: "" for name in LATER if name not in text.columns})[list(COLUMNS)]
    return pd.DataFrame({name: _parsed(text[name], kind) for name, kind in COLUMN_KINDS.items()})


def _parsed(cells: "pd.Series[str]", kind: str) -> "pd.Series[Any]":
    """Cells of a CSV as their column's type, by Python's own reading of numbers, which loses no digit."""
    if kind == TEXT:
        return cells.map(csv_plain).astype("str")
    if not all(cell.isascii() for cell in cells):
        raise ValueError(f"{next(cell for cell in cells if not cell.isascii())!r} is not a number")
    read = float if kind == NUMBER else int
    return pd.Series([read(cell) if cell else _EMPTY[kind] for cell in cells], dtype=_DTYPES[kind])


def protocols_path(path: Path) -> Path:
    """Return the path to which `Scores.save(path)` writes the protocols."""
    return path.with_suffix(".protocols.json")
