"""Escaping of text from users and files, so that it cannot control a terminal or run as a spreadsheet formula."""

import re
import unicodedata

JOINERS = "\u200c\u200d"  # zero-width joiners, needed in Persian words and emoji
FORMULA = "=+-@|\uff1d\uff0b\uff0d\uff20"  # the last four are the same signs in full width, which spreadsheets take too
_SPACES = str.maketrans(dict.fromkeys("\t\n\v\f\r\x85\u2028\u2029", " "))
_HIDDEN = ("Cc", "Cf", "Cs")  # controls (escape sequences begin with one), marks of direction and the like, lone surrogates
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?(inf|nan)", re.ASCII)


def printable(text: str) -> str:
    """Return `text` on one line without control characters: line breaks and tabs become spaces, others are escaped.

    Escape sequences, marks of text direction and lone surrogates become `\\x1b`, `\\u202e`, `\\udcff`. All other characters,
    of any script, are unchanged. Idempotent.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text.translate(_SPACES))


def printable_lines(text: str) -> str:
    """Return `text` with its line breaks kept and each line made `printable`."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _shown(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def csv_safe(text: str) -> str:
    """Return `text` as a CSV cell that no spreadsheet takes for a formula: `=...`, `+...`, `-...`, `@...` get a leading `'`.

    Numbers are unchanged. `csv_plain` is the inverse.
    """
    return f"'{text}" if _is_formula(text) else text


def csv_plain(cell: str) -> str:
    """Return the text that `csv_safe` turned into `cell`."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    """Return whether a spreadsheet may run `text`, also after spaces. Leading `'` are skipped, so that escaping is invertible."""
    inner = text.lstrip("'")
    bare = inner.lstrip()
    return inner.startswith(("\t", "\r", "\n")) or (bare.startswith(tuple(FORMULA)) and not _NUMBER.fullmatch(bare))
