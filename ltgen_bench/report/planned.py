"""Planned comparisons: the rows and columns of a report that are asked for, and the baseline that they are compared with.

Only the differences that are shown are told together, so that fewer rows, or one baseline, give narrower intervals. The variance
is still estimated from all comparable rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import pandas as pd

from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.data.groups import GROUPS
from ltgen_bench.report.baselines import distance_from_best
from ltgen_bench.report.columns import TRAINED_ON
from ltgen_bench.report.comparisons import baseline_entry
from ltgen_bench.report.entries import MEASUREMENT, Block, Key


@dataclass(frozen=True)
class Planned:
    """What is asked for; empty: all.

    `methods` are names of methods or rows, or of reference rows; the parts of a name with commas stand one after the other.
    `metrics` are written as in `--rank`: METRIC, and perhaps extractor, training set and protocol id with colons between.
    `scope` is all or a group of classes. With `sort`, the first column of scores goes from best to worst.
    """

    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    scope: str = ""
    baseline: str = ""
    sort: bool = False


def full_scope(name: str) -> str:
    """Return the scope that is called `name`: `few` is `few@thirds`."""
    return f"{name}@thirds" if name in GROUPS else name


def faults(planned: Planned, found: Sequence[Block]) -> list[str]:
    """Return a sentence, with similar names, on each name in `planned` that no block of `found` has, or that is ambiguous."""
    rows = pd.concat([block.shown for block in found])
    scopes = list(dict.fromkeys(rows.loc[rows["scope"] != "class", "scope"]))
    entries = list(dict.fromkeys(chain.from_iterable(map(_names, found))))
    known = [*entries, *dict.fromkeys(name for block in found for name in block.reference_names)]
    sentences = [f"--methods: there is no row '{name}'.{_known(name, known)}" for name in _named(planned.methods, known)[1]]
    for wanted in planned.metrics:
        metric, *parts = wanted.split(":")
        own = rows.loc[rows["metric"] == metric, MEASUREMENT].drop_duplicates()
        words = list(dict.fromkeys(chain.from_iterable(map(_words, own.itertuples(index=False, name=None)))))
        if own.empty:
            sentences.append(f"--metrics: no run has the metric '{metric}'.{_known(metric, dict.fromkeys(rows['metric']))}")
        sentences += [f"--metrics {wanted}: '{part}' is no extractor, training set or protocol id of {metric}."
                      f"{_known(part, words)}" for part in parts if words and part not in words]
    if planned.scope and full_scope(planned.scope) not in scopes:
        short = [scope.removesuffix("@thirds") for scope in scopes]
        sentences.append(f"--scope: no score is of the classes '{planned.scope}'.{_known(planned.scope, short)}")
    if planned.baseline and not any(baseline_entry(block, planned.baseline) for block in found):
        several = planned.baseline in entries
        rest = [name for name in entries if name != planned.baseline]
        sentences.append(f"--baseline {planned.baseline}: {'several rows have' if several else 'no row has'} this name."
                         f"{_known(planned.baseline, rest if several else entries)}")
    return sentences


def refuse(sentences: Sequence[str]) -> None:
    """Raise `UserError` with all `sentences`, if there are any."""
    if sentences:
        raise UserError(*sentences) if len(sentences) == 1 else UserError("these options name what is not there", sentences)


def narrowed(block: Block, planned: Planned) -> Block | None:
    """Return `block` with the rows and columns that are asked for, or None where it has none of them."""
    if planned == Planned():
        return block
    baseline = baseline_entry(block, planned.baseline) or planned.baseline
    names = {*_named(planned.methods, [*_names(block), *block.reference_names])[0], *([baseline] if planned.methods else [])}
    scope = full_scope(planned.scope)
    parts = []
    for rows in (block.rows, block.references):
        if names and len(rows):
            rows = rows[rows["label"].isin(names - {baseline}) | rows["entry"].isin(names)]
        if planned.metrics and len(rows):
            keys = rows[MEASUREMENT].itertuples(index=False, name=None)
            rows = rows[[any(_fits(wanted, key) for wanted in planned.metrics) for key in keys]]
        parts.append(rows)
    own = replace(block, rows=parts[0], references=parts[1], whole=block, scope=scope, baseline=baseline,
                  metrics=planned.metrics)
    if not len(own.shown) or not own.columns:
        return None
    return _sorted(own) if planned.sort and own.entries else own


def _sorted(block: Block) -> Block:
    """Return `block` with its rows from best to worst in its first column of scores; those without that score are the last."""
    key, scope = block.columns[0]
    part = block.part(key, scope)
    means = distance_from_best(part, key[0]).groupby(part["entry"]).mean().reindex(block.entries)
    order = list(means.sort_values(kind="stable", na_position="last").index)
    return replace(block, rows=block.rows.sort_values("entry", key=lambda names: names.map(order.index), kind="stable"))


def _names(block: Block) -> list[str]:
    """The names of methods and of rows."""
    return [*block.rows["label"].unique(), *block.entries] if len(block.rows) else []


def _named(parts: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the names among `known` that `parts` make, the parts that make none)."""
    plain = {_plain(name): name for name in known}
    found, unknown, at = [], [], 0
    while at < len(parts):
        end = next((end for end in range(len(parts), at, -1) if _plain(",".join(parts[at:end])) in plain), at)
        if end > at:
            found.append(plain[_plain(",".join(parts[at:end]))])
        else:
            unknown.append(parts[at])
        at = max(end, at + 1)
    return found, unknown


def _plain(name: str) -> str:
    return "".join(name.split())


def _words(key: Key) -> list[str]:
    """What may stand after the metric."""
    return [word for word in (key[1], TRAINED_ON.get(key[2], key[2]), key[3]) if word]


def _fits(wanted: str, key: Key) -> bool:
    metric, *parts = wanted.split(":")
    return key[0] == metric and all(part in _words(key) for part in parts)


def _known(name: str, known: Iterable[str]) -> str:
    names = list(dict.fromkeys(known))
    return f"{did_you_mean(name, names)} Known: {'; '.join(names)}."
