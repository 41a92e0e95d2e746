"""Papers' rows below ours of the same method and data set, with the differences in protocol in words; never ranked."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from ltgen_bench.config.schema import ProcessConfig
from ltgen_bench.core.words import count, file_name, listed
from ltgen_bench.evaluation.protocol import REFERENCES
from ltgen_bench.records.published_fields import LOOSE
from ltgen_bench.report.columns import entry_columns, head, measurement_name, name_in, scope_words, score_cells, slug
from ltgen_bench.report.entries import Block, Key, each, measurements
from ltgen_bench.report.notes import verdict_notes
from ltgen_bench.report.numbers import is_known
from ltgen_bench.report.papers import SECOND_HAND, SECOND_HAND_NOTE, printed, source
from ltgen_bench.report.table import Cell, Head, Row, Table

OURS = "ours"
UNKNOWN = "an unknown one"
NOTE = (
    "Papers' rows are below ours of the same method and data set. Each was measured under its paper's protocol, so that they are "
    "ranked neither with ours nor with each other."
)
DOWNSTREAM = "downstream_accuracy"


def published_tables(block: Block, published: pd.DataFrame) -> list[Table]:
    """A table for each score of `block` that papers print of one of its methods: ours, and below each row the papers'.

    Where no paper has any, the one table has no rows and says so.
    """
    same = published[of_dataset(published, block)]
    tables, without = [], []
    for key in block.keys:
        of_key = of_measurement(same, key)
        scopes = [scope for scope in dict.fromkeys(block.rows["scope"]) if scope != "class"] if len(of_key) else []
        made = [_table(block, key, scope, own) for scope in scopes if len(own := _fitting(block, key, scope, of_key))]
        tables += made
        without += [] if made else [name_in(block, key)]
    if not tables:
        methods = listed(sorted(set(block.rows["method"])))
        note = f"The published results here have no score of {methods} on {block.dataset} that is measured above."
        return [Table("published", f"{block.title}: papers' rows of the same methods", (Head("method", "method"),), (), (note,))]
    if without:
        note = f"The published results here have no values of these methods on {block.dataset} for: {', '.join(without)}."
        tables[-1] = replace(tables[-1], notes=(*tables[-1].notes, note))
    return tables


def of_dataset(published: pd.DataFrame, block: Block) -> pd.Series:
    """Whether each row is on the data set of `block`: the name without punctuation, and the factor where it is stated.

    `cifar10-lt-50` is `cifar10-lt` at factor 50. A name that says more (another profile, draw or order) is no paper's.
    """
    names, stated = published["dataset"].map(_plain), published["imbalance_factor"]
    right = stated.isna() | stated.eq(block.shown["imbalance_factor"].iloc[0])
    return names.eq(_plain(base_name(block))) & names.ne("") & right


def base_name(block: Block) -> str:
    """The name of the data set without its factor."""
    return block.dataset.removesuffix(f"-{block.shown['imbalance_factor'].iloc[0]:g}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def of_measurement(published: pd.DataFrame, key: Key) -> pd.DataFrame:
    """The rows of the metric of `key`; papers' `fid_clip` is `fid` on CLIP, their `accuracy` the downstream one."""
    metric, _, train_data, _ = key
    if metric == DOWNSTREAM:
        return published[published["metric"].eq("accuracy") & published["train_data"].eq(train_data)]
    return published[published["metric"].str.removesuffix("_clip").eq(metric)]


def _ours(block: Block, key: Key, scope: str) -> pd.DataFrame:
    """Our rows that have a value."""
    return block.part(key, scope).dropna(subset=["value"])


def _fitting(block: Block, key: Key, scope: str, published: pd.DataFrame) -> pd.DataFrame:
    """The rows that belong below this measurement of ours in this scope, of the methods that have it.

    A row belongs to our measurement on its features (Inception where it states none), and where we have none, to
    every other.
    """
    group, _, rule = scope.partition("@")
    methods = {block.first[entry].method for entry in _ours(block, key, scope)["entry"]}
    chosen = published[published["method_key"].isin(methods) & published["split"].eq(group)]
    if rule:  # a rule that is not stated is compared with ours by default
        chosen = chosen[chosen["group_rule"].eq(rule) | (chosen["group_rule"].eq("") & (rule == "thirds"))]
    if key[0] == DOWNSTREAM:
        return chosen
    others = [other for other in measurements(block.rows, scope) if other[0] == key[0]]
    ours = {other[1] for other in others if len(_ours(block, other, scope))}
    features = chosen["extractor"].where(chosen["extractor"].ne(""), "inception")
    return chosen[features.eq(key[1]) | ~features.isin(ours)]


def _table(block: Block, key: Key, scope: str, published: pd.DataFrame) -> Table:
    (method, *facts), names, shared = entry_columns(block)
    cells = {entry: replace(cell, best=False) for entry, cell in score_cells(block, key, scope).items()}
    measured = _ours(block, key, scope).drop_duplicates("entry").set_index("entry")["n_generated"]
    rows, without = [], []
    for entry in [entry for entry in block.entries if entry in measured.index]:
        ours = block.first[entry]._replace(n_generated=measured[entry])
        factor = "" if pd.isna(ours.imbalance_factor) else f"{ours.imbalance_factor:g}"
        line = [names[entry][0], Cell(OURS), Cell(factor), cells[entry], Cell(""), Cell(""), *names[entry][1:]]
        rows.append(Row(tuple(line)))
        papers = [_row(row, key, scope, ours, block, len(facts))
                  for row in each(published[published["method_key"] == ours.method])]
        rows += papers
        without += [] if papers else [entry]
    heads = (
        method,
        Head("paper", "paper_id", number=False),
        Head("factor", "imbalance_factor", number=False),
        head(key, scope),
        Head("differs in", "differences", number=False, prose=True),
        Head("source", "source", number=False, prose=True),
        *facts,
    )
    notes = [NOTE, *([SECOND_HAND_NOTE] if published["second_hand"].any() else [])]
    notes += [f"The published results here have no value of {listed(without)}."] if without else []
    notes += [text.replace("All rows", "Ours") for text in shared] + [
        text for text in verdict_notes(block, best=False) if text.startswith(("Not ", "±"))
    ]
    title = f"{block.title}: {measurement_name(key)}, {scope_words(scope)}, papers' rows below ours"
    name = file_name(f"published-{slug(block, key)}-{scope.replace('@', '-')}")
    return Table(name, title, heads, tuple(rows), tuple(notes))


def _row(row: Any, key: Key, scope: str, ours: Any, block: Block, quiet: int) -> Row:
    mark = f" {SECOND_HAND}" if row.second_hand else ""
    factor = "not stated" if pd.isna(row.imbalance_factor) else f"{row.imbalance_factor:g}"
    value = Cell(printed(row), float(row.canonical)) if pd.notna(row.value) else Cell("")
    cells = [Cell(str(row.method)), Cell(f"{row.paper_id}{mark}"), Cell(factor), value]
    cells += [Cell(protocol_differences(row, key, scope, ours, block)), Cell(source([row])), *(Cell("") for _ in range(quiet))]
    return Row(tuple(cells), "paper")


def protocol_differences(row: Any, key: Key, scope: str, ours: Any, block: Block) -> str:
    """What a paper's row differs in from our entry `ours`, the paper's value first: `omega 1.5 against 1; ...`.

    At the end, what the row does not state. Training lengths are given but not compared: papers count steps.
    """
    differing, missing = [], []
    for name, stated, own in _stated(row, key, scope, ours, block):
        if not stated:
            missing.append(name)
        elif stated != own:
            differing.append(f"{name} {stated} against {own}".lstrip() if own else stated)
    if missing:
        differing.append(f"{listed(missing)} not stated")
    return "; ".join(differing) or "nothing that the paper states"


def _stated(row: Any, key: Key, scope: str, ours: Any, block: Block) -> Iterator[tuple[str, str, str]]:
    """(name of a field, what the paper states, ours) in words; the paper's is empty where it states nothing.

    Without ours, the second is a whole sentence.
    """
    described = block.described.get(key[3], {})
    factor = _number(row.imbalance_factor, "{:g}")
    yield "factor", factor, factor
    if scope != "all":
        yield "rule of the groups", row.group_rule, row.group_rule
    if key[0] == DOWNSTREAM:
        yield "classifier", row.classifier, key[1]
    else:
        own = _number(ours.n_generated, "{:,}") or "an unknown number"
        images = _number(row.images, "{:,}")
        yield ("images", images, own) if images in ("", own) else ("", f"{images} images", own)
        # papers that state no features hardly mean those of a domain classifier
        yield "features" if row.extractor or key[1] == "inception" else f"features (ours: {key[1]})", row.extractor, key[1]
    if described.get("reference"):
        yield "reference", *_reference(row, str(described["reference"]))
    if described.get("k"):
        yield "k", "", ""  # no row of a paper says it in a column
    yield "omega", _number(row.omega, "{:g}"), _number(ours.omega, "{:g}") or UNKNOWN
    if ours.process not in ("", ProcessConfig().name):
        yield "", f"ours under process {ours.process}", ""  # what papers of this field print is of DDPM
    steps = _number(row.sampler_steps, " {}")
    yield "sampler", f"{row.sampler_name}{steps}", f"{ours.sampler} {ours.steps}" if is_known(ours.sampler) else UNKNOWN
    trained = "" if pd.isna(row.train_steps) else f"{count(int(row.train_steps))} of unstated batch size"
    seen = f"{count(int(ours.budget_images))} images seen" if is_known(ours.budget_images) else UNKNOWN
    yield "training steps" + (" not comparable:" if trained else ""), trained, seen


def _number(value: Any, words: str) -> str:
    return words.format(value) if is_known(value) else ""


def _reference(row: Any, own: str) -> tuple[str, str]:
    """The paper's reference and ours in words. Texts that name none of our sets, or leave something open, are quoted."""
    loose = row.reference and (not row.reference_set or row.reference in LOOSE)
    return f'"{row.reference}"' if loose else REFERENCES.get(row.reference_set, ""), REFERENCES[own]
