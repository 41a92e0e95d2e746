"""One ranking of all runs by one score: ranks with intervals, verdicts, an error where the runs do not compare."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ltgen_bench.core.errors import UserError, did_you_mean, unknown_name
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.records.store import protocols, reported_runs, rows
from ltgen_bench.report.baselines import baseline_rows, distance_from_best
from ltgen_bench.report.columns import (
    TRAINED_ON,
    entry_columns,
    head,
    measurement_name,
    reference_scores,
    scope_words,
    score_cells,
)
from ltgen_bench.report.comparisons import (
    METHOD,
    comparison,
    conditions,
    counts_text,
    difference_text,
    margin_text,
    marks_note,
    rank_text,
)
from ltgen_bench.report.entries import Block, Key, blocks, check_equal, difference, newest, split_equal
from ltgen_bench.report.entry_names import name_entries
from ltgen_bench.report.notes import reference_notes, value_notes, verdict_notes
from ltgen_bench.report.numbers import MISSING
from ltgen_bench.report.planned import Planned, faults, full_scope, narrowed, refuse
from ltgen_bench.report.table import Cell, Head, Row, Table

RANKS = ("Rank: place of the estimate, with a 95 % interval where it is not certain: at least 1 + the number of rows proven "
         "better, at most the number of rows less those proven worse.")
ORDER = "The order is that of the means and is no result."
SINGLE = "There is no other row to compare it with."


class Wanted(NamedTuple):
    """What is to be ranked. Empty: not stated, and there may be only one."""

    metric: str
    extractor: str = ""
    train_data: str = ""
    protocol: str = ""


def ranking(
    runs_dir: Path, wanted: str, *, scope: str = "all", dataset: str | None = None, equal: Sequence[str] = (),
    methods: Sequence[str] = (), baseline: str = "",
) -> list[Table]:
    """One table that ranks all finished runs under `runs_dir` in one score, or one for each combination of `equal`.

    `methods` and `baseline` make it a planned comparison (`report.planned`).

    `wanted` is written as the heads of the CSV tables are: METRIC, and where there are several its extractor, the training
    set of downstream metrics (real-lt, synthetic, both) and the protocol id, with colons between. Raises `UserError`
    when the runs were measured under different protocols, with the difference in words, and for names that no run has.
    """
    check_equal(equal)
    scope, planned = full_scope(scope), Planned(methods=tuple(methods), scope=scope, baseline=baseline)
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
    described = protocols(runs)
    problems = faults(replace(planned, scope=""), blocks(pd.concat([table, references]), (), described))
    try:
        asked = parse(wanted, table)
        chosen, halves = _against_all_images(_chosen(table, asked, scope), asked, described)
    except UserError as error:
        if problems:
            refuse([str(error), *problems])
        raise
    refuse(problems)
    rank(chosen, asked.metric, asked.extractor, train_data=asked.train_data, scope=scope, protocols=described)
    made = []
    for _, own in split_equal(chosen, equal):
        (whole,) = blocks(pd.concat([own, _same_measurement(references, own, asked, scope)]), equal, described)
        block = narrowed(whole, planned)
        if block is not None:
            made.append(ranking_table(block, (asked.metric, asked.extractor, asked.train_data, block.protocols[0]), scope))
    if not made:
        raise UserError(f"--methods {','.join(methods)}: none of these has {wanted} in the scope {scope}.")
    unread = tuple(f"Left out, since it cannot be read: {sentence}" for sentence in left_out)
    made[0] = replace(made[0], notes=(*halves, *made[0].notes))
    return [*made[:-1], replace(made[-1], notes=(*made[-1].notes, *unread))]


def _against_all_images(chosen: pd.DataFrame, asked: Wanted,
                        described: Mapping[str, Mapping[str, Any]]) -> tuple[pd.DataFrame, list[str]]:
    """(the rows scored against all real images, a sentence on those against one half, as a search leaves them).

    A half is another reference, so that its rows do not compare with the others. They are returned if there are no others or
    their protocol is asked for.
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


def _same_measurement(references: pd.DataFrame, own: pd.DataFrame, asked: Wanted, scope: str) -> pd.DataFrame:
    """The reference rows of the measurement that the rows `own` are of."""
    same = references["train_data"].eq(asked.train_data) & references["scope"].eq(scope)
    for column in ("fingerprint", "metric", "extractor", "protocol"):
        same &= references[column].isin(set(own[column]))
    return references[same]


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
            raise UserError(f"--rank {wanted}: '{part}' is no extractor, training set or protocol id of {metric}."
                            f"{did_you_mean(part, names)} "
                            f"Known: {', '.join(names)}.")
        found[field] = known[field][part]
    asked = Wanted(metric, **found)
    for field, word in (("extractor", "features"), ("train_data", "training sets")):
        left = own if not asked.protocol else own[own["protocol"] == asked.protocol]
        names = sorted(set(left[field]))
        if not getattr(asked, field):
            if len(names) > 1:
                known_as = [TRAINED_ON.get(name, name) for name in names]
                raise UserError(f"{metric} was measured with several {word}: {', '.join(known_as)}. Name one: "
                                f"--rank {wanted}:{known_as[-1]}")
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
    """One score of one block from best to worst: rank, entry, score, verdicts, the difference from the first or the baseline, and
    what the entries are."""
    found = comparison(block, key, scope)
    order = rank(block.rows, key[0], key[1], train_data=key[2], scope=scope)["entry"].tolist()
    order.sort(key=lambda entry: found.ranks[entry].rank if entry in found.ranks else len(order))
    (method, *facts), names, shared = entry_columns(block, show_differing=True)
    scores = score_cells(block, key, scope)
    against = found.baseline if found.baseline in names else order[0]
    rows = [Row((Cell(rank_text(found, entry)), names[entry][0], scores[entry], Cell(counts_text(found, entry)),
                 Cell(difference_text(key[0], found.of(entry, against))), *names[entry][1:])) for entry in order]
    unknown = [Cell(MISSING) for _ in facts[:-1]]
    rows += [Row((Cell(""), Cell(name), cells[1], Cell(""), Cell(""), *unknown, cells[0]), "reference")
             for name, cells in reference_scores(block, [(key, scope)]).items()]
    rows += [Row((Cell(""), *row.cells, Cell(""), Cell(""), *(Cell("") for _ in facts)), row.kind)
             for row in baseline_rows(block, [(key, scope)], 1)]
    verdicts = Head("better / worse / equivalent / open", "verdicts", score=False)
    difference = Head(f"against {names[against][0].text}", "difference", score=False, csv_only=not found.differences)
    heads = (Head("rank", "rank", number=False), method, head(key, scope), verdicts, difference, *facts)
    told = [RANKS, marks_note(block), METHOD, found.words(), *margin_text(key[0], found), *conditions([found])] \
        if found.differences else [ORDER]
    notes = [*shared, *(told if len(order) > 1 else [SINGLE]), *verdict_notes(block, best=False), *reference_notes(block),
             *value_notes(block)]
    title = f"{block.title}: {measurement_name(key)}, {scope_words(scope)}, ranked"
    return Table("ranking", title, heads, tuple(rows), tuple(notes))


def rank(
    rows: pd.DataFrame,
    metric: str,
    extractor: str,
    *,
    train_data: str = "",
    scope: str = "all",
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Entries from best to worst, by the mean over seeds of their distance from the best: columns entry, mean (of the scores),
    n. A mean is no verdict. Reference rows are left out.

    Raises `UserError` for rows of several data sets, contents or protocol ids, with the difference as far as `protocols`
    (id -> description) has it.
    """
    chosen = rows[
        (rows["kind"] != "reference")
        & (rows["metric"] == metric)
        & (rows["extractor"] == extractor)
        & (rows["train_data"] == train_data)
        & (rows["scope"] == scope)
    ]
    if chosen.empty:
        raise UserError(f"no row has {metric} ({extractor}) in the scope {scope}; there is nothing to rank.")
    for column, word in (("dataset", "data sets"), ("fingerprint", "contents of the data set"), ("protocol", "protocols")):
        values = sorted(set(chosen[column]))
        if len(values) > 1:
            differing = difference(values, protocols or {}) if column == "protocol" else ""
            why = f" They differ in {differing}." if differing else ""
            trained = [train_data] if train_data else []
            how = {
                "dataset": f"   (--dataset {values[0]})",
                "protocol": f"   (--rank {':'.join([metric, extractor, *trained, values[0]])})",
            }.get(column, "")
            raise UserError(
                f"{metric} ({extractor}) cannot be ranked across {len(values)} {word}: {', '.join(values)}.{why} "
                f"Rank the rows of one of them at a time.{how}"
            )
    named = chosen if "entry" in chosen else name_entries(newest(chosen)[0])
    named = named.assign(distance=distance_from_best(named, metric))
    if named["value"].notna().any() and named["distance"].isna().all():
        raise UserError(f"{metric} is best where it is nearest to that of real images, and no row has theirs at its own number "
                        "of images; evaluate again with held-out images, or rank by another metric.")
    means = named.groupby("entry", sort=False).agg(mean=("value", "mean"), n=("value", "count"), distance=("distance", "mean"))
    ordered = means.reset_index().sort_values("distance", kind="stable", na_position="last")
    return ordered[["entry", "mean", "n"]].reset_index(drop=True)
