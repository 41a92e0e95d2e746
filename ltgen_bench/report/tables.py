"""The tables of a report, as pure functions of tidy rows."""

from dataclasses import replace

import pandas as pd

from ltgen_bench.core.words import listed
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.records.statistics import compare, record_of
from ltgen_bench.report.baseline_columns import TEST, number, repeated
from ltgen_bench.report.baseline_lines import again_cell, few_notes, floor_cell, floor_notes, floor_rows
from ltgen_bench.report.columns import (
    GROUPS,
    TRAINED_ON,
    Key,
    csv_key,
    head,
    measurement_name,
    name_in,
    older_note,
    reference_notes,
    reference_part,
    reference_rows,
    scope_head,
    score_cell,
    score_cells,
    slug,
    stub,
    twin_notes,
    under,
    value_notes,
    verdict_notes,
    wide_losses,
)
from ltgen_bench.report.entries import Block, each, select
from ltgen_bench.report.numbers import MISSING, facts, show
from ltgen_bench.report.reasons import entry_notes, missing_notes, noted_entries
from ltgen_bench.report.table import Cell, Head, Row, Table

REAL_ALONE, IMAGES_ALONE = "real-lt", "synthetic"  # what a downstream classifier is trained on


def comparison_table(block: Block) -> Table:
    """Entries against metrics, over all classes: mean (± standard deviation over seeds), noise floors below.

    Sampler, omega, budget and seeds have a column each where the entries differ in them, else a note. A value is marked
    best only when a paired test over three or more seeds carries it.
    """
    columns = [(key, "all") for key in block.keys]
    heads, names, shared = stub(block, "unlike")
    notes = [*shared, *verdict_notes(block), *reference_notes(block), *older_note(block), *twin_notes(block)]
    notes += value_notes(block)
    scores, same = _main_heads(block)
    notes = [*same, *notes]
    return Table(
        "comparison",
        f"{block.title}: all classes",
        (*heads, *scores, Head("notes", "notes", number=False, quiet=True)),
        tuple(_with_notes(block, [*_score_rows(block, columns, names), *reference_rows(block, columns),
                                  *floor_rows(block, columns, len(heads))])),
        tuple(notes),
    )


def _main_heads(block: Block) -> tuple[list[Head], list[str]]:
    """The heads of all measurements, and a sentence for each that no images play a part in: the same in every row, it is said
    once, and only the CSV has its column. What sees the labels is given up last for want of width."""
    heads, notes = [], []
    every = [rows for rows in (block.rows, block.references) if len(rows)]
    for key in block.keys:
        values = pd.concat([select(rows, key, "all") for rows in every])["value"].dropna()
        shown = {show(key[0], value) for value in values}
        alone = key[2] == REAL_ALONE and len(shown) == 1
        if alone:
            name = measurement_name(key, extractor=False)
            notes.append(f"{name}: {shown.pop()} in every row, whatever the images ({under(key)}).")
        kept = key[2] == IMAGES_ALONE or "class logits" in METRICS[key[0]].needs
        made = replace(head(key), quiet=alone, kept=kept)
        if key[2] == IMAGES_ALONE:  # `downstream accuracy, synthetic` in two lines, so that it finds its place
            title, _, rest = facts(key[0]).heading.partition(" ")
            rest, _, arrow = rest.rpartition(" ")
            made = replace(made, title=f"{title} {arrow}", under=" · ".join([rest, key[2], made.under]))
        heads.append(made)
    return heads, notes


def _with_notes(block: Block, rows: list[Row]) -> list[Row]:
    """Each row with what its scores do not say of its images as a last cell."""
    told = {**noted_entries(block.rows), **noted_entries(block.references)}
    names = [*block.entries, *block.reference_names]  # in the order of the rows; floors are the last
    texts = [*(told.get(name, "") for name in names), *("" for _ in rows[len(names):])]
    return [replace(row, cells=(*row.cells, Cell(text))) for row, text in zip(rows, texts, strict=True)]


def _score_rows(block: Block, columns: list[tuple[Key, str]], names: dict[str, list[Cell]]) -> list[Row]:
    """A row an entry: what it is, then its score in each of `columns` (measurement, scope)."""
    scores = [score_cells(block, key, scope) for key, scope in columns]
    return [Row((*names[entry], *(column[entry] for column in scores))) for entry in block.entries]


def group_table(block: Block, key: Key, rule: str = "thirds") -> Table:
    """One measurement over all classes and over the many, medium and few classes of a rule."""
    scopes = ["all", *(f"{group}@{rule}" for group in GROUPS)]
    known = [scope for scope in scopes if len(block.part(key, scope))]
    columns = [(key, scope) for scope in known]
    heads, names, shared = stub(block)
    empty = [scope for scope in known if block.part(key, scope)["note"].eq("no classes in this group").all()]
    notes = [f"No classes in {listed(empty)}."] if empty else []
    notes += [*entry_notes(block), *missing_notes(block, columns)]
    return Table(
        f"groups-{slug(block, key)}-{rule}",
        f"{block.title}: {name_in(block, key)} by group ({rule})",
        (*heads, *(scope_head(key, scope) for scope in known)),
        (*_score_rows(block, columns, names), *reference_rows(block, columns), *floor_rows(block, columns, len(heads))),
        (*notes, *shared, *verdict_notes(block), *_of_scopes(block, columns)),
    )


def _of_scopes(block: Block, columns: list[tuple[Key, str]]) -> list[str]:
    """What is to be said of the floors and of few images in the scopes of one measurement."""
    rows = pd.concat([block.part(key, scope) for key, scope in columns])
    return [*floor_notes(rows), *few_notes(rows)]


def class_table(block: Block, key: Key) -> Table:
    """One measurement for each class, from head to tail: a row a class with its training images, a column an entry.

    The columns of reference rows are the last.
    """
    part = block.part(key, "class")
    classes = part[["class_label", "class_name", "class_count"]].drop_duplicates("class_label")
    classes = classes.sort_values(["class_count", "class_label"], ascending=[False, True])
    heads = (
        Head("class", "class", number=False),
        Head("training images", "training_images", score=False),
        *(Head(entry, f"{entry}:{csv_key(key)}", under(key)) for entry in block.entries),
        *(Head(f"{name} (reference)", f"{name} (reference):{csv_key(key)}", under(key)) for name in block.reference_names),
    )
    both = pd.concat([part, reference_part(block, key, "class")]) if block.entries and block.reference_names else part
    values = dict(iter(both.groupby(["class_label", "entry"])))
    real_heads, real = _real_columns(block, key)
    rows, names = [], [*block.entries, *block.reference_names]
    lacking = [Cell(MISSING)] * len(real_heads)
    for one in each(classes):
        cells = [score_cell(key[0], values.get((one.class_label, name), both.iloc[:0])) for name in names]
        size = Cell(f"{one.class_count}", float(one.class_count), n=1)
        rows.append(Row((Cell(str(one.class_name)), size, *cells, *real.get(one.class_label, lacking))))
    _, _, shared = stub(block)
    notes = missing_notes(block, [(key, "class")])
    notes += [note.replace("All rows", "All columns") for note in shared]
    title = f"{block.title}: {name_in(block, key)} by class"
    notes += [note.replace("The rows", "The columns") for note in verdict_notes(block, best=False)]
    notes += few_notes(part)
    return Table(f"classes-{slug(block, key)}", title, (*heads, *real_heads), tuple(rows), tuple(notes))


def _real_columns(block: Block, key: Key) -> tuple[list[Head], dict[int, list[Cell]]]:
    """The columns of real images for a metric that is best nearest to their value, and their cells by class.

    Where the value depends on the number of images, and there are fewer held-out ones, each entry's value at that number
    stands before.
    """
    fact, part = facts(key[0]), block.part(key, "class")
    if fact.direction != "nearest" or fact.target is not None or not part["floor_test"].notna().any():
        return [], {}
    unlike = bool(len(repeated(part, TEST)))
    entries = block.entries if unlike else []
    heads = [Head(f"{entry}, at the n of real test", f"{entry} at test n:{csv_key(key)}", under(key)) for entry in entries]
    heads += [Head("real test", f"real test:{csv_key(key)}", under(key)), Head("n", "test_n", score=False)]
    cells = {}
    for label in part["class_label"].unique():
        own = part[part["class_label"] == label]
        of_entry = [own[own["entry"] == entry] for entry in entries]
        counts = number(own, TEST)
        floors = own[TEST.floor] if not fact.depends_on_n else own[TEST.floor].where(own[TEST.n].notna())
        again = [again_cell(key[0], one, TEST) for one in of_entry]
        cells[int(label)] = [*again, floor_cell(key[0], own, floors, TEST), Cell(counts)]
    return heads, cells


def downstream_table(block: Block) -> Table | None:
    """Accuracy on real test images of classifiers trained on each training set, over all and over the few classes."""
    keys = [key for key in block.keys if key[0] == "downstream_accuracy"]
    if not keys:
        return None
    pairs = [(key, scope) for key in keys for scope in ("all", "few@thirds") if len(block.part(key, scope))]
    columns = [
        Head(f"{TRAINED_ON.get(key[2], key[2])} {facts(key[0]).arrow}", csv_key(key, scope), under(key, scope))
        for key, scope in pairs
    ]
    heads, names, shared = stub(block)
    return Table(
        "downstream",
        f"{block.title}: accuracy on real test images, by training set",
        (*heads, *columns),
        (*_score_rows(block, pairs, names), *reference_rows(block, pairs), *floor_rows(block, pairs, len(heads))),
        (*missing_notes(block, pairs), *shared, *verdict_notes(block), *_of_scopes(block, pairs)),
    )


def verdict_table(block: Block) -> Table | None:
    """Wins, ties and losses of each entry in each metric; None without three seeds that two entries share."""
    keys = block.keys
    pairs = {key: compare(wide_losses(block, key), "lower") for key in keys}
    tested = [key for key in keys if pairs[key]]
    if not tested:
        return None
    heads, names, shared = stub(block)
    rows = []
    for entry in block.entries:
        records = [" / ".join(map(str, record_of(pairs[key], entry))) for key in tested]
        rows.append(Row((*names[entry], *(Cell(record) for record in records))))
    note = (
        "Win, tie and loss of each row against the others, column by column: paired t test over common training seeds, "
        "5 %, Holm's correction over all pairs of the column."
    )
    return Table(
        "verdicts",
        f"{block.title}: wins / ties / losses",
        (*heads, *(head(key, score=False) for key in tested)),
        tuple(rows),
        (note, *shared, *(text for text in verdict_notes(block, best=False) if not text.startswith("±"))),
    )
