"""List and clear the cache folder. Follows no link, imports no torch.

Everything in the cache can be computed or downloaded again. Each module that writes there registers a `CacheKind` for its
files, which also names them; files that match no kind are listed as unknown and never removed.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.files import LOCK_FILE

Group = Literal["features", "images", "classifiers", "weights"]
GROUPS: tuple[Group, ...] = ("features", "images", "classifiers", "weights")  # as `cache show` sorts them

FIELD = re.compile(r"\{(?:hex(\d+)|name)\}")
BESIDE = re.compile(r"(.+)\.(?:(lock)|damaged\d*)")  # lock of a file or folder, or a damaged file that was set aside
UNFINISHED = re.compile(r"\.(.+)-[a-z0-9_]{8}(\.\w+)|(.+)\.[0-9a-f]+\.partial")  # a file that was being written
UNFINISHED_SECONDS = 86_400.0  # a younger file may still be in use
CONTENT = re.compile(r"\.lock|\.?[a-z]+(-[a-z0-9_]{8})?\.(npy|json)")  # files of an entry: arrays, JSON, and unfinished ones
READ_BY_COMPUTING = (".npy", ".safetensors", ".pth")  # reading these is a use; listing the cache reads the JSON alone


@dataclass(frozen=True)
class CacheKind:
    """Kind of files or folders in the cache, registered by the module that writes them.

    `template` is the file name with fields `{hex16}` (16 hex digits, or another number) and `{name}` (any text). `words`
    describe it, or are a function from path to description. `lock` is the position of the writer's lock: inside the folder,
    next to it (`NAME.lock`), or none. A folder counts as one item.
    """

    group: Group
    folder: str  # below the cache folder
    template: str
    words: str | Callable[[Path], str]
    lock: Literal["inside", "beside", "none"] = "none"
    is_folder: bool = False

    def path(self, folder: Path, *fields: str) -> Path:
        """Return the path in `folder` of the file with these `fields`, in the order of the template. Longer digests are cut."""
        values = iter(fields)
        return folder / FIELD.sub(lambda field: next(values)[:int(field[1]) if field[1] else None], self.template)

    def gives(self, name: str) -> bool:
        """Return whether `name` matches the template."""
        parts = FIELD.split(self.template)  # text, number of digits or None, text, ...
        pattern = "".join(re.escape(part or "") if place % 2 == 0 else f"[0-9a-f]{{{part}}}" if part else ".+"
                          for place, part in enumerate(parts))
        return re.fullmatch(pattern, name) is not None

    def describe(self, path: Path) -> str:
        """Return a description of the file or folder at `path`."""
        return self.words if isinstance(self.words, str) else self.words(path)

    def lock_of(self, path: Path) -> Path | None:
        """Return the path of the lock that a writer of `path` holds, or None."""
        return {"inside": path / LOCK_FILE, "beside": path.with_name(f"{path.name}.lock"), "none": None}[self.lock]


KINDS: list[CacheKind] = []


def register_kind(kind: CacheKind) -> CacheKind:
    """Register `kind` for listing and clearing; returns it."""
    KINDS.append(kind)
    return kind


@dataclass(frozen=True)
class CacheItem:
    """Item of the cache. `files` are the files to remove; `used` is the time of the last use, in seconds since the epoch."""

    group: Literal[Group, "unknown"]
    path: Path
    words: str
    files: tuple[Path, ...]
    size: int  # bytes on the disk
    used: float
    lock: Path | None = None

    def older_than(self, days: float) -> bool:
        """Return whether the item was not used for `days` days."""
        return self.used < time.time() - 86_400 * days


def cache_items(cache: Path) -> list[CacheItem]:
    """Return the items of the folder `cache`, by group and then the latest first; empty where it does not exist.

    Covers the kinds registered so far. Raises `MachineError` for a folder that cannot be read.
    """
    found: list[CacheItem] = []
    try:
        for path in _inside(cache):
            kinds = [kind for kind in KINDS if kind.folder == path.name]
            known = bool(kinds) and _is_folder(path)
            found += [item for entry in _inside(path) for item in _items(entry, kinds)] if known else [_unknown(path)]
    except OSError as error:
        raise MachineError(f"{error.filename or cache} could not be read: {error.strerror or error}.") from error
    order = {group: place for place, group in enumerate((*GROUPS, "unknown"))}
    return sorted(found, key=lambda item: (order[item.group], -item.used, str(item.path)))


def remove(items: Iterable[CacheItem], say: Callable[[str], object]) -> list[CacheItem]:
    """Remove the known ones of `items`, and return those that were removed.

    `say` gets a message for each item that another command is writing. Raises `MachineError` for a file that cannot be
    deleted.
    """
    removed = []
    for item in items:
        if item.group == "unknown":
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


def _unlink(item: CacheItem) -> None:
    for file in (*item.files, *([item.lock] if item.lock is not None else [])):
        file.unlink(missing_ok=True)
    if _is_folder(item.path) and not any(item.path.iterdir()):  # else something unknown lies in it
        item.path.rmdir()


def _items(path: Path, kinds: list[CacheKind]) -> Iterator[CacheItem]:
    """Yield the items at `path`, where files of these `kinds` are written."""
    beside, part = BESIDE.fullmatch(path.name), UNFINISHED.fullmatch(path.name)
    name = beside[1] if beside else (part[3] or part[1] + part[2]) if part else path.name
    kind = next((kind for kind in kinds if kind.gives(name)), None)
    is_folder = _is_folder(path)
    if kind is None or not (is_folder or _is_file(path)):
        yield _unknown(path)
    elif is_folder:
        yield from _folder(path, kind) if kind.is_folder and not part and not (beside and beside[2]) else [_unknown(path)]
    elif beside and beside[2]:
        if not (kind.is_folder and _is_folder(path.with_name(name))):  # else it is a member of the folder
            yield replace(_item(kind.group, path, "a lock that was left", [path]), lock=path)
    elif kind.is_folder:
        yield _unknown(path)
    elif beside:
        yield _item(kind.group, path, f"{kind.describe(path)}, damaged and set aside", [path])
    elif not part:
        yield replace(_item(kind.group, path, kind.describe(path), [path]), lock=kind.lock_of(path))
    else:
        found = _item(kind.group, path, "a file that was never finished", [path])
        yield found if time.time() - found.used > UNFINISHED_SECONDS else _unknown(path, "being written")


def _folder(path: Path, kind: CacheKind) -> Iterator[CacheItem]:
    """Yield a folder of the cache with its own files, and every other file in it."""
    inside = _inside(path)
    own = [file for file in inside if CONTENT.fullmatch(file.name) and _is_file(file)]
    whole = BESIDE.fullmatch(path.name)
    yield replace(_item(kind.group, path, kind.describe(path), own),
                  lock=kind.lock_of(path.with_name(whole[1]) if whole and kind.lock == "beside" else path))
    yield from (_unknown(file) for file in inside if file not in own)


def _unknown(path: Path, why: str = "not of this program") -> CacheItem:
    """Return an item that is never removed, and why."""
    why = "a link, not followed" if path.is_symlink() else why
    files = [Path(folder, file) for folder, _, names in os.walk(path) for file in names] if _is_folder(path) else [path]
    return _item("unknown", path, f"{path.name} ({why})", files)


def _item(group: Literal[Group, "unknown"], path: Path, words: str, files: list[Path]) -> CacheItem:
    facts = {file: fact for file in (path, *files) if (fact := _facts(file)) is not None}  # some may have been deleted meanwhile
    size = sum(fact.st_blocks * 512 for file, fact in facts.items() if file in files)
    times = [max(fact.st_mtime, fact.st_atime if file.suffix in READ_BY_COMPUTING else 0.0) for file, fact in facts.items()]
    return CacheItem(group, path, words, tuple(files), size, max(times, default=0.0))


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
