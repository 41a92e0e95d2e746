"""Where images come from: scikit-learn's digits, torchvision's CIFAR, a folder of classes, a file of arrays."""

import http.client
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.raw import RawData, stratified_split
from ltgen_bench.errors import UserError
from ltgen_bench.progress import Progress

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
BROKEN_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)  # what Pillow raises
HIGHEST_LABEL = 65_535
NAMED = 5  # how many of many faulty files an error names


def load_digits() -> RawData:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, grey levels 0 ... 16 spread to 0 ... 255; 75 / 25, stratified."""
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    train, test = stratified_split(ImageSet(images, digits.target.astype(np.int64)))
    return RawData(train, test, tuple(str(d) for d in range(10)))


def load_cifar(name: str, data_root: Path, progress: Progress) -> RawData:
    """CIFAR-10 or CIFAR-100 (`name` is torchvision's class) from `data_root`, fetched into it when it is not there."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    if not (data_root / kind.base_folder).is_dir() and not (data_root / kind.filename).is_file():
        progress.say(f"fetching {kind.filename} into {data_root}/")
    new_folder = not data_root.exists()
    try:
        parts = [kind(root=str(data_root), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError, http.client.HTTPException) as error:  # no network, wrong checksum, broken download
        archive = data_root / kind.filename
        if new_folder and data_root.is_dir() and not any(data_root.iterdir()):
            data_root.rmdir()  # torchvision made it for nothing
        found = f"{archive} has another checksum" if archive.is_file() else f"{name} is not under {data_root}/"
        raise UserError(f"{found} and could not be downloaded ({error}).\n"
                        f"       Put {kind.filename} (md5 {kind.tgz_md5}) into {data_root}/, or name its folder "
                        "with --data-root.") from error
    train, test = (ImageSet(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets, np.int64))
                   for part in parts)
    return RawData(train, test, tuple(parts[0].classes))


def load_folder(root: Path, progress: Progress) -> RawData:
    """`ROOT/train/<class>/*` and `ROOT/test/<class>/*`. Without `test`, a quarter of each class is held out.

    Classes stand in the order of their sorted names, images in that of their sorted file names.
    """
    if not (root / "train").is_dir():
        raise UserError(f"folder:{root}: there is no folder {root / 'train'}; images are expected as "
                        f"{root}/train/CLASS/FILE and {root}/test/CLASS/FILE.")
    class_names = _class_folders(root / "train")
    train = _read_classes(root / "train", class_names, progress)
    if not (root / "test").is_dir():
        return RawData(*stratified_split(train), tuple(class_names))
    strangers = sorted(set(_class_folders(root / "test")) - set(class_names))
    if strangers:
        raise UserError(f"folder:{root}: test has classes that train lacks: {_some(strangers)}.")
    test = _read_classes(root / "test", class_names, progress)
    if test.images.shape[1:] != train.images.shape[1:]:
        raise UserError(f"folder:{root}: training images are {_size(train)} and test images {_size(test)}; "
                        "all must have one size.")
    return RawData(train, test, tuple(class_names))


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


def _class_folders(root: Path) -> list[str]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise UserError(f"{root} has no class folders; images are expected as {root}/CLASS/FILE.")
    return names


def image_files(folder: Path) -> list[Path]:
    """The image files directly in `folder`, by name; hidden ones and other kinds of file are left out."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _read_classes(root: Path, class_names: list[str], progress: Progress) -> ImageSet:
    by_class = [image_files(root / name) if (root / name).is_dir() else [] for name in class_names]
    for name, files in zip(class_names, by_class, strict=True):
        if not files:
            raise UserError(f"the class folder {root / name} has no images ({', '.join(IMAGE_SUFFIXES[:3])}, ...); "
                            "add some or remove the class.")
    files = [file for class_files in by_class for file in class_files]
    arrays: list[np.ndarray] = []
    faults: list[str] = []
    with progress.stage(f"read {root.name}", len(files), "images") as stage, ThreadPoolExecutor() as pool:
        for file, result in zip(files, pool.map(_decode, files, chunksize=64), strict=True):
            if isinstance(result, str):
                faults.append(f"{file}: {result}")
            else:
                arrays.append(result)
            stage.advance(1)
    if faults:
        raise UserError(f"{len(faults)} of {len(files)} images under {root} could not be read", faults[:NAMED])
    labels = np.repeat(np.arange(len(by_class), dtype=np.int64), [len(class_files) for class_files in by_class])
    return ImageSet(_stack(arrays, files), labels)


def _decode(file: Path) -> np.ndarray | str:
    """uint8 [C, H, W] with one channel for grey files and three for others; or what is wrong with the file."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                return f"it has {image.mode} pixels; only 8-bit images are read"
            grey = image.mode in ("L", "1")
            array = np.asarray(image.convert("L" if grey else "RGB"))
    except (*BROKEN_IMAGE, Image.DecompressionBombError) as error:
        return f"it is corrupt or no image ({error})"
    return array[None] if grey else array.transpose(2, 0, 1)


def _stack(arrays: list[np.ndarray], files: list[Path]) -> np.ndarray:
    sizes = np.array([array.shape[1:] for array in arrays])
    common = sizes[0]
    odd = np.flatnonzero((sizes != common).any(axis=1))
    if len(odd):
        listed = [f"{files[i]}: {sizes[i][1]} x {sizes[i][0]}" for i in odd[:NAMED]]
        raise UserError(f"{len(odd)} of {len(files)} images are not {common[1]} x {common[0]} like {files[0]}; "
                        "resize them so that all have one size", listed)
    channels = max(array.shape[0] for array in arrays)  # a grey file among colour ones is shown in three channels
    return np.stack([np.broadcast_to(array, (channels, *array.shape[1:])) for array in arrays])


def _size(images: ImageSet) -> str:
    _, channels, height, width = images.images.shape
    return f"{width} x {height} with {channels} channel{'s' if channels > 1 else ''}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
