"""Cache of decoded images: an array for each part, and a JSON file with the image files that it came from.

An entry is the folder `cache_folder()/images/<key>/`; the key stands for the location, the layout, the lists and the image
size. The JSON file is written last, and an entry whose reading stops is removed. Sizes and times of the image files tell
whether they may have changed; `image_verify` compares their content. Arrays and JSON have checksums that are checked at every
reading; a damaged entry is reported, set aside, and made again.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.core.cache_folder import CacheKind, register_kind
from ltgen_bench.core.errors import DamagedError, MachineError, UserError
from ltgen_bench.core.files import (
    CACHE_VARIABLE,
    cache_folder,
    file_lock,
    read_checked_json,
    set_aside,
    write_atomically,
    write_checked_json,
)
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.words import counted, size_words
from ltgen_bench.data.image_files import RESIZE_RULE, Shape, common_shape, read_images, say_marks
from ltgen_bench.data.images import BROKEN_ARRAYS, ImageSet
from ltgen_bench.data.listing import NAMED, Listing, Part
from ltgen_bench.data.raw import RawData
from ltgen_bench.runtime.memory import machine_memory

READER = 2  # increased when the same files are read as other pixels
MEMORY_SHARE = 0.25  # share of the machine's memory; larger arrays are memory-mapped
FACTS = "listing.json"
HASHED = 1024  # images at a time
Arrays = dict[str, UInt8[np.ndarray, "N C H W"]]


def shape_words(shape: list[int]) -> str:
    """Return the shape [N, C, H, W] of an array in words: `50,000 images of 3 x 32 x 32`."""
    count, channels, height, width = shape
    return f"{count:,} images of {channels} x {height} x {width}"


def _words(folder: Path) -> str:
    """Return the source folder, number and shape of the cached images."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        return f"{facts['root']}, {' and '.join(shape_words(part['shape']) for part in facts['parts'].values())}"
    except FileNotFoundError:
        return "a reading that was killed, no images yet"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "of a data set, its listing cannot be read"


IMAGES = register_kind(CacheKind("images", "images", "{hex16}", _words, lock="beside", is_folder=True))


@dataclass(frozen=True)
class Entry:
    """Entry of the cache: its folder, and the values of its JSON file.

    `parts` are what is stored of each part: files, sizes, times, sha256 (of each file, joined), shape, pixels (SHA-256 of the
    array) and marks (numbers of images that the user is told of).
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        return self.facts["parts"]

    def digests(self) -> dict[str, str]:
        """Return file -> SHA-256 of its content, for both parts."""
        return {file: part["sha256"][64 * i:64 * i + 64] for part in self.parts.values() for i, file in enumerate(part["files"])}

    def matches(self, listing: Listing) -> bool:
        """Return whether the listing has the same files in the same order, with unchanged sizes and times."""
        return all(self.parts[name][key] == value for name, part in listing.parts.items() for key, value in hint(part).items())

    def array_path(self, name: str) -> Path:
        """Return the path of the images of the part `name`."""
        return self.folder / f"{name}.npy"

    def arrays(self, progress: Progress, memory_share: float = MEMORY_SHARE) -> Arrays:
        """Return the images of each part, memory-mapped where all take more than `memory_share` of the memory.

        Reads every array once for its checksum: 0.5 s for 60,000 colour images of 32 x 32 on one core. Raises `DamagedError`
        where one does not match.
        """
        try:
            found: Arrays = {name: np.load(self.array_path(name), mmap_mode="c") for name in self.parts}  # copy on write
        except BROKEN_ARRAYS as error:
            raise DamagedError(f"{self.folder}: {error}") from error
        mapped = sum(images.nbytes for images in found.values()) > memory_share * machine_memory()
        for name, images in found.items():
            digest = hashlib.sha256()
            with progress.stage(f"check {name}", len(images), "images") if mapped else nullcontext() as stage:
                for start in range(0, len(images), HASHED):
                    digest.update(np.ascontiguousarray(images[start:start + HASHED]).data)
                    if stage is not None:
                        stage.advance(min(HASHED, len(images) - start))
            facts = self.parts[name]
            if images.dtype != np.uint8 or list(images.shape) != facts["shape"] or digest.hexdigest() != facts["pixels"]:
                raise DamagedError("its pixels do not match their checksum")
        return found if mapped else {name: np.array(images) for name, images in found.items()}


def hint(part: Part) -> dict[str, list]:
    """Return names, sizes and times of the files of a part, as the JSON file stores them."""
    return {"files": list(part.files), "sizes": part.sizes.tolist(), "times": part.times.tolist()}


def hints(parts: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return file -> (size in bytes, time of modification) of parts in the form of `hint`."""
    return {file: (size, time) for part in parts
            for file, size, time in zip(part["files"], part["sizes"], part["times"], strict=True)}


def load_images(listing: Listing, image_size: int | None, command: str, progress: Progress, *,
                memory_share: float = MEMORY_SHARE) -> RawData:
    """Return the images of a listing from the cache, after reading them into it where needed.

    Arrays that take more than `memory_share` of the machine's memory are memory-mapped (copy on write). Raises `UserError` for
    files that cannot be read or have different sizes, and for a listing that changed since it was read; `command` is what the
    user can type to verify it.
    """
    images = None
    try:
        entry = find_entry(listing, image_size)
        if entry is not None and not entry.matches(listing):
            _refuse_changed(entry, listing, command)
        elif entry is not None:
            images = entry.arrays(progress, memory_share)
    except MachineError:  # damage is reported once this command has the lock
        entry = None
    if entry is not None and images is not None:
        for name, part in entry.parts.items():
            say_marks(part.get("marks", {}), f"{len(part['files']):,} {name} images", progress)
    else:
        with file_lock(entry_folder(listing, image_size), progress.say):
            entry, images = _cached_or_read(listing, image_size, progress, memory_share)
    train, test = (ImageSet(images[name], part.labels) for name, part in listing.parts.items())
    return RawData(train, test, listing.class_names, checksum(entry), listing.test_part, listing.unread)


def _cached_or_read(listing: Listing, image_size: int | None, progress: Progress, memory_share: float) -> tuple[Entry, Arrays]:
    """Return the entry and its arrays while holding the lock: what another command wrote meanwhile, else a new reading."""
    entry = usable_entry(listing, image_size, progress)
    if entry is not None and entry.matches(listing):
        try:
            return entry, entry.arrays(progress, memory_share)
        except DamagedError as error:
            set_aside_entry(entry.folder, error, listing, progress)
    entry = read_entry(listing, image_size, progress)
    try:
        return entry, entry.arrays(progress, memory_share)
    except DamagedError as error:
        raise MachineError(f"the images of {listing.where} that were read now are damaged in {entry.folder}: the disk or the "
                           f"memory fails; {CACHE_VARIABLE} sets another cache folder.") from error


def checksum(entry: Entry) -> str:
    """Return `sha256:...` over names and contents of all files in order, and over the lists that give their labels."""
    parts = {name: {"files": part["files"], "sha256": part["sha256"]} for name, part in entry.parts.items()}
    text = json.dumps({"lists": entry.facts["lists"], "parts": parts}, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def entry_folder(listing: Listing, image_size: int | None) -> Path:
    """Return the folder of the entry of a listing, which may not exist."""
    parts = [] if listing.test_part == "test" else [listing.test_part]
    key = json.dumps([listing.identity, listing.layout, listing.lists, image_size, *parts])
    return IMAGES.path(cache_folder() / IMAGES.folder, hashlib.sha256(key.encode()).hexdigest())


def find_entry(listing: Listing, image_size: int | None) -> Entry | None:
    """Return the entry of a listing; None where there is none, or one of another version. Raises `MachineError` for damage."""
    folder = entry_folder(listing, image_size)
    if not (folder / FACTS).is_file():
        return None  # never read, or a reading that was killed
    facts = read_checked_json(folder / FACTS)
    return Entry(folder, facts) if facts.get("reader") == READER else None


def usable_entry(listing: Listing, image_size: int | None, progress: Progress) -> Entry | None:
    """Return `find_entry` while holding the lock; a damaged entry is reported and set aside."""
    try:
        return find_entry(listing, image_size)
    except MachineError as error:
        set_aside_entry(entry_folder(listing, image_size), error, listing, progress)
        return None


def set_aside_entry(folder: Path, fault: MachineError, listing: Listing, progress: Progress) -> None:
    """Report what is wrong with an entry, and rename it."""
    progress.say(f"cached images of {listing.where} cannot be used ({fault}); they are set aside as {set_aside(folder)}, and the "
                 "files are read again")


def read_entry(listing: Listing, image_size: int | None, progress: Progress) -> Entry:
    """Read all files of a listing into the cache, replacing an earlier entry."""
    import PIL

    folder = entry_folder(listing, image_size)
    shape = _shape(listing, image_size)
    shutil.rmtree(folder, ignore_errors=True)
    entry = Entry(folder, {"reader": READER, "rule": RESIZE_RULE, "pillow": PIL.__version__, "root": str(listing.root),
                           "layout": listing.layout, "image_size": image_size, "lists": list(listing.lists), "parts": {}})
    try:
        for name in listing.parts:
            entry.parts[name] = _read_part(entry, listing, name, shape, image_size, progress)
        write_checked_json(folder / FACTS, entry.facts)
    except BaseException:  # an interruption too
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return entry


def _shape(listing: Listing, image_size: int | None) -> Shape:
    """Return the common shape of all images, before any is decoded."""
    train, test = (common_shape(listing, part, image_size) for part in listing.parts.values())
    if train is not None and test is not None and train != test:
        raise UserError(f"{listing.where}: training images are {size_words(train)} and test images {size_words(test)}; all must "
                        f"have one size and as many channels{'' if image_size else ', or give --image-size 16, 32, 64 or 128'}.")
    return train or test or (1, 1, 1)  # without a readable file, reading will report it


def _read_part(entry: Entry, listing: Listing, name: str, shape: Shape, image_size: int | None,
               progress: Progress) -> dict[str, Any]:
    part = listing.parts[name]
    pixels = hashlib.sha256()
    digests: list[str] = []
    marks: Counter[str] = Counter()

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (len(part), *shape)})
            for block in read_images(listing, name, shape, image_size, progress):
                file.write(block.images.data)
                pixels.update(block.images.data)
                digests.extend(block.digests)
                marks.update(block.marks)

    write_atomically(entry.array_path(name), write)
    return {**hint(part), "sha256": "".join(digests), "shape": [len(part), *shape], "pixels": pixels.hexdigest(),
            "marks": dict(marks)}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return (numbers of files added, removed and changed; the first of them in words) between two maps of files."""
    groups = {"added": [file for file in now if file not in before], "removed": [file for file in before if file not in now],
              "changed": [file for file in now if file in before and now[file] != before[file]]}
    named = [f"{word}: {file}" for word, files in groups.items() for file in files]
    return {word: len(files) for word, files in groups.items() if files}, named[:NAMED]


def _refuse_changed(entry: Entry, listing: Listing, command: str) -> None:
    """Raise `UserError` where a file was added, removed or modified. Another order of the same files is no change."""
    counts, named = difference(hints(entry.parts.values()), hints(map(hint, listing.parts.values())))
    if counts:
        words = ", ".join(f"{counted(count, 'file')} {'with another size or time' if kind == 'changed' else kind}"
                          for kind, count in counts.items())
        raise UserError(f"{listing.where} has changed since its images were read ({words}); `{command}` compares by content, and "
                        "with --update it takes the files as they are now", named)
