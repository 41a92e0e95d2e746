"""Checks of paths that a user gives, before the operating system raises an exception for them."""

import os
from pathlib import Path

from ltgen_bench.core.errors import UserError

LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, the limits of Linux; other systems allow no more
SHOWN = 40  # characters of a too long name in a message


def user_path(text: str, where: str) -> Path:
    """Return `text` as a path, with `~` and `~NAME` expanded. `where` names the option or key in messages.

    Raises `UserError` for characters that no path can have, for too long names and paths, and for unknown home folders.
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
    """Raise `UserError` for a text that cannot be a path."""
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
