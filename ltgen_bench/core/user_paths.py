"""Paths as a user writes them, looked at before the system is asked, which answers some of them with an exception."""

import os
from pathlib import Path

from ltgen_bench.core.errors import UserError

LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, of Linux; others allow no more
SHOWN = 40  # characters of what is too long


def user_path(text: str, where: str) -> Path:
    """`text` as a path, with `~` and `~NAME` replaced by home folders. Errors call it `where`.

    Raises `UserError` for characters that no path has, for names and paths that are too long for the system, and for home
    folders that are not there.
    """
    check_path(text, where)
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{where}: there is no home folder for '{Path(text).parts[0]}' in {text}; write the whole "
                        "path.") from None
    check_path(str(path), where)
    return path


def check_path(text: str, where: str) -> None:
    """A `UserError` for a text that the system would take for no path."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        raise UserError(f"{where}: the path {text!r} has characters that no file name can have.") from None
    if b"\0" in encoded:
        raise UserError(f"{where}: the path {text!r} has a NUL character, which no file name can have.")
    long = [part for part in Path(text).parts if len(os.fsencode(part)) > LONGEST_NAME]
    if long:
        raise UserError(f"{where}: the file name '{long[0][:SHOWN]}...' has {len(os.fsencode(long[0]))} bytes, and "
                        f"{LONGEST_NAME} are allowed; give a shorter one.")
    if len(encoded) > LONGEST_PATH:
        raise UserError(f"{where}: the path '{text[:SHOWN]}...' has {len(encoded)} bytes, and {LONGEST_PATH} are allowed; give a "
                        "shorter one.")
