"""Atomic writing of files, checksums of stored JSON, locks on folders, and the folders of the package and its cache."""

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ltgen_bench.core.errors import BusyError, DamagedError, MachineError, UserError

CACHE_VARIABLE = "LTGEN_BENCH_CACHE"
LOCK_FILE = ".lock"
CHECKSUM = "sha256"  # the key of a stored JSON object that holds the checksum of its other values
LARGEST = 1 << 30  # bytes; larger than any image file
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a pipe without a writer must not block (not on Windows)
CURE = "delete it and repeat the command, and it is made again"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise `MachineError` where the block cannot write `path`, which says so where the disk is full."""
    try:
        yield
    except Timeout:  # an OSError, too: another command holds the lock
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(f"the disk is full: {path} could not be written. Earlier files are complete; free some space and "
                               "repeat the command to continue.") from error
        raise MachineError(f"{path} could not be written: {error.strerror or error}.") from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: `write` fills a temporary file in the same folder, which is synced and renamed to `path`.

    Raises `MachineError` when it cannot be written (disk full); an earlier file at `path` is then unchanged.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        part = Path(name)
        try:
            write(part)
            part.chmod(0o644)  # mkstemp makes it private to the user
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path, cure: str) -> Iterator[Path]:
    """Write a folder atomically: yields a temporary folder, which is renamed to `folder` at the end, or deleted on an error.

    Raises `UserError`, which ends in `cure`, where `folder` exists and is not empty, and `MachineError` where it cannot be
    written.
    """
    refuse_non_empty(folder, cure)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a command that was killed
    try:
        with _writing(folder):
            unfinished.mkdir(parents=True)
            yield unfinished
            if folder.exists():
                folder.rmdir()
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def refuse_non_empty(folder: Path, cure: str) -> None:
    """Raise `UserError` where `folder` exists and is not empty; `cure` says what to do instead."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; {cure}.")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically; see `write_atomically`."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def append_text(path: Path, text: str) -> None:
    """Append `text` to a file in UTF-8. Raises `MachineError` on a full disk, and may then have written a part of it."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def write_at(path: Path, offset: int, data: bytes | memoryview) -> None:
    """Overwrite the bytes of an existing file from `offset` on, and sync them to the disk.

    Not atomic: after an interruption the bytes may be old, new or mixed, so write their checksum afterwards.
    Raises `MachineError` when they cannot be written.
    """
    with _writing(path), path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_plain(path: str | Path) -> bytes:
    """Return the bytes of a plain file of at most `LARGEST` bytes. Raises `OSError` with the reason for everything else."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NO_WAIT)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError("it is no plain file, but a pipe, a device or a socket")
            if found.st_size > LARGEST:
                raise OSError(f"it has {found.st_size:,} bytes, and at most {LARGEST:,} are read")
            return file.read(LARGEST)
    except ValueError as error:  # a NUL character
        raise OSError(f"its name is none ({error})") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checked_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, with the checksum of its values under the additional key `sha256`."""
    plain = json.loads(json.dumps(values))  # as it will be read: lists for tuples, strings for keys
    write_text(path, json.dumps({**plain, CHECKSUM: json_sha256(plain)}, indent=1) + "\n")


def read_json_object(path: Path, cure: str = CURE) -> dict[str, Any]:
    """Read a JSON object. Raises `DamagedError`, which ends in `cure`, for a file that is none, and `MachineError` for one that
    cannot be read."""
    try:
        values = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise MachineError(f"{path} could not be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({error}); {cure}.") from error
    if not isinstance(values, dict):
        raise DamagedError(f"{path} is damaged (it holds no JSON object); {cure}.")
    return values


def without_checksum(values: Mapping[str, Any], path: Path, cure: str = CURE) -> dict[str, Any]:
    """Check the values of `path` against their checksum and return them without that key.

    Files of earlier versions have no checksum and are returned as they are. Raises `DamagedError`, which ends in `cure`.
    """
    if not checksum_matches(values, json_sha256):
        raise DamagedError(f"{path} is damaged (its values do not match its checksum); {cure}.")
    return {key: value for key, value in values.items() if key != CHECKSUM}


def read_checked_json(path: Path, cure: str = CURE) -> dict[str, Any]:
    """Read a JSON object and check it against its checksum; see `read_json_object` and `without_checksum`."""
    return without_checksum(read_json_object(path, cure), path, cure)


def json_sha256(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, as hex digits, over JSON with sorted keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def checksum_matches(values: Mapping[str, Any], checksum: Callable[[Mapping[str, Any]], str]) -> bool:
    """Return whether the value of the key `sha256` is the `checksum` of the other values; True without such a key.

    Damage may also be in that key's name: where another key holds the checksum of all others, the result is False.
    """
    if CHECKSUM in values:
        return bool(values[CHECKSUM] == checksum({key: value for key, value in values.items() if key != CHECKSUM}))
    digests = [key for key, value in values.items() if isinstance(value, str) and len(value) == 64]
    return not any(values[key] == checksum({other: value for other, value in values.items() if other != key})
                   for key in digests)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to `NAME.damaged` (with a number where that exists) and return the new path."""
    names = (f"{path.name}.damaged{number or ''}" for number in count())
    aside = next(place for name in names if not os.path.lexists(place := path.with_name(name)))
    try:
        path.rename(aside)
    except OSError as error:
        raise MachineError(f"{path} is damaged and could not be set aside: {error.strerror or error}.") from error
    return aside


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder. Raises `BusyError` at once where another command holds it."""
    lock = FileLock(folder / LOCK_FILE)
    try:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{folder} is being written by another command; wait for it to end, or choose another "
                        "--seed or --runs folder.") from None
    try:
        if not folder.is_dir():  # deleted before the lock was acquired
            raise BusyError(f"{folder} is being removed by another command; repeat this one.")
        yield
    finally:
        lock.release()


@contextmanager
def cache_lock(folder: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock of a cache folder; where another command holds it, report that by `say` and wait."""
    with _waiting_lock(folder / LOCK_FILE, folder, say):
        yield


@contextmanager
def file_lock(path: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock of one cache file, waiting where needed. The caller checks again inside whether the file exists by now.

    The lock file, and folders created for it that are still empty, are removed at the end.
    """
    lock = path.with_name(f"{path.name}.lock")
    new = [folder for folder in path.parents if not folder.exists()]
    with _waiting_lock(lock, path, say):
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()
                for folder in new:  # the deepest first
                    folder.rmdir()  # only where it is empty


@contextmanager
def _waiting_lock(lock_file: Path, what: Path, say: Callable[[str], object]) -> Iterator[None]:
    lock = FileLock(lock_file)
    try:
        while not lock.is_locked:
            lock_file.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # the previous holder removed the empty folder
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    say(f"another command is writing {what}; waiting for it")
                    lock.acquire()
    except OSError as error:
        raise MachineError(f"{what} could not be written: {error.strerror or error}; {CACHE_VARIABLE} names another folder for "
                           "what is kept.") from error
    try:
        yield
    finally:
        lock.release()


def cache_folder() -> Path:
    """Return the cache folder: LTGEN_BENCH_CACHE, else `ltgen_bench` in XDG_CACHE_HOME or `~/.cache`."""
    moved = os.environ.get(CACHE_VARIABLE)
    if moved:
        return Path(moved)
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "ltgen_bench"
    try:
        return Path.home() / ".cache" / "ltgen_bench"
    except RuntimeError:
        raise MachineError(f"there is no home folder for the cache; name a folder with {CACHE_VARIABLE}.") from None


def shipped_folder(name: str) -> Path:
    """Return the path of `baselines` or `results`: inside the installed package, or next to it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
