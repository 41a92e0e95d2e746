"""Cache of decoded images: an array for each part, and a JSON file with the image files that it came from.

An entry is the folder `cache_folder()/images/<key>/`; the key stands for the location, the layout, the lists and the image
size. The JSON file is written last, and an entry whose reading stops is removed. Sizes and times of the image files tell
whether they may have changed; `image_verify` compares their content. Arrays and JSON have checksums that are checked at every
reading; a damaged entry is reported, set aside, and made again.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import UInt8

from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.files import (
    CACHE_VARIABLE,
    CHECKSUM,
    cache_folder,
    json_sha256,
    read_checked_json,
    set_aside,
    write_atomically,
    write_text,
)
from ltgen_bench.core.progress import Progress, Stage
from ltgen_bench.core.words import counted, size_words
from ltgen_bench.data.cached_images import IMAGES
from ltgen_bench.data.image_files import RESIZE_RULE, Marks, Shape, common_shape, read_images
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.listing import NAMED, Listing, Part
from ltgen_bench.data.raw import RawData
from ltgen_bench.runtime.memory import machine_memory

OTHER_VERSION = "another version of ltgen-bench wrote them"
READER = 2  # increased when the same files are read as other pixels
MEMORY_SHARE = 0.25  # share of the machine's memory; larger arrays are memory-mapped
FACTS = "listing.json"
HASHED = 1024  # images at a time


@dataclass(frozen=True)
class Entry:
    """Entry of the cache: its folder, and the values of its JSON file."""

    folder: Path
    facts: dict[str, Any]

    def part(self, name: str) -> dict[str, Any]:
        """Return what is stored of a part: files, sizes, times, sha256 (of each file), shape, pixels (SHA-256 of the array)."""
        return dict(self.facts["parts"][name])

    def digests(self) -> dict[str, str]:
        """Return file -> SHA-256 of its content, for both parts."""
        found: dict[str, str] = {}
        for part in self.facts["parts"].values():
            found |= {file: part["sha256"][64 * i:64 * i + 64] for i, file in enumerate(part["files"])}
        return found

    def hints(self) -> dict[str, tuple[int, int]]:
        """Return file -> (size in bytes, time of modification) at the time of reading."""
        return {file: (size, time) for part in self.facts["parts"].values()
                for file, size, time in zip(part["files"], part["sizes"], part["times"], strict=True)}

    def matches(self, listing: Listing) -> bool:
        """Return whether the listing has the same files in the same order, with unchanged sizes and times."""
        return all(self.part(name)[key] == value for name, part in listing.parts.items() for key, value in hint(part).items())

    def report_marks(self, progress: Progress) -> None:
        """Repeat the messages about the images from the time of reading."""
        for name, part in self.facts["parts"].items():
            Marks(**part.get("marks", {})).say(f"{len(part['files']):,} {name} images", progress)

    def array_path(self, name: str) -> Path:
        """Return the path of the images of the part `name`."""
        return self.folder / f"{name}.npy"


def hint(part: Part) -> dict[str, list]:
    """Return names, sizes and times of the files of a part, as the JSON file stores them."""
    return {"files": list(part.files), "sizes": part.sizes.tolist(), "times": part.times.tolist()}


def load_images(listing: Listing, image_size: int | None, command: str, progress: Progress, *,
                memory_share: float = MEMORY_SHARE) -> RawData:
    """Return the images of a listing from the cache, after reading them into it where needed.

    Arrays that take more than `memory_share` of the machine's memory are memory-mapped (copy on write). Raises `UserError` for
    files that cannot be read or have different sizes, and for a listing that changed since it was read; `command` is what the
    user can type to verify it.
    """
    limit = memory_share * machine_memory()
    entry, _ = find_entry(listing, image_size)
    if entry is not None and not entry.matches(listing):
        _refuse_changed(entry, listing, command)
    images = None if entry is None or not entry.matches(listing) else _arrays(entry, listing, limit, progress)
    if entry is not None and images is not None:
        entry.report_marks(progress)
    if entry is None or images is None:
        with entry_lock(listing, image_size, progress):
            entry = usable_entry(listing, image_size, progress)
            images = None if entry is None or not entry.matches(listing) else _arrays(entry, listing, limit, progress)
            if entry is None or images is None:
                if entry is not None and entry.matches(listing):
                    set_aside_entry(listing, image_size, "its pixels do not match their checksum", progress)
                entry = read_entry(listing, image_size, progress)
                images = _arrays(entry, listing, limit, progress)
    if images is None:
        raise MachineError(f"the images of {listing.where} that were read now are damaged in {entry.folder}: the disk or the "
                           f"memory fails; {CACHE_VARIABLE} sets another cache folder.")
    train, test = (ImageSet(images[name], part.labels) for name, part in listing.parts.items())
    return RawData(train, test, listing.class_names, checksum(entry), listing.test_part, listing.unread)


def _arrays(entry: Entry, listing: Listing, limit: float, progress: Progress) -> dict[str, UInt8[np.ndarray, "N C H W"]] | None:
    """Return the array of each part, memory-mapped where all take more than `limit` bytes; None where a checksum does not match.

    Reads every array once for its checksum: 0.5 s for 60,000 colour images of 32 x 32 on one core.
    """
    mapped = sum(entry.array_path(name).stat().st_size for name in listing.parts) > limit
    found = {}
    for name in listing.parts:
        images = np.load(entry.array_path(name), mmap_mode="c" if mapped else None)
        with progress.stage(f"check {name}", len(images), "images") if mapped else nullcontext() as stage:
            if pixels_digest(images, stage) != entry.part(name)["pixels"]:
                return None
        found[name] = images
    return found


def checksum(entry: Entry) -> str:
    """Return `sha256:...` over names and contents of all files in order, and over the lists that give their labels."""
    parts = {name: {"files": part["files"], "sha256": part["sha256"]} for name, part in entry.facts["parts"].items()}
    text = json.dumps({"lists": entry.facts["lists"], "parts": parts}, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def entry_folder(listing: Listing, image_size: int | None) -> Path:
    """Return the folder of the entry of a listing, which may not exist."""
    parts = [] if listing.test_part == "test" else [listing.test_part]
    key = json.dumps([listing.identity, listing.layout, listing.lists, image_size, *parts])
    return IMAGES.path(cache_folder() / IMAGES.folder, hashlib.sha256(key.encode()).hexdigest())


def find_entry(listing: Listing, image_size: int | None) -> tuple[Entry | None, str]:
    """Return (the entry of a listing, what is wrong with it); None for the entry where it cannot be used. Checks sizes only."""
    folder = entry_folder(listing, image_size)
    if not (folder / FACTS).is_file():
        return None, ""  # never read, or a reading that was killed
    try:
        entry = Entry(folder, read_checked_json(folder / FACTS))
        fault = _fault(entry, listing)
    except FileNotFoundError:
        return None, ""
    except (MachineError, OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        return None, str(error)
    return (None if fault else entry), fault


def usable_entry(listing: Listing, image_size: int | None, progress: Progress) -> Entry | None:
    """Return `find_entry` while holding the lock; an unusable entry is reported and set aside."""
    entry, fault = find_entry(listing, image_size)
    if fault == OTHER_VERSION:  # not damaged: replaced by the new reading
        progress.say(f"the cached images of {listing.where} cannot be used ({fault}); the files are read again")
    elif fault:
        set_aside_entry(listing, image_size, fault, progress)
    return entry


def set_aside_entry(listing: Listing, image_size: int | None, fault: str, progress: Progress) -> None:
    """Report what is wrong with an entry, and rename it."""
    aside = set_aside(entry_folder(listing, image_size))
    progress.say(f"cached images of {listing.where} cannot be used ({fault}); they are set aside as {aside}, and the files are "
                 "read again")


def _fault(entry: Entry, listing: Listing) -> str:
    """Return what is wrong with the sizes of the arrays; an empty text where nothing is."""
    if entry.facts["reader"] != READER:
        return OTHER_VERSION
    for name in listing.parts:
        part, array = entry.part(name), np.load(entry.array_path(name), mmap_mode="r")
        lengths = {len(part["files"]), len(part["sizes"]), len(part["times"]), len(part["sha256"]) / 64}
        if list(array.shape) != part["shape"] or array.dtype != np.uint8 or lengths != {len(array)}:
            return f"{name}.npy is not the array that was written"
    return ""


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
            entry.facts["parts"][name] = _read_part(entry, listing, name, shape, image_size, progress)
        write_entry(entry)
    except BaseException:  # an interruption too
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return entry


def write_entry(entry: Entry) -> None:
    """Write the JSON file of an entry whose arrays exist."""
    facts = json.loads(json.dumps(entry.facts))  # as they are read again
    write_text(entry.folder / FACTS, json.dumps({**facts, CHECKSUM: json_sha256(facts)}, separators=(",", ":")) + "\n")


@contextmanager
def entry_lock(listing: Listing, image_size: int | None, progress: Progress) -> Iterator[None]:
    """Hold the lock of an entry, waiting for another command that reads the same files."""
    folder = entry_folder(listing, image_size)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"another command is reading {listing.where}; waiting for it")
        lock.acquire()
    except OSError as error:
        raise MachineError(f"{folder.parent} could not be written: {error.strerror or error}; {CACHE_VARIABLE} names another "
                           "folder for what is kept.") from error
    try:
        yield
    finally:
        lock.release()


def _shape(listing: Listing, image_size: int | None) -> Shape:
    """Return the common shape of all images, before any is decoded."""
    train, test = (common_shape(listing, part, image_size) for part in listing.parts.values())
    if train is not None and test is not None and train != test:
        raise UserError(f"{listing.where}: training images are {size_words(train)} and test images {size_words(test)}; all must "
                        f"have one size and as many channels{'' if image_size else ', or give --image-size 32, 64 or 128'}.")
    return train or test or (1, 1, 1)  # without a readable file, reading will report it


def _read_part(entry: Entry, listing: Listing, name: str, shape: Shape, image_size: int | None,
               progress: Progress) -> dict[str, Any]:
    part = listing.parts[name]
    pixels = hashlib.sha256()
    digests: list[str] = []
    marks = Marks()

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (len(part), *shape)})
            for block in read_images(listing, name, shape, image_size, progress):
                file.write(block.images.data)
                pixels.update(block.images.data)
                digests.extend(block.digests)
                marks.add(block.marks)

    write_atomically(entry.array_path(name), write)
    return {**hint(part), "sha256": "".join(digests), "shape": [len(part), *shape], "pixels": pixels.hexdigest(),
            "marks": asdict(marks)}


def pixels_digest(images: UInt8[np.ndarray, "N C H W"], stage: Stage | None = None) -> str:
    """Return the SHA-256 of the pixels in order. `stage` advances by images."""
    digest = hashlib.sha256()
    for start in range(0, len(images), HASHED):
        block = images[start:start + HASHED]
        digest.update(np.ascontiguousarray(block).data)
        if stage is not None:
            stage.advance(len(block))
    return digest.hexdigest()


def difference(before: dict[str, Any], now: dict[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return (numbers of files added, removed and changed; the first of them in words) between two maps of files."""
    groups = {"added": [file for file in now if file not in before], "removed": [file for file in before if file not in now],
              "changed": [file for file in now if file in before and now[file] != before[file]]}
    named = [f"{word}: {file}" for word, files in groups.items() for file in files]
    return {word: len(files) for word, files in groups.items()}, named[:NAMED]


def _refuse_changed(entry: Entry, listing: Listing, command: str) -> None:
    """Raise `UserError` where a file was added, removed or modified. Another order of the same files is no change."""
    now = {file: own for part in listing.parts.values()
           for file, *own in zip(part.files, part.sizes.tolist(), part.times.tolist(), strict=True)}
    counts, named = difference({file: list(own) for file, own in entry.hints().items()}, now)
    if not any(counts.values()):
        return
    words = ", ".join(f"{counted(count, 'file')} {'with another size or time' if kind == 'changed' else kind}"
                      for kind, count in counts.items() if count)
    raise UserError(f"{listing.where} has changed since its images were read ({words}); `{command}` compares by content, and "
                    "with --update it takes the files as they are now", named)
