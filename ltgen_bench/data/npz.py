"""Arrays of a user's own, in an npz file, and what is wrong with them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import file_sha256
from ltgen_bench.core.words import size_words
from ltgen_bench.data.array_files import BOMB_BYTES, Header, npz_headers, read_npz
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.parts import HIDDEN, NONE, TRAIN, TRAIN_NAMES, Parts, choose_parts, find_part
from ltgen_bench.data.raw import RawData, stratified_split

HIGHEST_LABEL = 65_535
KINDS = ("images", "labels")
CHANNELS = (1, 3)
RANGES = (  # (kinds of numbers, least, largest, how images of that range become uint8), the narrowest first
    ("f", 0, 1, "(images * 255).round().astype('uint8')"),
    ("f", -1, 1, "((images + 1) * 127.5).round().clip(0, 255).astype('uint8')"),
    ("fiu", 0, 255, "images.round().astype('uint8')"),
)


def load_npz(path: Path, test_part: str | None = None) -> RawData:
    """Return `train_images`, `train_labels` (or `images`, `labels`), and perhaps `test_images`, `test_labels`, `class_names`.

    Another part serves as test by the rules of `choose_parts`. Images are uint8, [N, H, W], [N, H, W, C] or [N, C, H, W] with 1
    or 3 channels; labels are whole numbers from 0.
    """
    where = f"npz:{path}"
    headers = npz_headers(path, where)
    parts, keys = _parts(headers, test_part, where)
    for part in parts.named:
        check_headers(headers[keys[part]["images"]], headers[keys[part]["labels"]], f"{where}, {part}")
    arrays = read_npz(path, where, {*(key for part in parts.named for key in keys[part].values()), "class_names"})
    images, labels = (arrays[keys[parts.train][kind]] for kind in KINDS)
    train = checked(images, labels, f"{where}, {parts.train}")
    if train.labels.max() >= len(train):  # before arrays of the size of the number of classes
        raise UserError(f"{where}: labels go up to {train.labels.max()}, which makes {train.labels.max() + 1:,} classes, and "
                        f"there are only {len(train):,} training images; labels number the classes from 0.")
    names = _class_names(arrays["class_names"], where) if "class_names" in arrays else \
        tuple(map(str, range(int(train.labels.max()) + 1)))
    if parts.test == NONE:
        test = train.take(np.empty(0, np.int64))
    elif parts.test == TRAIN:
        train, test = stratified_split(train)
    else:
        images, labels = (arrays[keys[parts.test][kind]] for kind in KINDS)
        if labels.dtype.kind in "if":
            hidden = int((labels == HIDDEN).sum())
            if hidden:
                raise UserError(f"{where}: {hidden:,} of the {len(labels):,} images of the part '{parts.test}' have no label "
                                f"({HIDDEN} stands for labels that were not published), so that it cannot serve as test; choose "
                                f"another part: {parts.alternatives}.")
        test = checked(images, labels, f"{where}, {parts.test}")
        if test.images.shape[1:] != train.images.shape[1:]:
            sizes = [size_words(part.images.shape[1:]) for part in (train, test)]
            raise UserError(f"{where}: training images are {sizes[0]} and test images {sizes[1]}.")
    for part, images_of in (("train", train), ("test", test)):
        highest = int(images_of.labels.max(initial=0))
        if highest >= len(names):
            raise UserError(f"{where}: {part}_labels has the label {highest} and there are {len(names)} classes, "
                            f"so labels go from 0 to {len(names) - 1}.")
    return RawData(train, test, names, test_part=parts.test, unread=parts.unread)


def _class_names(names: np.ndarray, where: str) -> tuple[str, ...]:
    """Return the names of the classes, no two of them the same."""
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        raise UserError(f"{where}: class_names is {names.dtype} of shape {names.shape}; it has a text for each class in one row.")
    try:
        found = [name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist()]
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: class_names is no text in UTF-8 ({error}); save the names as an array of str.") from error
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice or not all(name.strip() for name in found):
        raise UserError(f"{where}: class_names has {f'{twice[0]!r} twice' if twice else 'an empty name'}; every class has a name "
                        "of its own.")
    return tuple(found)


def longer_side(path: Path) -> int:
    """Return the longer side of the training images, in pixels, by the header of their array."""
    where = f"npz:{path}"
    headers = npz_headers(path, where)
    parts, keys = _parts(headers, NONE, where)
    images = headers[keys[parts.train]["images"]]
    check_headers(images, None, where)
    shape = images.shape[1:]
    return max(shape[:2] if len(shape) == 2 or shape[-1] in CHANNELS else shape[1:])


def _parts(headers: Mapping[str, Header], test_part: str | None, where: str) -> tuple[Parts, dict[str, dict[str, str]]]:
    """Return which parts are read, and part -> kind -> the array's name. Arrays that a part lacks are a `UserError`."""
    keys: dict[str, dict[str, str]] = {}
    for key in headers:
        part, _, kind = key.rpartition("_")
        if kind.casefold() in KINDS:
            keys.setdefault(part or TRAIN, {})[kind.casefold()] = key
    parts = choose_parts(keys, test_part, where, train=find_part(keys, TRAIN_NAMES, where) or TRAIN)
    for part in parts.named:
        for kind in KINDS:
            if kind not in keys.get(part, {}):
                cure = "" if part == parts.train else \
                    f"; its labels may be hidden, so choose another part as test: {parts.alternatives}"
                raise UserError(f"{where} has no array '{part}_{kind}'; it has: {', '.join(sorted(headers)) or 'nothing'}{cure}.")
    return parts, keys


def check_headers(images: Header, labels: Header | None, where: str) -> None:
    """Raise `UserError` for shapes that are not those of images with labels, and for large arrays that are not uint8.

    Without `labels` only the images are checked. Arrays that `checked` would refuse need not be unpacked for it.
    """
    shape = images.shape
    if images.dtype != np.uint8 and images.nbytes > BOMB_BYTES:  # smaller ones are read, to tell how they become uint8
        raise UserError(f"{where}: images are {images.dtype}; they must be uint8, from 0 to 255.")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] not in CHANNELS and shape[-1] not in CHANNELS):
        raise UserError(f"{where}: images have the shape {shape}; allowed are [N, H, W], [N, H, W, C] and [N, C, H, W] with 1 or "
                        "3 channels.")
    if 0 in shape[1:]:
        raise UserError(f"{where}: images have the shape {shape}, and so no pixels.")
    if labels is not None and (labels.shape != shape[:1] or labels.dtype.kind not in "iuf" or not shape[0]):
        raise UserError(f"{where}: {shape[0]} images need as many labels, whole numbers in one row; labels are {labels.dtype} of "
                        f"shape {labels.shape}.")


def checked(images: np.ndarray, labels: np.ndarray, where: str) -> ImageSet:
    """Return arrays in any of the layouts of `load_npz` as an `ImageSet`. Raises `UserError`, which calls them `where`."""
    if images.dtype != np.uint8:
        raise UserError(f"{where}: images are {images.dtype}{_range_words(images)}.")
    check_headers(Header(images.shape, images.dtype), Header(labels.shape, labels.dtype), where)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] in CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if labels.dtype.kind == "f":
        absent = int(np.isnan(labels).sum())
        fault = f"{absent:,} of the {labels.size:,} labels are NaN, so these images have none" if absent else \
            f"labels are {labels.dtype} of shape {labels.shape}"
        raise UserError(f"{where}: {fault}; give each image a whole number, or leave these images out.")
    for wrong in (labels.min(), labels.max()):
        if not 0 <= wrong <= HIGHEST_LABEL:
            raise UserError(f"{where}: the label {int(wrong)} of image {int((labels == wrong).argmax())} is outside the range; "
                            f"labels number the classes from 0, and end at {HIGHEST_LABEL} at most.")
    return ImageSet(np.ascontiguousarray(images), labels.astype(np.int64))


def _range_words(images: np.ndarray) -> str:
    """Return which range images of another type than uint8 have and seem to mean, and how they become uint8."""
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
    for kinds, least, most, cure in RANGES:
        if images.dtype.kind in kinds and least <= low and high <= most:
            return f"{found}: they seem to have the range {least} to {most}, so convert them with {cure}"
    return f"{found}: theirs is no range of images that is known here, so scale them to it"


def verify_npz(path: Path, test_part: str | None = None) -> list[str]:
    """Read every array, whose checksums the archive holds, and hash the file: nothing else of it is kept."""
    raw = load_npz(path, test_part)
    return [f"npz:{path}: {len(raw.train):,} training and {len(raw.test):,} test images can be read",
            f"sha256:{file_sha256(path)}"]
