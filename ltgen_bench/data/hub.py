"""Data sets of the Hugging Face hub, through its library `datasets` (the extra `hub`)."""

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import read_plain
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.core.words import some
from ltgen_bench.data.class_names import in_order
from ltgen_bench.data.listing import Listing, Part, hold_out
from ltgen_bench.data.npz import HIGHEST_LABEL
from ltgen_bench.data.parts import Parts, choose_parts


@dataclass(frozen=True)
class HubListing(Listing):
    """Listing of a data set on the hub, whose rows are files called `train/0`, `train/1`, ..., after their split.

    `columns` maps each split to its rows with the encoded image alone; `fingerprints` are the names of the columns and the
    fingerprints that `datasets` gives to the splits.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    fingerprints: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Text that identifies the content; it changes with the revision of the data set."""
        return "|".join((self.where, *self.fingerprints))

    def content(self, file: str) -> bytes:
        """Return the encoded image of a row, or of the file that the row names. Raises `OSError`."""
        split, _, row = file.partition("/")
        (image,) = self.columns[split][int(row)].values()
        if image is None or (image["bytes"] is None and image["path"] is None):
            raise OSError("the row has no image")
        return bytes(image["bytes"]) if image["bytes"] is not None else read_plain(image["path"])


def list_hub(name: str, columns: tuple[str, str] | None, progress: Progress, test_part: str | None = None) -> HubListing:
    """List the splits `train` and `test` (or another, by the rules of `choose_parts`) of `NAME` or `NAME:CONFIG`.

    NAME is on the hub, or a local folder of that form. `columns` are the image and the label column; without them the only image
    column, and the only one of class labels or integers. Raises `UserError` where the library is missing, the data set cannot be
    loaded, or columns and labels do not fit.
    """
    where = f"hub:{name}"
    splits = _load(name, where, progress)
    parts = choose_parts(splits, test_part, where, word="split")
    used = {split: splits[split] for split in parts.named}
    image, label = _columns(used[parts.train].features, columns, where)
    class_names, labels = _labels(used, label, where, parts)
    rows = [_rows_of(split, own) for split, own in labels.items()]
    train, test = rows if len(rows) == 2 else hold_out(rows[0], parts.test)
    return HubListing(where, Path(where), "hub", class_names, train, test, (), parts.test, parts.unread, _undecoded(used, image),
                      (image, label, *(str(data._fingerprint) for data in used.values())))


def _load(name: str, where: str, progress: Progress) -> dict[str, Any]:
    """Return the splits of `datasets`, downloaded where they are not in its cache."""
    datasets = _library(where)
    path, _, configuration = name.partition(":")
    local = user_path(path, where)
    if not local.exists():
        progress.say(f"asking the Hugging Face hub for {path}; what is not in its cache is downloaded")
    try:
        with _quiet(datasets, progress):
            return dict(datasets.load_dataset(str(local) if local.exists() else path, configuration or None))
    except ConnectionError as error:
        raise UserError(f"{where} could not be fetched ({error}); check the network and the name, or give a folder with the "
                        "files of the data set as hub:FOLDER.") from error
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"{where} could not be loaded ({_first_line(error)}); a data set of the hub is written hub:NAME or "
                        "hub:NAME:CONFIG, as in hub:ylecun/mnist.") from error


def _library(where: str) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError:
        raise UserError(f"{where} needs the library datasets, which is not installed: pip install \"ltgen-bench[hub]\"") from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0].rstrip('.')}"


@contextmanager
def _quiet(datasets: Any, progress: Progress) -> Iterator[None]:
    """Disable the library's log, and its progress bars unless they would be displayed; it raises its errors anyway."""
    hidden = (progress is SILENT or not sys.stderr.isatty()) and not datasets.are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    try:
        if hidden:
            datasets.disable_progress_bars()
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        if hidden:
            datasets.enable_progress_bars()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _columns(features: Mapping[str, Any], given: tuple[str, str] | None, where: str) -> tuple[str, str]:
    """Return (image column, label column), as given or as detected."""
    def of(kind: str, dtype: str = "") -> list[str]:
        return [name for name, feature in features.items()
                if type(feature).__name__ == kind and dtype in str(getattr(feature, "dtype", ""))]

    images, classes, numbers, texts = of("Image"), of("ClassLabel"), of("Value", "int"), of("Value", "string")
    floats = of("Value", "float")  # integer columns with missing rows are often written so; `_cells` reports that
    if given is not None:
        for name, allowed, kind in ((given[0], images, "images"), (given[1], classes + numbers + texts + floats, "labels")):
            if name not in allowed:
                raise UserError(f"{where}: --columns names '{name}', which is no column of {kind}; its columns of {kind} are: "
                                f"{', '.join(allowed) or 'none'}.")
        return given
    labels = classes or numbers or floats
    if len(images) == 1 and len(labels) == 1:
        return images[0], labels[0]
    raise UserError(f"{where} has the image columns {some(images) or 'none'} and the label columns {some(labels) or 'none'}, and "
                    f"one of each is needed; name them with --columns IMAGE,LABEL. All columns: {', '.join(features)}.")


def _labels(splits: Mapping[str, Any], column: str, where: str,
            parts: Parts) -> tuple[tuple[str, ...], dict[str, Int64[np.ndarray, " N"]]]:
    """Return the class names, and the int64 labels of each split. Classes of integers and text columns are in sorted order."""
    values = {split: _cells(data, column, split, where, parts) for split, data in splits.items()}
    train, names = parts.train, getattr(splits[parts.train].features[column], "names", None)
    if values[train].dtype.kind not in "iu":
        names = in_order(set(map(str, values[train])))
        index = {name: label for label, name in enumerate(names)}
        strangers = {str(value) for own in values.values() for value in own} - index.keys()
        values = {split: np.array([index.get(str(value), 0) for value in own], np.int64) for split, own in values.items()}
    else:
        for split, own in values.items():
            if own.min() < 0 or own.max() > HIGHEST_LABEL:
                raise UserError(f"{where}: the labels '{column}' of the split '{split}' go from {own.min()} to {own.max()}; they "
                                f"number the classes from 0, {HIGHEST_LABEL} at most (-1 stands for images without a label)"
                                f"{_other(split, parts)}.")
        names = names or list(map(str, range(int(values[train].max()) + 1)))
        strangers = {str(value) for own in values.values() for value in own[own >= len(names)]}
    if strangers:
        raise UserError(f"{where}: the {parts.test} split has classes that {train} lacks: {some(sorted(strangers))}. Where its "
                        f"labels are hidden, choose another split as test: {parts.alternatives}.")
    return tuple(names), {split: own.astype(np.int64) for split, own in values.items()}


def _cells(data: Any, column: str, split: str, where: str, parts: Parts) -> np.ndarray:
    """Return the labels of a split: integers, also where they are stored as floats, or texts.

    Raises `UserError` for an empty split, for rows without a label (null, not a number or a blank text), and for fractions.
    """
    cells = data.select_columns([column]).with_format("pandas")[:][column]
    if not len(cells):
        raise UserError(f"{where}: the split '{split}' is empty.")
    blank = cells.isna() | (cells.astype(str).str.strip() == "")
    if blank.any():
        raise UserError(f"{where}: {blank.sum():,} of the {len(cells):,} rows of the split '{split}' have no label in the column "
                        f"'{column}' (row {some(map(str, np.flatnonzero(blank)))}, counted from 0); give each a label, or leave "
                        f"these rows out of the data{_other(split, parts)}.")
    values = cells.to_numpy()
    if values.dtype.kind != "f":
        return values
    odd = np.flatnonzero(values != np.round(values))
    if len(odd):
        raise UserError(f"{where}: {len(odd):,} of the {len(values):,} labels '{column}' of the split '{split}' are no whole "
                        f"numbers; the first is {values[odd[0]]} in row {odd[0]}, counted from 0. Name another column with "
                        "--columns IMAGE,LABEL.")
    return values.astype(np.int64)


def _other(split: str, parts: Parts) -> str:
    """Return the advice to choose another split as test, for faults of the test split."""
    return f"; or choose another split as test: {parts.alternatives}" if split == parts.test else ""


def _rows_of(split: str, labels: Int64[np.ndarray, " N"]) -> Part:
    """Return the rows of a split as a part, without size and time: the library's fingerprint tells whether they changed."""
    nothing = np.zeros(len(labels), dtype=np.int64)
    return Part(tuple(f"{split}/{row}" for row in range(len(labels))), labels, nothing, nothing, (None,) * len(labels))


def _undecoded(splits: Mapping[str, Any], column: str) -> dict[str, Any]:
    """Return each split with the image column alone, as encoded bytes."""
    return {split: data.select_columns([column]).cast_column(column, _library("hub").Image(decode=False))
            for split, data in splits.items()}
