"""Published results as tables of their own: every row with its source, never ranked with what this code measured."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ltgen_bench.core.words import count, distinct_name
from ltgen_bench.report.entries import each
from ltgen_bench.report.numbers import MISSING, facts, metric_order
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.report.table_formats import terminal

TITLE = "published results; not ranked with the above"
SECOND_HAND = "†"
ROW = [
    "paper_id",
    "method",
    "imbalance_factor",
    "images",
    "train_steps",
    "sampler",
    "omega",
    "classifier",
    "train_data",
    "second_hand",
    "evidence",
    "leaderboard",
    "features",
]
SHOWN_ROWS = 40  # of a table in the terminal; its files have all
NOTE = "Every number is as its source prints it, measured under the protocol of that source: compare only rows of one source."
SECOND_HAND_NOTE = f"{SECOND_HAND} seen only in a secondary source: check it against the paper before quoting it."


def papers_tables(published: pd.DataFrame, title: str = TITLE, name: str = "papers") -> list[Table]:
    """One table a data set and kind (images, downstream accuracy), rows in the order of the file."""
    tables = []
    trained = published["metric"].eq("accuracy") | published["metric"].str.startswith("downstream_")
    kinds = trained.map({True: "accuracy", False: "images"})
    for (dataset, kind), part in published.groupby([published["dataset"], kinds], sort=True):
        file = distinct_name(str(dataset)) if dataset else "no-data-set-named"
        tables.append(_table(str(dataset) or "no data set named", str(kind), part, title, f"{name}-{file}-{kind}"))
    return tables


def papers_text(tables: Sequence[Table], named_only: Collection[str], folder: Path, width: int, color: bool) -> list[str]:
    """The tables for a terminal, each with its first rows; of those whose names are in `named_only` the numbers of rows alone."""
    texts = [terminal(table.first(SHOWN_ROWS, str(folder / f"{table.name}.csv")), width, color)
             for table in tables if table.name not in named_only]
    rest = [table for table in tables if table.name in named_only]
    if rest:
        words = [f"  {table.name:<{max(len(one.name) for one in rest)}}  {len(table.rows):>5,}\n" for table in rest]
        texts.append(f"published results on other data sets, number of rows of each table in {folder}:\n{''.join(words)}")
    return texts


def _table(dataset: str, kind: str, part: pd.DataFrame, title: str, name: str) -> Table:
    part = part.astype(object)  # reading row by row is then many times as fast
    columns = sorted(dict.fromkeys(zip(part["metric"], part["split"], strict=True)), key=_column_order)
    heads = (
        Head("method", "method", number=False),
        Head("paper", "paper_id", number=False),
        Head("factor", "imbalance_factor", number=False),
        *(_head(metric, split) for metric, split in columns),
        Head("protocol", "protocol", number=False),
        Head("source", "source", number=False),
    )
    groups: dict[tuple[str, ...], list[Any]] = {}
    for row, key in zip(each(part), zip(*(part[name].map(str) for name in ROW), strict=True), strict=True):
        groups.setdefault(key, []).append(row)
    rows = [_row(own, columns) for own in groups.values()]
    words = "downstream accuracy" if kind == "accuracy" else "generated images"
    second_hand = bool(part["second_hand"].any())
    return Table(
        name,
        f"{dataset}, {words} ({title})",
        heads,
        tuple(rows),
        (NOTE, SECOND_HAND_NOTE) if second_hand else (NOTE,),
    )


def _column_order(column: tuple[str, str]) -> tuple[int, int, str]:
    metric, split = column
    splits = ["all", "many", "medium", "few"]
    return metric_order(metric), splits.index(split) if split in splits else len(splits), split


def _head(metric: str, split: str) -> Head:
    return Head(
        facts(metric).heading,
        metric if split == "all" else f"{metric}:{split}",
        "" if split == "all" else split,
        score=False,
    )


def _row(own: Sequence[Any], columns: Sequence[tuple[str, str]]) -> Row:
    """The results that one paper prints for one method under one protocol."""
    first = own[0]
    mark = f" {SECOND_HAND}" if first.second_hand else ""
    factor = "" if pd.isna(first.imbalance_factor) else f"{first.imbalance_factor:g}"
    by_column: dict[tuple[str, str], list[Any]] = {}
    for row in own:
        by_column.setdefault((row.metric, row.split), []).append(row)
    cells = [_cell(by_column.get(column, [])) for column in columns]
    return Row(
        (
            Cell(_method(first)),
            Cell(f"{first.paper_id}{mark}"),
            Cell(factor),
            *cells,
            Cell(_protocol(first)),
            Cell(source(own)),
        )
    )


def _cell(rows: Sequence[Any]) -> Cell:
    """The printed number, in the unit of the column head; several (other reference or note) are separated by a slash."""
    known = [row for row in rows if pd.notna(row.value)]
    if not known:
        return Cell(MISSING if rows else "")
    return Cell(" / ".join(printed(row) for row in known), float(known[0].canonical), n=len(known))


def printed(row: Any) -> str:
    """The digits of the paper, converted to the unit of the head where the paper prints a KID or an accuracy in another one."""
    factor = row.unit * facts(row.metric).scale
    same = abs(factor - 1) < 1e-9
    text = row.printed if same else f"{row.value * factor:.{row.digits}g}"
    return text if pd.isna(row.value_std) else f"{text} ± {row.value_std * factor:.{row.digits}g}"


def _method(row: Any) -> str:
    """The paper's name; where it means another method than ours of that name, ours is added."""
    own = row.method_key == "cfg" and row.method.lower() != "cfg"
    return f"{row.method} (here: cfg)" if own else str(row.method)


def _protocol(row: Any) -> str:
    """What is known of the measurement: features, images, sampler, omega, training steps, classifier, its training set."""
    words = [
        f"{row.features} features" if row.features else "",
        f"{count(int(row.images))} images" if pd.notna(row.images) else "",
        row.sampler,
        f"omega {row.omega:g}" if pd.notna(row.omega) else "",
        f"{count(int(row.train_steps))} steps" if pd.notna(row.train_steps) else "",
        row.classifier,
        row.train_data,
    ]
    return ", ".join(word for word in words if word)


def source(rows: Sequence[Any]) -> str:
    """Where the results were read: in the paper, or in which secondary source."""
    first = rows[0]
    places = "; ".join(dict.fromkeys(row.source for row in rows if row.source)) or str(first.paper_id)
    return f"{places}; second-hand ({first.evidence or 'secondary source'})" if first.second_hand else places
