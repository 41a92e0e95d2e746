"""Text from users and files, made fit to be shown: nothing in it acts on a terminal, a page or a spreadsheet."""

import re
import unicodedata

JOINERS = "\u200c\u200d"  # of Persian words and of emoji: invisible, but part of the text
FORMULA = "=+-@|\uff1d\uff0b\uff0d\uff20"  # the last four are the same signs in full width, which spreadsheets take too
_SPACES = str.maketrans(dict.fromkeys("\t\n\v\f\r\x85\u2028\u2029", " "))
_HIDDEN = ("Cc", "Cf", "Cs")  # controls (escape sequences begin with one), marks of direction and the like, lone surrogates
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?(inf|nan)", re.ASCII)


def printable(text: str) -> str:
    """`text` on one line without anything that acts: line breaks and tabs are spaces, other controls are written out.

    Escape sequences, marks that turn the direction of reading and lone surrogates show as `\\x1b`, `\\u202e`, `\\udcff`.
    All else, of any script, stays; applying it twice changes nothing.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text.translate(_SPACES))


def printable_lines(text: str) -> str:
    """`text` with its line breaks, and each of its lines `printable`."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _shown(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def csv_safe(text: str) -> str:
    """`text` as a cell of a CSV that no spreadsheet takes as a formula: `=...`, `+...`, `-...`, `@...` get a `'` in front.

    Numbers stay as they are. `csv_plain` gives the text back.
    """
    return f"'{text}" if _is_formula(text) else text


def csv_plain(cell: str) -> str:
    """What `csv_safe` was given."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    """Also with spaces in front, and with the `'` of a text that is safe already, so that `csv_plain` can tell them apart."""
    inner = text.lstrip("'")
    bare = inner.lstrip()
    return inner.startswith(("\t", "\r", "\n")) or (bare.startswith(tuple(FORMULA)) and not _NUMBER.fullmatch(bare))
