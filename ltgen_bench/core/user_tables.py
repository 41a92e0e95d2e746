"""Tables that a user gives: the one reader of CSV files, whatever their separator, quotes and line ends."""

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
SEPARATOR_LINE = re.compile(r"\A\"?sep=[,;\t]\"?\r?\n")  # which spreadsheets put in front of a table, and which is no row
NAMED = 5  # how many of many rows at fault an error names


def read_table(path: Path, where: str = "", *, header: bool = True) -> "pd.DataFrame":
    """The table in the file `path`, every cell as the text that stands there; errors call the file `where`, else by its path.

    The separator is the comma, semicolon or tab that the first row has. Cells may be quoted, and then hold separators, doubled
    quotes and line ends. Columns are called as the first row says, without spaces around (a nameless one `column 3`), or 0, 1,
    ... where `header` is False. The index is the number of the row as a spreadsheet counts it, from 1; blank lines have no
    row. Raises `UserError` for a file that is missing, no text in UTF-8, empty, or whose rows differ in length.
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
    """The text of a file that a user gives, without the mark of its encoding (BOM). Raises `UserError`."""
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
    """Number of each row -> its cells, all rows of one length. The separator is the one that leaves no row shorter or longer."""
    faults: list[UserError] = []
    for separator in _candidates(text, where):
        try:
            return _even(_parsed(text, separator, where), where)
        except UserError as error:
            faults.append(error)
    raise faults[0]


def _even(rows: dict[int, list[str]], where: str) -> dict[int, list[str]]:
    """The rows as they are, without empty cells beyond the first row's width. Rows of another length are a `UserError`."""
    width = len(next(iter(rows.values()), []))
    rows = {number: _without_empty_rest(cells, width) for number, cells in rows.items()}
    ragged = [f"row {number} has {len(cells)}" for number, cells in rows.items() if len(cells) != width]
    if ragged:
        more = f" and {len(ragged) - NAMED:,} rows more" if len(ragged) > NAMED else ""
        raise UserError(f"{where}: its first row has {width} cell{'' if width == 1 else 's'}, and {', '.join(ragged[:NAMED])}"
                        f"{more}; give every row as many, and put cells that hold a separator in quotes.")
    return rows


def _candidates(text: str, where: str) -> list[str]:
    """The separators that the first row has outside quotes, the most frequent first; a comma where it has none."""
    widths = {separator: len(next(iter(_parsed(text, separator, where, 1).values()), [])) for separator in SEPARATORS}
    found = sorted((separator for separator in SEPARATORS if widths[separator] > 1), key=lambda separator: -widths[separator])
    return found or [","]


def _parsed(text: str, separator: str, where: str, most: int | None = None) -> dict[int, list[str]]:
    """The first `most` rows that are not blank; all without. Not by `pandas.read_csv`: it fills short rows without a word."""
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
        if most is not None:  # of this separator; the right one reads the row
            return {}
        raise UserError(f"{where}: row {number + 1} cannot be read ({error}); see to its quotes.") from error
    while len(found) > 1 and len(last := found[next(reversed(found))]) > 1 and not any(cell.strip() for cell in last):
        del found[next(reversed(found))]  # rows of separators alone, which spreadsheets leave at the end
    return found


def _without_empty_rest(cells: list[str], width: int) -> list[str]:
    return cells[:width] if len(cells) > width and not any(cell.strip() for cell in cells[width:]) else cells


def _names(cells: list[str], where: str) -> list[str]:
    """The names of the columns, no two of them the same."""
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{where}: two columns are called '{twice[0]}'; give each a name of its own in the first row.")
    return names
