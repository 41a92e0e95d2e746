"""The columns of tables: names of measurements, what an entry is, and its scores."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ltgen_bench.core.words import count
from ltgen_bench.report.baselines import better_than_real, mean_cell
from ltgen_bench.report.comparisons import best_entries, comparison
from ltgen_bench.report.entries import FEW, Block, Key, seeds_of
from ltgen_bench.report.numbers import MISSING, facts, is_known
from ltgen_bench.report.table import Cell, Head, Row

TRAINED_ON = {"real-lt": "real-lt", "synthetic": "synthetic", "real-lt+synthetic": "both"}
ENTRY_FACTS: dict[str, Callable[[Any], str]] = {  # title of a column -> its cell, of the first row of an entry
    "sampler": lambda row: f"{row.sampler} {row.steps}" if is_known(row.sampler) else MISSING,
    "omega": lambda row: f"{row.omega:g}" if is_known(row.omega) else MISSING,
    "images seen": lambda row: count(row.budget_images) if is_known(row.budget_images) else MISSING,
}


def entry_columns(block: Block, *, show_differing: bool = False) -> tuple[list[Head], dict[str, list[Cell]], list[str]]:
    """The columns that say what each entry is: heads, the cells of each entry, and a sentence on what all entries share.

    Sampler, omega, images seen and seeds are columns of the CSV. With `show_differing` every format has those in which the
    entries differ, and the first column has short names; without, the full name of an entry says in what it differs.
    """
    first = list(block.first.values())
    texts = {title: {row.entry: words(row) for row in first} for title, words in ENTRY_FACTS.items()}
    texts["seed"] = {entry: _seed_text(seeds) for entry, seeds in block.seeds_of.items()}
    shared = [title for title, of_entry in texts.items() if len(set(of_entry.values())) <= 1]
    heads = [Head("method", "method", number=False)]
    heads += [Head(title, title.replace(" ", "_"), number=False, csv_only=not show_differing or title in shared)
              for title in texts]
    names = {row.entry: str(row.row_name if show_differing else row.entry) for row in first}
    cells = {entry: [Cell(names[entry]), *(Cell(of_entry[entry]) for of_entry in texts.values())] for entry in block.entries}
    same = [f"{title} {text}" for title in shared if (text := next(iter(texts[title].values()), MISSING)) != MISSING]
    return heads, cells, [f"All rows: {', '.join(same)}."] if same else []


def _seed_text(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def score_cells(block: Block, key: Key, scope: str) -> dict[str, Cell]:
    """The cells of one measurement, one an entry; those that may be the best are marked where others are worse.

    A value better than that of real images is never marked: it is no gain.
    """
    part = block.part(key, scope)
    best = set(best_entries(comparison(block, key, scope))) if len(block.entries) > 1 else set()
    best -= set(part["entry"][better_than_real(part, key[0])]) if best else set()
    cells = means(key[0], part, "entry")
    return {entry: replace(cells.get(entry, Cell(MISSING)), best=entry in best) for entry in block.entries}


def means(metric: str, rows: pd.DataFrame, column: str | list[str]) -> dict[Any, Cell]:
    """Value of `column` -> mean and standard deviation over the seeds, marked where one of them has too few images."""
    values, few = rows["value"].to_numpy(np.float64), rows["few"].tolist()
    return {name: mean_cell(metric, values[at], next((few[one] for one in at if few[one]), ""))
            for name, at in rows.groupby(column, sort=False).indices.items()}


def score_rows(block: Block, columns: Sequence[tuple[Key, str]], names: dict[str, list[Cell]]) -> list[Row]:
    """A row an entry: the cells of `entry_columns`, then its score in each of `columns` (measurement, scope)."""
    scores = [score_cells(block, key, scope) for key, scope in columns]
    return [Row((*names[entry], *(column[entry] for column in scores))) for entry in block.entries]


def reference_scores(block: Block, columns: Sequence[tuple[Key, str]]) -> dict[str, list[Cell]]:
    """The cells of every reference row: its seeds, then its score in each of `columns`. None of them is marked as best."""
    if not block.reference_names:
        return {}
    scores = [means(key[0], block.reference_part(key, scope), "entry") for key, scope in columns]
    return {name: [Cell(_seed_text(seeds)), *(of_name.get(name, Cell(MISSING)) for of_name in scores)]
            for name, seeds in seeds_of(block.references).items()}


def reference_rows(block: Block, columns: Sequence[tuple[Key, str]]) -> list[Row]:
    """The reference rows for the columns of `entry_columns` and then `columns`; sampler, omega and budget do not apply."""
    unknown = [Cell(MISSING) for _ in ENTRY_FACTS]
    return [Row((Cell(name), *unknown, *cells), "reference") for name, cells in reference_scores(block, columns).items()]


def head(key: Key, scope: str = "all", *, score: bool = True) -> Head:
    """The head of one measurement: its name, and below it extractor and protocol id."""
    return Head(measurement_name(key, extractor=False), csv_key(key, scope), subtitle(key, scope), score=score)


def column_head(block: Block, key: Key, scope: str, *, score: bool = True) -> Head:
    """The head of one of `block.columns`; `all` stands in it where the block shows the few classes too."""
    own = head(key, scope, score=score)
    both = scope == "all" and (key, FEW) in block.columns
    return replace(own, subtitle=f"all · {own.subtitle}") if both else own


def scope_head(key: Key, scope: str) -> Head:
    """The head of one measurement in a table of that measurement alone: the group, and below it the protocol id."""
    arrow = facts(key[0]).arrow
    return Head(f"{scope.partition('@')[0]} {arrow}".strip(), csv_key(key, scope), key[3])


def subtitle(key: Key, scope: str = "all") -> str:
    """`few · classifier · 1a2b3c4d`: what stands below the title of a column."""
    _, extractor, _, protocol = key
    return " · ".join(filter(None, ["" if scope == "all" else scope.partition("@")[0], extractor, protocol]))


def measurement_name(key: Key, *, extractor: bool = True) -> str:
    """`FID ↓ (classifier)`, `downstream accuracy ↑, trained on synthetic`."""
    words = facts(key[0]).heading
    if extractor and key[1]:
        words += f" ({key[1]})"
    return f"{words}, {TRAINED_ON.get(key[2], key[2])}" if key[2] else words


def name_in(block: Block, key: Key) -> str:
    """`measurement_name`, with the protocol id where the block has the same under another one (two references)."""
    return f"{measurement_name(key)} {distinguishing_id(block, key)}".rstrip()


def csv_key(key: Key, scope: str = "all") -> str:
    """`fid:classifier:1a2b3c4d`, with training set and scope where there are such."""
    metric, extractor, train_data, protocol = key
    return ":".join(filter(None, [metric, extractor, train_data, "" if scope == "all" else scope, protocol]))


def slug(block: Block, key: Key) -> str:
    """A measurement as part of a file name: `fid-classifier`, `downstream_recall-cnn-8x8-both`; see `name_in`."""
    return "-".join(filter(None, (key[0], key[1], TRAINED_ON.get(key[2], key[2]), distinguishing_id(block, key))))


def distinguishing_id(block: Block, key: Key) -> str:
    """The protocol id where the block has the same measurement under another one too, else nothing."""
    return key[3] if sum(other[:3] == key[:3] for other in block.keys) > 1 else ""


def scope_words(scope: str) -> str:
    """`all classes`, `few classes (thirds)`."""
    group, _, rule = scope.partition("@")
    return f"{group} classes ({rule})" if rule else f"{group} classes"
