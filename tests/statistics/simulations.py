"""Simulated scores of which the truth is known, through `fit` and `compare`: how often verdicts, intervals and numbers are right.

Writes what they show into BENCHMARK.md: python tests/statistics/simulations.py
"""

import math
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats

from ltgen_bench.statistics import Scale, compare, fit, scale_of
from ltgen_bench.statistics.critical import critical_value
from ltgen_bench.statistics.verdicts import half_widths

METHODS = 13
NAMES = [f"method {at:02}" for at in range(20)]
REPETITIONS = 2000
STEP = 1 / 450
RESTS = {  # shape of the rest, mean 0 and variance 1
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "log-normal": lambda rng, shape: (np.exp(0.5 * rng.standard_normal(shape)) - math.exp(0.125))
    / math.sqrt((math.exp(0.25) - 1) * math.exp(0.25)),
}
LARGE = {"equal": lambda methods: 0, "half": lambda methods: methods // 2, "baseline": lambda methods: 1}


class Cell(NamedTuple):
    """One kind of simulated scores; the first method is the baseline, and the first LARGE ones have four times the variance.

    `steps`: a deviation of one step, and rounded to 1/450."""

    methods: int = METHODS
    seeds: int = 3
    rest: str = "normal"
    large: str = "equal"
    steps: bool = False


GRID = [Cell(*one) for one in product((2, 3, 5, 13, 20), (3, 4, 5), ("normal", "exponential"), LARGE)]
SELECTIONS = list(product([Cell(large=large) for large in LARGE], [REPETITIONS // 2], (2, 5)))  # arguments of `level`
OFTEN = [one for one in GRID if one.methods == METHODS and one.seeds != 4]
CELLS = (GRID + [one._replace(rest="log-normal") for one in OFTEN if one.rest == "normal"]
         + [one._replace(steps=True) for one in OFTEN])


def drawn(cell: Cell, repetitions: int, *, shifts: np.ndarray | float = 0.0, sd: float = 0.01,
          key: int = 0) -> Iterator[pd.DataFrame]:
    """Shares around 0.8, [seeds, methods]: shift, what a seed adds, and a rest with a deviation of `sd`."""
    rng = np.random.default_rng([key, cell.methods, cell.seeds, list(RESTS).index(cell.rest), list(LARGE).index(cell.large),
                                 cell.steps])
    sd = STEP if cell.steps else sd
    deviations = np.where(np.arange(cell.methods) < LARGE[cell.large](cell.methods), 2.0, 1.0)
    shape = (repetitions, cell.seeds, cell.methods)
    values = 0.8 + shifts + 2 * sd * rng.standard_normal((repetitions, cell.seeds, 1))
    values = values + sd * deviations * RESTS[cell.rest](rng, shape)
    values = np.round(values / STEP) * STEP if cell.steps else values
    for one in values:
        yield pd.DataFrame(one, columns=NAMES[:cell.methods])


def compared(frame: pd.DataFrame, baseline: str | None = None):
    """The comparison of shares as the report makes it."""
    return compare(fit(frame, scale=scale_of("logit", frame.to_numpy()), direction="higher"), baseline=baseline)


def misses(model, baseline: bool, chosen: int | None = None) -> bool:
    """Whether an interval of equal methods does not contain 0: of all pairs, or of the others from the first; of so many."""
    if not model.has_verdicts:
        return False
    entries = chosen or len(model.entries)
    first, second = (np.arange(1, entries), np.zeros(entries - 1, int)) if baseline else np.triu_indices(entries, 1)
    half = half_widths(model, first, second, model.entries[0] if baseline else None)[0]
    return bool((np.abs(model.estimates[first] - model.estimates[second]) > half).any())


def repetitions_of(cell: Cell) -> int:
    return REPETITIONS if cell._replace(rest="normal", steps=False) in OFTEN else REPETITIONS // 2


def level(cell: Cell, repetitions: int | None = None, chosen: int | None = None) -> tuple[float, float]:
    """Shares of repetitions in which an interval of equal methods does not contain 0: of all pairs, from the first method; of
    the `chosen` first methods."""
    found = []
    for frame in drawn(cell, repetitions or repetitions_of(cell)):
        model = fit(frame, scale=Scale("logit", STEP if cell.steps else 0.0), direction="higher")
        found.append((misses(model, False, chosen), misses(model, True, chosen)))
    pairs, from_baseline = np.mean(found, axis=0).tolist()
    return pairs, from_baseline


UNLIKE = {  # the first 3 of 13 methods have so many seeds, the others three; they are external samples
    "three methods with one seed": (1, False), "three with two seeds": (2, False), "three external samples": (3, True),
    "three external samples with one seed": (1, True)}


def level_of_unlike(seeds: int, external: bool, repetitions: int = REPETITIONS // 2) -> tuple[float, float]:
    """As `level`, where the first three of 13 methods have so many `seeds`, or are external samples with seeds of their own."""
    rng = np.random.default_rng([6, seeds, external])
    found = []
    for _ in range(repetitions):
        values = rng.standard_normal((3, METHODS)) + 2 * rng.standard_normal((3, 1))
        if external:
            values[:, :3] = math.sqrt(5) * rng.standard_normal((3, 3))
        values[seeds:, :3] = np.nan
        model = fit(pd.DataFrame(values, columns=NAMES[:METHODS]), scale=Scale(),
                    external=frozenset(NAMES[:3] if external else ()))
        found.append((misses(model, False), misses(model, True)))
    pairs, from_baseline = np.mean(found, axis=0).tolist()
    return pairs, from_baseline


def rank_coverage(seeds: int, distance: float, repetitions: int = REPETITIONS // 8) -> float:
    """Share of repetitions in which all rank intervals contain the true ranks of 13 methods so many deviations apart."""
    found = []
    for frame in drawn(Cell(seeds=seeds), repetitions, shifts=-0.01 * distance * np.arange(METHODS), key=5):
        ranks = compared(frame).ranks
        found.append(all(ranks[name].low <= at <= ranks[name].high for at, name in enumerate(frame.columns, 1)))
    return float(np.mean(found))


def paired_t_with_holm(scores: np.ndarray) -> np.ndarray:
    """Which of the 78 pairs differ by paired t tests with Holm's correction over all pairs at 5 %: the test of before."""
    first, second = np.triu_indices(scores.shape[1], 1)
    differences = scores[:, first] - scores[:, second]
    seeds = len(scores)
    t = np.abs(differences.mean(axis=0)) / (differences.std(axis=0, ddof=1) / math.sqrt(seeds))
    p = 2 * special.stdtr(seeds - 1, -t)
    order = np.argsort(p)
    proven = np.logical_and.accumulate(p[order] * np.arange(len(p), 0, -1) < 0.05)
    found = np.zeros(len(p), dtype=bool)
    found[order] = proven
    return found


def power(seeds: int, shift: float, repetitions: int = REPETITIONS // 4) -> tuple[float, float, float, float]:
    """(share of the 12 differences of one shifted method that are told by all pairs, by comparison with it alone, by the test of
    before, the calculated one of all pairs).

    `shift` is in standard deviations of the rest; the calculated one is that of the true variances.
    """
    shifts = np.where(np.arange(METHODS) == 0, shift * 0.01, 0.0)
    found = []
    for frame in drawn(Cell(seeds=seeds), repetitions, shifts=shifts, key=1):
        pairs = [one for one in compared(frame).differences if NAMES[0] in (one.a, one.b)]
        df = np.median([one.df for one in pairs])
        critical = float(critical_value("pairs", METHODS, df))
        told = [np.mean([one.verdict in ("better", "worse") for one in own])
                for own in (pairs, compared(frame, NAMES[0]).differences)]
        found.append([*told, paired_t_with_holm(frame.to_numpy())[:METHODS - 1].mean(),
                      float(stats.nct.sf(critical, df, shift / math.sqrt(2 / seeds)))])
    new, from_baseline, old, calculated = np.mean(found, axis=0).tolist()
    return new, from_baseline, old, calculated


def exact(seeds: int, shift: float) -> pd.DataFrame:
    """Scores in which the measured difference between the first method and the others is `shift` deviations, and all measured
    variances are 1: what further seeds are told from is then the truth."""
    rests = np.random.default_rng(3).standard_normal((seeds, METHODS))
    for _ in range(2000):
        rests -= rests.mean(axis=0) + rests.mean(axis=1, keepdims=True) - rests.mean()
        rests *= math.sqrt((seeds - 1) * (METHODS - 1) / METHODS) / np.sqrt(np.square(rests).sum(axis=0))
    return pd.DataFrame(10 + rests + np.where(np.arange(METHODS) == 0, shift, 0.0), columns=NAMES[:METHODS])


@lru_cache
def chance(seeds: int, shift: float, repetitions: int) -> float:
    """The share of settled pairs of one shifted method at so many seeds; the margin is a fifth of a deviation."""
    rng = np.random.default_rng([4, seeds, int(100 * shift)])
    shifts = np.where(np.arange(METHODS) == 0, shift, 0.0)
    settled = 0.0
    for values in rng.standard_normal((repetitions, seeds, METHODS)):
        found = compare(fit(pd.DataFrame(10 + shifts + values, columns=NAMES[:METHODS]), scale=Scale()))
        settled += np.mean([one.verdict in ("better", "worse") for one in found.differences if NAMES[0] in (one.a, one.b)])
    return settled / repetitions


def further(shift: float, repetitions: int = 100) -> tuple[int, int]:
    """(seeds in all that are told at three seeds, fewest seeds at which 80 % of the pairs are settled)."""
    told = compare(fit(exact(3, shift), scale=Scale())).of(NAMES[0], NAMES[1]).further_seeds
    needed = next(seeds for seeds in range(3, 200) if chance(seeds, shift, repetitions) >= 0.8)
    return 3 + told, needed


def false_equivalence(seeds: int, sd: float, repetitions: int = REPETITIONS // 2) -> float:
    """The share of repetitions with an "equivalent" between methods that differ by the whole margin (2 % of 0.8)."""
    shifts = np.where(np.arange(METHODS) % 2, 0.0162, 0.0)  # the margin is 2 % of the mean of both
    wrong = 0
    for frame in drawn(Cell(seeds=seeds), repetitions, shifts=shifts, sd=sd, key=2):
        wrong += any(one.verdict == "equivalent" for one in compared(frame).differences
                     if (NAMES.index(one.a) - NAMES.index(one.b)) % 2)
    return wrong / repetitions


def percent(*shares: float) -> str:
    return ", ".join(f"{100 * one:.1f} %" for one in shares)


def markdown(pool: ProcessPoolExecutor) -> str:
    """The section of BENCHMARK.md."""
    found = dict(zip(CELLS, pool.map(level, CELLS, chunksize=4), strict=True))
    lines = ["", "Level: share of repetitions with at least one false verdict on equal methods (1,000 repetitions, 2,000 of 13",
             "methods at 3 and 5 seeds: 0.7 % and 0.5 % standard error): the largest of six cases (variances equal, four times",
             "as large for half of the methods or for the baseline; rests normal or exponential, of 13 methods log-normal",
             "too), and in brackets that of equal variances and normal rests.", "",
             "| methods | all pairs: 3 seeds | 4 seeds | 5 seeds | with a baseline: 3 seeds | 4 seeds | 5 seeds |",
             "|---|---|---|---|---|---|---|"]
    for methods in (2, 3, 5, 13, 20):
        cells = []
        for side, seeds in product((0, 1), (3, 4, 5)):
            own = [share[side] for one, share in found.items() if (one.methods, one.seeds, one.steps) == (methods, seeds, False)]
            cells.append(f"{percent(max(own))} ({percent(found[Cell(methods, seeds)][side])})")
        lines.append(f"| {methods} | " + " | ".join(cells) + " |")
    steps = [found[one] for one in CELLS if one.steps]
    selections = np.max(list(pool.map(level, *zip(*SELECTIONS, strict=True))), axis=0)
    unlike = list(pool.map(level_of_unlike, *zip(*UNLIKE.values(), strict=True)))
    lines += ["", f"13 methods in steps of 1/450 (3 and 5 seeds): at most {percent(*np.max(steps, axis=0))} (all pairs, with a "
              f"baseline); two or five methods selected of 13 (3 seeds): at most {percent(*selections)}. Equal",
              "variances, normal rests, ten methods with three seeds and "
              + "; ".join(f"{name}: {percent(*own)}" for name, own in zip(UNLIKE, unlike, strict=True)) + ".", "",
              "Power: share of the differences of one method from twelve equal ones that are told.", "",
              "| seeds | standard deviations | all pairs | with a baseline | paired t tests with Holm's correction |",
              "|---|---|---|---|---|"]
    powers = list(product((3, 5), (1, 2, 3, 5)))
    for (seeds, shift), (new, against, old, _) in zip(powers, pool.map(power, *zip(*powers, strict=True)), strict=True):
        lines.append(f"| {seeds} | {shift} | {percent(new)} | {percent(against)} | {percent(old)} |")
    shifts = (1.0, 1.5, 2.0, 3.0)
    told = [f"{told} and {needed} at {shift:g}" for shift, (told, needed) in zip(shifts, pool.map(further, shifts), strict=True)]
    cases = list(product((3, 5), (0.001, 0.004)))
    equivalent = max(pool.map(false_equivalence, *zip(*cases, strict=True)))
    ranks = list(product((3, 5), (1e-6, 0.5, 2.0)))
    covered = min(pool.map(rank_coverage, *zip(*ranks, strict=True)))
    lines += ["", "Seeds that settle a difference with a chance of 80 %, as told at three seeds and as found: "
              + "; ".join(told) + " standard deviations.",
              f"\"Equivalent\" between methods that differ by the whole margin: at most {percent(equivalent)}.",
              "All rank intervals of 13 methods, 0, 0.5 or 2 standard deviations apart, contain the true ranks in at least "
              f"{percent(covered)}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "BENCHMARK.md"
    begin, end = "<!-- simulations:begin -->", "<!-- simulations:end -->"
    text = page.read_text(encoding="utf-8")
    with ProcessPoolExecutor(2) as processes:
        made = markdown(processes)
    sys.stdout.write(made)
    page.write_text(f"{text.split(begin)[0]}{begin}\n{made}\n{end}{text.split(end)[1]}", encoding="utf-8")
