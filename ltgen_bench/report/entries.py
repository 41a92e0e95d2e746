"""From tidy rows to what stands side by side: blocks of comparable runs, and a name for each entry in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.words import count
from ltgen_bench.evaluation.protocol import UNIFORM
from ltgen_bench.report.baseline_columns import from_best
from ltgen_bench.report.equal import ENTRY, EQUAL, check_equal, split_equal
from ltgen_bench.report.numbers import is_known, metric_order
from ltgen_bench.report.protocols import differences

MEASUREMENT = ["metric", "extractor", "train_data", "protocol"]


@dataclass(frozen=True)
class Block:
    """Runs that may stand in one table: one data set with one content, one set of protocol ids.

    `rows` are tidy rows with two more columns: `entry`, a name that no other entry of the block has, and `row_name`,
    the shorter one for a table that shows sampler, omega and budget in columns of their own. `alike` are the values, in
    words, that its rows were asked to be equal in. `references` are such rows of real images and trivial generators that
    were measured alike: they are shown, and nothing else is made of them. A block of references alone has no rows.
    """

    dataset: str
    fingerprint: str
    protocols: tuple[str, ...]
    rows: pd.DataFrame
    older: int = 0  # measurements left out because a newer one of the same entry and seed is there
    alike: tuple[str, ...] = ()
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # protocol id -> what it stands for
    references: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def entries(self) -> list[str]:
        """Entry names, by label."""
        return list(dict.fromkeys(self.rows["entry"]))

    @cached_property
    def reference_names(self) -> list[str]:
        """Names of the reference rows, by label."""
        return list(dict.fromkeys(self.references["entry"])) if len(self.references) else []

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The rows, or the references where there are no others: what the block is of."""
        return self.rows if len(self.rows) else self.references

    @cached_property
    def keys(self) -> list[tuple[str, str, str, str]]:
        """The `measurements` over all classes."""
        return measurements(self.shown)

    @cached_property
    def _parts(self) -> dict[Any, pd.DataFrame]:
        return dict(iter(self.shown.groupby([*MEASUREMENT, "scope"], sort=False)))

    def part(self, key: Sequence[str], scope: str) -> pd.DataFrame:
        """The rows of one measurement (metric, extractor, train_data, protocol) in one scope, perhaps none."""
        found = self._parts.get((*key, scope))
        return self.shown.iloc[:0] if found is None else found

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({int(seed) for seed in self.shown["seed"]})

    @cached_property
    def preset(self) -> str:
        """The preset whose rules all rows were asked to follow; empty where they share none."""
        names = set(self.shown["preset"])
        return str(names.pop()) if len(names) == 1 else ""

    @cached_property
    def departures(self) -> list[str]:
        """Where the measurements are not what the preset asks for."""
        return [text for text in dict.fromkeys(self.shown["departures"]) if text] if self.preset else []

    @cached_property
    def title(self) -> str:
        """Data set, preset, half of the real images, and what all rows are equal in; for tables and footers of plots."""
        if self.departures:
            named = f"{self.dataset} (after {self.preset}, not that protocol)"
        else:
            named = ", ".join(filter(None, (self.dataset, self.preset)))
        return ", ".join(filter(None, (named, self.half, *self.alike)))

    @cached_property
    def half(self) -> str:
        """`report half`, where the rows meet one half of the real images, as a search leaves them; else empty."""
        halves = dict.fromkeys(fields["reference_half"] for fields in self.described.values() if fields.get("reference_half"))
        return " and ".join(f"{half} half" for half in halves)

    @cached_property
    def traits(self) -> list[str]:
        """What of the measurement is not as it is by default, in words for a folder's name; a preset says it by its own name.

        It looks at this block alone, so that a name stays whatever is measured beside it.
        """
        if self.preset:
            return []
        usual: dict[str, tuple[Any, str]] = {"k": (5, "k {}"), "edge": ("<=", "edge {}"), "selection": ("recipe", "omega {}"),
                                             "reference_per_class": (None, "{} real a class")}
        found = [words.format({"<": "out"}.get(value, value)) for name, (default, words) in usual.items()
                 for value in dict.fromkeys(fields.get(name) for fields in self.described.values())
                 if value not in (None, default) and not (name == "selection" and self.half)]
        references = {fields.get("reference") for fields in self.described.values()} - {None}
        cut = self.shown["imbalance_factor"].notna().any()  # then there is a balanced training set, which is the reference
        if references and references < {"test", "longtail"} and (references == {"longtail"} or cut):
            found.append(f"against {references.pop()}")
        if any(fields.get("labels") == UNIFORM for fields in self.described.values()):
            found.append("random labels")
        return found


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, each with its columns as attributes (and `Index`)."""
    return iter(frame.itertuples())


def blocks(
    rows: pd.DataFrame, equal: Sequence[str] = (), protocols: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> list[Block]:
    """Split tidy `rows` by data set, fingerprint and set of protocol ids, and by what must be `equal` (words of EQUAL and COSTS).

    A run whose ids all occur in a larger set joins that one and lacks the other columns; each column still has one id. One
    that follows a preset joins only what follows it too. `protocols` (id -> description) tells the blocks what their ids
    stand for. Reference rows stand in every block of the same data with those of their measurements that it has; those that
    fit nowhere form blocks of their own. Unknown words are a `UserError`.
    """
    check_equal(equal)
    references = rows[rows["kind"] == "reference"]
    found: list[Block] = []
    at_home: set[Any] = set()  # (run, score digest) of the references that stand beside others
    for (dataset, fingerprint), own in _measured_alike(rows[rows["kind"] != "reference"]):
        same = references[(references["dataset"] == dataset) & (references["fingerprint"] == fingerprint)]
        for alike, part in split_equal(own, equal):
            beside = same[same["protocol"].isin(set(part["protocol"]))]
            at_home |= set(zip(beside["run"], beside["score_digest"], strict=True))
            found.append(_block(dataset, fingerprint, part, beside, protocols, alike))
    keys = zip(references["run"], references["score_digest"], strict=True)
    lonely = references[pd.Series([key not in at_home for key in keys], index=references.index, dtype="bool")]
    found += [_block(*data, part.iloc[:0], part, protocols) for data, part in _measured_alike(lonely)]
    return sorted(found, key=_place)


def _place(block: Block) -> tuple[Any, ...]:
    """All real images before halves, then the blocks in the order in which they were begun, or of what they are equal in."""
    return block.dataset, bool(block.half), "" if block.alike else min(block.shown["finished"]), block.fingerprint


def _block(dataset: str, fingerprint: str, rows: pd.DataFrame, references: pd.DataFrame,
           protocols: Mapping[str, Mapping[str, Any]], alike: tuple[str, ...] = ()) -> Block:
    newest, older = _newest(rows)
    ids = tuple(sorted(set(rows["protocol"] if len(rows) else references["protocol"])))
    told = {one: protocols[one] for one in ids if one in protocols}
    return Block(dataset, fingerprint, ids, name_entries(newest), older, alike, told, name_entries(_newest(references)[0]))


def _measured_alike(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """((data set, fingerprint), rows of one set of protocol ids)."""
    for (dataset, fingerprint), part in rows.groupby(["dataset", "fingerprint"], sort=True):
        homes = _homes(part)
        of_row = pd.Series([homes[key] for key in zip(part["run"], part["score_digest"], strict=True)], index=part.index)
        for home in sorted(set(homes.values()), key=sorted):
            yield (str(dataset), str(fingerprint)), part[of_row == home]


def _homes(part: pd.DataFrame) -> dict[Any, frozenset[str]]:
    """(run, score digest) -> the set of ids whose block it stands in: its own, or the largest that it may join."""
    own = {key: (frozenset(rows["protocol"]), rows["preset"].iloc[0]) for key, rows in part.groupby(["run", "score_digest"])}
    presets: dict[frozenset[str], set[str]] = {}
    for ids, preset in own.values():
        presets.setdefault(ids, set()).add(preset)
    homes = {}
    for key, (ids, preset) in own.items():
        larger = [other for other, names in presets.items() if ids < other and preset in {"", *names}]
        homes[key] = max(larger, key=lambda one: (len(one), sorted(one)), default=ids)
    return homes


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
    """What tells this entry from the others of its label: sampler, omega, budget, number of images, network, batch."""
    own = dict(zip(ENTRY, key, strict=True))
    unlike = {column for column in ENTRY if group[column].nunique(dropna=False) > 1 and is_known(own[column])}
    sampler = f"{own['sampler']} {own['steps']}" if unlike & {"sampler", "steps"} else ""
    budget = f"{count(own['budget_images'])} seen" if "budget_images" in unlike else ""
    images = f"{own['images_per_class']} a class" if "images_per_class" in unlike else ""
    others = [EQUAL[word][1](own[EQUAL[word][0]]) for word in ("network", "batch") if EQUAL[word][0] in unlike]
    omega = f"omega {own['omega']:g}" if "omega" in unlike else ""
    return tuple(word for word in (sampler, omega, budget, images, *others) if word)


def _unique_digest(group: pd.DataFrame, key: tuple) -> str:
    """The training's digest where nothing that a table shows in its columns tells two rows apart."""
    own = dict(zip(ENTRY, key, strict=True))
    shown = ["sampler", "steps", "omega", "budget_images"]
    mine = [str(own[column]) for column in shown]
    alike = group[[list(map(str, values)) == mine for values in group[shown].itertuples(index=False)]]
    if len(alike) == 1:
        return ""
    digest = f" #{own['train_digest']}"
    if alike["train_digest"].nunique() == len(alike) or not is_known(own["images_per_class"]):
        return digest
    return f"{digest}, {own['images_per_class']} a class"


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
    """Entries from best to worst, by the mean over seeds of how far they are from the best: columns entry, mean (of the scores),
    n. A mean is no verdict.

    Reference rows are left out.

    Raises `UserError` when the rows were not measured alike (several data sets, contents or protocol ids), and names
    the difference as far as `protocols` (id -> description) tells it.
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
            why = difference(values, protocols or {}) if column == "protocol" else ""
            trained = [train_data] if train_data else []
            how = {
                "dataset": f"   (--dataset {values[0]})",
                "protocol": f"   (--rank {':'.join([metric, extractor, *trained, values[0]])})",
            }.get(column, "")
            raise UserError(
                f"{metric} ({extractor}) cannot be ranked across {len(values)} {word}: {', '.join(values)}.{why} "
                f"Rank the rows of one of them at a time.{how}"
            )
    named = chosen if "entry" in chosen else name_entries(_newest(chosen)[0])
    named = named.assign(loss=from_best(named, metric))
    if named["value"].notna().any() and named["loss"].isna().all():
        raise UserError(f"{metric} is best where it is nearest to that of real images, and no row has theirs at its own number "
                        "of images; evaluate again with held-out images, or rank by another metric.")
    means = named.groupby("entry", sort=False).agg(mean=("value", "mean"), n=("value", "count"), loss=("loss", "mean"))
    ordered = means.reset_index().sort_values("loss", kind="stable", na_position="last")
    return ordered[["entry", "mean", "n"]].reset_index(drop=True)


def difference(ids: Sequence[str], protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """` They differ in k: 5 against 3.`, from the descriptions of the ids; empty when they are not known."""
    known = [protocols[one] for one in ids if one in protocols]
    unlike = differences(known) if len(known) > 1 else []
    return f" They differ in {'; '.join(unlike)}." if unlike else ""
