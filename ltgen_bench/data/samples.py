"""Reader of generated images of any model: arrays, a folder of class folders, or a zip of one.

Nothing is resized, rescaled or unpickled: images that do not fit are refused with a message on what to do.
"""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.words import counted
from ltgen_bench.data.array_files import BOMB_BYTES, npy_header, npz_headers, read_npy, read_npz, refuse_large
from ltgen_bench.data.class_labels import LabelsAre, label_numbers, numbers_are_names
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.image_files import BadImageError, Marks, Pixels, decode_marked
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.label_files import array_labels, text_labels
from ltgen_bench.data.listing import NAMED
from ltgen_bench.data.npz import checked, refuse_header
from ltgen_bench.data.sample_folders import Read, Shape, folder_files, zip_files

FORMS = "an .npz (images, labels), an .npy of images with --labels FILE, a folder of class folders, or a .zip of one"
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
    if headers["images"].nbytes > BOMB_BYTES:
        refuse_header(headers["images"], where)  # before unpacking
    given = None if labels is None else _given_labels(labels, dataset.class_names, labels_are, progress)
    found = read_npz(path, where, ("images", "labels")) if archive else {"images": read_npy(path, where)}
    if given is None:
        given = array_labels(found["labels"], dataset.class_names, where, labels_are, progress)
    return checked(found["images"], given, where)


def _given_labels(path: Path, class_names: Sequence[str], are: LabelsAre | None, progress: Progress) -> np.ndarray:
    """Return the labels of a separate file: an npy of integers or names, a table or a text."""
    where = f"--labels {path}"
    if not path.is_file():
        raise UserError(f"{where}: there is no such file.")
    if path.suffix.lower() not in LABEL_FILES:
        raise UserError(f"{where}: it is none of {', '.join(LABEL_FILES)}; write one label an image.")
    if path.suffix.lower() == ".npy":
        return array_labels(read_npy(path, where), class_names, where, are, progress)
    return text_labels(path, class_names, are, progress)


def _decoded(path: Path, files: Mapping[str, Mapping[str, Read]], numbers: Mapping[str, int], dataset: LongTailDataset,
             progress: Progress) -> ImageSet:
    """Return the images of all class folders, ordered by label; `numbers` maps folder to label."""
    labels = np.repeat([numbers[name] for name in files], [len(own) for own in files.values()]).astype(np.int64)
    readers = {name: read for own in files.values() for name, read in own.items()}
    refuse_large(len(readers) * int(np.prod(dataset.image_shape)), str(path))
    images: UInt8[np.ndarray, "N C H W"] = np.zeros((len(readers), *dataset.image_shape), dtype=np.uint8)
    faults: list[str] = []
    odd: list[str] = []
    marks = Marks()
    with progress.stage("read samples", len(readers), "images") as stage, ThreadPoolExecutor() as pool, _quiet():
        try:
            for row, (name, found) in enumerate(zip(readers, pool.map(_pixels, readers.values()), strict=True)):
                stage.advance(1)
                if isinstance(found, str):
                    faults.append(f"{name}: {found}")
                    continue
                marks.add(found)
                fitting = _fit(found.array, dataset.image_shape)
                if isinstance(fitting, str):
                    odd.append(f"{name}: {fitting}")
                else:
                    images[row] = fitting
        finally:
            pool.shutdown(cancel_futures=True)  # of an interrupted reading
    if faults:
        raise UserError(f"{len(faults):,} of {counted(len(readers), 'image')} of {path} could not be read", faults[:NAMED])
    if odd:
        channels, height, width = dataset.image_shape
        kind = "grey" if channels == 1 else "colour"
        raise UserError(f"{len(odd):,} of {counted(len(readers), 'image')} of {path} are not {width} x {height} in {kind} like "
                        f"those of {dataset.name}; make samples of that size, since nothing is resized here", odd[:NAMED])
    marks.say(f"{counted(len(readers), 'image')} of {path}", progress)
    return _unshuffled(images, labels)


def _pixels(read: Read) -> Pixels | str:
    """Return the decoded image, or a message on what is wrong with it."""
    try:
        return decode_marked(read())
    except (OSError, BadImageError) as error:
        return str(error)


def _fit(pixels: UInt8[np.ndarray, "c h w"], shape: Shape) -> UInt8[np.ndarray, "C H W"] | str:
    """Return `pixels` with the channels of `shape` where that is lossless; else a description of what they are."""
    if pixels.shape[1:] == shape[1:]:
        if len(pixels) <= shape[0]:
            return np.broadcast_to(pixels, shape)
        if (pixels == pixels[:1]).all():  # grey values in three channels
            return pixels[:1]
    return f"{pixels.shape[2]} x {pixels.shape[1]} in {'grey' if len(pixels) == 1 else 'colour'}"


def _unshuffled(images: UInt8[np.ndarray, "N C H W"], labels: Int64[np.ndarray, " N"]) -> ImageSet:
    order = np.argsort(labels, kind="stable")
    return ImageSet(images[order], labels[order])


def _quiet() -> warnings.catch_warnings:
    """Ignore Pillow's warnings about metadata; it raises errors about pixels."""
    return warnings.catch_warnings(action="ignore")
