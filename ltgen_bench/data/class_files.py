"""Classification of the files in class folders: images, files that are left out and reported, and files that are refused."""

import codecs
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.words import counted, some
from ltgen_bench.data.image_files import BROKEN_IMAGE
from ltgen_bench.data.listing import IMAGE_SUFFIXES, is_hidden

TEXT_SUFFIXES = (".txt", ".json", ".jsonl", ".xml", ".csv", ".tsv", ".md", ".rst", ".yaml", ".yml", ".toml", ".ini", ".html",
                 ".log", ".caption")
UNREAD_SUFFIXES = (".svg", ".svgz", ".bak", ".orig", ".tmp", ".part", ".crdownload", "~")  # also: incomplete ones
NO_PICTURES = ("MPEG", "EPS", "WMF", "HDF5", "GRIB", "BUFR", "FITS")  # detected by Pillow, but not decoded
HEAD_BYTES = 1 << 20  # of a file without a known suffix, to detect its type
IMAGE, HIDDEN, TEXT, STRANGE = "image", "hidden or system file", "text", "unread file"
Head = Callable[[], bytes | None]


def kind_of(name: str, head: Head | None) -> str:
    """Return IMAGE, HIDDEN, TEXT or STRANGE for a file, by its name or else by its content.

    `name` has forward slashes. `head` returns the first HEAD_BYTES of the file, or None where it cannot be read; it is None for
    anything but a plain file.
    """
    lower = name.lower()
    if any(map(is_hidden, name.split("/"))):
        return HIDDEN
    if head is None:
        return STRANGE
    if lower.endswith(IMAGE_SUFFIXES):
        return IMAGE
    if lower.endswith(TEXT_SUFFIXES):
        return TEXT
    data = None if lower.endswith(UNREAD_SUFFIXES) else head()
    if data is None:
        return STRANGE
    return IMAGE if _is_image(data) else TEXT if _is_text(data) else STRANGE


@dataclass
class Inventory:
    """Files found below the folder `where` of class folders: misplaced images, unreadable files, and those that are left out."""

    where: str
    deeper: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def takes(self, name: str, head: Head | None) -> bool:
        """Return whether `name`, relative to the folder, is an image CLASS/FILE; any other file is recorded."""
        kind, depth = kind_of(name, head), name.count("/")
        if kind == IMAGE and depth == 1:
            return True
        if kind == IMAGE:
            (self.deeper if depth else self.beside).append(name)
        elif kind == STRANGE and depth:
            self.strange.append(name)
        else:
            self.left_out.setdefault(kind, []).append(name)
        return False

    def images_of(self, folder: Path, class_names: Iterable[str], inner: str = "") -> dict[str, list[str]]:
        """Return class -> the sorted names of the images in `folder/CLASS/inner`, and record all other files."""
        found = {name: sorted(file for file, head in files_in(folder / name / inner) if self.takes(f"{name}/{file}", head))
                 for name in class_names}
        for file, head in files_in(folder, below=False):
            self.takes(file, head)
        return found

    def refuse(self) -> None:
        """Raise `UserError` where images, or files that may be images, are misplaced or unreadable, with counts and examples."""
        faults = [(self.deeper, "image", "deeper than CLASS/FILE", "move them up into their class folders, or away"),
                  (self.beside, "image", "beside the class folders", "move them into the folders of their classes, or away"),
                  (self.strange, "file", "of no format that is read here, or no plain files",
                   "convert them to PNG or JPEG, or move them out of the class folders")]
        problems = [f"{counted(len(own), noun)} {what}, such as {min(own)}; {cure}" for own, noun, what, cure in faults if own]
        if problems:
            names = [name for own, *_ in faults for name in sorted(own)]
            raise UserError(f"{self.where} has files that are not CLASS/FILE: {some(names)}; every file of a class folder must "
                            "be an image, a text, or a hidden or system file", problems)

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages on the files that are left out: how many, of which kind, and examples."""
        kinds = [f"{counted(len(names), kind)} ({some(sorted(names))})" for kind, names in sorted(self.left_out.items())]
        return (f"{self.where}: left out: {' and '.join(kinds)}",) if kinds else ()


def files_in(folder: Path, *, below: bool = True) -> Iterator[tuple[str, Head | None]]:
    """Yield (path relative to `folder`, function that reads its beginning) of every file; a hidden folder counts as one file.

    With `below`, subfolders are included. The function is None for anything but a plain file, such as a broken link.
    """
    if not folder.is_dir():
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise UserError(f"{folder} could not be read: {error.strerror or error}; check its permissions.") from error
    for entry in entries:
        if not entry.is_dir():
            yield entry.name, partial(_head, entry.path) if entry.is_file() else None
        elif is_hidden(entry.name) or (below and entry.is_symlink()):  # a link may lead to a folder above it
            yield entry.name, None
        elif below:
            yield from ((f"{entry.name}/{name}", head) for name, head in files_in(Path(entry.path)))


def first_image(folder: Path) -> Path | None:
    """Return the first image file below `folder`, in the order of names; None where there is none."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))  # in place: os.walk visits these, in this order
        for path in (Path(place) / name for name in sorted(files)):
            if kind_of(path.name, partial(_head, path) if path.is_file() else None) == IMAGE:
                return path
    return None


def _head(path: str | Path) -> bytes | None:
    try:
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return None


def _is_image(data: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.format not in NO_PICTURES
    except (*BROKEN_IMAGE, Image.DecompressionBombError):
        return False


def _is_text(data: bytes) -> bool:
    """Return whether bytes are UTF-8 text, possibly cut within a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
