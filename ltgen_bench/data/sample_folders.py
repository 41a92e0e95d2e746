"""Reader of samples in class folders, on disk or in a zip."""

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import read_plain
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.words import counted, some
from ltgen_bench.data.class_files import HEAD_BYTES, IMAGE, Inventory, kind_of
from ltgen_bench.data.image_files import Shape
from ltgen_bench.data.listing import class_folders, is_hidden

SMALLEST_LIMIT = 1 << 20  # size in bytes that is always allowed for a file in a zip
RAW_TIMES = 16  # plus this factor of the bytes of an image's pixels
# What zipfile raises for members that are damaged, encrypted or compressed in an unknown way.
UNPACKABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)

Read = Callable[[], bytes]
Found = dict[str, dict[str, Read]]  # class folder -> its image files as CLASS/FILE, each with the function that reads it


def folder_files(root: Path, progress: Progress) -> Found:
    """Return the images of a folder of class folders. Raises `UserError` as `Inventory.refuse` does, and for an empty class."""
    inventory = Inventory(str(root))
    names = inventory.images_of(root, class_folders(root))
    return _whole({name: {f"{name}/{file}": partial(read_plain, root / name / file) for file in files}
                   for name, files in names.items()}, inventory, progress)


def zip_files(path: Path, shape: Shape, progress: Progress) -> Found:
    """Return the images of a zip of class folders, without unpacking it to disk; one enclosing folder is skipped."""
    try:
        archive = zipfile.ZipFile(path)  # stays open while threads read its files
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is not a readable zip ({error}); it may be truncated, so make or copy it again.") from error
    _refuse_entries(path, archive.infolist())
    members = {PurePosixPath(member.filename).as_posix(): member for member in archive.infolist()}
    heads = {name: partial(_head, archive, member) for name, member in members.items() if not member.is_dir()}
    images = [name for name, head in heads.items() if kind_of(name, head) == IMAGE]
    if not images:
        raise UserError(f"{path} has no images as CLASS/FILE (.png, .jpg, ...); pack a folder of class folders.")
    _refuse_large(path, [members[name] for name in images], shape)
    around, inventory = _folder_around(images), Inventory(str(path))
    found: Found = {folder: {} for name in members if name not in heads
                    if "/" not in (folder := name.removeprefix(around)) and f"{name}/" != around and not is_hidden(folder)}
    for name, head in heads.items():
        if inventory.takes(inner := name.removeprefix(around), head):
            found.setdefault(inner.partition("/")[0], {})[inner] = partial(_unpacked, archive, members[name])
    return _whole(dict(sorted(found.items())), inventory, progress)


def _folder_around(images: list[str]) -> str:
    """Return `TOP/` where all images are in one enclosing folder, else an empty text."""
    parts = [PurePosixPath(name).parts for name in images]
    tops = {own[0] for own in parts}
    return f"{next(iter(tops))}/" if len(tops) == 1 and all(len(own) > 2 for own in parts) else ""


def _whole(found: Found, inventory: Inventory, progress: Progress) -> Found:
    """Return `found` after checking that no image is misplaced and no class is empty; reports files that are left out."""
    inventory.refuse()
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise UserError(f"{inventory.where}: the class folder{'' if len(empty) == 1 else 's'} {some(empty)} "
                        f"{'has' if len(empty) == 1 else 'have'} no images (.png, .jpg, ...); add some, or remove the class.")
    for note in inventory.notes:
        progress.say(note)
    return found


def _refuse_entries(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise `UserError` for paths that leave the zip, and for duplicate names."""
    outside = [member.filename for member in members if not member.is_dir() and _leads_outside(member)]
    twice = [name for name, times in Counter(member.filename for member in members).items() if times > 1]
    for names, what in ((outside, "with a path outside its root or a link"), (twice, "of a name that is there twice")):
        if names:
            raise UserError(f"{path}: {len(names):,} {'entry' if len(names) == 1 else 'entries'} {what}: {some(names)}; pack "
                            "CLASS/FILE with relative paths, each once.")


def _refuse_large(path: Path, members: list[zipfile.ZipInfo], shape: Shape) -> None:
    limit = max(SMALLEST_LIMIT, RAW_TIMES * int(np.prod(shape)))
    large = [f"{member.filename}: {member.file_size:,} bytes" for member in members if member.file_size > limit]
    if large:
        raise UserError(f"{path}: {counted(len(large), 'image file')} larger than {limit:,} bytes unpacked, which no image of "
                        f"{shape[2]} x {shape[1]} needs: {some(large)}.")


def _head(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | None:
    try:
        with archive.open(member) as file:
            return file.read(HEAD_BYTES)
    except UNPACKABLE:
        return None


def _leads_outside(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    absolute = not parts or parts[0] == "/" or parts[0].endswith(":")
    return absolute or ".." in parts or stat.S_ISLNK(member.external_attr >> 16)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(member)
    except UNPACKABLE as error:
        raise OSError(f"it cannot be unpacked ({error})") from error
