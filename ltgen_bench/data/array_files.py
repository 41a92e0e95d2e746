"""Readers of array files (.npy, .npz) from users. Headers are checked before anything is unpacked or allocated."""

import math
import tokenize
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import BROKEN_ARRAYS
from ltgen_bench.runtime.memory import machine_memory

MEMORY_SHARE = 0.5  # largest share of the machine's memory for the arrays of one file
BOMB_BYTES = 1 << 30  # arrays that take more than this ...
BOMB_TIMES = 100  # ... and this many times the bytes of their file cannot be photographs, which compress to a third
SUFFIX = ".npy"  # of the arrays in an npz
NPZ, NPY = "npz of plain arrays", "npy of plain numbers"


@dataclass(frozen=True)
class Header:
    """Shape and dtype of an array, as its header states them."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def _readable(path: Path, where: str, form: str) -> Iterator[None]:
    """Raise `UserError` where `path` is no plain file, or the block cannot read it as `form`."""
    if not path.is_file():
        raise UserError(f"{where} is no regular file." if path.exists() else f"{where}: there is no such file.")
    try:
        yield
    except BROKEN_ARRAYS as error:
        raise UserError(f"{where} is not a readable {form} ({fault_message(error)}).") from error


def npz_headers(path: Path, where: str) -> dict[str, Header]:
    """Return name -> header of every array of an npz without unpacking it. `where` names the file in messages.

    Raises `UserError` for a file that is no npz, and for arrays whose size does not match the archive's entry.
    """
    found = {}
    with _readable(path, where, NPZ):
        with path.open("rb") as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise ValueError("it is a single array; write images and labels into one file with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(SUFFIX):
                    raise ValueError(f"'{member.filename}' is none")
                with archive.open(member) as inside:
                    found[member.filename.removesuffix(SUFFIX)] = read_header(inside, member.file_size)
    return found


def read_npz(path: Path, where: str, keys: Collection[str]) -> dict[str, np.ndarray]:
    """Return those arrays of an npz that are called one of `keys`. `where` names the file in messages.

    Raises `UserError` for an unreadable file and for arrays that would not fit into the memory.
    """
    headers = {key: header for key, header in npz_headers(path, where).items() if key in keys}
    refuse_large(sum(header.nbytes for header in headers.values()), where, path.stat().st_size)
    with _readable(path, where, NPZ), np.load(path, allow_pickle=False) as stored:
        return {key: stored[key] for key in headers}


def npy_header(path: Path, where: str) -> Header:
    """Return the header of an npy. Raises `UserError` where it is missing, unreadable or shorter than its header states."""
    with _readable(path, where, NPY), path.open("rb") as file:
        return read_header(file, path.stat().st_size)


def read_npy(path: Path, where: str) -> np.ndarray:
    """Return the array of an npy. Raises `UserError`; object arrays are refused, since unpickling them would run code."""
    refuse_large(npy_header(path, where).nbytes, where, path.stat().st_size)
    with _readable(path, where, NPY), path.open("rb") as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def read_header(file: IO[bytes] | BufferedIOBase, size: int) -> Header:
    """Read the header at the beginning of `file`, which has `size` bytes in all. Raises one of BROKEN_ARRAYS."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"its format {version[0]}.{version[1]} is not that of plain arrays")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("pickle")
    header = Header(shape, dtype)
    if min(shape, default=0) < 0 or header.nbytes != size - file.tell():
        raise ValueError(f"its header states {header.nbytes:,} bytes of values, and there are {size - file.tell():,}")
    return header


def refuse_large(nbytes: int, where: str, size: int | None = None) -> None:
    """Raise `UserError` for arrays of `nbytes` that exceed half the memory, or what a file of `size` bytes may unpack to."""
    memory = machine_memory()
    if nbytes > MEMORY_SHARE * memory:
        raise UserError(f"{where}: its arrays take {nbytes / 1e9:.1f} GB unpacked, more than half of this machine's memory "
                        f"({memory / 1e9:.1f} GB); give fewer or smaller images, or image files, which need not fit.")
    if size is not None and nbytes > max(BOMB_BYTES, BOMB_TIMES * size):
        raise UserError(f"{where}: a file of {size / 1e6:.1f} MB states arrays of {nbytes / 1e9:.1f} GB, which no images "
                        "compress to; write it again with numpy.savez.")


def fault_message(error: BaseException) -> str:
    """Return why a file of arrays cannot be read, in words for the user."""
    if "pickle" in str(error):
        return "it holds Python objects, and reading these would run code; save arrays of numbers"
    if isinstance(error, zipfile.BadZipFile):
        return f"it is truncated, or was never one: {error}"
    if isinstance(error, tokenize.TokenError | SyntaxError | RecursionError):
        return "the header of an array is broken"
    return str(error) or "it claims more than there is memory for"
