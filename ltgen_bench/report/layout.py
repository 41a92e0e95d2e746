"""A table as a value: heads, rows, notes. Every form (terminal, Markdown, CSV, LaTeX, page) is made from it."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Head:
    """One column. `under` stands below the title (extractor and protocol id), `key` heads the column in the CSV.

    `number` puts it to the right; `score` says that its cells stand for means over seeds, which the CSV has in full.
    """

    title: str
    key: str
    under: str = ""
    number: bool = True
    score: bool = True


@dataclass(frozen=True)
class Cell:
    """What is printed, and for a score the raw mean, standard deviation and count of seeds that it stands for."""

    text: str
    value: float = math.nan
    spread: float = math.nan
    n: int = 0
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One line: an entry, a noise floor (real images in place of generated ones), or the heading of a section."""

    cells: tuple[Cell, ...]
    kind: Literal["entry", "floor", "section"] = "entry"


@dataclass(frozen=True)
class Table:
    """Heads, rows and the sentences below them. `name` is what its files are called."""

    name: str
    title: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.heads):
                raise ValueError(f"{self.name}: a row of {len(row.cells)} cells under {len(self.heads)} heads")
