"""One ranking of all runs: places where paired tests carry them, and a refusal where the runs were measured unlike."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ltgen_bench.core.errors import UserError, did_you_mean, unknown_name
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.records.statistics import Pair, compare, record_of
from ltgen_bench.records.store import protocols, reported_runs, rows
from ltgen_bench.report.baseline_lines import floor_rows
from ltgen_bench.report.columns import (
    TRAINED_ON,
    Key,
    head,
    measurement_name,
    reference_notes,
    reference_scores,
    score_cells,
    stub,
    value_notes,
    verdict_notes,
    wide_losses,
)
from ltgen_bench.report.entries import Block, blocks, check_equal, rank, split_equal
from ltgen_bench.report.numbers import MISSING
from ltgen_bench.report.table import Cell, Head, Row, Table

PLACES = (
    "Place: one more than the number of rows that win against it in a paired t test over common training seeds (5 %, Holm's "
    "correction over all pairs), where every one of its tests is a win or a loss; tie: at least one is neither. The order "
    "within ties is that of the means and says nothing."
)
ORDER = "The order is that of the means: no place is carried by a test."

ALONE = "There is no other row to rank it with."


class Wanted(NamedTuple):
    """What is to be ranked. Empty: not stated, and there may be only one."""

    metric: str
    extractor: str = ""
    train_data: str = ""
    protocol: str = ""


def ranking(
    runs_dir: Path, wanted: str, *, scope: str = "all", dataset: str | None = None, equal: Sequence[str] = ()
) -> list[Table]:
    """One table that ranks all finished runs under `runs_dir` in one score, or one for each combination of `equal`.

    `wanted` is written as the heads of the CSV tables are: METRIC, and where there are several its extractor, the training
    set of downstream metrics (real-lt, synthetic, both) and the protocol id, with colons between. Raises `UserError`
    when the runs were measured unlike, with the difference in words, and for names that no run has.
    """
    check_equal(equal)
    runs, left_out = reported_runs(runs_dir)
    table = rows(runs, runs_dir)
    if table.empty:
        raise UserError(f"there are no finished runs under {runs_dir}. Make one with: ltgen-bench run", left_out)
    names = sorted(set(table["dataset"]))
    if dataset is not None and dataset not in names:
        raise UserError(f"no run is on the data set '{dataset}'.{did_you_mean(dataset, names)} Known: {', '.join(names)}.")
    table = table if dataset is None else table[table["dataset"] == dataset]
    references, table = table[table["kind"] == "reference"], table[table["kind"] != "reference"]
    if table.empty:
        raise UserError(f"under {runs_dir} there are reference rows alone{f' on {dataset}' if dataset else ''}, and these are "
                        "not ranked. Make a run with: ltgen-bench run")
    asked = parse(wanted, table)
    described = protocols(runs)
    chosen, halves = _whole(_chosen(table, asked, scope), asked, described)
    rank(chosen, asked.metric, asked.extractor, train_data=asked.train_data, scope=scope, protocols=described)
    made = []
    for _, own in split_equal(chosen, equal):
        (block,) = blocks(pd.concat([own, _beside(references, own, asked, scope)]), equal, described)
        key = (asked.metric, asked.extractor, asked.train_data, block.protocols[0])
        made.append(ranking_table(block, key, scope))
    said = tuple(f"Left out, since it cannot be read: {sentence}" for sentence in left_out)
    made[0] = replace(made[0], notes=(*halves, *made[0].notes))
    return [*made[:-1], replace(made[-1], notes=(*made[-1].notes, *said))]


def _whole(chosen: pd.DataFrame, asked: Wanted, described: Mapping[str, Mapping[str, Any]]) -> tuple[pd.DataFrame, list[str]]:
    """(the rows that meet all real images, a sentence on those of a half that a search left), where there are both.

    A half is another reference, so its rows never share a column with the others; who names its protocol gets it.
    """
    half = chosen["protocol"].map(lambda one: described.get(one, {}).get("reference_half") is not None
                                  or described.get(one, {}).get("selection") == "selected-on-half").astype(bool)
    if asked.protocol or not half.any() or half.all():
        return chosen, []
    ids = sorted(set(chosen.loc[half, "protocol"]))
    number = len(chosen.loc[half, ["run", "score_digest"]].drop_duplicates())
    words = ":".join(filter(None, (asked.metric, asked.extractor, TRAINED_ON.get(asked.train_data, asked.train_data), ids[0])))
    return chosen[~half], [f"Left out: {number} result{'s' if number > 1 else ''} of a search, on one half of the real images "
                           f"({', '.join(ids)}); --rank {words} shows such."]


def _beside(references: pd.DataFrame, own: pd.DataFrame, asked: Wanted, scope: str) -> pd.DataFrame:
    """The reference rows of the very measurement that the rows `own` are of."""
    alike = references["train_data"].eq(asked.train_data) & references["scope"].eq(scope)
    for column in ("fingerprint", "metric", "extractor", "protocol"):
        alike &= references[column].isin(set(own[column]))
    return references[alike]


def parse(wanted: str, table: pd.DataFrame) -> Wanted:
    """`fid:inception`, `downstream_accuracy:cnn-8x8:both`, `fid:inception:1a2b3c4d` as names that `table` has."""
    metric, *parts = wanted.split(":")
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS, "metrics")
    own = table[table["metric"] == metric]
    if own.empty:
        measured = [name for name in METRICS if name in set(table["metric"])]
        raise UserError(f"no run has the metric {metric}; measured were {', '.join(measured)}.")
    trained = {TRAINED_ON.get(name, name): name for name in own["train_data"] if name}
    known = {
        "extractor": {name: name for name in own["extractor"]},
        "train_data": trained,
        "protocol": {name: name for name in own["protocol"]},
    }
    found: dict[str, str] = {}
    for part in parts:
        field = next((field for field, names in known.items() if part in names), None)
        if field is None or field in found:
            names = [name for values in known.values() for name in values]
            raise UserError(f"--rank {wanted}: '{part}' is nothing that {metric} was measured with.{did_you_mean(part, names)} "
                            f"Known: {', '.join(names)}.")
        found[field] = known[field][part]
    asked = Wanted(metric, **found)
    for field, word in (("extractor", "features"), ("train_data", "training sets")):
        left = own if not asked.protocol else own[own["protocol"] == asked.protocol]
        names = sorted(set(left[field]))
        if not getattr(asked, field):
            if len(names) > 1:
                said = [TRAINED_ON.get(name, name) for name in names]
                raise UserError(f"{metric} was measured with several {word}: {', '.join(said)}. Name one: "
                                f"--rank {wanted}:{said[-1]}")
            asked = asked._replace(**{field: names[0]})
    return asked


def _chosen(table: pd.DataFrame, asked: Wanted, scope: str) -> pd.DataFrame:
    chosen = table[table["metric"] == asked.metric]
    for field in ("extractor", "train_data", "protocol"):
        if getattr(asked, field) or field == "train_data":
            chosen = chosen[chosen[field] == getattr(asked, field)]
    scopes = [name for name in dict.fromkeys(chosen["scope"]) if name != "class"]
    if not scopes:
        raise UserError(f"{asked.metric} is measured by class only; a ranking needs one score of all or a group of classes.")
    if scope not in scopes:
        raise UserError(f"{asked.metric} has no scope '{scope}'.{did_you_mean(scope, scopes)} Known: {', '.join(scopes)}.")
    return chosen[chosen["scope"] == scope]


def ranking_table(block: Block, key: Key, scope: str) -> Table:
    """One score of one block from best to worst: place, entry, score, wins / ties / losses, and what the entries are."""
    pairs = compare(wide_losses(block, key, scope), "lower")
    order = rank(block.rows, key[0], key[1], train_data=key[2], scope=scope)["entry"].tolist()
    stubs, names, shared = stub(block, "unlike")
    scores = {entry: replace(cell, best=False) for entry, cell in score_cells(block, key, scope).items()}
    records = {entry: " / ".join(map(str, record_of(pairs, entry))) if pairs else MISSING for entry in order}
    found = [
        Row((Cell(place(pairs, entry, len(order) - 1)), names[entry][0], scores[entry], Cell(records[entry]), *names[entry][1:]))
        for entry in order
    ]
    floors = floor_rows(block, [(key, scope)], 1)
    blank = [Cell("") for _ in stubs]
    unknown = [Cell(MISSING) for _ in stubs[1:-1]]
    found += [
        Row((Cell(""), Cell(name), cells[1], Cell(""), *unknown, cells[0]), "reference")
        for name, cells in reference_scores(block, [(key, scope)]).items()
    ]
    found += [Row((Cell(""), *row.cells, *blank), row.kind) for row in floors]
    heads = (Head("place", "place", number=False), stubs[0], head(key, scope), Head("win / tie / loss", "verdicts", score=False))
    note = PLACES if pairs else ORDER
    notes = [*shared, note if len(order) > 1 else ALONE, *verdict_notes(block, best=False), *reference_notes(block)]
    notes += value_notes(block, scope)
    title = f"{block.title}: {measurement_name(key)}, {scope_words(scope)}, ranked"
    return Table("ranking", title, (*heads, *stubs[1:]), tuple(found), tuple(notes))


def place(pairs: Sequence[Pair], entry: str, others: int) -> str:
    """`1`, `2`, ... where every comparison of the entry is a win or a loss, `tie` where one is neither.

    A dash where it was not tested against every other entry: fewer than three common seeds.
    """
    wins, ties, losses = record_of(pairs, entry)
    if others == 0 or wins + ties + losses < others:
        return MISSING
    return "tie" if ties else str(losses + 1)


def scope_words(scope: str) -> str:
    """`all classes`, `few classes (thirds)`."""
    group, _, rule = scope.partition("@")
    return f"{group} classes ({rule})" if rule else f"{group} classes"
