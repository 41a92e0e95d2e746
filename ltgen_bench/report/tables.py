"""The tables of a report, as pure functions of tidy rows."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ltgen_bench.records.statistics import (
    FEW_SEEDS,
    MIN_SEEDS,
    ONE_SEED,
    Pair,
    clear_best,
    compare,
    record_of,
    summarise,
)
from ltgen_bench.report.entries import Block, each, measurements
from ltgen_bench.report.layout import Cell, Head, Row, Table
from ltgen_bench.report.numbers import MISSING, count, facts, listed, show

Key = tuple[str, str, str, str]  # metric, extractor, train_data, protocol

TRAINED_ON = {"real-lt": "real-lt", "synthetic": "synthetic", "real-lt+synthetic": "both"}
FLOORS = (("floor_half", "floor: real halves"), ("floor_test", "floor: real test"))
FLOOR_NOTE = (
    "Floors: the same score of real images, half of them against the other half, and held-out test images against "
    "the reference."
)
BEST = (
    "Best (bold, *): wins against every other row in a paired t test over common training seeds, 5 %, Holm's "
    "correction over all pairs of the column. No mark: the data carry no such claim."
)
GROUPS = ("many", "medium", "few")
CLASSIFIER = "Scores of a classifier's features compare only with each other."
SHARED: dict[str, Callable[[Any], str]] = {
    "sampler": lambda row: f"{row.sampler} {row.steps}",
    "omega": lambda row: f"{row.omega:g}",
    "images seen": lambda row: count(row.budget_images),
}


def comparison_table(block: Block) -> Table:
    """Entries against metrics, over all classes: mean (± standard deviation over seeds), noise floors below.

    Sampler, omega, budget and seeds have a column each where the entries differ in them, else a note. A value is marked
    best only when a paired test over three or more seeds carries it.
    """
    keys = measurements(block.rows)
    stub, shared = _stub(block)
    heads = [*(head for head, _ in stub), *(_head(key) for key in keys)]
    columns = [_column(block, key, "all") for key in keys]
    rows = [
        Row((*(cells[entry] for _, cells in stub), *(column[entry] for column in columns))) for entry in block.entries
    ]
    rows += _floor_rows(block, [(key, "all") for key in keys], len(stub))
    notes = [*shared, *_verdict_notes(block), *_value_notes(block)]
    return Table("comparison", f"{block.dataset}: all classes", tuple(heads), tuple(rows), tuple(notes))


def group_table(block: Block, key: Key, rule: str = "thirds") -> Table:
    """One measurement over all classes and over the many, medium and few classes of a rule."""
    scopes = ["all", *(f"{group}@{rule}" for group in GROUPS)]
    known = [scope for scope in scopes if len(block.part(key, scope))]
    stub, heads = _names(block), [_scope_head(key, scope) for scope in known]
    columns = [_column(block, key, scope) for scope in known]
    rows = [Row((stub[entry], *(column[entry] for column in columns))) for entry in block.entries]
    rows += _floor_rows(block, [(key, scope) for scope in known], 1)
    title = f"{block.dataset}: {measurement_name(key)} by group ({rule})"
    empty = [scope for scope in known if block.part(key, scope)["note"].eq("no classes in this group").all()]
    notes = [f"No classes in {listed(empty)}."] if empty else []
    return Table(
        f"groups-{slug(key)}-{rule}",
        title,
        (Head("method", "method", number=False), *heads),
        tuple(rows),
        (*notes, *_seed_notes(block)),
    )


def class_table(block: Block, key: Key) -> Table:
    """One measurement for each class, from head to tail: a row a class with its training images, a column an entry."""
    part = block.part(key, "class")
    classes = part[["class_label", "class_name", "class_count"]].drop_duplicates("class_label")
    classes = classes.sort_values(["class_count", "class_label"], ascending=[False, True])
    heads = (
        Head("class", "class", number=False),
        Head("training images", "training_images", score=False),
        *(Head(entry, entry, _under(key)) for entry in block.entries),
    )
    values = {pair: own["value"] for pair, own in part.groupby(["class_label", "entry"])}
    none = pd.Series(dtype="float64")
    rows = []
    for one in each(classes):
        cells = [_cell(key[0], values.get((one.class_label, entry), none)) for entry in block.entries]
        size = Cell(f"{one.class_count}", float(one.class_count), n=1)
        rows.append(Row((Cell(str(one.class_name)), size, *cells)))
    title = f"{block.dataset}: {measurement_name(key)} by class"
    return Table(f"classes-{slug(key)}", title, heads, tuple(rows), _seed_notes(block))


def downstream_table(block: Block) -> Table | None:
    """Accuracy on real test images of classifiers trained on each training set, over all and over the few classes."""
    keys = [key for key in measurements(block.rows) if key[0] == "downstream_accuracy"]
    if not keys:
        return None
    pairs = [(key, scope) for key in keys for scope in ("all", "few@thirds") if len(block.part(key, scope))]
    heads = [
        Head(f"{TRAINED_ON.get(key[2], key[2])} ↑", csv_key(key, scope), _under(key, scope)) for key, scope in pairs
    ]
    columns = [_column(block, key, scope) for key, scope in pairs]
    stub = _names(block)
    rows = [Row((stub[entry], *(column[entry] for column in columns))) for entry in block.entries]
    rows += _floor_rows(block, pairs, 1)
    title = f"{block.dataset}: accuracy on real test images, by training set"
    return Table("downstream", title, (Head("method", "method", number=False), *heads), tuple(rows), _seed_notes(block))


def verdict_table(block: Block) -> Table | None:
    """Wins, ties and losses of each entry in each metric; None without three seeds that two entries share."""
    keys = measurements(block.rows)
    pairs = {key: compare(wide(block, key), facts(key[0]).direction) for key in keys}
    tested = [key for key in keys if pairs[key]]
    if not tested:
        return None
    stub = _names(block)
    rows = [Row((stub[entry], *(_record_cell(pairs[key], entry) for key in tested))) for entry in block.entries]
    note = (
        "Win, tie and loss of each row against the others, column by column: paired t test over common training seeds, "
        "5 %, Holm's correction over all pairs of the column."
    )
    return Table(
        "verdicts",
        f"{block.dataset}: wins / ties / losses",
        (Head("method", "method", number=False), *(_head(key) for key in tested)),
        tuple(rows),
        (note,),
    )


def _record_cell(pairs: Sequence[Pair], entry: str) -> Cell:
    return Cell(" / ".join(str(number) for number in record_of(pairs, entry)))


def wide(block: Block, key: Key, scope: str = "all") -> pd.DataFrame:
    """One measurement as seeds x entries, NaN where there is no value."""
    part = block.part(key, scope)
    return part.pivot(index="seed", columns="entry", values="value").reindex(columns=block.entries)


def _stub(block: Block) -> tuple[list[tuple[Head, dict[str, Cell]]], list[str]]:
    """The columns that say what each entry is, and a sentence for what all entries share."""
    first = block.rows.drop_duplicates("entry").set_index("entry")
    texts = {name: {row.Index: word(row) for row in each(first)} for name, word in SHARED.items()}
    texts["seed"] = {entry: _seed_text(part["seed"]) for entry, part in block.rows.groupby("entry", sort=False)}
    unlike = [name for name, words in texts.items() if len(set(words.values())) > 1]
    alike = [f"{name} {next(iter(words.values()))}" for name, words in texts.items() if name not in unlike]
    names = {row.Index: Cell(str(row.row_name)) for row in each(first)}
    columns = [(Head("method", "method", number=False), names)]
    columns += [
        (Head(name, name.replace(" ", "_"), number=False), {entry: Cell(text) for entry, text in texts[name].items()})
        for name in unlike
    ]
    return columns, [f"All rows: {', '.join(alike)}."] if alike else []


def _seed_text(seeds: pd.Series) -> str:
    return ", ".join(str(seed) for seed in sorted(set(seeds)))


def _names(block: Block) -> dict[str, Cell]:
    return {entry: Cell(entry) for entry in block.entries}


def _column(block: Block, key: Key, scope: str) -> dict[str, Cell]:
    """The cells of one measurement, one an entry; the best is marked when the data carry it."""
    values = wide(block, key, scope)
    best = clear_best(values, facts(key[0]).direction) if len(values.columns) else None
    return {entry: _cell(key[0], values[entry], entry == best) for entry in block.entries}


def _cell(metric: str, values: pd.Series, best: bool = False) -> Cell:
    summary = summarise(values.to_numpy(dtype=np.float64).tolist())
    return Cell(show(metric, summary.mean, summary.sd), summary.mean, summary.sd, summary.n, best)


def _floor_rows(block: Block, columns: Sequence[tuple[Key, str]], stub: int) -> list[Row]:
    """The same scores of real images, one line a kind of floor; a line without any value is left out."""
    rows = []
    for floor, title in FLOORS:
        values = [_first(block.part(key, scope)[floor]) for key, scope in columns]
        if not all(math.isnan(value) for value in values):
            cells = [
                Cell(show(key[0], value), value, n=1 - math.isnan(value))
                for (key, _), value in zip(columns, values, strict=True)
            ]
            rows.append(Row((Cell(title), *(Cell("") for _ in range(stub - 1)), *cells), "floor"))
    return rows


def _first(values: pd.Series) -> float:
    known = values.dropna()
    return float(known.iloc[0]) if len(known) else math.nan


def _head(key: Key) -> Head:
    return Head(measurement_name(key, extractor=False), csv_key(key), _under(key))


def _scope_head(key: Key, scope: str) -> Head:
    arrow = facts(key[0]).heading.removeprefix(facts(key[0]).title)
    return Head(f"{scope.partition('@')[0]}{arrow}", csv_key(key, scope), key[3])


def _under(key: Key, scope: str = "all") -> str:
    _, extractor, _, protocol = key
    words = [] if scope == "all" else [scope.partition("@")[0]]
    return " · ".join([*words, *([extractor] if extractor else []), protocol])


def measurement_name(key: Key, *, extractor: bool = True) -> str:
    """`FID ↓ (classifier)`, `downstream accuracy ↑, trained on synthetic`."""
    words = facts(key[0]).heading
    if extractor and key[1]:
        words += f" ({key[1]})"
    return f"{words}, {TRAINED_ON.get(key[2], key[2])}" if key[2] else words


def csv_key(key: Key, scope: str = "all") -> str:
    """`fid:classifier:1a2b3c4d`, with training set and scope where there are such."""
    metric, extractor, train_data, protocol = key
    parts = [metric, extractor, train_data, "" if scope == "all" else scope, protocol]
    return ":".join(part for part in parts if part)


def slug(key: Key) -> str:
    """A measurement as part of a file name: `fid-classifier`, `downstream_recall-cnn-8x8-both`."""
    return "-".join(part for part in (key[0], key[1], TRAINED_ON.get(key[2], key[2])) if part)


def _verdict_notes(block: Block) -> list[str]:
    """What may be concluded: seeds, and in what else than the method the rows differ."""
    notes = list(_seed_notes(block))
    first = block.rows.drop_duplicates("entry")
    words: list[tuple[str, str, Callable[[int | float], str]]] = [
        ("budget_images", "images seen", count),
        ("omega", "omega", lambda value: f"{value:g}"),
        ("images_per_class", "images a class", count),
    ]
    unlike = [
        f"{word} ({listed([show_value(value) for value in sorted(first[column].unique().tolist())])})"
        for column, word, show_value in words
        if first[column].nunique() > 1
    ]
    samplers = sorted({f"{row.sampler} {row.steps}" for row in each(first)})
    if len(samplers) > 1:
        unlike.append(f"sampler ({listed(samplers)})")
    if unlike:
        notes.append(f"The rows also differ in {listed(unlike)}: a difference between them is not the method's alone.")
    if block.older:
        left = "1 older set of scores" if block.older == 1 else f"{block.older} older sets of scores"
        notes.append(f"{left} of the same entry and seed left out; the newest counts.")
    return notes


def _seed_notes(block: Block) -> tuple[str, ...]:
    seeds = [frozenset(part["seed"]) for _, part in block.rows.groupby("entry")]
    if not seeds:
        return ()
    most = max(len(own) for own in seeds)
    notes = ["± is the standard deviation over training seeds."] if most > 1 else []
    if len(seeds) == 1:
        return tuple(notes)
    common = max(len(a & b) for a, b in combinations(seeds, 2))
    if common >= MIN_SEEDS:
        notes.append(BEST)
    else:
        notes.append(ONE_SEED if most == 1 else FEW_SEEDS)
    return tuple(notes)


def _value_notes(block: Block) -> list[str]:
    """Why values are missing or to be read with care, each reason once with the columns it holds for."""
    known = block.rows[block.rows["scope"] == "all"]
    notes = [FLOOR_NOTE] if known[["floor_half", "floor_test"]].notna().any(axis=None) else []
    notes += [CLASSIFIER] if "classifier" in set(block.rows["extractor"]) else []
    told = known[known["note"] != ""]
    # a note may end with a number of its own run in brackets: where runs differ in it, the rest is said once
    for note, rows in told.groupby(told["note"].str.replace(r" \([^()]*\)$", "", regex=True), sort=False):
        names = dict.fromkeys(f"{facts(row.metric).title} ({row.extractor})" for row in each(rows))
        same = rows["note"].nunique() == 1
        notes.append(f"{listed(list(names))}: {rows['note'].iloc[0] if same else note}.")
    if known["value"].isna().any():
        notes.append(f"{MISSING}: not available.")
    return notes
