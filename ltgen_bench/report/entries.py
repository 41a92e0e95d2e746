"""From tidy rows to what stands side by side: blocks of comparable runs, and a name for each entry in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from ltgen_bench.errors import UserError
from ltgen_bench.report.numbers import count, facts, metric_order

ENTRY = ["label", "train_digest", "sampler", "steps", "omega", "budget_images", "images_per_class"]
MEASUREMENT = ["metric", "extractor", "train_data", "protocol"]


@dataclass(frozen=True)
class Block:
    """Runs that may stand in one table: one data set with one content, one set of protocol ids.

    `rows` are tidy rows with two more columns: `entry`, a name that no other entry of the block has, and `row_name`,
    the shorter one for a table that shows sampler, omega and budget in columns of their own.
    """

    dataset: str
    fingerprint: str
    protocols: tuple[str, ...]
    rows: pd.DataFrame
    older: int = 0  # measurements left out because a newer one of the same entry and seed is there

    @cached_property
    def entries(self) -> list[str]:
        """Entry names, by label."""
        return list(dict.fromkeys(self.rows["entry"]))

    @cached_property
    def _parts(self) -> dict[Any, pd.DataFrame]:
        return dict(iter(self.rows.groupby([*MEASUREMENT, "scope"], sort=False)))

    def part(self, key: Sequence[str], scope: str) -> pd.DataFrame:
        """The rows of one measurement (metric, extractor, train_data, protocol) in one scope, perhaps none."""
        found = self._parts.get((*key, scope))
        return self.rows.iloc[:0] if found is None else found

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({int(seed) for seed in self.rows["seed"]})


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, each with its columns as attributes (and `Index`)."""
    return iter(frame.itertuples())


def blocks(rows: pd.DataFrame) -> list[Block]:
    """Split tidy `rows` by data set, fingerprint and set of protocol ids.

    A run whose ids all occur in a larger set joins that one and lacks the other columns; each column still has one id.
    """
    found: list[Block] = []
    for (dataset, fingerprint), part in rows.groupby(["dataset", "fingerprint"], sort=True):
        ids = {key: frozenset(own["protocol"]) for key, own in part.groupby(["run", "score_digest"])}
        largest = [one for one in dict.fromkeys(ids.values()) if not any(one < other for other in ids.values())]
        home = {key: next(big for big in largest if own <= big) for key, own in ids.items()}
        of_row = pd.Series([home[key] for key in zip(part["run"], part["score_digest"], strict=True)], index=part.index)
        for big in sorted(largest, key=sorted):
            newest, older = _newest(part[of_row == big])
            found.append(Block(str(dataset), str(fingerprint), tuple(sorted(big)), name_entries(newest), older))
    return found


def _newest(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """One measurement of each score of each entry and seed: the one that finished last; and how many were left out."""
    same = [*ENTRY, "seed", *MEASUREMENT, "scope", "class_label"]
    kept = rows.sort_values("finished", kind="stable").drop_duplicates(same, keep="last")
    left_out = rows[~rows.index.isin(kept.index)]
    return kept, len(left_out[["run", "score_digest"]].drop_duplicates())


def name_entries(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` sorted by label and entry, with `entry` and `row_name` (see `Block`)."""
    if rows.empty:
        return rows.assign(entry=pd.Series(dtype="str"), row_name=pd.Series(dtype="str"))
    keys = rows[ENTRY].drop_duplicates().sort_values(ENTRY)
    names: dict[tuple, tuple[str, str]] = {}
    for _, group in keys.groupby("label", sort=False):
        words = {key: _words(group, key) for key in group.itertuples(index=False, name=None)}
        for key, own in words.items():
            clear = list(words.values()).count(own) == 1
            suffix = "" if clear else f" #{key[1]}"
            short = _unique_digest(group, key)
            names[key] = (", ".join([str(key[0]), *own]) + suffix, f"{key[0]}{short}")
    order = {key: place for place, key in enumerate(names)}
    of_row = list(rows[ENTRY].itertuples(index=False, name=None))
    named = rows.assign(
        entry=[names[key][0] for key in of_row],
        row_name=[names[key][1] for key in of_row],
        _place=[order[key] for key in of_row],
    )
    return named.sort_values(["_place", "seed"], kind="stable").drop(columns="_place").reset_index(drop=True)


def _words(group: pd.DataFrame, key: tuple) -> tuple[str, ...]:
    """What tells this entry from the others of its label: sampler, omega, budget, number of images."""
    _, _, sampler, steps, omega, budget, images = key
    words = []
    if group["sampler"].nunique() > 1 or group["steps"].nunique() > 1:
        words.append(f"{sampler} {steps}")
    if group["omega"].nunique() > 1:
        words.append(f"omega {omega:g}")
    if group["budget_images"].nunique() > 1:
        words.append(f"{count(budget)} seen")
    if group["images_per_class"].nunique() > 1:
        words.append(f"{images} a class")
    return tuple(words)


def _unique_digest(group: pd.DataFrame, key: tuple) -> str:
    """The training's digest where nothing that a table shows in its columns tells two rows apart."""
    shown = ["sampler", "steps", "omega", "budget_images"]
    alike = group[(group[shown] == pd.Series(dict(zip(ENTRY, key, strict=True)))[shown]).all(axis=1)]
    if len(alike) == 1:
        return ""
    return f" #{key[1]}" if alike["train_digest"].nunique() == len(alike) else f" #{key[1]}, {key[-1]} a class"


def measurements(rows: pd.DataFrame, scope: str = "all") -> list[tuple[str, str, str, str]]:
    """(metric, extractor, train_data, protocol) of every column that has rows of `scope`, in the registry's order."""
    keys = rows.loc[rows["scope"] == scope, MEASUREMENT].drop_duplicates().itertuples(index=False, name=None)
    training = {"": 0, "real-lt": 1, "synthetic": 2, "real-lt+synthetic": 3}
    return sorted(
        keys, key=lambda key: (key[1] == "inception", metric_order(key[0]), key[1], training.get(key[2], 9), key[3])
    )


def select(rows: pd.DataFrame, key: Sequence[str], scope: str) -> pd.DataFrame:
    """The rows of one measurement (metric, extractor, train_data, protocol) in one scope."""
    chosen = rows["scope"] == scope
    for column, value in zip(MEASUREMENT, key, strict=True):
        chosen &= rows[column] == value
    return rows[chosen]


def rank(
    rows: pd.DataFrame,
    metric: str,
    extractor: str,
    *,
    train_data: str = "",
    scope: str = "all",
    protocols: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Entries from best to worst by their mean over seeds: columns entry, mean, n.

    Raises `UserError` when the rows were not measured alike (several data sets, contents or protocol ids), and names
    the difference as far as `protocols` (id -> description) tells it.
    """
    direction = facts(metric).direction
    chosen = rows[
        (rows["metric"] == metric)
        & (rows["extractor"] == extractor)
        & (rows["train_data"] == train_data)
        & (rows["scope"] == scope)
    ]
    if chosen.empty:
        raise UserError(f"no row has {metric} ({extractor}) in the scope {scope}; there is nothing to rank.")
    for column, word in (
        ("dataset", "data sets"),
        ("fingerprint", "contents of the data set"),
        ("protocol", "protocols"),
    ):
        values = sorted(set(chosen[column]))
        if len(values) > 1:
            why = difference(values, protocols or {}) if column == "protocol" else ""
            raise UserError(
                f"{metric} ({extractor}) cannot be ranked across {len(values)} {word}: {', '.join(values)}.{why} "
                "Rank the rows of one of them at a time."
            )
    named = chosen if "entry" in chosen else name_entries(_newest(chosen)[0])
    means = named.groupby("entry", sort=False)["value"].agg(["mean", "count"]).reset_index()
    means.columns = pd.Index(["entry", "mean", "n"])
    return means.sort_values("mean", ascending=direction == "lower", kind="stable", na_position="last").reset_index(
        drop=True
    )


def difference(ids: Sequence[str], protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """` They differ in k (5 against 3).`, from the descriptions of the ids; empty when they are not known."""
    known = [protocols[one] for one in ids if one in protocols]
    if len(known) < 2:
        return ""
    keys = sorted({key for text in known for key in text})
    unlike = [
        f"{key} ({' against '.join(dict.fromkeys(str(text.get(key, 'absent')) for text in known))})"
        for key in keys
        if any(text.get(key) != known[0].get(key) for text in known)
    ]
    return f" They differ in {', '.join(unlike)}." if unlike else ""
