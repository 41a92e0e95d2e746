"""Reading the images that any model hands in to be scored: arrays, a folder of class folders, or a zip of one.

Nothing is resized, rescaled or unpickled: what cannot be judged as it is, is refused with what to do.
"""

import io
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt8

from ltgen_bench.data.array_files import BOMB_BYTES, npy_header, npz_headers, read_npy, read_npz
from ltgen_bench.data.class_labels import LabelsAre, are_other, label_numbers
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.image_files import BROKEN_IMAGE, BadImageError, decode
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.label_files import array_labels, text_labels
from ltgen_bench.data.listing import IMAGE_SUFFIXES, NAMED, class_folders, counted, image_names, some
from ltgen_bench.data.npz import checked, refuse_header
from ltgen_bench.errors import UserError
from ltgen_bench.progress import SILENT, Progress

FORMS = "an .npz (images, labels), an .npy of images with --labels FILE, a folder of class folders, or a .zip of one"
LABEL_FILES = (".npy", ".csv", ".txt")
SMALLEST_LIMIT = 1 << 20  # bytes that a file in a zip may always have
RAW_TIMES = 16  # beyond that, as many times the bytes of an image's pixels
PIXEL_TIMES = 64  # as many times the pixels of an image of the data set may a header declare before it is a bomb

Read = Callable[[], bytes]
Shape = tuple[int, int, int]


def load_samples(path: Path, dataset: LongTailDataset, labels: Path | None = None, progress: Progress = SILENT, *,
                 labels_are: LabelsAre | None = None) -> ImageSet:
    """The images at `path`, to be judged against `dataset`, whose class names and image size they must have.

    An npz has `images` (uint8 [N, H, W, C], [N, H, W] or [N, C, H, W]) and `labels`; an npy has images alone, and `labels` is a
    file with one label an image (`.npy`, `.csv`, `.txt`). A folder, or a zip that is read in its place, has CLASS/FILE. Labels
    and class folders are names of classes or their positions from 0; `labels_are` says which where both fit. Raises `UserError`.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder.")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        if labels is not None:
            raise UserError(f"--labels {labels}: the folders of {path} say which class an image is of; leave it out.")
        files = _folder_files(path) if path.is_dir() else _zip_files(path, dataset.image_shape)
        numbers = label_numbers(files, dataset.class_names, str(path), "class folder", are=labels_are, names_first=True)
        if are_other(numbers):
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
        refuse_header(headers["images"], where)  # before so much is unpacked
    given = None if labels is None else _given_labels(labels, dataset.class_names, labels_are, progress)
    found = read_npz(path, where, ("images", "labels")) if archive else {"images": read_npy(path, where)}
    if given is None:
        given = array_labels(found["labels"], dataset.class_names, where, labels_are, progress)
    return checked(found["images"], given, where)


def _given_labels(path: Path, class_names: Sequence[str], are: LabelsAre | None, progress: Progress) -> np.ndarray:
    """The labels of a file beside the images: an npy of whole numbers or names, a table or a text."""
    where = f"--labels {path}"
    if not path.is_file():
        raise UserError(f"{where}: there is no such file.")
    if path.suffix.lower() not in LABEL_FILES:
        raise UserError(f"{where}: it is none of {', '.join(LABEL_FILES)}; write one label an image.")
    if path.suffix.lower() == ".npy":
        return array_labels(read_npy(path, where), class_names, where, are, progress)
    return text_labels(path, class_names, are, progress)


def _folder_files(root: Path) -> dict[str, dict[str, Read]]:
    """Class folder -> its image files, each by what reads it."""
    found = {name: {str(root / name / file): (root / name / file).read_bytes for file in image_names(root / name)}
             for name in class_folders(root)}
    return _refuse_empty(root, found)


def _zip_files(path: Path, shape: Shape) -> dict[str, dict[str, Read]]:
    """The same of a zip, nothing of which is unpacked to the disk. One folder around the class folders is passed over."""
    try:
        archive = zipfile.ZipFile(path)  # stays open: its files are read by threads, until the last of them is dropped
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is not a readable zip ({error}); it may be truncated, so make or copy it again.") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    outside = [member.filename for member in members if _leads_outside(member)]
    if outside:
        raise UserError(f"{path}: {counted(len(outside), 'entry').replace('entrys', 'entries')} with a path outside its root or "
                        f"a link: {some(outside)}; pack CLASS/FILE with relative paths.")
    images = {member: PurePosixPath(member.filename).parts for member in members if _is_image(member.filename)}
    tops = {parts[0] for parts in images.values()}
    if len(tops) == 1 and all(len(parts) == 3 for parts in images.values()):
        images = {member: parts[1:] for member, parts in images.items()}
    odd = [member.filename for member, parts in images.items() if len(parts) != 2]
    if odd or not images:
        what = f"has files that are not CLASS/FILE: {some(odd)}" if odd else "has no images as CLASS/FILE (.png, .jpg, ...)"
        raise UserError(f"{path} {what}; pack a folder of class folders.")
    limit = max(SMALLEST_LIMIT, RAW_TIMES * int(np.prod(shape)))
    large = [f"{member.filename}: {member.file_size:,} bytes" for member in images if member.file_size > limit]
    if large:
        raise UserError(f"{path}: {counted(len(large), 'image file')} larger than {limit:,} bytes unpacked, which no image of "
                        f"{shape[2]} x {shape[1]} needs: {some(large)}.")
    found: dict[str, dict[str, Read]] = {}
    for member, (folder, _) in images.items():
        found.setdefault(folder, {})[f"{path}/{member.filename}"] = _reader(archive, member, shape)
    return dict(sorted(found.items()))


def _leads_outside(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    absolute = not parts or parts[0] == "/" or parts[0].endswith(":")
    return absolute or ".." in parts or stat.S_ISLNK(member.external_attr >> 16)


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(IMAGE_SUFFIXES) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shape: Shape) -> Read:
    def read() -> bytes:
        from PIL import Image

        try:
            data = archive.read(member)
            with Image.open(io.BytesIO(data)) as image:  # the header alone
                width, height = image.size
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise OSError(f"it cannot be unpacked ({error})") from error
        except (*BROKEN_IMAGE, Image.DecompressionBombError) as error:
            raise OSError(f"it is corrupt or no image ({error})") from error
        if width * height > PIXEL_TIMES * shape[1] * shape[2]:
            raise OSError(f"its header declares {width} x {height} pixels")
        return data

    return read


def _refuse_empty(root: Path, found: dict[str, dict[str, Read]]) -> dict[str, dict[str, Read]]:
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise UserError(f"{root}: the class folder{'' if len(empty) == 1 else 's'} {some(empty)} "
                        f"{'has' if len(empty) == 1 else 'have'} no images (.png, .jpg, ...); add some.")
    return found


def _decoded(path: Path, files: Mapping[str, Mapping[str, Read]], numbers: Mapping[str, int], dataset: LongTailDataset,
             progress: Progress) -> ImageSet:
    """The images of all class folders, in the order of their labels, which `numbers` has of each folder."""
    labels = np.repeat([numbers[name] for name in files], [len(own) for own in files.values()]).astype(np.int64)
    readers = {name: read for own in files.values() for name, read in own.items()}
    images: UInt8[np.ndarray, "N C H W"] = np.zeros((len(readers), *dataset.image_shape), dtype=np.uint8)
    faults: list[str] = []
    odd: list[str] = []
    with progress.stage("read samples", len(readers), "images") as stage, ThreadPoolExecutor() as pool, _quiet():
        try:
            for row, (name, found) in enumerate(zip(readers, pool.map(_pixels, readers.values()), strict=True)):
                fitting = found if isinstance(found, str) else _fit(found, dataset.image_shape)
                if isinstance(found, str):
                    faults.append(f"{name}: {found}")
                elif isinstance(fitting, str):
                    odd.append(f"{name}: {fitting}")
                else:
                    images[row] = fitting
                stage.advance(1)
        finally:
            pool.shutdown(cancel_futures=True)  # of an interrupted reading
    if faults:
        raise UserError(f"{len(faults):,} of {counted(len(readers), 'image')} of {path} could not be read", faults[:NAMED])
    if odd:
        channels, height, width = dataset.image_shape
        kind = "grey" if channels == 1 else "colour"
        raise UserError(f"{len(odd):,} of {counted(len(readers), 'image')} of {path} are not {width} x {height} in {kind} like "
                        f"those of {dataset.name}; make samples of that size, since nothing is resized here", odd[:NAMED])
    return _unshuffled(images, labels)


def _pixels(read: Read) -> UInt8[np.ndarray, "C H W"] | str:
    """The pixels of an image file, or what is wrong with it."""
    try:
        return decode(read())[0]
    except (OSError, BadImageError) as error:
        return str(error)


def _fit(pixels: UInt8[np.ndarray, "c h w"], shape: Shape) -> UInt8[np.ndarray, "C H W"] | str:
    """`pixels` with the channels of `shape`, where that loses nothing; else what they are."""
    if pixels.shape[1:] == shape[1:]:
        if len(pixels) <= shape[0]:
            return np.broadcast_to(pixels, shape)
        if (pixels == pixels[:1]).all():  # grey in three channels
            return pixels[:1]
    return f"{pixels.shape[2]} x {pixels.shape[1]} in {'grey' if len(pixels) == 1 else 'colour'}"


def _unshuffled(images: UInt8[np.ndarray, "N C H W"], labels: Int64[np.ndarray, " N"]) -> ImageSet:
    order = np.argsort(labels, kind="stable")
    return ImageSet(images[order], labels[order])


def _quiet() -> warnings.catch_warnings:
    """Pillow warns of odd metadata, which nobody asked for; what is wrong with pixels it raises."""
    return warnings.catch_warnings(action="ignore")
