"""The tables of a block, as pure functions of tidy rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ltgen_bench.core.words import listed
from ltgen_bench.data.groups import GROUPS
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.report.baselines import (
    REAL_TEST,
    baseline_cell,
    baseline_notes,
    baseline_rows,
    measured_again,
    number_of_images,
    score_at_n_cells,
)
from ltgen_bench.report.columns import (
    TRAINED_ON,
    column_head,
    csv_key,
    entry_columns,
    means,
    measurement_name,
    name_in,
    reference_rows,
    scope_head,
    scope_words,
    score_rows,
    slug,
    subtitle,
)
from ltgen_bench.report.comparisons import METHOD, comparison, counts_text, difference_text
from ltgen_bench.report.entries import FEW, Block, Key, each, measurements
from ltgen_bench.report.notes import (
    entry_notes,
    few_notes,
    missing_notes,
    older_note,
    reference_notes,
    same_name_notes,
    separate_table_note,
    value_notes,
    verdict_notes,
)
from ltgen_bench.report.numbers import MISSING, facts, show
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.report.variance_table import variance_table

REAL_ALONE, IMAGES_ALONE = "real-lt", "synthetic"  # training sets of a downstream classifier


def section_tables(block: Block, before: Sequence[Block] = ()) -> list[Table]:
    """Every table of a block: few and all classes, verdicts, training sets, groups, classes. `before` are the blocks above it."""
    main = comparison_table(block)
    main = replace(main, notes=(*separate_table_note(block, before), *main.notes))
    tables = [main, verdict_table(block), downstream_table(block), variance_table(block)]
    if block.scope:  # other groups and single classes are not asked for
        return [table for table in tables if table is not None]
    for rule in ("thirds", "count"):
        tables += [group_table(block, key, rule) for key in measurements(block.shown, f"few@{rule}")]
    tables += [class_table(block, key) for key in measurements(block.shown, "class")]
    return [table for table in tables if table is not None]


def comparison_table(block: Block) -> Table:
    """Entries against metrics, over all classes and of some before that over the few ones: mean (± standard deviation over
    seeds), with baseline scores at the end.

    Sampler, omega, budget and seeds have a column each where the entries differ in them, else a note. Marked values
    may be the best (`comparisons.best_entries`).
    """
    heads, names, shared = entry_columns(block, show_differing=True)
    scores, same = _metric_heads(block)
    notes = [*same, *shared, *verdict_notes(block), *reference_notes(block), *older_note(block), *same_name_notes(block),
             *value_notes(block)]
    columns = block.columns
    rows = [*score_rows(block, columns, names), *reference_rows(block, columns), *baseline_rows(block, columns, len(heads))]
    heads = [*heads, *scores, Head("notes", "notes", number=False, csv_only=True)]
    both = "few and all classes" if any(scope == FEW for _, scope in block.columns) else "all classes"
    title = f"{block.title}: {scope_words(block.scope) if block.scope else both}"
    return Table("comparison", title, tuple(heads), tuple(_with_notes(block, rows)), tuple(notes))


def _metric_heads(block: Block) -> tuple[list[Head], list[str]]:
    """The heads of all measurements, and a sentence for each that has one value in all rows since no images enter it.

    Such a column is in the CSV alone. A narrow terminal keeps the few classes of the first measurement and of those that see the
    labels of the images, and the first over all classes.
    """
    heads, notes = [], []
    for key, scope in block.columns:
        values = pd.concat([block.part(key, scope)["value"], block.reference_part(key, scope)["value"]]).dropna()
        shown = {show(key[0], value) for value in values}
        constant = key[2] == REAL_ALONE and len(shown) == 1
        if constant:
            name = measurement_name(key, extractor=False)
            notes.append(f"{name}: {shown.pop()} in every row, since no generated images enter it ({subtitle(key, scope)}).")
        first = scope == next(other for same, other in block.columns if same == key)
        keep = 3 * first if "class logits" in METRICS[key[0]].needs else int(first) if key[2] == IMAGES_ALONE else \
            2 * (key == block.keys[0])
        made = replace(column_head(block, key, scope), csv_only=constant, keep=keep)
        if key[2] == IMAGES_ALONE:  # `downstream accuracy, synthetic` in two lines is narrower
            title, _, rest = facts(key[0]).heading.partition(" ")
            rest, _, arrow = rest.rpartition(" ")
            made = replace(made, title=f"{title} {arrow}", subtitle=" · ".join([rest, key[2], made.subtitle]))
        heads.append(made)
    return heads, notes


def _with_notes(block: Block, rows: list[Row]) -> list[Row]:
    """Each row with what its scores do not say of its images as a last cell."""
    names = [*block.entries, *block.reference_names]  # in the order of the rows; baseline scores are the last
    texts = [*(block.notes_of.get(name, "") for name in names), *("" for _ in rows[len(names):])]
    return [replace(row, cells=(*row.cells, Cell(text))) for row, text in zip(rows, texts, strict=True)]


def _score_table(block: Block, name: str, title: str, columns: list[tuple[Key, str]], heads: Sequence[Head],
                 notes: Sequence[str] = ()) -> Table:
    """A table of `columns` (measurement, scope) with their `heads`: entries, reference rows, baseline scores and notes."""
    first, names, shared = entry_columns(block)
    rows = [*score_rows(block, columns, names), *reference_rows(block, columns), *baseline_rows(block, columns, len(first))]
    parts = pd.concat([block.part(key, scope) for key, scope in columns])
    notes = [*notes, *missing_notes(block, columns), *shared, *verdict_notes(block), *baseline_notes(parts), *few_notes(parts)]
    return Table(name, f"{block.title}: {title}", (*first, *heads), tuple(rows), tuple(notes))


def group_table(block: Block, key: Key, rule: str = "thirds") -> Table:
    """One measurement over the few, medium and many classes of a rule and over all classes."""
    scopes = [scope for scope in (*(f"{group}@{rule}" for group in reversed(GROUPS)), "all") if len(block.part(key, scope))]
    empty = [scope for scope in scopes if block.part(key, scope)["note"].eq("no classes in this group").all()]
    notes = [f"No classes in {listed(empty)}."] if empty else []
    return _score_table(block, f"groups-{slug(block, key)}-{rule}", f"{name_in(block, key)} by group ({rule})",
                        [(key, scope) for scope in scopes], [scope_head(key, scope) for scope in scopes],
                        [*notes, *entry_notes(block)])


def downstream_table(block: Block) -> Table | None:
    """Downstream scores on real test images of classifiers trained on each training set, over the few and over all classes."""
    keys = [key for key in block.keys if METRICS[key[0]].is_downstream]
    if not keys:
        return None
    columns = [(key, scope) for key in keys for scope in ([block.scope] if block.scope else [FEW, "all"])
               if len(block.part(key, scope))]
    heads = [Head(f"{TRAINED_ON.get(key[2], key[2])} {facts(key[0]).arrow}", csv_key(key, scope),
                  ("all · " if scope == "all" and (key, FEW) in columns else "") + subtitle(key, scope))
             for key, scope in columns]
    return _score_table(block, "downstream", "accuracy on real test images, by training set", columns, heads)


def class_table(block: Block, key: Key) -> Table:
    """One measurement for each class, from head to tail: a row a class with its training images, a column an entry.

    The columns of reference rows are the last.
    """
    part = block.part(key, "class")
    classes = part[["class_label", "class_name", "class_count"]].drop_duplicates("class_label")
    classes = classes.sort_values(["class_count", "class_label"], ascending=[False, True])
    named = {**{entry: entry for entry in block.entries}, **{name: f"{name} (reference)" for name in block.reference_names}}
    heads = (Head("class", "class", number=False), Head("training images", "training_images", score=False),
             *(Head(title, f"{title}:{csv_key(key)}", subtitle(key)) for title in named.values()))
    both = pd.concat([part, block.reference_part(key, "class")]) if block.entries else part
    values = means(key[0], both, ["class_label", "entry"])
    real_heads, real = _real_columns(block, key)
    rows = []
    for one in each(classes):
        cells = [values.get((one.class_label, name), Cell(MISSING)) for name in named]
        size = Cell(f"{one.class_count}", float(one.class_count), n=1)
        rows.append(Row((Cell(str(one.class_name)), size, *cells, *real.get(one.class_label, [Cell(MISSING)] * len(real_heads)))))
    notes = [*entry_columns(block)[2], *verdict_notes(block, best=False)]
    notes = [note.replace("All rows", "All columns").replace("The rows", "The columns") for note in notes]
    return Table(f"classes-{slug(block, key)}", f"{block.title}: {name_in(block, key)} by class", (*heads, *real_heads),
                 tuple(rows), (*missing_notes(block, [(key, "class")]), *notes, *few_notes(part)))


def _real_columns(block: Block, key: Key) -> tuple[list[Head], dict[Any, list[Cell]]]:
    """The columns of held-out real images for a metric that is best nearest to their value, and their cells by class.

    Where they are of another n than the scores and the metric depends on n, the entries' scores at that n come before.
    """
    fact, part = facts(key[0]), block.part(key, "class")
    if fact.direction != "nearest" or fact.target is not None or not part[REAL_TEST.score].notna().any():
        return [], {}
    entries = block.entries if len(measured_again(part, REAL_TEST)) else []
    heads = [Head(f"{entry}, at the n of real test", f"{entry} at test n:{csv_key(key)}", subtitle(key)) for entry in entries]
    heads += [Head("real test", f"real test:{csv_key(key)}", subtitle(key)), Head("n", "test_n", score=False)]
    cells = {}
    for label, own in part.groupby("class_label", sort=False):
        scores = own[REAL_TEST.score].where(own[REAL_TEST.n].notna() | (not fact.depends_on_n))
        again = score_at_n_cells(key[0], own, REAL_TEST, "entry")
        real = baseline_cell(key[0], own, scores, REAL_TEST)
        cells[label] = [*(again.get(entry, Cell(MISSING)) for entry in entries), real, Cell(number_of_images(own, REAL_TEST))]
    return heads, cells


def verdict_table(block: Block) -> Table | None:
    """How often each entry is better, worse, equivalent and open in each column of scores; None where none has verdicts.

    With a baseline: the difference of each entry from it.
    """
    found = {column: one for column in block.columns if (one := comparison(block, *column)).differences}
    if not found:
        return None
    heads, names, shared = entry_columns(block)
    if block.baseline:
        told = f"Differences from {block.baseline} with their verdicts."
        rows = [Row((*names[entry], *(Cell(difference_text(key[0], one.of(entry, block.baseline)) or MISSING)
                                      for (key, _), one in found.items())))
                for entry in block.entries if entry != block.baseline]
    else:
        told = "better / worse / equivalent / open against the other rows."
        rows = [Row((*names[entry], *(Cell(counts_text(one, entry)) for one in found.values()))) for entry in block.entries]
    notes = (f"{told} {METHOD}", *shared,
             *(text for text in verdict_notes(block, best=False) if not text.startswith("±")))
    heads += [column_head(block, *column, score=False) for column in found]
    return Table("verdicts", f"{block.title}: verdicts", tuple(heads), tuple(rows), notes)
