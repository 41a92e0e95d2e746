"""Verdicts of a table: the comparison behind one column, and the sentences and cells that tell it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ltgen_bench.core.words import counted
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.report.baselines import REAL_HALVES, distance_from_best
from ltgen_bench.report.entries import Block, Key
from ltgen_bench.report.numbers import MISSING, facts
from ltgen_bench.statistics import Comparison, Difference, compare, fit, scale_of

ONE_SEED = "One seed: no verdict between methods."
FEW_SEEDS = "Too few common seeds to estimate a variance: no verdict between methods."
METHOD = (
    "Verdicts: score = method + seed + rest on the logarithm of the score (shares: log odds; scores that may be negative, or are "
    "best nearest to a value: as they are), simultaneous 95 % intervals of all differences. better, worse: the interval excludes "
    "0; equivalent: it lies within the margin, the larger of the sampling error of real images and 2 % of the score; open: "
    "neither."
)
BEST = (
    "Bold, *: may be the best, not worse than any other row by simultaneous 95 % intervals of all differences of the column. In "
    "a column without a mark no row is worse than another."
)
BETTER = "Bold, *: better than {} by simultaneous 95 % intervals of the differences from it."


def comparison(block: Block, key: Key, scope: str = "all") -> Comparison:
    """Return the comparison of the entries of `block` in one measurement; without verdicts it has no differences.

    Values that are best nearest to a target are compared by their distance from it. External samples pair with nothing.
    """
    if (key, scope) not in block.computed:
        block.computed[key, scope] = _comparison(block, key, scope)
    found: Comparison = block.computed[key, scope]
    return found


def _comparison(block: Block, key: Key, scope: str) -> Comparison:
    whole = block.whole or block
    metric, part = METRICS[key[0]], whole.part(key, scope)
    nearest = metric.direction == "nearest"
    part = part.assign(compared=distance_from_best(part, key[0]) if nearest else part["value"])
    wide = part.pivot(index="seed", columns="entry", values="compared").reindex(columns=whole.entries)
    errors = part["uncertainty"].to_numpy(dtype=np.float64) if metric.uncertainty_is_error else np.full(len(part), np.nan)
    values = part["compared"].to_numpy(dtype=np.float64)
    model = fit(wide, scale=scale_of(metric.compared_as, values, errors), direction="lower" if nearest else metric.direction,
                external=frozenset(entry for entry, row in whole.first.items() if row.kind == "samples"))
    error, words = _error_of_real(part, errors)
    return replace(compare(model, baseline=block.baseline or None, among=block.entries, error_of_real=error), error_words=words)


def baseline_entry(block: Block, method: str) -> str | None:
    """Return the entry of `block` that is called `method`, or is its only one; None where there is none or are several."""
    if method in block.entries:
        return method
    own = list(dict.fromkeys(block.rows.loc[block.rows["label"] == method, "entry"]))
    return str(own[0]) if len(own) == 1 else None


def _error_of_real(part: pd.DataFrame, errors: Float64[np.ndarray, " n"]) -> tuple[float, str]:
    """Return the sampling error of the score of real images in its unit, 0 where it is not known, and where it is from.

    It is the deviation between random halvings of the real images, where that was measured; it falls with the root of the number
    of images. Else scores have the sampling `errors` of generated images with them. That of real ones is taken to be the same
    share of their score, where the score is smaller for these (as of FID), and else the same.
    """
    halves = part["half_sd"].to_numpy(np.float64) * np.sqrt(
        np.minimum((part[REAL_HALVES.n] / part["n_generated"]).to_numpy(np.float64, na_value=np.nan), 1.0))
    if np.isfinite(halves).any():
        return float(np.nanmedian(halves)), "the deviation between random halvings of them"
    real, values = part[REAL_HALVES.score].to_numpy(np.float64), part["compared"].to_numpy(np.float64)
    above = np.isfinite(real) & (np.abs(values) > 0)
    shares = np.minimum(np.abs(np.divide(real, values, out=np.ones_like(values), where=above)), 1.0)
    known = np.isfinite(errors)
    if not known.any():
        return 0.0, "not known"
    return float(np.median((errors * shares)[known])), "estimated from that of generated ones"


def best_entries(found: Comparison) -> tuple[str, ...]:
    """Return the entries that may be the best, where there are others; else nothing is to be marked.

    With a baseline, those that are better than it: the others were not compared with each other.
    """
    if found.baseline is not None:
        return tuple(one.a for one in found.differences if one.verdict == "better")
    return found.best if 0 < len(found.best) < len(found.entries) else ()


def marks_note(block: Block) -> str:
    """Return what a marked value is."""
    return BETTER.format(block.baseline) if block.baseline else BEST


def family_note(block: Block, found: Sequence[Comparison]) -> str:
    """Return how many differences of a column are told together, and which rows count besides those that are shown."""
    families = [one.family for one in found]
    number = " to ".join(dict.fromkeys((str(min(families)), str(max(families)))))
    which = f"from {block.baseline} (Dunnett)" if block.baseline else "between two rows (Tukey)"
    hidden = len(set(block.whole.entries) - set(block.entries)) if block.whole is not None else 0
    rest = f" Rows not shown, whose scores count in the variance alone: {hidden}." if hidden else ""
    return f"Differences {which} that are told together, in each column: {number}.{rest}"


def counts_text(found: Comparison, entry: str) -> str:
    """Return `2 / 0 / 1 / 9`: how often the entry is better, worse, equivalent, open; a dash without verdicts."""
    return " / ".join(map(str, found.counts(entry).values())) if found.differences and entry in found.entries else MISSING


def rank_text(found: Comparison, entry: str) -> str:
    """Return `2 [1, 4]`: the rank of the entry with its 95 % interval; a dash without verdicts."""
    rank = found.ranks.get(entry)
    if rank is None:
        return MISSING
    return f"{rank.rank} [{rank.low}, {rank.high}]" if rank.low < rank.high else str(rank.rank)


def difference_text(metric: str, one: Difference | None) -> str:
    """Return `-38 % [-50, -20] better`, with `open, 4 more seeds` where that would settle it; empty without a difference."""
    if one is None:
        return ""
    numbers = [one.shown(value) for value in (one.estimate, one.low, one.high)]
    if one.scale.name == "log":
        text = "{:+.0f} % [{:+.0f}, {:+.0f}]".format(*(100 * number for number in numbers))
    else:
        decimals = facts(metric).decimals
        text = f"{numbers[0]:+.{decimals}f} [{numbers[1]:+.{decimals}f}, {numbers[2]:+.{decimals}f}]"
    if one.verdict != "open":
        return f"{text} {one.verdict}"
    return f"{text} open, {seeds_text(one.further_seeds)}"


def seeds_text(more: int | None) -> str:
    """Return `4 more seeds`, for None `over 1,000 more seeds`."""
    return "over 1,000 more seeds" if more is None else counted(more, "more seed")


def conditions(found: Sequence[Comparison]) -> list[str]:
    """Return what was assumed for the verdicts of `found`, each once."""
    return list(dict.fromkeys(text for one in found for text in one.model.conditions if one.differences))


def margin_text(metric: str, found: Comparison) -> list[str]:
    """Return a sentence with the margin of equivalence of one score and its origin, none without verdicts."""
    if not found.differences:
        return []
    margins = sorted({one.shown(one.margin) for one in found.differences})
    ends = [f"{100 * value:.1f} %" if found.model.scale.name == "log" else f"{value:.{facts(metric).decimals + 1}f}"
            for value in (margins[0], margins[-1])]
    return [f"Margin of equivalence: {' to '.join(dict.fromkeys(ends))} (sampling error of real images: {found.error_words})."]
