"""Simultaneous intervals of the differences between entries, and what they tell: better, worse, equivalent or open."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ltgen_bench.statistics.critical import Family, critical_value
from ltgen_bench.statistics.further_seeds import further_seeds
from ltgen_bench.statistics.ranks import Rank, rank_intervals
from ltgen_bench.statistics.scale import Scale
from ltgen_bench.statistics.seed_model import SeedModel, standard_errors, with_larger_variance

Verdict = Literal["better", "worse", "equivalent", "open"]
LEVEL = 0.05
MARGIN = 0.02  # share of the score; smaller differences do not matter
TURNED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better", "equivalent": "equivalent", "open": "open"}


@dataclass(frozen=True)
class Difference:
    """The difference `a` - `b` on the scale, its simultaneous interval, and the verdict on `a` against `b`.

    They are equivalent where the whole interval is within +-`margin`, which is on the scale too. `shown` puts a number into the
    unit of the score.
    """

    a: str
    b: str
    estimate: float
    low: float
    high: float
    verdict: Verdict
    margin: float
    scale: Scale
    middle: float  # mean of both estimates, on the scale
    error: float  # standard error
    df: float
    seeds: int  # of the entry that has fewer
    family: tuple[Family, int, float]  # of the critical value: kind, entries, level

    @property
    def turned(self) -> "Difference":
        """The difference `b` - `a`."""
        return Difference(self.b, self.a, -self.estimate, -self.high, -self.low, TURNED[self.verdict], self.margin, self.scale,
                          self.middle, self.error, self.df, self.seeds, self.family)

    def shown(self, difference: float) -> float:
        """Return a difference on the scale as it is told: a ratio - 1 (-0.38: 38 % less) of logarithms, else in the score's
        unit."""
        if self.scale.name == "log":
            return float(np.expm1(difference))
        ends = self.scale.back(np.array([self.middle - difference / 2, self.middle + difference / 2]))
        return float(ends[1] - ends[0])

    @cached_property
    def further_seeds(self) -> int | None:
        """How many more seeds each entry would need until an open difference is settled; None where more than 1,000.

        Settled means better, worse or equivalent with a probability of 80 %, if the measured difference and variance are the
        true ones.
        """
        return further_seeds(abs(self.estimate), self.error, self.margin, df=self.df, seeds=self.seeds, family=self.family)


@dataclass(frozen=True)
class Comparison:
    """All differences of a family of entries: of all pairs, or from one `baseline`. Without verdicts `differences` is empty.

    `error_words` say where the sampling error of real images in the margin is from.
    """

    model: SeedModel
    entries: tuple[str, ...]
    differences: tuple[Difference, ...]
    baseline: str | None = None
    level: float = LEVEL
    error_words: str = ""

    @cached_property
    def _of_pair(self) -> dict[tuple[str, str], Difference]:
        return {(one.a, one.b): one for one in self.differences} | {(one.b, one.a): one.turned for one in self.differences}

    @property
    def family(self) -> int:
        """The number of differences that are told together."""
        return len(self.differences)

    def of(self, a: str, b: str) -> Difference | None:
        """Return the difference of `a` from `b`, or None where the two were not compared."""
        return self._of_pair.get((a, b))

    def counts(self, entry: str) -> dict[Verdict, int]:
        """Return how often `entry` is better, worse, equivalent and open, in this order."""
        found: dict[Verdict, int] = {"better": 0, "worse": 0, "equivalent": 0, "open": 0}
        for other in self.entries:
            one = self.of(entry, other)
            if one is not None:
                found[one.verdict] += 1
        return found

    @cached_property
    def best(self) -> tuple[str, ...]:
        """The entries that may be the best: not worse than any other. Empty without verdicts."""
        return tuple(entry for entry in self.entries if not self.counts(entry)["worse"]) if self.differences else ()

    @cached_property
    def ranks(self) -> dict[str, Rank]:
        """Entry -> rank of its estimate among the entries, with a 95 % interval; empty without verdicts."""
        return rank_intervals(self.model, self.entries, self._before) if self.differences else {}

    def _before(self, a: str, b: str) -> bool:
        """Return whether the interval of `a` - `b`, or those of both from the baseline, prove that `a` is better."""
        one, other = self.of(a, self.baseline or b), self.of(b, self.baseline) if self.baseline else None
        (low, high), (least, most) = ((found.low, found.high) if found else (0.0, 0.0) for found in (one, other))
        return high < least if self.model.lower_is_better else low > most

    def words(self) -> str:
        """Return how the verdicts came about, in one sentence."""
        model, log = self.model, {"log": "logarithms of the scores", "logit": "log odds of the scores", "linear": "scores"}
        tested = "Tukey's studentised range" if self.baseline is None else f"Dunnett's comparisons with {self.baseline}"
        agree = ("agree by Brown and Forsythe's test" if model.variance == "pooled" else "differ by Brown and Forsythe's test")
        weight = "pooled" if model.variance == "pooled" else "each row's own"
        return (f"Simultaneous {1 - self.level:.0%} intervals of {self.family} difference{'s' if self.family > 1 else ''} of "
                f"{log[model.scale.name]} within seeds ({tested}); variances {agree} (p = {model.p_equal:.2g}), mainly {weight}.")


def compare(model: SeedModel, *, baseline: str | None = None, among: Sequence[str] | None = None, error_of_real: float = 0.0,
            level: float = LEVEL) -> Comparison:
    """Return the `Comparison` of all pairs of entries, or of all with a `baseline`; of the entries `among` alone where given.

    The margin of equivalence is the larger of `error_of_real`, the sampling error of the score of real images (in the unit of
    the score), and 2 % of the score.
    """
    entries = tuple(entry for entry in model.entries if among is None or entry in among or entry == baseline)
    at = np.array([model.entries.index(entry) for entry in entries], dtype=int)
    if baseline is None:
        first, second = (at[side] for side in np.triu_indices(len(at), 1))
    else:
        first = at[[baseline in entries and entry != baseline for entry in entries]]
        second = np.full_like(first, model.entries.index(baseline) if len(first) else 0)
    if not model.has_verdicts or not len(first):
        return Comparison(model, entries, (), baseline, level)
    half, errors, df, family = half_widths(model, first, second, baseline, level)
    estimates, middle = model.estimates[first] - model.estimates[second], (model.estimates[first] + model.estimates[second]) / 2
    margins = margin_of(model.scale, middle, error_of_real)
    sign = -1 if model.lower_is_better else 1
    columns = (column.tolist() for column in (first, second, estimates, half, margins, middle, errors, df,
                                              np.minimum(model.seeds[first], model.seeds[second])))
    differences = tuple(
        Difference(model.entries[a], model.entries[b], estimate, estimate - wide, estimate + wide,
                   _verdict(sign * estimate, wide, margin), margin, model.scale, between, error, freedom, seeds, family)
        for a, b, estimate, wide, margin, between, error, freedom, seeds in zip(*columns, strict=True))
    return Comparison(model, entries, differences, baseline, level)


def half_widths(model: SeedModel, first: Any, second: Any, baseline: str | None = None,
                level: float = LEVEL) -> tuple[Any, Any, Any, tuple[Family, int, float]]:
    """Return half the width of the simultaneous intervals of the differences `first` - `second` (places of entries in `model`),
    their standard errors and degrees of freedom, and the family of the critical value.

    Its level is `level` times 1 - 1 / entries^2: the difference of two or three skewed rests is not as near to a normal one as
    the critical value takes it to be.
    """
    chosen = np.unique([first, second])
    if len(chosen) < len(model.entries):
        model = with_larger_variance(model, chosen)
    elif baseline is not None:
        model = with_larger_variance(model, model.entries.index(baseline))
    contrasts, rows = np.zeros((len(first), len(model.entries))), np.arange(len(first))
    contrasts[rows, first], contrasts[rows, second] = 1, -1
    errors, df = standard_errors(model, contrasts)
    family: tuple[Family, int, float] = ("pairs" if baseline is None else "baseline", len(chosen),
                                         level * (1 - 1 / len(chosen) ** 2))
    return critical_value(family[0], family[1], df, family[2]) * errors, errors, df, family


def margin_of(scale: Scale, middle: Any, error_of_real: float) -> Any:
    """Return the margin of equivalence on the scale at estimates `middle` on it: the larger of the error and 2 % of the score."""
    score = scale.back(middle)
    return np.maximum(error_of_real, MARGIN * np.abs(score)) * scale.slope(score)


def _verdict(gain: float, half: float, margin: float) -> Verdict:
    """A difference that is both proven and within the margin is equivalent: it does not matter."""
    if abs(gain) + half < margin:
        return "equivalent"
    if abs(gain) > half:
        return "better" if gain > 0 else "worse"
    return "open"
