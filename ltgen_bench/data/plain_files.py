"""Reading of plain files only: a pipe or device that a user names would block."""

import os
import stat
from pathlib import Path

LARGEST = 1 << 30  # bytes; larger than any image file
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a pipe without a writer must not block (not on Windows)


def read_plain(path: str | Path, largest: int = LARGEST) -> bytes:
    """Return the bytes of a plain file of at most `largest` bytes. Raises `OSError` with the reason for everything else."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NO_WAIT)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError("it is no plain file, but a pipe, a device or a socket")
            if found.st_size > largest:
                raise OSError(f"it has {found.st_size:,} bytes, and at most {largest:,} are read")
            return file.read(largest)
    except ValueError as error:  # a NUL character
        raise OSError(f"its name is none ({error})") from error
