"""A table as a value: heads, rows, notes. Every form (terminal, Markdown, CSV, LaTeX, page) is made from it.

Texts come from runs and leaderboards, so that each is made printable where it enters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ltgen_bench.core.plain_text import printable


@dataclass(frozen=True)
class Head:
    """One column. `under` stands below the title (extractor and protocol id), `key` heads the column in the CSV.

    `number` puts it to the right; `score` says that its cells stand for means over seeds, which the CSV has in full.
    `prose` cells are sentences: they wrap, and the terminal prints them beneath their row. Only the CSV has a `quiet` column:
    elsewhere a note or the names of the rows say the same. A `kept` column is the last to be given up for want of width.
    """

    title: str
    key: str
    under: str = ""
    number: bool = True
    score: bool = True
    prose: bool = False
    quiet: bool = False
    kept: bool = False

    def __post_init__(self) -> None:
        _plain(self, "title", "key", "under")


@dataclass(frozen=True)
class Cell:
    """What is printed, and for a score the raw mean, standard deviation and count of seeds that it stands for.

    `few` says in words which sides have too few images for the score to say much; empty where none has.
    """

    text: str
    value: float = math.nan
    spread: float = math.nan
    n: int = 0
    best: bool = False
    few: str = ""

    def __post_init__(self) -> None:
        _plain(self, "text")


@dataclass(frozen=True)
class Row:
    """One line: an entry, a reference row (shown and never ranked), a noise floor (real images in place of generated ones), the
    number of images of floors of another n than the scores (`n`), an entry's scores at that number (`again`), a paper's row,
    or a section's heading."""

    cells: tuple[Cell, ...]
    kind: Literal["entry", "reference", "floor", "n", "again", "paper", "section"] = "entry"

    @property
    def aside(self) -> str:
        """What it belongs to of all that stands below the entries, set apart from them: references, floors, or nothing."""
        return "reference" if self.kind == "reference" else "floor" if self.kind in ("floor", "n", "again") else ""


@dataclass(frozen=True)
class Table:
    """Heads, rows and the sentences below them. `name` is what its files are called."""

    name: str
    title: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _plain(self, "title")
        object.__setattr__(self, "notes", tuple(printable(note) for note in self.notes))
        for row in self.rows:
            if len(row.cells) != len(self.heads):
                raise ValueError(f"{self.name}: a row of {len(row.cells)} cells under {len(self.heads)} heads")

    def take(self, places: Sequence[int]) -> "Table":
        """The table with the columns at `places`, in that order."""
        rows = [replace(row, cells=tuple(row.cells[place] for place in places)) for row in self.rows]
        return replace(self, heads=tuple(self.heads[place] for place in places), rows=tuple(rows))

    def first(self, most: int, rest: str) -> "Table":
        """The table with its first rows, and a note that names where the others stand (`rest`)."""
        if len(self.rows) <= most:
            return self
        note = f"The first {most:,} of {len(self.rows):,} rows; all are in {rest}."
        return replace(self, rows=self.rows[:most], notes=(note, *self.notes))

    @property
    def spoken(self) -> "Table":
        """The table without the columns that only its CSV has."""
        return self.take([place for place, head in enumerate(self.heads) if not head.quiet])


def _plain(part: object, *names: str) -> None:
    """Make these texts of a frozen part of a table printable."""
    for name in names:
        object.__setattr__(part, name, printable(getattr(part, name)))
