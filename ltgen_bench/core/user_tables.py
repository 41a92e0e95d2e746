"""Reader of CSV files from users, with any common separator, quotes and line ends."""

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t"
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SEPARATOR_LINE = re.compile(r"\A\"?sep=[,;\t]\"?\r?\n")  # written by some spreadsheets before the first row
NAMED = 5  # largest number of wrong rows that an error lists


def read_table(path: Path, where: str = "", *, header: bool = True) -> "pd.DataFrame":
    """Read a CSV file into a frame of strings. `where` names the file in messages, its path by default.

    The separator (comma, semicolon or tab) is detected from the first row. Quoted cells may hold separators, doubled quotes and
    line ends. Column names come from the first row, stripped (`column 3` where it is empty), or are 0, 1, ... with
    `header=False`. The index is the row number as a spreadsheet counts it, from 1; blank lines are left out.
    Raises `UserError` for a file that is missing, empty, not UTF-8 text, or has rows of different length.
    """
    import pandas as pd

    where = where or str(path)
    rows = _rows(_text(path, where), where)
    if not rows:
        raise UserError(f"{where} is empty; a table has a row for each entry{' below a row of column names' if header else ''}.")
    numbers, cells = list(rows), list(rows.values())
    if not header:
        return pd.DataFrame(cells, index=pd.Index(numbers, name="row"), dtype=object)
    names = _names(cells[0], where)
    return pd.DataFrame(cells[1:], index=pd.Index(numbers[1:], name="row", dtype="int64"), columns=names, dtype=object)


def read_text(path: Path, where: str = "") -> str:
    """Return the text of a file, without a byte order mark. Raises `UserError` where it is missing or no text."""
    return _text(path, where or str(path))


def _text(path: Path, where: str) -> str:
    if not path.is_file():
        raise UserError(f"{where}: there is no such file.")
    try:
        data = path.read_bytes()
        encoding = next((name for mark, name in BOMS.items() if data.startswith(mark)), "utf-8")
        text = data.decode(encoding)
    except OSError as error:
        raise UserError(f"{where} could not be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is no text in UTF-8 (byte {error.start + 1:,}: {error.reason}); save it as UTF-8.") from error
    text = SEPARATOR_LINE.sub("\n", text)
    if "\0" in text:
        raise UserError(f"{where} is no text: it has NUL bytes; save it as text in UTF-8.")
    return text


def _rows(text: str, where: str) -> dict[int, list[str]]:
    """Return row number -> cells, with the first candidate separator that gives rows of equal length."""
    faults: list[UserError] = []
    for separator in _candidates(text, where):
        try:
            return _even(_parsed(text, separator, where), where)
        except UserError as error:
            faults.append(error)
    raise faults[0]


def _even(rows: dict[int, list[str]], where: str) -> dict[int, list[str]]:
    """Return the rows without empty cells beyond the first row's width. Raises `UserError` for rows of another length."""
    width = len(next(iter(rows.values()), []))
    rows = {number: _without_empty_rest(cells, width) for number, cells in rows.items()}
    ragged = [f"row {number} has {len(cells)}" for number, cells in rows.items() if len(cells) != width]
    if ragged:
        more = f" and {len(ragged) - NAMED:,} rows more" if len(ragged) > NAMED else ""
        raise UserError(f"{where}: its first row has {width} cell{'' if width == 1 else 's'}, and {', '.join(ragged[:NAMED])}"
                        f"{more}; give every row as many, and put cells that hold a separator in quotes.")
    return rows


def _candidates(text: str, where: str) -> list[str]:
    """Return the separators in the first row outside quotes, the most frequent first; a comma where there is none."""
    widths = {separator: len(next(iter(_parsed(text, separator, where, 1).values()), [])) for separator in SEPARATORS}
    found = sorted((separator for separator in SEPARATORS if widths[separator] > 1), key=lambda separator: -widths[separator])
    return found or [","]


def _parsed(text: str, separator: str, where: str, most: int | None = None) -> dict[int, list[str]]:
    """Return the first `most` rows (all by default) that are not blank. `pandas.read_csv` would silently fill short rows."""
    found: dict[int, list[str]] = {}
    reader = csv.reader(io.StringIO(text.rstrip(" \r\n"), newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            if cells:
                found[number] = cells
                if len(found) == most:
                    break
    except csv.Error as error:
        if most is not None:  # wrong separator; another one will be tried
            return {}
        raise UserError(f"{where}: row {number + 1} cannot be read ({error}); check its quotes.") from error
    while len(found) > 1 and len(last := found[next(reversed(found))]) > 1 and not any(cell.strip() for cell in last):
        del found[next(reversed(found))]  # rows of separators alone, which spreadsheets write at the end
    return found


def _without_empty_rest(cells: list[str], width: int) -> list[str]:
    return cells[:width] if len(cells) > width and not any(cell.strip() for cell in cells[width:]) else cells


def _names(cells: list[str], where: str) -> list[str]:
    """Return the column names. Raises `UserError` where two are equal."""
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{where}: two columns are called '{twice[0]}'; give each a name of its own in the first row.")
    return names
