"""A table as a value: heads, rows, notes. Every format (terminal, Markdown, CSV, LaTeX, page) is made from it.

Texts come from runs and leaderboards, so that each is made printable where it enters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ltgen_bench.core.plain_text import printable


@dataclass(frozen=True)
class Head:
    """One column. `subtitle` stands below the title (extractor and protocol id), `key` heads the column in the CSV.

    `number` aligns it to the right; `score` says that its cells are means over seeds, which the CSV has in full digits with
    standard deviation and count. `prose` cells are sentences: they wrap, and the terminal prints them below their row. A
    `csv_only` column is in the CSV alone. A narrow terminal leaves out columns with a larger `keep` later.
    """

    title: str
    key: str
    subtitle: str = ""
    number: bool = True
    score: bool = True
    prose: bool = False
    csv_only: bool = False
    keep: int = 0

    def __post_init__(self) -> None:
        _make_printable(self, "title", "key", "subtitle")


@dataclass(frozen=True)
class Cell:
    """A text, and for a score the mean, standard deviation and number of seeds behind it.

    `few` says in words which side has too few images for the score to say much; empty where none has.
    """

    text: str
    value: float = math.nan
    spread: float = math.nan
    n: int = 0
    best: bool = False
    few: str = ""

    def __post_init__(self) -> None:
        _make_printable(self, "text")


RowKind = Literal["entry", "reference", "baseline", "baseline-n", "score-at-n", "paper", "section"]


@dataclass(frozen=True)
class Row:
    """One line of cells.

    Kinds: an `entry`; a `reference` (real images or a trivial generator: shown, never ranked); a `baseline` score (real images
    in place of generated ones); the number of images of a baseline score (`baseline-n`) and an entry's score with that many
    (`score-at-n`); a `paper`'s row; the heading of a `section`.
    """

    cells: tuple[Cell, ...]
    kind: RowKind = "entry"

    @property
    def footer(self) -> str:
        """Which group of rows below the entries it is in: `reference`, `baseline`, or empty for none."""
        return "baseline" if self.kind in ("baseline", "baseline-n", "score-at-n") else "reference" * (self.kind == "reference")


@dataclass(frozen=True)
class Table:
    """Heads, rows and the sentences below them. `name` is that of its files."""

    name: str
    title: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _make_printable(self, "title")
        object.__setattr__(self, "notes", tuple(dict.fromkeys(map(printable, self.notes))))
        for row in self.rows:
            if len(row.cells) != len(self.heads):
                raise ValueError(f"{self.name}: a row of {len(row.cells)} cells under {len(self.heads)} heads")

    def take(self, places: Sequence[int]) -> "Table":
        """The table with the columns at `places`, in that order."""
        rows = [replace(row, cells=tuple(row.cells[place] for place in places)) for row in self.rows]
        return replace(self, heads=tuple(self.heads[place] for place in places), rows=tuple(rows))

    def first(self, most: int, file: str) -> "Table":
        """The table with its first `most` rows, and a note that all are in `file`."""
        if len(self.rows) <= most:
            return self
        note = f"The first {most:,} of {len(self.rows):,} rows; all are in {file}."
        return replace(self, rows=self.rows[:most], notes=(note, *self.notes))

    @property
    def shown(self) -> "Table":
        """The table without the columns that only its CSV has."""
        return self.take([place for place, head in enumerate(self.heads) if not head.csv_only])

    @property
    def breaks(self) -> list[int]:
        """The positions of the rows before which a rule separates entries, references and baseline scores."""
        kinds = [row.footer for row in self.rows]
        return [place for place in range(1, len(kinds)) if kinds[place] and kinds[place] != kinds[place - 1]]


def _make_printable(part: object, *names: str) -> None:
    """Make these texts of a frozen part of a table printable."""
    for name in names:
        object.__setattr__(part, name, printable(getattr(part, name)))
