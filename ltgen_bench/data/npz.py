"""Arrays of a user's own, in an npz file: data sets, and images that are handed in to be scored."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.raw import RawData, stratified_split
from ltgen_bench.errors import UserError
from ltgen_bench.files import file_sha256

HIGHEST_LABEL = 65_535


def load_npz(path: Path) -> RawData:
    """`train_images`, `train_labels` (or `images`, `labels`), and perhaps `test_images`, `test_labels`, `class_names`.

    Images are uint8, [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels; labels are whole numbers from 0.
    """
    arrays = _read_npz(path)
    arrays = {("train_" + key if key in ("images", "labels") else key): value for key, value in arrays.items()}
    test_keys = ("test_images", "test_labels") if {"test_images", "test_labels"} & arrays.keys() else ()
    for key in ("train_images", "train_labels", *test_keys):
        if key not in arrays:
            raise UserError(f"npz:{path} has no array '{key}'; it has: {', '.join(sorted(arrays)) or 'nothing'}.")
    train = _checked(arrays["train_images"], arrays["train_labels"], f"npz:{path}, train")
    if train.labels.max() >= len(train):  # before anything is sized by the number of classes
        raise UserError(f"npz:{path}: labels go up to {train.labels.max()}, which makes {train.labels.max() + 1:,} classes, and "
                        f"there are only {len(train):,} training images; labels number the classes from 0.")
    names = tuple(str(n) for n in arrays["class_names"]) if "class_names" in arrays else \
        tuple(str(c) for c in range(int(train.labels.max()) + 1))
    if test_keys:
        test = _checked(arrays["test_images"], arrays["test_labels"], f"npz:{path}, test")
        if test.images.shape[1:] != train.images.shape[1:]:
            raise UserError(f"npz:{path}: training images are {_size(train)} and test images {_size(test)}.")
    else:
        train, test = stratified_split(train)
    for part, images in (("train", train), ("test", test)):
        highest = int(images.labels.max())
        if highest >= len(names):
            raise UserError(f"npz:{path}: {part}_labels has the label {highest} and there are {len(names)} classes, "
                            f"so labels go from 0 to {len(names) - 1}.")
    return RawData(train, test, names)


def load_samples(path: Path) -> ImageSet:
    """`images` and `labels` of an npz, in the layouts of `load_npz`: what any model may hand in to be scored."""
    arrays = _read_npz(path)
    for key in ("images", "labels"):
        if key not in arrays:
            raise UserError(f"npz:{path} has no array '{key}'; it has: {', '.join(sorted(arrays)) or 'nothing'}.")
    return _checked(arrays["images"], arrays["labels"], f"npz:{path}")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except FileNotFoundError:
        raise UserError(f"npz:{path}: there is no such file.") from None
    except (AttributeError, TypeError):  # a single array, which np.load gives as it is
        raise UserError(f"npz:{path} is a single array; write images and labels into one file with "
                        "numpy.savez.") from None
    # object arrays are pickles, and pickles run code
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"npz:{path} is not a readable npz of plain arrays ({error}).") from error
    for key, value in arrays.items():
        if not isinstance(value, np.ndarray):  # a file in the archive that is no array comes as its bytes
            raise UserError(f"npz:{path} is not a readable npz of plain arrays ('{key}' is none).")
    return arrays


def _checked(images: np.ndarray, labels: np.ndarray, where: str) -> ImageSet:
    if images.dtype != np.uint8:
        seen = f", from {images.min():g} to {images.max():g}" if images.size and images.dtype.kind in "fiu" else ""
        raise UserError(f"{where}: images are {images.dtype}{seen}; they must be uint8, from 0 to 255.")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[-1] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(f"{where}: images have the shape {images.shape}; allowed are [N, H, W], [N, H, W, C] and "
                        "[N, C, H, W] with 1 or 3 channels.")
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) != len(images) or not len(labels):
        raise UserError(f"{where}: {len(images)} images need as many labels, whole numbers in one row; labels are "
                        f"{labels.dtype} of shape {labels.shape}.")
    if labels.min() < 0:
        raise UserError(f"{where}: the label {int(labels.min())} of image {int(labels.argmin())} is outside the range; "
                        "labels start at 0.")
    if labels.max() > HIGHEST_LABEL:
        raise UserError(f"{where}: the label {int(labels.max())} of image {int(labels.argmax())} is outside the range; "
                        f"labels number the classes from 0, and end at {HIGHEST_LABEL} at most.")
    return ImageSet(np.ascontiguousarray(images), labels.astype(np.int64))


def verify_npz(path: Path) -> list[str]:
    """Read every array, whose checksums the archive holds, and hash the file: nothing else of it is kept."""
    raw = load_npz(path)
    return [f"npz:{path}: {len(raw.train):,} training and {len(raw.test):,} test images can be read",
            f"sha256:{file_sha256(path)}"]


def _size(images: ImageSet) -> str:
    _, channels, height, width = images.images.shape
    return f"{width} x {height} with {channels} channel{'s' if channels > 1 else ''}"
