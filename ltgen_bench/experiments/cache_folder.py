"""What the cache folder holds, and how to clear it. Knows files by their names and notes, follows no link, imports no torch.

Everything in the cache can be made or fetched again. What is not known by its name is shown and never removed.
"""

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.files import LOCK_FILE
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED

Kind = Literal["features", "images", "classifiers", "weights", "unknown"]
KINDS: tuple[Kind, ...] = ("features", "images", "classifiers", "weights")

FEATURES = re.compile(r"(.+)-[0-9a-f]{32}")  # a folder, with its lock inside
IMAGES = re.compile(r"[0-9a-f]{16}(\.damaged\d*)?")  # a folder, with a lock of its name beside it
INSIDE = re.compile(r"\.lock|\.?[a-z]+(-[a-z0-9_]{8})?\.(npy|json)")  # of a folder: arrays, a note, what a kill left of them
FILES: tuple[tuple[re.Pattern[str], Kind, str], ...] = (  # beside the folders of features
    (re.compile(r"classifier-[0-9a-f]{8}-[0-9a-f]{16}\.safetensors"), "classifiers", "domain classifier"),
    (re.compile(r"downstream-[0-9a-f]{16}\.safetensors"), "classifiers", "downstream predictions"),
    (re.compile(r"batch-.+-[0-9a-f]{16}\.json"), "features", "how many images an extractor looks at at once"),
    (re.compile(r"[0-9a-f]{64}\.safetensors"), "features", "features of an earlier version, not read any more"),
    (re.compile("|".join(re.escape(file.file_name) for file in PUBLISHED.values())), "weights", "weights of an extractor"))
LEFT = re.compile(r"(.+)\.(?:(lock)|damaged\d*)")  # beside a file: who makes it holds the first; the second is not read any more
UNFINISHED = re.compile(r"\.(.+)-[a-z0-9_]{8}(\.\w+)|(.+)\.[0-9a-f]+\.partial")  # a file that was being written
UNFINISHED_SECONDS = 86_400.0  # of a younger one the writer may still be at work


@dataclass(frozen=True)
class Kept:
    """One thing in the cache. `files` are what removing it removes; `used` is when, in seconds since the epoch."""

    kind: Kind
    path: Path
    name: str
    images: str
    files: tuple[Path, ...]
    size: int  # bytes on the disk
    used: float
    lock: Path | None = None  # who writes it holds this

    @property
    def words(self) -> str:
        """What it is and of how many images."""
        return f"{self.name}, {self.images}" if self.images else self.name

    def older_than(self, days: float) -> bool:
        """Whether it was not used for `days` days."""
        return self.used < time.time() - 86_400 * days


def find_kept(cache: Path) -> list[Kept]:
    """Everything in the folder `cache`, by kind and then the latest first; empty where there is no such folder."""
    found: list[Kept] = []
    rooms = {"features": _features, "images": _images}
    try:
        for path in _inside(cache):
            found += rooms[path.name](path) if path.name in rooms and _is_folder(path) else _unknown(path)
    except OSError as error:
        raise MachineError(f"{error.filename or cache} could not be read: {error.strerror or error}.") from error
    order = {kind: place for place, kind in enumerate((*KINDS, "unknown"))}
    return sorted(found, key=lambda item: (order[item.kind], -item.used, str(item.path)))


def remove(items: Iterable[Kept], say: Callable[[str], object]) -> list[Kept]:
    """Remove what is known of `items` and return what was removed; `say` hears what another command is writing, and stays.

    Raises `MachineError` for the first file that the system does not let go.
    """
    removed = []
    for item in items:
        if item.kind == "unknown":
            continue
        try:
            with FileLock(item.lock, timeout=0) if item.lock is not None else nullcontext():
                _unlink(item)
        except Timeout:
            say(f"{item.path} is being written by another command; it stays")
            continue
        except OSError as error:
            raise MachineError(f"{error.filename or item.path} could not be removed: {error.strerror or error}.") from error
        removed.append(item)
    return removed


def _unlink(item: Kept) -> None:
    for file in (*item.files, *([item.lock] if item.lock is not None else [])):
        file.unlink(missing_ok=True)
    if _is_folder(item.path) and not any(item.path.iterdir()):  # else something unknown lies in it
        item.path.rmdir()


def _features(room: Path) -> Iterator[Kept]:
    """What evaluations left: a folder for the features of each image set, classifiers and weights beside them."""
    for path in _inside(room):
        named = FEATURES.fullmatch(path.name)
        if named and _is_folder(path):
            yield from _folder("features", path, f"features of {named[1]}", _features_words(path), path / LOCK_FILE)
        else:
            yield from _file(path)


def _images(room: Path) -> Iterator[Kept]:
    """What reading image files left: a folder for each data set, and its lock."""
    for path in _inside(room):
        if IMAGES.fullmatch(path.name) and _is_folder(path):
            yield from _folder("images", path, *_images_words(path), path.with_suffix(".lock"))
        elif path.suffix == ".lock" and IMAGES.fullmatch(path.stem) and _is_file(path):
            if not _is_folder(path.with_suffix("")):
                yield _thing("images", path, "a lock that was left", "", [path])
        else:
            yield from _unknown(path)


def _features_words(folder: Path) -> str:
    """How many images of which shape, as the note of a `FeatureFile` says."""
    try:
        note = json.loads((folder / "note.json").read_text(encoding="utf-8"))
        count, block = note["images"][0], note["block"]
        done = sum(min(block, count - place * block) for place, checksum in enumerate(note["checksums"]) if checksum)
        return ("" if done == count else f"{done:,} of ") + _shape_words(note["images"])
    except FileNotFoundError:
        return "no images yet"
    except (OSError, ValueError, KeyError, TypeError):
        return "its note cannot be read"


def _images_words(folder: Path) -> tuple[str, str]:
    """(where the image files lie, how many of which shape), as the listing beside the arrays says."""
    try:
        facts = json.loads((folder / "listing.json").read_text(encoding="utf-8"))
        return str(facts["root"]), " and ".join(_shape_words(part["shape"]) for part in facts["parts"].values())
    except FileNotFoundError:
        return "a reading that was killed", "no images yet"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "of a data set", "its listing cannot be read"


def _shape_words(shape: list[int]) -> str:
    count, channels, height, width = shape
    return f"{count:,} images of {channels} x {height} x {width}"


def _folder(kind: Kind, path: Path, name: str, images: str, lock: Path) -> Iterator[Kept]:
    """A folder of the cache with the files that are its own, and each of what else lies in it."""
    inside = _inside(path)
    own = [file for file in inside if INSIDE.fullmatch(file.name) and _is_file(file)]
    yield _thing(kind, path, name, images, own, lock)
    for file in inside:
        if file not in own:
            yield from _unknown(file)


def _file(path: Path) -> Iterator[Kept]:
    """A file beside the folders of features: what its name says, or unknown."""
    part = UNFINISHED.fullmatch(path.name)
    left = LEFT.fullmatch(path.name)
    whole_name = left[1] if left is not None else path.name if part is None else part[3] or part[1] + part[2]
    known = [(kind, name) for pattern, kind, name in FILES if pattern.fullmatch(whole_name) and _is_file(path)]
    if not known:
        yield from _unknown(path)
        return
    kind, name = known[0]
    found = _thing(kind, path, path.name if kind == "weights" else name, "", [path])
    if left is not None:
        lock = path if left[2] else None
        yield replace(found, name="a lock that was left" if left[2] else f"{name}, damaged and set aside", lock=lock)
    elif part is None:
        yield found if kind != "classifiers" else replace(found, lock=path.with_name(f"{path.name}.lock"))
    elif time.time() - found.used > UNFINISHED_SECONDS:
        yield replace(found, name="a file that was never finished")
    else:
        yield from _unknown(path, "being written")


def _unknown(path: Path, why: str = "not of this program") -> Iterator[Kept]:
    """What is left alone, and why."""
    why = "a link, not followed" if path.is_symlink() else why
    files = [Path(folder, file) for folder, _, names in os.walk(path) for file in names] if _is_folder(path) else [path]
    yield _thing("unknown", path, f"{path.name} ({why})", "", files)


def _thing(kind: Kind, path: Path, name: str, images: str, files: list[Path], lock: Path | None = None) -> Kept:
    facts = {file: fact for file in (path, *files) if (fact := _facts(file)) is not None}  # some may be gone meanwhile
    size = sum(fact.st_blocks * 512 for file, fact in facts.items() if file in files)
    # Listing the cache reads the JSON and looks into folders, so that their access says nothing.
    times = [max(fact.st_mtime, fact.st_atime if file.suffix in (".npy", ".safetensors", ".pth") else 0.0)
             for file, fact in facts.items()]
    return Kept(kind, path, name, images, tuple(files), size, max(times, default=0.0), lock)


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _is_folder(path: Path) -> bool:
    facts = _facts(path)
    return facts is not None and stat.S_ISDIR(facts.st_mode)


def _is_file(path: Path) -> bool:
    facts = _facts(path)
    return facts is not None and stat.S_ISREG(facts.st_mode)


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
