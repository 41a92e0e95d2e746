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
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.core.words import some
from ltgen_bench.data.class_names import in_order
from ltgen_bench.data.listing import Listing, Part, hold_out
from ltgen_bench.data.npz import HIGHEST_LABEL
from ltgen_bench.data.parts import Parts, choose_parts
from ltgen_bench.data.plain_files import read_plain


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
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    numbers = [name for name, kind in kinds.items() if kind == "Value" and "int" in features[name].dtype]
    texts = [name for name, kind in kinds.items() if kind == "Value" and "string" in features[name].dtype]
    # Many programs write integer columns with missing rows as floats; `_labels` reports that.
    floats = [name for name, kind in kinds.items() if kind == "Value" and "float" in features[name].dtype]
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
    for split, data in splits.items():
        _refuse_null(data, column, split, where, parts)
    values = {split: np.asarray(data.with_format("numpy", columns=[column])[column][:]) for split, data in splits.items()}
    train, cure = parts.train, f"Where its labels are hidden, choose another split as test: {parts.alternatives}."
    names = getattr(splits[train].features[column], "names", None)
    if any(own.dtype.kind == "f" for own in values.values()):
        values = {split: _whole(own, column, split, where) for split, own in values.items()}
    if values[train].dtype.kind not in "iu":
        names = in_order(set(map(str, values[train].tolist())))
        strangers = sorted({str(value) for own in values.values() for value in own.tolist()} - set(names))
        if strangers:
            raise UserError(f"{where}: the {parts.test} split has classes that {train} lacks: {some(strangers)}. {cure}")
        index = {name: label for label, name in enumerate(names)}
        values = {split: np.array([index[str(value)] for value in own.tolist()], np.int64) for split, own in values.items()}
    for split, own in values.items():
        if not len(own):
            raise UserError(f"{where}: the split '{split}' is empty.")
        if own.min() < 0 or own.max() > HIGHEST_LABEL:
            raise UserError(f"{where}: the labels '{column}' of the split '{split}' go from {own.min()} to {own.max()}; they "
                            f"number the classes from 0, {HIGHEST_LABEL} at most (-1 stands for images without a label)"
                            f"{f'; choose another split as test: {parts.alternatives}' if split == parts.test else ''}.")
    count = len(names) if names is not None else int(values[train].max()) + 1
    beyond = sorted({int(value) for own in values.values() for value in own[own >= count]})
    if beyond:
        raise UserError(f"{where}: the {parts.test} split has classes that {train} lacks: {some(map(str, beyond))}. {cure}")
    return (tuple(names) if names is not None else tuple(map(str, range(count))),
            {split: own.astype(np.int64) for split, own in values.items()})


def _refuse_null(data: Any, column: str, split: str, where: str, parts: Parts) -> None:
    """Raise `UserError` where rows of a split have no label: null, not a number, or a blank text."""
    cells = data.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    rows = [row for row, cell in enumerate(cells) if cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())]
    if rows:
        other = f", or choose another split as test: {parts.alternatives}" if split == parts.test else ""
        raise UserError(f"{where}: {len(rows):,} of the {len(cells):,} rows of the split '{split}' have no label in the column "
                        f"'{column}' (row {some(map(str, rows))}, counted from 0); give each a label, or leave these rows out of "
                        f"the data{other}.")


def _whole(values: np.ndarray, column: str, split: str, where: str) -> Int64[np.ndarray, " N"]:
    """Return integers that are stored as floats as int64. Raises `UserError` for other numbers."""
    odd = np.flatnonzero(values != np.round(values))
    if len(odd):
        raise UserError(f"{where}: {len(odd):,} of the {len(values):,} labels '{column}' of the split '{split}' are no whole "
                        f"numbers; the first is {values[odd[0]]} in row {odd[0]}, counted from 0. Name another column with "
                        "--columns IMAGE,LABEL.")
    return values.astype(np.int64)


def _rows_of(split: str, labels: Int64[np.ndarray, " N"]) -> Part:
    """Return the rows of a split as a part, without size and time: the library's fingerprint tells whether they changed."""
    nothing = np.zeros(len(labels), dtype=np.int64)
    return Part(tuple(f"{split}/{row}" for row in range(len(labels))), labels, nothing, nothing, (None,) * len(labels))


def _undecoded(splits: Mapping[str, Any], column: str) -> dict[str, Any]:
    """Return each split with the image column alone, as encoded bytes."""
    return {split: data.select_columns([column]).cast_column(column, _library("hub").Image(decode=False))
            for split, data in splits.items()}
