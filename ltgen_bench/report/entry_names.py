"""Names of the entries of a table: the method, and what an entry has of its own among those of the same method."""

import pandas as pd

from ltgen_bench.core.words import count
from ltgen_bench.report.equal import ENTRY, EQUAL
from ltgen_bench.report.numbers import is_known


def name_entries(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` sorted by label and entry, with `entry` and `row_name` (see `entries.Block`)."""
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
    """What this entry has of its own among those of its label: sampler, omega, budget, number of images, network, batch."""
    own = dict(zip(ENTRY, key, strict=True))
    differing = {column for column in ENTRY if group[column].nunique(dropna=False) > 1 and is_known(own[column])}
    sampler = f"{own['sampler']} {own['steps']}" if differing & {"sampler", "steps"} else ""
    budget = f"{count(own['budget_images'])} seen" if "budget_images" in differing else ""
    images = f"{own['images_per_class']} a class" if "images_per_class" in differing else ""
    others = [EQUAL[word][1](own[EQUAL[word][0]]) for word in ("network", "batch") if EQUAL[word][0] in differing]
    omega = f"omega {own['omega']:g}" if "omega" in differing else ""
    return tuple(word for word in (sampler, omega, budget, images, *others) if word)


def _unique_digest(group: pd.DataFrame, key: tuple) -> str:
    """The digest of the training, for a row that has no other difference in the columns of a table."""
    own = dict(zip(ENTRY, key, strict=True))
    shown = ["sampler", "steps", "omega", "budget_images"]
    mine = [str(own[column]) for column in shown]
    same = group[[list(map(str, values)) == mine for values in group[shown].itertuples(index=False)]]
    if len(same) == 1:
        return ""
    digest = f" #{own['train_digest']}"
    if same["train_digest"].nunique() == len(same) or not is_known(own["images_per_class"]):
        return digest
    return f"{digest}, {own['images_per_class']} a class"
