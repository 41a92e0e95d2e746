"""Reader of CSV files from users, with any common separator, quotes and line ends."""

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.words import counted, some

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t"
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SEPARATOR_LINE = re.compile(r"\A\"?sep=[,;\t]\"?\r?\n")  # written by some spreadsheets before the first row


def read_table(path: Path, where: str = "", *, header: bool = True) -> "pd.DataFrame":
    """Read a CSV file into a frame of strings. `where` names the file in messages, its path by default.

    The separator (comma, semicolon or tab) is detected from the first row. Quoted cells may hold separators, doubled quotes and
    line ends. Column names come from the first row, stripped (`column 3` where it is empty), or are 0, 1, ... with
    `header=False`. The index is the row number as a spreadsheet counts it, from 1; blank lines are left out.
    Raises `UserError` for a file that is missing, empty, not UTF-8 text, or has rows of different length.
    """
    import pandas as pd

    where = where or str(path)
    rows = _rows(read_text(path, where), where)
    if not rows:
        raise UserError(f"{where} is empty; a table has a row for each entry{' below a row of column names' if header else ''}.")
    numbers, cells = list(rows), list(rows.values())
    if not header:
        return pd.DataFrame(cells, index=pd.Index(numbers, name="row"), dtype=object)
    names = _names(cells[0], where)
    return pd.DataFrame(cells[1:], index=pd.Index(numbers[1:], name="row", dtype="int64"), columns=names, dtype=object)


def read_text(path: Path, where: str = "") -> str:
    """Return the text of a file, without a byte order mark. Raises `UserError` where it is missing or no text."""
    where = where or str(path)
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
    """Return row number -> cells, with the separator that gives rows of equal length, and the most cells of the first row."""
    tables = [(len(next(iter(rows.values()), [])), rows, fault) for rows, fault in (_parsed(text, own) for own in SEPARATORS)]
    tables = sorted((table for table in tables if table[0] > 1), key=lambda table: -table[0]) or tables[:1]
    for _, rows, fault in tables:
        if not fault:
            return rows
    raise UserError(f"{where}: {tables[0][2]}")


def _parsed(text: str, separator: str) -> tuple[dict[int, list[str]], str]:
    """Return (row number -> cells of the rows that are not blank, what is wrong with them).

    Empty cells beyond the width of the first row, and rows of separators alone at the end, are left out: spreadsheets write
    them. `pandas.read_csv` would silently fill short rows.
    """
    reader = csv.reader(io.StringIO(text.rstrip(" \r\n"), newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows: dict[int, list[str]] = {}
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            if cells:
                rows[number] = cells
    except csv.Error as error:
        return rows, f"row {number + 1} cannot be read ({error}); check its quotes."
    while len(rows) > 1 and len(last := rows[next(reversed(rows))]) > 1 and not any(cell.strip() for cell in last):
        rows.popitem()
    width = len(next(iter(rows.values()), []))
    rows = {number: cells if any(cell.strip() for cell in cells[width:]) else cells[:width] for number, cells in rows.items()}
    ragged = [f"row {number} has {len(cells)}" for number, cells in rows.items() if len(cells) != width]
    if not ragged:
        return rows, ""
    return rows, f"its first row has {counted(width, 'cell')}, and {some(ragged)}; give every row as many, and put cells that " \
                 "hold a separator in quotes."


def _names(cells: list[str], where: str) -> list[str]:
    """Return the column names. Raises `UserError` where two are equal."""
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{where}: two columns are called '{twice[0]}'; give each a name of its own in the first row.")
    return names
