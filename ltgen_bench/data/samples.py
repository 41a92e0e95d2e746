"""Reader of generated images of any model: arrays, a folder of class folders, or a zip of one.

Nothing is resized, rescaled or unpickled: images that do not fit are refused with a message on what to do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.user_tables import read_table, read_text
from ltgen_bench.core.words import counted, some
from ltgen_bench.data.array_files import npy_header, npz_headers, read_npy, read_npz, refuse_large
from ltgen_bench.data.class_labels import LabelsAre, label_numbers, numbers_are_names
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.image_files import ImageFiles, read_files
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.npz import check_headers, checked
from ltgen_bench.data.sample_folders import Read, folder_files, zip_files

if TYPE_CHECKING:
    import pandas as pd

FORMS = "an .npz (images, labels), an .npy of images with --labels FILE, a folder of class folders, or a .zip of one"
HEADS = ("label", "labels")  # of the column in a table of labels
LABEL_FILES = (".npy", ".csv", ".tsv", ".txt")


def load_samples(path: Path, dataset: LongTailDataset, labels: Path | None = None, progress: Progress = SILENT, *,
                 labels_are: LabelsAre | None = None) -> ImageSet:
    """Load the images at `path`, which must have the classes and the image size of `dataset`.

    An npz has `images` (uint8 [N, H, W, C], [N, H, W] or [N, C, H, W]) and `labels`; an npy has images alone, and `labels` is
    a file with one label per image (`.npy`, `.csv`, `.txt`). A folder or zip has CLASS/FILE. Labels and class folders are
    class names or positions from 0; `labels_are` says which where both fit. Raises `UserError`.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder.")
    if not (path.is_dir() or path.is_file()):
        raise UserError(f"{path} is no plain file, but a pipe, a device or a socket; write the images into a file first.")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        if labels is not None:
            raise UserError(f"--labels {labels}: the folders of {path} say which class an image is of; leave it out.")
        files = folder_files(path, progress) if path.is_dir() else zip_files(path, dataset.image_shape, progress)
        numbers = label_numbers(files, dataset.class_names, str(path), "class folder", are=labels_are, names_first=True)
        if numbers_are_names(numbers):
            progress.say(f"{path}: class folders are read as names of classes, not as their positions (--labels-are positions)")
        return _decoded(path, files, numbers, dataset, progress)
    if suffix not in (".npz", ".npy"):
        raise UserError(f"{path} is no file of samples that is known; allowed are {FORMS}.")
    return _of_arrays(path, labels, dataset, labels_are, progress)


def _of_arrays(path: Path, labels: Path | None, dataset: LongTailDataset, labels_are: LabelsAre | None,
               progress: Progress) -> ImageSet:
    where = f"{path.suffix[1:].lower()}:{path}"
    archive = path.suffix.lower() == ".npz"
    headers = npz_headers(path, where) if archive else {"images": npy_header(path, where)}
    if labels is not None and "labels" in headers:
        raise UserError(f"--labels {labels}: {path} has labels of its own; leave it out.")
    for key in ("images", "labels"):
        if key not in headers and (key == "images" or labels is None):
            cure = "; give one label an image with --labels FILE (.npy, .csv or .txt)" if key == "labels" else ""
            raise UserError(f"{where} has no array '{key}'; it has: {', '.join(sorted(headers)) or 'nothing'}{cure}.")
    check_headers(headers["images"], None, where)
    given = None if labels is None else _given_labels(labels, dataset.class_names)
    found = read_npz(path, where, ("images", "labels")) if archive else {"images": read_npy(path, where)}
    named = where if labels is None else f"--labels {labels}"
    numbers = array_labels(found["labels"] if given is None else given, dataset.class_names, named, labels_are, progress)
    return checked(found["images"], numbers, where)


def _given_labels(path: Path, class_names: Sequence[str]) -> np.ndarray:
    """Return the labels of a separate file: an npy of integers or names, a table or a text."""
    where = f"--labels {path}"
    if not path.is_file():
        raise UserError(f"{where}: there is no such file.")
    if path.suffix.lower() not in LABEL_FILES:
        raise UserError(f"{where}: it is none of {', '.join(LABEL_FILES)}; write one label an image.")
    return read_npy(path, where) if path.suffix.lower() == ".npy" else text_labels(path, class_names)


def _decoded(path: Path, files: Mapping[str, Mapping[str, Read]], numbers: Mapping[str, int], dataset: LongTailDataset,
             progress: Progress) -> ImageSet:
    """Return the images of all class folders, ordered by label; `numbers` maps folder to label."""
    readers = {name: read for folder in sorted(files, key=lambda folder: numbers[folder]) for name, read in files[folder].items()}
    labels = np.sort(np.repeat([numbers[folder] for folder in files], [len(own) for own in files.values()])).astype(np.int64)
    channels, height, width = dataset.image_shape
    refuse_large(len(readers) * channels * height * width, str(path))
    images: UInt8[np.ndarray, "N C H W"] = np.zeros((len(readers), *dataset.image_shape), dtype=np.uint8)
    together = ImageFiles(
        path, list(readers), lambda name: readers[name](), "read samples", "images",
        f"are not {width} x {height} in {'grey' if channels == 1 else 'colour'} like those of {dataset.name}; make samples of "
        "that size, since nothing is resized here")
    start = 0
    for block in read_files(together, dataset.image_shape, None, progress):
        images[start:start + len(block.images)] = block.images
        start += len(block.images)
    return ImageSet(images, labels)


def text_labels(path: Path, class_names: Sequence[str]) -> np.ndarray:
    """Return the label of each row of a table or text, as an array of text.

    A table with several columns needs one called `label`. Raises `UserError` for rows without a label, and as `read_table` does.
    """
    where = f"--labels {path}"
    texts = {row: str(text).strip() for row, text in _column(path, where, class_names).items()}
    absent = [f"row {row}" for row, text in texts.items() if not text]
    if absent:
        raise UserError(f"{where}: {len(absent):,} of {counted(len(texts), 'row')} have no label ({some(absent)}); give each "
                        "image one, or leave these images out.")
    return np.array(list(texts.values()), dtype=np.str_)


def array_labels(labels: np.ndarray, class_names: Sequence[str], where: str, are: LabelsAre | None,
                 progress: Progress) -> np.ndarray:
    """Return the labels of an array of integers or text (class names or positions) as int64; other arrays unchanged."""
    if labels.dtype.kind not in "iuU" or labels.ndim != 1:
        return labels
    values, places = np.unique(labels, return_inverse=True)
    numbers = label_numbers(map(str, values.tolist()), class_names, where, "label", are=are)
    if are is None and numbers_are_names(numbers):
        progress.say(f"{where}: labels are read as names of classes, not as positions in their order (--labels-are names "
                     "says so)")
    return np.array(list(numbers.values()), dtype=np.int64)[places]


def _column(path: Path, where: str, class_names: Sequence[str]) -> "pd.Series":
    """Return the column with the labels, indexed by row of the file."""
    import pandas as pd

    lines = pd.Series([line.strip() for line in read_text(path, where).splitlines() if line.strip()], dtype=object)
    if set(lines) <= set(class_names):  # which may hold separators
        return lines
    table = read_table(path, where, header=False)
    heads = [str(cell).strip() for cell in table.iloc[0]]
    named = [place for place, head in enumerate(heads) if head.lower() in HEADS and head not in class_names]
    if len(named) > 1:
        raise UserError(f"{where}: the columns {some(heads[place] for place in named)} may both hold the labels; leave one.")
    if not named and len(heads) > 1:
        raise UserError(f"{where}: of its {len(heads)} columns none is called 'label'; name one so in its first row.")
    return table[named[0]].iloc[1:] if named else table[0]
