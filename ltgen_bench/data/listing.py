"""Image files with their labels: the one value that every layout on disk becomes before a pixel is read."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.class_names import in_order
from ltgen_bench.data.parts import NONE, TRAIN
from ltgen_bench.data.plain_files import read_plain
from ltgen_bench.data.raw import stratified_indices

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff",
                  ".webp")
# What systems leave in folders, beside files whose names begin with a dot.
SYSTEM_NAMES = ("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "folder.htt", "icon\r", "__macosx", "@eadir",
                "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__")
NAMED = 5  # how many of many files at fault an error names
ABSENT = -1  # the size of a file that is not there
Place = tuple[int, int]  # (device, inode): equal for two paths to one file


@dataclass(frozen=True)
class Part:
    """The files of the training or the test set, in the order in which their images will stand.

    `files` are relative to the root of their listing, with forward slashes. `labels` is int64 [N] in 0 ... K - 1. `sizes`
    (bytes) and `times` (nanoseconds of the last change) are int64 [N]: the hint whether a file is still what it was. `places`
    has a (device, inode) each, equal for two paths to one file; None for what is no file. `notes` say which files beside the
    images are left out.
    """

    files: tuple[str, ...]
    labels: Int64[np.ndarray, " N"]
    sizes: Int64[np.ndarray, " N"]
    times: Int64[np.ndarray, " N"]
    places: tuple[Place | None, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @classmethod
    def of(cls, root: Path, files: Sequence[str], labels: Sequence[int] | np.ndarray) -> "Part":
        """The part of these files below `root`, asking the disk for the hint; a file that is not there has the size -1."""
        stats = [_hint(os.path.join(root, file)) for file in files]  # noqa: PTH118  (half a million of them)
        sizes, times = np.asarray([own[:2] for own in stats], dtype=np.int64).reshape(-1, 2).T
        return cls(tuple(files), np.asarray(labels, dtype=np.int64), sizes, times, tuple(place for _, _, place in stats))

    @property
    def absent(self) -> list[str]:
        """The files that are not there."""
        return [self.files[i] for i in np.flatnonzero(self.sizes == ABSENT)]

    def take(self, indices: Int64[np.ndarray, " n"]) -> "Part":
        """The files at `indices`, in that order."""
        return Part(tuple(self.files[i] for i in indices), self.labels[indices], self.sizes[indices], self.times[indices],
                    tuple(self.places[i] for i in indices), self.notes)


@dataclass(frozen=True)
class Listing:
    """A data set of image files: where they lie, which label each has, and what the classes are called.

    `where` is what the user calls it, `layout` the kind of folder. `lists` are SHA-256 of the files beside the images that
    say which image belongs where; `test_part` and `unread` are those of `RawData`. Layouts whose images are no files
    below `root` override `identity` and `content`.
    """

    where: str
    root: Path
    layout: str
    class_names: tuple[str, ...]
    train: Part
    test: Part
    lists: tuple[str, ...] = ()
    test_part: str = "test"
    unread: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Part]:
        return {"train": self.train, "test": self.test}

    @property
    def notes(self) -> list[str]:
        """What is to be said of files that are left out, each once."""
        return list(dict.fromkeys(note for part in self.parts.values() for note in part.notes))

    @property
    def identity(self) -> str:
        """What tells this place from others on this machine."""
        return os.path.abspath(self.root)  # noqa: PTH100  (links stay)

    def content(self, file: str) -> bytes:
        """The bytes of one file. Raises `OSError`, as for what is no plain file."""
        return read_plain(self.root / file)


def hold_out(part: Part, test_part: str = TRAIN) -> tuple[Part, Part]:
    """Three quarters of each class for training, one for testing, as `raw.stratified_split`; with NONE all for training."""
    nothing = np.empty(0, np.int64)
    train, test = (np.arange(len(part)), nothing) if test_part == NONE else stratified_indices(part.labels)
    return part.take(train), part.take(test)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems leave in folders."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in `folder` in the order of their labels, without hidden ones; a `UserError` where there are none."""
    names = in_order(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
    if not names:
        raise UserError(f"{folder} has no class folders; images are expected as {folder}/CLASS/FILE.")
    return names


def counted(number: int, noun: str) -> str:
    """`1 file`, `12,000 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(names: Iterable[str], most: int = NAMED) -> str:
    """`a, b, c, d, e and 12 more`."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _hint(path: str) -> tuple[int, int, Place | None]:
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # ValueError: a NUL, which is in no path
        return ABSENT, 0, None
    return found.st_size, found.st_mtime_ns, (found.st_dev, found.st_ino)
