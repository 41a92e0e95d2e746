"""Image files with their labels, before any is decoded; every layout on disk is read into this form."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import read_plain
from ltgen_bench.data.class_names import in_order
from ltgen_bench.data.parts import NONE, TRAIN
from ltgen_bench.data.raw import stratified_indices

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff",
                  ".webp")
# System files, besides files whose names begin with a dot.
SYSTEM_NAMES = ("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "folder.htt", "icon\r", "__macosx", "@eadir",
                "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__")
NAMED = 5  # largest number of files in a message
ABSENT = -1  # the size of a file that is not there
FileId = tuple[int, int]  # (device, inode): equal for two paths to one file


@dataclass(frozen=True)
class Part:
    """Files of the training or the test set, in the order of their images.

    `files` are relative to the root of their listing, with forward slashes. `labels` is int64 [N] in 0 to K - 1. `sizes` (bytes)
    and `times` (modification, nanoseconds) are int64 [N] and tell whether a file changed. `file_ids` are (device, inode),
    equal for two paths to one file; None for anything but files. `notes` are messages on files that are left out.
    """

    files: tuple[str, ...]
    labels: Int64[np.ndarray, " N"]
    sizes: Int64[np.ndarray, " N"]
    times: Int64[np.ndarray, " N"]
    file_ids: tuple[FileId | None, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @classmethod
    def of(cls, root: Path, files: Sequence[str], labels: Sequence[int] | np.ndarray) -> "Part":
        """Return the part of these files below `root`, with their sizes and times; the size of a missing file is -1."""
        stats = [_hint(os.path.join(root, file)) for file in files]  # noqa: PTH118  (half a million of them)
        sizes, times = np.asarray([own[:2] for own in stats], dtype=np.int64).reshape(-1, 2).T
        return cls(tuple(files), np.asarray(labels, dtype=np.int64), sizes, times, tuple(place for _, _, place in stats))

    @property
    def absent(self) -> list[str]:
        """Files that do not exist."""
        return [self.files[i] for i in np.flatnonzero(self.sizes == ABSENT)]

    def take(self, indices: Int64[np.ndarray, " n"]) -> "Part":
        """Return the files at `indices`, in that order."""
        return Part(tuple(self.files[i] for i in indices), self.labels[indices], self.sizes[indices], self.times[indices],
                    tuple(self.file_ids[i] for i in indices), self.notes)


@dataclass(frozen=True)
class Listing:
    """Data set of image files: root folder, parts with labels, and class names.

    `where` names it in messages, `layout` is the kind of folder. `lists` are the SHA-256 of the files that assign images to
    classes and parts; `test_part` and `unread` are those of `RawData`. Subclasses whose images are no files below `root` override
    `identity` and `content`.
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
        """Messages on files that are left out, without repetition."""
        return list(dict.fromkeys(note for part in self.parts.values() for note in part.notes))

    @property
    def identity(self) -> str:
        """Text that identifies the location on this machine."""
        return os.path.abspath(self.root)  # noqa: PTH100  (links stay)

    def content(self, file: str) -> bytes:
        """Return the bytes of one file. Raises `OSError`, also for anything but a plain file."""
        return read_plain(self.root / file)


def hold_out(part: Part, test_part: str = TRAIN) -> tuple[Part, Part]:
    """Return three quarters of each class for training and one for testing (`stratified_split`); with NONE all for training."""
    nothing = np.empty(0, np.int64)
    train, test = (np.arange(len(part)), nothing) if test_part == NONE else stratified_indices(part.labels)
    return part.take(train), part.take(test)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden or a system file."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder` that are not hidden, in the order of labels. Raises `UserError` without any."""
    names = in_order(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
    if not names:
        raise UserError(f"{folder} has no class folders; images are expected as {folder}/CLASS/FILE.")
    return names


def _hint(path: str) -> tuple[int, int, FileId | None]:
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # ValueError: a NUL character
        return ABSENT, 0, None
    return found.st_size, found.st_mtime_ns, (found.st_dev, found.st_ino)
