"""The sentences below a table: what may be concluded from it, why values are missing, what to read with care."""

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import count, listed
from ltgen_bench.evaluation.measure import NO_CLASSES
from ltgen_bench.evaluation.trivial_samples import TRIVIAL
from ltgen_bench.report.baselines import BASELINES, baseline_notes, few_images
from ltgen_bench.report.columns import measurement_name
from ltgen_bench.report.comparisons import FEW_SEEDS, ONE_SEED, comparison, conditions, family_note, marks_note
from ltgen_bench.report.entries import Block, Key, difference, each
from ltgen_bench.report.numbers import MISSING, SMALL_SAMPLE_MARK, facts, is_known

CLASSIFIER = "Scores on the features of a domain classifier compare only with each other."
TOO_FEW = "not available: needs n"  # how a note of `evaluation.measure` begins where images are lacking
SEPARATOR = "; "  # between the notes of one row
NUMBER = re.compile(r" \(([^()]*)\)$")  # at the end of a note: a number that is of its own row
NAMED = 3  # entries, of which a note says whose it is
OLD_NOTES = {  # notes of scores that earlier versions wrote -> as they are written now
    r"^(partly|mostly) bias: n < (\d+)(?: \((\S+) at the floor's n = (\d+)\))?$":
        lambda found: f"{found[1]} small-sample bias: fewer than {int(found[2]):,} images"
                      + (f" ({found[3]} with the {found[4]} of the baseline score)" if found[3] else ""),
    r"^expected of equal distributions \((\S+)\)$": lambda found: f"expected value of a perfect generator ({found[1]})",
    r"^the real images beside it are those of the reference$":
        lambda _: "the value for real images is that of the reference, since there are no held-out ones",
}


def separate_table_note(block: Block, before: Sequence[Block]) -> list[str]:
    """Why the rows are not in the last table `before` that has the same title: what differs in the measurement."""
    named = [other for other in before if other.title == block.title]
    if not named:
        return []
    last = named[-1]
    if last.fingerprint != block.fingerprint:
        why = f"their data differ (fingerprint {last.fingerprint} there, {block.fingerprint} here)"
    else:
        theirs = {key[:3]: key[3] for key in last.keys}
        pairs = [(key, theirs[key[:3]]) for key in block.keys if theirs.get(key[:3], key[3]) != key[3]]
        described = {**last.described, **block.described}
        differing = ((key, difference([other, key[3]], described)) for key, other in pairs)
        why = "their protocols differ" + next((f" ({measurement_name(key)}: {words})" for key, words in differing if words), "")
    return [f"These rows cannot be compared with those of the table above that has the same title: {why}."]


def same_name_notes(block: Block) -> list[str]:
    """How measurements differ that have one name and several protocol ids."""
    named: dict[str, list[str]] = {}
    for key in block.keys:
        named.setdefault(measurement_name(key), []).append(key[3])
    differing = {name: difference(ids, block.described) for name, ids in named.items() if len(ids) > 1}
    return [f"{name}: protocols {' and '.join(named[name])} differ in {words}." for name, words in differing.items() if words]


def verdict_notes(block: Block, *, best: bool = True) -> list[str]:
    """What may be concluded: departures from a preset, seeds, and in what else than the method the rows differ.

    `best`: the table marks best values.
    """
    notes = [f"Not {block.preset}: {text}." for text in block.departures]
    most = max((len(block.seeds_of[entry]) for entry in block.entries), default=0)
    if most > 1:
        notes.append("± is the standard deviation over training seeds.")
    if len(block.sampled):
        notes.append("A score under several sampling seeds is their mean; a training seed counts once.")
    if len(block.entries) > 1:
        found = [one for key, scope in block.columns if (one := comparison(block, key, scope)).differences]
        if found:
            notes += [*([marks_note(block)] if best else []), family_note(block, found), *conditions(found)]
        elif block.baseline and block.baseline not in block.entries:
            notes.append(f"No row, or several, are called {block.baseline} here: no verdict.")
        else:
            notes.append(ONE_SEED if most == 1 else FEW_SEEDS)
    external = [entry for entry, row in block.first.items() if row.kind == "samples"]
    notes += _differing_entries(block)
    return [*notes, *([f"{listed(external)}: external samples; how they were made is not known here."] if external else [])]


def _differing_entries(block: Block) -> list[str]:
    """In what the entries differ other than the method: a difference in scores may then come from that."""
    first = list(block.first.values())
    columns: list[tuple[str, str, Callable[[Any], str]]] = [
        ("budget_images", "images seen", count), ("omega", "omega", "{:g}".format), ("images_per_class", "images a class", count),
        ("network", "network", str), ("batch_size", "batch size", str), ("augment", "augmentation", str),
        ("process", "process", str)]
    known = {title: [words(value) for value in sorted(set(filter(is_known, map(attrgetter(column), first))))]
             for column, title, words in columns}
    known["sampler"] = sorted({f"{row.sampler} {row.steps}" for row in first if is_known(row.sampler)})
    differing = [f"{title} ({listed(values)})" for title, values in known.items() if len(values) > 1]
    return [f"The rows also differ in {listed(differing)}: a difference in score may come from that instead of the method."] \
        if differing else []


def reference_notes(block: Block) -> list[str]:
    """What the reference rows are."""
    labels = sorted(set(block.references["label"])) if block.reference_names else []
    words = "; ".join(f"{name}: {TRIVIAL[name].summary}" for name in labels if name in TRIVIAL)
    return [f"For reference, never ranked: {words}."] if words else []


def older_note(block: Block) -> list[str]:
    """That a newer set of scores is shown in place of an older one, where it is."""
    if not block.older:
        return []
    left = "1 older set of scores" if block.older == 1 else f"{block.older} older sets of scores"
    return [f"{left} of the same entry and seed not shown; the newest is."]


def value_notes(block: Block) -> list[str]:
    """Why values in the columns of a block are missing or to be read with care, each reason once with its columns."""
    known = pd.concat([block.part(*column) for column in block.columns])
    references = pd.concat([block.reference_part(*column) for column in block.columns])
    notes = [*entry_notes(block), *baseline_notes(known)]
    notes += [CLASSIFIER] if "classifier" in set(block.shown["extractor"]) else []
    notes += [*few_notes(known), *row_notes(known)]
    if block.shown is not block.references and len(references):
        notes += row_notes(missing(references))
    if known["value"].isna().any() or references["value"].isna().any():
        notes.append(f"{MISSING}: not available.")
    return notes


def few_notes(rows: pd.DataFrame) -> list[str]:
    """One sentence on all values of too few images, and one on those that are not there for that reason; perhaps none."""
    notes = []
    few_real = [rows[kind.score].notna() & few_images(rows, kind) for kind in BASELINES]
    few = rows[(rows["few"] != "") | np.logical_or.reduce(few_real)]
    if len(few):
        wanted: dict[str, list[str]] = {}
        for metric, own in few.groupby("metric", sort=False):
            ends = dict.fromkeys(f"{int(n):,}" for n in (own["wanted"].min(), own["wanted"].max()))
            wanted.setdefault(" to ".join(ends), []).append(facts(str(metric)).title)
        words = "; ".join(f"{listed(names)} from {number}" for number, names in wanted.items())
        notes.append(f"{SMALL_SAMPLE_MARK}: of too few images to say much. Enough images: {words} (reasons: ltgen-bench list "
                     "metrics).")
    lacking = rows[rows["note"].str.startswith(TOO_FEW)]
    if len(lacking):
        needs: dict[str, dict[str, None]] = {}
        for row in each(lacking):
            need = row.note.removeprefix(TOO_FEW).partition(", has")[0]
            needs.setdefault(f"n{need}", {})[facts(row.metric).title] = None
        reasons = [f"{listed(list(names))} {'need' if len(names) > 1 else 'needs'} {need}" for need, names in needs.items()]
        notes.append(f"{MISSING}: not computed from so few images; {'; '.join(reasons)}.")
    return notes


def row_notes(rows: pd.DataFrame) -> list[str]:
    """`FID (classifier): partly small-sample bias: fewer than 2,048 images.`: each note once, with its scores.

    Notes that differ only in a number in brackets at their end are one, with the range of the numbers, or without where they are
    several. Rows of groups and classes name theirs, and a note of few of the entries names these.
    """
    noted = rows[rows["note"] != ""]
    if noted.empty:
        return []
    noted = noted.assign(note=noted["note"].str.split(SEPARATOR)).explode("note", ignore_index=True)
    noted = noted[~noted["note"].str.startswith(TOO_FEW)]  # `few_notes` says these
    noted = noted.assign(note=noted["note"].map(in_plain_words))
    every = rows["entry"].nunique() if "entry" in rows else 0
    found = []
    for note, own in noted.groupby(noted["note"].str.replace(NUMBER, "", regex=True), sort=False):
        names = dict.fromkeys(f"{facts(row.metric).title} ({_extractor_and_scope(row)})" for row in each(own))
        entries = list(dict.fromkeys(own["entry"])) if every else []
        whose = f" in the scores of {listed(entries)}" if len(entries) < every and len(entries) <= NAMED else ""
        found.append(printable(f"{listed(list(names))}{whose}: {_with_number(str(note), own['note'].unique().tolist())}."))
    return found


def in_plain_words(note: str) -> str:
    """A note of a score; one that an earlier version wrote in the words of today."""
    for pattern, words in OLD_NOTES.items():
        note = re.sub(pattern, words, note)
    return note


def _with_number(note: str, variants: Sequence[str]) -> str:
    """`note` with the number in brackets of its `variants`: the one, the range of plain numbers, or none."""
    if len(variants) == 1:
        return variants[0]
    try:
        numbers = sorted({found[1] for one in variants if (found := NUMBER.search(one))}, key=float)
    except ValueError:
        return note
    return f"{note} ({numbers[0]} to {numbers[-1]})" if numbers else note


def _extractor_and_scope(row: Any) -> str:
    """`classifier`, and with a scope other than all classes `classifier, few` or `classifier, class cat`."""
    if row.scope == "all":
        return str(row.extractor)
    scope = f"class {row.class_name}" if row.scope == "class" else row.scope.partition("@")[0]
    return f"{row.extractor}, {scope}"


def missing(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without a value for another reason than that there are no such classes."""
    lacking = rows["value"].isna()
    return rows[lacking & (rows["note"] != NO_CLASSES)] if lacking.any() else rows.iloc[:0]


def missing_notes(block: Block, columns: Sequence[tuple[Key, str]]) -> list[str]:
    """Why values are missing in `columns` (measurement, scope)."""
    found = [lacking for key, scope in columns for part in (block.part, block.reference_part)[not block.entries:]
             if len(lacking := missing(part(key, scope)))]
    return row_notes(pd.concat(found)) if found else []


def entry_notes(block: Block) -> list[str]:
    """What the scores of an entry or a reference row do not say of its images, after its name."""
    return [f"{printable(entry)}: {printable(notes)}" for entry, notes in block.notes_of.items()]
