"""Arrays of a user's own, in an npz file, and what is wrong with them."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.raw import RawData, stratified_split
from ltgen_bench.errors import UserError
from ltgen_bench.files import file_sha256

HIGHEST_LABEL = 65_535
# What numpy raises of files that are truncated, encrypted, pickled, or claim more than there is.
UNREADABLE = (OSError, ValueError, EOFError, MemoryError, OverflowError, NotImplementedError, RuntimeError, zipfile.BadZipFile,
              zlib.error)


def load_npz(path: Path) -> RawData:
    """`train_images`, `train_labels` (or `images`, `labels`), and perhaps `test_images`, `test_labels`, `class_names`.

    Images are uint8, [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3 channels; labels are whole numbers from 0.
    """
    arrays = read_arrays(path, f"npz:{path}")
    arrays = {("train_" + key if key in ("images", "labels") else key): value for key, value in arrays.items()}
    test_keys = ("test_images", "test_labels") if {"test_images", "test_labels"} & arrays.keys() else ()
    for key in ("train_images", "train_labels", *test_keys):
        if key not in arrays:
            raise UserError(f"npz:{path} has no array '{key}'; it has: {', '.join(sorted(arrays)) or 'nothing'}.")
    train = checked(arrays["train_images"], arrays["train_labels"], f"npz:{path}, train")
    if train.labels.max() >= len(train):  # before anything is sized by the number of classes
        raise UserError(f"npz:{path}: labels go up to {train.labels.max()}, which makes {train.labels.max() + 1:,} classes, and "
                        f"there are only {len(train):,} training images; labels number the classes from 0.")
    names = tuple(str(n) for n in arrays["class_names"]) if "class_names" in arrays else \
        tuple(str(c) for c in range(int(train.labels.max()) + 1))
    if test_keys:
        test = checked(arrays["test_images"], arrays["test_labels"], f"npz:{path}, test")
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


def read_arrays(path: Path, where: str) -> dict[str, np.ndarray]:
    """Every array of an npz, which errors call `where`. Raises `UserError`."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except FileNotFoundError:
        raise UserError(f"{where}: there is no such file.") from None
    except (AttributeError, TypeError):  # a single array, which np.load gives as it is
        raise UserError(f"{where} is a single array; write images and labels into one file with "
                        "numpy.savez.") from None
    except UNREADABLE as error:
        raise UserError(f"{where} is not a readable npz of plain arrays ({fault_words(error)}).") from error
    for key, value in arrays.items():
        if not isinstance(value, np.ndarray):  # a file in the archive that is no array comes as its bytes
            raise UserError(f"{where} is not a readable npz of plain arrays ('{key}' is none).")
    return arrays


def fault_words(error: BaseException) -> str:
    """Why a file of arrays cannot be read, in a user's words."""
    if "pickle" in str(error):
        return "it holds Python objects, and reading these would run code; save arrays of numbers"
    if isinstance(error, zipfile.BadZipFile):
        return f"it is truncated, or was never one: {error}"
    return str(error) or "it claims more than there is memory for"


def checked(images: np.ndarray, labels: np.ndarray, where: str) -> ImageSet:
    """Arrays in any of the layouts of `load_npz` as an `ImageSet`. Raises `UserError`, which calls them `where`."""
    if images.dtype != np.uint8:
        raise UserError(f"{where}: images are {images.dtype}{_range_words(images)}.")
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


def _range_words(images: np.ndarray) -> str:
    """Which range images of another type than uint8 have and seem to mean, and how they become uint8."""
    allowed = "; they must be uint8, from 0 to 255"
    if images.dtype == np.bool_:
        return f", false or true{allowed}: convert them with (255 * images).astype('uint8')"
    if not images.size or images.dtype.kind not in "fiu":
        return allowed
    broken = int((~np.isfinite(images)).sum())
    if broken:
        return f" with {broken:,} values that are NaN or infinite{allowed}: find what went wrong in making them"
    low, high = float(images.min()), float(images.max())
    found = f", from {low:g} to {high:g}{allowed}"
    if images.dtype.kind == "f" and -1 <= low < 0 and high <= 1:
        return f"{found}: they seem to have the range -1 to 1, so convert them with " \
               "((images + 1) * 127.5).round().clip(0, 255).astype('uint8')"
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        return f"{found}: they seem to have the range 0 to 1, so convert them with (images * 255).round().astype('uint8')"
    if low >= 0 and high <= 255:
        return f"{found}: they seem to have that range, so convert them with images.round().astype('uint8')"
    return f"{found}: theirs is no range of images that is known here, so scale them to it"


def verify_npz(path: Path) -> list[str]:
    """Read every array, whose checksums the archive holds, and hash the file: nothing else of it is kept."""
    raw = load_npz(path)
    return [f"npz:{path}: {len(raw.train):,} training and {len(raw.test):,} test images can be read",
            f"sha256:{file_sha256(path)}"]


def _size(images: ImageSet) -> str:
    _, channels, height, width = images.images.shape
    return f"{width} x {height} with {channels} channel{'s' if channels > 1 else ''}"
