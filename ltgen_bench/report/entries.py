"""Groups tidy rows into blocks of comparable runs, one a table, and names the entries in each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import pandas as pd

from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.protocol import UNIFORM
from ltgen_bench.records.store import SCORE_COLUMNS
from ltgen_bench.report.entry_names import name_entries
from ltgen_bench.report.equal import ENTRY, check_equal, split_equal
from ltgen_bench.report.numbers import metric_order
from ltgen_bench.report.protocols import differences

Key = tuple[str, str, str, str]  # metric, extractor, train_data, protocol

FEW = "few@thirds"
MEASUREMENT = ["metric", "extractor", "train_data", "protocol"]
SCORE_OF = [*ENTRY, "seed", *MEASUREMENT, "scope", "class_label"]  # one score of one training
# what the parts of a block have: the scores and whose they are; `Block.first` has what an entry is
PART_COLUMNS = ["entry", "seed", *SCORE_COLUMNS, "class_count"]


@dataclass(frozen=True)
class Block:
    """Runs whose scores compare, the rows of one table: one data set with one content, one set of protocol ids.

    `rows` are tidy rows with two more columns: `entry`, a name that no other entry of the block has, and `row_name`,
    a shorter one for a table that shows sampler, omega and budget in columns. `equal_in` are the values, in words, that all rows
    were asked to share. `references` are such rows of real images and trivial generators under the same protocols: shown, never
    ranked. A block of references alone has no rows.

    A score under several sampling seeds of one training is their mean; `sampled` are then the rows of each, else it is empty.

    A planned comparison shows a part of the block `whole`, from which variances are estimated: some rows, some `metrics` (in this
    order), one `scope` (empty: all classes, and before them the few ones), differences from the row `baseline` (empty: of all
    pairs).
    """

    dataset: str
    fingerprint: str
    protocols: tuple[str, ...]
    rows: pd.DataFrame
    older: int = 0  # measurements left out because a newer one of the same entry and seed is there
    equal_in: tuple[str, ...] = ()
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # protocol id -> what it stands for
    references: pd.DataFrame = field(default_factory=pd.DataFrame)
    sampled: pd.DataFrame = field(default_factory=pd.DataFrame)
    whole: "Block | None" = None
    metrics: tuple[str, ...] = ()
    scope: str = ""
    baseline: str = ""

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
        """The rows, or the references where there are no rows."""
        return self.rows if len(self.rows) else self.references

    @cached_property
    def keys(self) -> list[Key]:
        """The `measurements` over all classes, or in the `scope`."""
        names = [wanted.partition(":")[0] for wanted in self.metrics]
        return sorted(measurements(self.shown, self.scope or "all"), key=lambda key: names.index(key[0]) if names else 0)

    @cached_property
    def columns(self) -> list[tuple[Key, str]]:
        """(measurement, scope) of each column of scores: of the few classes, then of all, for metrics that have a curve."""
        if self.scope:
            return [(key, self.scope) for key in self.keys]
        few = set(measurements(self.shown, FEW))
        return [(key, scope) for key in self.keys
                for scope in ((FEW, "all") if key in few and "curve" in METRICS[key[0]].plots else ("all",))]

    @cached_property
    def first(self) -> dict[str, Any]:
        """Entry -> its first row, with the columns as attributes."""
        return {str(row.entry): row for row in each(self.rows.drop_duplicates("entry"))}

    @cached_property
    def seeds_of(self) -> dict[str, list[int]]:
        """Entry -> its training seeds."""
        return seeds_of(self.rows)

    @cached_property
    def notes_of(self) -> dict[str, str]:
        """Entry or reference row -> what its scores do not say of its images, of all its seeds, for those that have any."""
        noted = [rows.loc[rows["notes"] != "", ["entry", "notes"]] for rows in (self.rows, self.references) if len(rows)]
        by_name = pd.concat(noted).drop_duplicates().groupby("entry", sort=False)["notes"]
        return {str(name): " ".join(own) for name, own in by_name}

    @cached_property
    def computed(self) -> dict[Any, Any]:
        """What was computed from the block once, for whoever asks again."""
        return {}

    @cached_property
    def _parts(self) -> list[dict[Any, pd.DataFrame]]:
        both = [rows[PART_COLUMNS] for rows in (self.shown, self.references if len(self.references) else self.shown.iloc[:0])]
        return [{(): rows.iloc[:0], **dict(iter(rows.groupby([*MEASUREMENT, "scope"], sort=False)))} for rows in both]

    def part(self, key: Sequence[str], scope: str) -> pd.DataFrame:
        """The rows of one measurement (metric, extractor, train_data, protocol) in one scope, perhaps none: PART_COLUMNS."""
        return self._parts[0].get((*key, scope), self._parts[0][()])

    def reference_part(self, key: Sequence[str], scope: str) -> pd.DataFrame:
        """The reference rows of one measurement in one scope, perhaps none: PART_COLUMNS."""
        return self._parts[1].get((*key, scope), self._parts[1][()])

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
        return ", ".join(filter(None, (named, self.half, *self.equal_in)))

    @cached_property
    def half(self) -> str:
        """`report half`, where the scores are against one half of the real images, as a search leaves them; else empty."""
        halves = dict.fromkeys(fields["reference_half"] for fields in self.described.values() if fields.get("reference_half"))
        return " and ".join(f"{half} half" for half in halves)

    @cached_property
    def traits(self) -> list[str]:
        """What differs in the measurement from the default, in words for the name of a folder; empty under a preset.

        It depends on this block alone, so that its name does not change with what else is in the report.
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


def seeds_of(rows: pd.DataFrame) -> dict[str, list[int]]:
    """Name of each entry in `rows` -> its training seeds, ascending."""
    pairs = rows[["entry", "seed"]].drop_duplicates().groupby("entry", sort=False)["seed"]
    return {str(name): sorted(int(seed) for seed in own) for name, own in pairs}


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows as tuples with their columns as attributes (and `Index`)."""
    return iter(frame.itertuples())


def blocks(
    rows: pd.DataFrame, equal: Sequence[str] = (), protocols: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> list[Block]:
    """Split tidy `rows` by data set, fingerprint and set of protocol ids, and by what must be `equal` (words of EQUAL and COSTS).

    A run whose ids are a part of a larger set joins the block of that set and lacks its other columns, unless its preset is
    another one. `protocols` (id -> description) is stored in the blocks. Reference rows are added to every block of the same
    data, with those of their measurements that it has; the rest of them form blocks of their own. Unknown words are a
    `UserError`.
    """
    check_equal(equal)
    references = rows[rows["kind"] == "reference"]
    found: list[Block] = []
    used: set[Any] = set()  # (run, score digest) of the references that are in some block
    for (dataset, fingerprint), own in _by_protocols(rows[rows["kind"] != "reference"]):
        same = references[(references["dataset"] == dataset) & (references["fingerprint"] == fingerprint)]
        for values, part in split_equal(own, equal):
            added = same[same["protocol"].isin(set(part["protocol"]))]
            used |= set(zip(added["run"], added["score_digest"], strict=True))
            found.append(_block(dataset, fingerprint, part, added, protocols, values))
    keys = zip(references["run"], references["score_digest"], strict=True)
    rest = references[pd.Series([key not in used for key in keys], index=references.index, dtype="bool")]
    found += [_block(*data, part.iloc[:0], part, protocols) for data, part in _by_protocols(rest)]
    return sorted(found, key=_order)


def _order(block: Block) -> tuple[Any, ...]:
    """All real images before halves, then by what the rows are equal in, or by the time of the first run."""
    return block.dataset, bool(block.half), "" if block.equal_in else min(block.shown["finished"]), block.fingerprint


def _block(dataset: str, fingerprint: str, rows: pd.DataFrame, references: pd.DataFrame,
           protocols: Mapping[str, Mapping[str, Any]], equal_in: tuple[str, ...] = ()) -> Block:
    kept, older = newest(rows)
    ids = tuple(sorted(set(rows["protocol"] if len(rows) else references["protocol"])))
    described = {one: protocols[one] for one in ids if one in protocols}
    named, references = name_entries(kept), name_entries(newest(references)[0])
    averaged = over_sampling_seeds(named)
    return Block(dataset, fingerprint, ids, averaged, older, equal_in, described, references,
                 named if len(averaged) < len(named) else named.iloc[:0])


def _by_protocols(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """((data set, fingerprint), rows of one set of protocol ids)."""
    for (dataset, fingerprint), part in rows.groupby(["dataset", "fingerprint"], sort=True):
        ids_of = _block_ids(part)
        of_row = pd.Series([ids_of[key] for key in zip(part["run"], part["score_digest"], strict=True)], index=part.index)
        for ids in sorted(set(ids_of.values()), key=sorted):
            yield (str(dataset), str(fingerprint)), part[of_row == ids]


def _block_ids(part: pd.DataFrame) -> dict[Any, frozenset[str]]:
    """(run, score digest) -> the protocol ids of its block: its own, or the largest larger set that fits its preset."""
    own = {key: (frozenset(rows["protocol"]), rows["preset"].iloc[0]) for key, rows in part.groupby(["run", "score_digest"])}
    presets: dict[frozenset[str], set[str]] = {}
    for ids, preset in own.values():
        presets.setdefault(ids, set()).add(preset)
    found = {}
    for key, (ids, preset) in own.items():
        larger = [other for other, names in presets.items() if ids < other and preset in {"", *names}]
        found[key] = max(larger, key=lambda one: (len(one), sorted(one)), default=ids)
    return found


def over_sampling_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `rows` with the mean over sampling seeds of each score of a training; its uncertainty is that of the mean."""
    if rows.empty or not rows.duplicated(SCORE_OF).any():
        return rows
    groups = rows.groupby(SCORE_OF, sort=False, dropna=False)
    means = {name: groups[name].transform("mean") for name in ("value", "at_half", "at_test")}
    errors = rows.assign(square=rows["uncertainty"] ** 2).groupby(SCORE_OF, sort=False, dropna=False)["square"]
    means["uncertainty"] = (errors.transform("mean") / groups["seed"].transform("size")) ** 0.5
    return rows.assign(**means).drop_duplicates(SCORE_OF).reset_index(drop=True)


def newest(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """One measurement of each score of each entry, seed and sampling seed: the last one; and how many were left out."""
    kept = rows.sort_values("finished", kind="stable").drop_duplicates([*SCORE_OF, "sample_seed"], keep="last")
    left_out = rows[~rows.index.isin(kept.index)]
    return kept, len(left_out[["run", "score_digest"]].drop_duplicates())


def measurements(rows: pd.DataFrame, scope: str = "all") -> list[Key]:
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


def difference(ids: Sequence[str], protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """In what the protocols of `ids` differ: `k: 5 against 3`; empty where their descriptions are not known."""
    known = [protocols[one] for one in ids if one in protocols]
    return "; ".join(differences(known)) if len(known) > 1 else ""
