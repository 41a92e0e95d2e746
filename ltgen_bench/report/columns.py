"""The pieces of the tables: names of measurements, the columns that say what an entry is, cells, floors, notes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal

import pandas as pd

from ltgen_bench.core.words import count, listed
from ltgen_bench.evaluation.trivial_samples import TRIVIAL
from ltgen_bench.records.statistics import FEW_SEEDS, MIN_SEEDS, ONE_SEED, clear_best
from ltgen_bench.report.baseline_columns import beyond_real, from_best
from ltgen_bench.report.baseline_lines import few_notes, floor_notes, mean_cell
from ltgen_bench.report.entries import Block, difference, each, select
from ltgen_bench.report.numbers import MISSING, facts, is_known, marked
from ltgen_bench.report.reasons import entry_notes, missing, reasons
from ltgen_bench.report.table import Cell, Head, Row

Key = tuple[str, str, str, str]  # metric, extractor, train_data, protocol

TRAINED_ON = {"real-lt": "real-lt", "synthetic": "synthetic", "real-lt+synthetic": "both"}
BEST = (
    "Best (bold, *): wins against every other row in a paired t test over common training seeds, 5 %, Holm's "
    "correction over all pairs of the column. No mark: the data carry no such claim."
)
GROUPS = ("many", "medium", "few")
CLASSIFIER = "Scores of a classifier's features compare only with each other."
WHAT = ["sampler", "steps", "omega", "budget_images"]  # what SHARED reads
SHARED: dict[str, Callable[[Any], str]] = {
    "sampler": lambda row: f"{row.sampler} {row.steps}" if is_known(row.sampler) else MISSING,
    "omega": lambda row: f"{row.omega:g}" if is_known(row.omega) else MISSING,
    "images seen": lambda row: count(int(row.budget_images)) if is_known(row.budget_images) else MISSING,
}


def stub(
    block: Block, shown: Literal["unlike", "none"] = "none"
) -> tuple[list[Head], dict[str, list[Cell]], list[str]]:
    """The columns that say what each entry is: heads, the cells of each entry, and a sentence on what all share.

    Sampler, omega, budget and seeds are `shown` where the entries differ in them, or not at all, and then the full name of
    the entry says it; the CSV has all of them.
    """
    first = block.rows.drop_duplicates("entry").set_index("entry")[["row_name", *WHAT]]
    names = {row.Index: str(row.Index if shown == "none" else row.row_name) for row in each(first)}
    texts = {name: {row.Index: word(row) for row in each(first)} for name, word in SHARED.items()}
    texts["seed"] = {entry: _seed_text(part["seed"]) for entry, part in block.rows.groupby("entry", sort=False)}
    alike = [name for name, words in texts.items() if len(set(words.values())) == 1]
    alike = alike if block.entries else list(texts)  # of references alone there is nothing to say
    heads = [Head("method", "method", number=False)]
    for name in texts:
        quiet = shown == "none" or name in alike
        heads.append(Head(name, name.replace(" ", "_"), number=False, quiet=quiet))
    cells = {
        entry: [Cell(names[entry]), *(Cell(words[entry]) for words in texts.values())] for entry in block.entries
    }
    if not block.entries:
        return heads, cells, []
    same = ", ".join(f"{name} {word}" for name in alike if (word := next(iter(texts[name].values()))) != MISSING)
    return heads, cells, [f"All rows: {same}."] if same else []


def _seed_text(seeds: pd.Series) -> str:
    return ", ".join(str(seed) for seed in sorted(set(seeds)))


def wide(block: Block, key: Key, scope: str = "all") -> pd.DataFrame:
    """One measurement as seeds x entries, NaN where there is no value."""
    return _wide(block, block.part(key, scope), "value")


def wide_losses(block: Block, key: Key, scope: str = "all") -> pd.DataFrame:
    """Likewise how far each value is from the best there is: lower is better, whatever the metric; see `floors.from_best`."""
    part = block.part(key, scope)
    return _wide(block, part.assign(loss=from_best(part, key[0])), "loss")


def _wide(block: Block, part: pd.DataFrame, column: str) -> pd.DataFrame:
    return part.pivot(index="seed", columns="entry", values=column).reindex(columns=block.entries)


def score_cells(block: Block, key: Key, scope: str) -> dict[str, Cell]:
    """The cells of one measurement, one an entry; the best is marked when the data carry it.

    A value beyond that of real images is never the best: it is no gain.
    """
    part = block.part(key, scope)
    losses = wide_losses(block, key, scope)
    best = clear_best(losses, "lower") if len(losses.columns) else None
    of_entry = dict(iter(part.groupby("entry", sort=False)))
    if best is not None and beyond_real(of_entry[best], key[0]).any():
        best = None
    return {entry: score_cell(key[0], of_entry.get(entry, part.iloc[:0]), entry == best) for entry in block.entries}


def score_cell(metric: str, rows: pd.DataFrame, best: bool = False) -> Cell:
    """Mean and standard deviation over the seeds in `rows`, marked where one of them has too few images."""
    cell = mean_cell(metric, rows["value"])
    few = next((text for text in rows["few"] if text), "")
    return replace(cell, text=marked(cell.text, bool(few)), best=best, few=few)


def reference_scores(block: Block, columns: Sequence[tuple[Key, str]]) -> dict[str, list[Cell]]:
    """The cells of every reference row: its seeds, then its score in each of `columns`. None of them is ever best."""
    parts = [(key, reference_part(block, key, scope)) for key, scope in columns]
    found = {}
    for name in block.reference_names:
        seeds = block.references.loc[block.references["entry"] == name, "seed"]
        cells = [score_cell(key[0], part[part["entry"] == name]) for key, part in parts]
        found[name] = [Cell(_seed_text(seeds)), *cells]
    return found


def reference_part(block: Block, key: Key, scope: str) -> pd.DataFrame:
    """The reference rows of one measurement in one scope, perhaps none."""
    return select(block.references, key, scope) if block.reference_names else block.references


def reference_rows(block: Block, columns: Sequence[tuple[Key, str]]) -> list[Row]:
    """The reference rows under the columns of `stub` and then `columns`: how they were made plays no part."""
    unknown = [Cell(MISSING) for _ in SHARED]
    return [Row((Cell(name), *unknown, *cells), "reference") for name, cells in reference_scores(block, columns).items()]


def head(key: Key, scope: str = "all", *, score: bool = True) -> Head:
    """The head of one measurement: its name, and below it extractor and protocol id."""
    return Head(measurement_name(key, extractor=False), csv_key(key, scope), under(key, scope), score=score)


def scope_head(key: Key, scope: str) -> Head:
    """The head of one measurement in a table of that measurement alone: the group, and below it the protocol id."""
    arrow = facts(key[0]).arrow
    return Head(f"{scope.partition('@')[0]} {arrow}".strip(), csv_key(key, scope), key[3])


def under(key: Key, scope: str = "all") -> str:
    """`few · classifier · 1a2b3c4d`: what stands below the title of a column."""
    _, extractor, _, protocol = key
    words = [] if scope == "all" else [scope.partition("@")[0]]
    return " · ".join([*words, *([extractor] if extractor else []), protocol])


def measurement_name(key: Key, *, extractor: bool = True) -> str:
    """`FID ↓ (classifier)`, `downstream accuracy ↑, trained on synthetic`."""
    words = facts(key[0]).heading
    if extractor and key[1]:
        words += f" ({key[1]})"
    return f"{words}, {TRAINED_ON.get(key[2], key[2])}" if key[2] else words


def name_in(block: Block, key: Key) -> str:
    """`measurement_name`, with the protocol id where the block has the same under another one (two references)."""
    return f"{measurement_name(key)} {twin_id(block, key)}".rstrip()


def csv_key(key: Key, scope: str = "all") -> str:
    """`fid:classifier:1a2b3c4d`, with training set and scope where there are such."""
    metric, extractor, train_data, protocol = key
    parts = [metric, extractor, train_data, "" if scope == "all" else scope, protocol]
    return ":".join(part for part in parts if part)


def slug(block: Block, key: Key) -> str:
    """A measurement as part of a file name: `fid-classifier`, `downstream_recall-cnn-8x8-both`; see `name_in`."""
    parts = (key[0], key[1], TRAINED_ON.get(key[2], key[2]), twin_id(block, key))
    return "-".join(part for part in parts if part)


def twin_id(block: Block, key: Key) -> str:
    """The protocol id where the block has the same measurement under another one too, else nothing."""
    return key[3] if sum(other[:3] == key[:3] for other in block.keys) > 1 else ""


def twin_notes(block: Block) -> list[str]:
    """What tells measurements apart that have one name and several ids."""
    named: dict[str, list[str]] = {}
    for key in block.keys:
        named.setdefault(measurement_name(key), []).append(key[3])
    told = {name: difference(ids, block.described) for name, ids in named.items() if len(ids) > 1}
    return [f"{name} {' and '.join(named[name])}:{words.replace(' They differ', ' they differ')}" for name, words in told.items()
            if words]


def apart_notes(block: Block, before: Sequence[Block]) -> list[str]:
    """Why the block is not one with the last of those `before` it that has its title: what differs, in words."""
    named = [other for other in before if other.title == block.title]
    if not named:
        return []
    if named[-1].fingerprint != block.fingerprint:
        why = f" Their data differ: {named[-1].fingerprint} against {block.fingerprint}."
    else:
        theirs = {key[:3]: key[3] for key in named[-1].keys}
        pairs = [(key, theirs[key[:3]]) for key in block.keys if theirs.get(key[:3], key[3]) != key[3]]
        described = {**named[-1].described, **block.described}
        told = ((key, difference([other, key[3]], described)) for key, other in pairs)
        why = next((f"{words[:-1]} ({measurement_name(key)})." for key, words in told if words), "")
    return [f"Apart from the table of the same name before it, for they were measured unlike.{why}"]


def verdict_notes(block: Block, *, best: bool = True) -> list[str]:
    """What may be concluded: whose rules these are not, seeds, and in what else than the method the rows differ.

    `best`: the table marks best values.
    """
    notes = [f"Not {block.preset}: {text}." for text in block.departures]
    seeds = [frozenset(part["seed"]) for _, part in block.rows.groupby("entry")]
    most = max((len(own) for own in seeds), default=0)
    if most > 1:
        notes.append("± is the standard deviation over training seeds.")
    if len(seeds) > 1:
        common = max(len(a & b) for a, b in combinations(seeds, 2))
        if common < MIN_SEEDS:
            notes.append(ONE_SEED if most == 1 else FEW_SEEDS)
        elif best:
            notes.append(BEST)
    foreign = list(dict.fromkeys(block.rows.loc[block.rows["kind"] == "samples", "entry"]))
    notes += _unlike_note(block)
    return [*notes, *([f"{listed(foreign)}: images from elsewhere; how they were made is not known here."] if foreign else [])]


def reference_notes(block: Block) -> list[str]:
    """What the reference rows are."""
    labels = sorted(set(block.references["label"])) if block.reference_names else []
    told = "; ".join(f"{name}: {TRIVIAL[name].summary}" for name in labels if name in TRIVIAL)
    return [f"For reference, never ranked: {told}."] if told else []


def _unlike_note(block: Block) -> list[str]:
    """In what the rows differ beside the method: a verdict over them is not the method's alone."""
    first = block.rows.drop_duplicates("entry")
    words: list[tuple[str, str, Callable[[int | float], str]]] = [
        ("budget_images", "images seen", count),
        ("omega", "omega", lambda value: f"{value:g}"),
        ("images_per_class", "images a class", count),
        ("network", "network", str),
        ("batch_size", "batch size", str),
        ("augment", "augmentation", str),
        ("process", "process", str),
    ]
    known = {column: sorted(value for value in set(first[column].tolist()) if is_known(value)) for column, *_ in words}
    unlike = [
        f"{word} ({listed([show_value(value) for value in known[column]])})"
        for column, word, show_value in words
        if len(known[column]) > 1
    ]
    samplers = sorted({f"{row.sampler} {row.steps}" for row in each(first) if is_known(row.sampler)})
    if len(samplers) > 1:
        unlike.append(f"sampler ({listed(samplers)})")
    if not unlike:
        return []
    return [f"The rows also differ in {listed(unlike)}: a difference between them is not the method's alone."]


def older_note(block: Block) -> list[str]:
    """That a newer set of scores stands for an older one, where it does."""
    if not block.older:
        return []
    left = "1 older set of scores" if block.older == 1 else f"{block.older} older sets of scores"
    return [f"{left} of the same entry and seed left out; the newest counts."]


def value_notes(block: Block, scope: str = "all") -> list[str]:
    """Why values are missing or to be read with care, each reason once with the columns it holds for."""
    every = pd.concat([block.rows, block.references]) if len(block.references) and len(block.rows) else block.shown
    known = block.shown[block.shown["scope"] == scope]
    notes = [*entry_notes(block), *floor_notes(known)]
    notes += [CLASSIFIER] if "classifier" in set(block.shown["extractor"]) else []
    notes += [*few_notes(known), *reasons(known)]
    if block.shown is not block.references and len(block.references):
        notes += reasons(missing(block.references[block.references["scope"] == scope]))
    if every.loc[every["scope"] == scope, "value"].isna().any():
        notes.append(f"{MISSING}: not available.")
    return notes
