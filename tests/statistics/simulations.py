"""Simulated scores of which the truth is known, through `fit` and `compare`: how often verdicts, intervals and numbers are right.

Writes what they show into BENCHMARK.md: python tests/statistics/simulations.py
"""

import math
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special, stats

from ltgen_bench.statistics import Scale, compare, fit, scale_of
from ltgen_bench.statistics.critical import critical_value

METHODS = 13
NAMES = [f"method {at:02}" for at in range(METHODS)]
REPETITIONS = 2000
STEP = 1 / 450
RESTS = {  # shape of the rest, mean 0 and variance 1
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "log-normal": lambda rng, shape: (np.exp(0.5 * rng.standard_normal(shape)) - math.exp(0.125))
    / math.sqrt((math.exp(0.25) - 1) * math.exp(0.25)),
}
DEVIATIONS = {  # of the rest of each method
    "equal": np.ones(METHODS),
    "6 of 13 four times": np.where(np.arange(METHODS) < 6, 2.0, 1.0),
    "1 of 13 four times": np.where(np.arange(METHODS) < 1, 2.0, 1.0),
}
CELLS = [(seeds, rest, deviation, steps) for seeds in (3, 5) for rest in RESTS for deviation in DEVIATIONS
         for steps in (False, True)]


def drawn(seeds: int, repetitions: int, *, rest: str = "normal", deviation: str = "equal", steps: bool = False,
          shifts: np.ndarray | float = 0.0, sd: float = 0.01, key: int = 0) -> Iterator[pd.DataFrame]:
    """Shares around 0.8 of 13 methods, [seeds, methods]: shift, what a seed adds, and a rest with a deviation of `sd`; `steps`:
    a deviation of one step, and rounded to 1/450."""
    rng = np.random.default_rng([key, seeds, list(RESTS).index(rest), list(DEVIATIONS).index(deviation), steps])
    sd = STEP if steps else sd
    shape = (repetitions, seeds, METHODS)
    values = 0.8 + shifts + 2 * sd * rng.standard_normal((repetitions, seeds, 1))
    values = values + sd * DEVIATIONS[deviation] * RESTS[rest](rng, shape)
    values = np.round(values / STEP) * STEP if steps else values
    for one in values:
        yield pd.DataFrame(one, columns=NAMES)


def compared(frame: pd.DataFrame, baseline: str | None = None):
    """The comparison of shares as the report makes it."""
    return compare(fit(frame, scale=scale_of("logit", frame.to_numpy()), direction="higher"), baseline=baseline)


def false_verdicts(seeds: int, rest: str, deviation: str, steps: bool, repetitions: int = REPETITIONS,
                   baseline: str | None = None) -> tuple[float, float]:
    """(share of repetitions with a better or worse among equal methods, share in which all intervals contain 0)."""
    wrong = covered = 0
    for frame in drawn(seeds, repetitions, rest=rest, deviation=deviation, steps=steps):
        found = compared(frame, baseline).differences
        wrong += any(one.verdict in ("better", "worse") for one in found)
        covered += all(one.low <= 0 <= one.high for one in found)
    return wrong / repetitions, covered / repetitions


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


def power(seeds: int, shift: float, repetitions: int = REPETITIONS) -> tuple[float, float, float]:
    """(share of the 12 pairs of one shifted method that are told apart, the same by the test of before, the calculated one).

    `shift` is in standard deviations of the rest; the calculated one is that of the true variances.
    """
    shifts = np.where(np.arange(METHODS) == 0, shift * 0.01, 0.0)
    new = old = calculated = 0.0
    for frame in drawn(seeds, repetitions, shifts=shifts, key=1):
        found = compared(frame)
        pairs = [one for one in found.differences if NAMES[0] in (one.a, one.b)]
        new += np.mean([one.verdict in ("better", "worse") for one in pairs])
        old += paired_t_with_holm(frame.to_numpy())[:METHODS - 1].mean()
        df = np.median([one.df for one in pairs])
        critical = float(critical_value("pairs", METHODS, df))
        calculated += float(stats.nct.sf(critical, df, shift / math.sqrt(2 / seeds)))
    return new / repetitions, old / repetitions, calculated / repetitions


def exact(seeds: int, shift: float) -> pd.DataFrame:
    """Scores in which the measured difference between the first method and the others is `shift` deviations, and all measured
    variances are 1: what further seeds are told from is then the truth."""
    rests = np.random.default_rng(3).standard_normal((seeds, METHODS))
    for _ in range(2000):
        rests -= rests.mean(axis=0) + rests.mean(axis=1, keepdims=True) - rests.mean()
        rests *= math.sqrt((seeds - 1) * (METHODS - 1) / METHODS) / np.sqrt(np.square(rests).sum(axis=0))
    return pd.DataFrame(10 + rests + np.where(np.arange(METHODS) == 0, shift, 0.0), columns=NAMES)


@lru_cache
def chance(seeds: int, shift: float, repetitions: int) -> float:
    """The share of settled pairs of one shifted method at so many seeds; the margin is a fifth of a deviation."""
    rng = np.random.default_rng([4, seeds, int(100 * shift)])
    shifts = np.where(np.arange(METHODS) == 0, shift, 0.0)
    settled = 0.0
    for values in rng.standard_normal((repetitions, seeds, METHODS)):
        found = compare(fit(pd.DataFrame(10 + shifts + values, columns=NAMES), scale=Scale()))
        settled += np.mean([one.verdict in ("better", "worse") for one in found.differences if NAMES[0] in (one.a, one.b)])
    return settled / repetitions


def further(shift: float, repetitions: int = 200) -> tuple[int, int]:
    """(seeds in all that are told at three seeds, fewest seeds at which 80 % of the pairs are settled)."""
    told = compare(fit(exact(3, shift), scale=Scale())).of(NAMES[0], NAMES[1]).further_seeds
    needed = next(seeds for seeds in range(3, 200) if chance(seeds, shift, repetitions) >= 0.8)
    return 3 + told, needed


def false_equivalence(seeds: int, sd: float, repetitions: int = REPETITIONS) -> float:
    """The share of repetitions with an "equivalent" between methods that differ by the whole margin (2 % of 0.8)."""
    shifts = np.where(np.arange(METHODS) % 2, 0.0162, 0.0)  # the margin is 2 % of the mean of both
    wrong = 0
    for frame in drawn(seeds, repetitions, shifts=shifts, sd=sd, key=2):
        wrong += any(one.verdict == "equivalent" for one in compared(frame).differences
                     if (NAMES.index(one.a) - NAMES.index(one.b)) % 2)
    return wrong / repetitions


def markdown() -> str:
    """The section of BENCHMARK.md."""
    lines = ["", f"{METHODS} equal methods, {REPETITIONS:,} repetitions: share with at least one false verdict among 78 pairs,",
             "and in brackets the share in which all 78 intervals contain the true difference. \"Steps\": scores are shares of",
             "450 images, with a deviation of one step.", "",
             "| seeds | rest | variances | continuous | steps of 1/450 |", "|---|---|---|---|---|"]
    for seeds, rest, deviation, steps in CELLS:
        if not steps:
            cells = [false_verdicts(seeds, rest, deviation, one) for one in (False, True)]
            texts = [f"{100 * wrong:.1f} % ({100 * covered:.1f} %)" for wrong, covered in cells]
            lines.append(f"| {seeds} | {rest} | {deviation} | {texts[0]} | {texts[1]} |")
    dunnett = [false_verdicts(seeds, "normal", deviation, False, baseline=NAMES[0])[0]
               for seeds in (3, 5) for deviation in DEVIATIONS]
    lines += ["", "Twelve methods against a baseline, normal rest, 3 seeds and then 5, variances as above (in the last",
              "of each the baseline has four times the variance): " + ", ".join(f"{100 * one:.1f} %" for one in dunnett) + ".",
              "",
             "Power: share of the pairs of one method that are told apart where it differs from twelve equal ones.", "",
              "| seeds | difference in standard deviations | verdicts | paired t tests with Holm's correction | calculated |",
              "|---|---|---|---|---|"]
    for seeds in (3, 5):
        for shift in (1, 2, 3, 5):
            new, old, calculated = power(seeds, shift)
            lines.append(f"| {seeds} | {shift} | {100 * new:.1f} % | {100 * old:.1f} % | {100 * calculated:.1f} % |")
    lines += ["", "Seeds that settle a difference with a chance of 80 %: as told at three seeds, and as found by simulation.", "",
              "| difference in standard deviations | told | found |", "|---|---|---|"]
    for shift in (1.0, 1.5, 2.0, 3.0):
        told, needed = further(shift)
        lines.append(f"| {shift:g} | {told} | {needed} |")
    found = [(seeds, sd, false_equivalence(seeds, sd)) for seeds in (3, 5) for sd in (0.001, 0.002, 0.004)]
    lines += ["", "\"Equivalent\" between methods that differ by the whole margin (standard deviation as a share of the margin): "
              + "; ".join(f"{100 * wrong:.1f} % at {seeds} seeds and {sd / 0.016:.2f}" for seeds, sd, wrong in found) + ".", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    page = Path(__file__).parents[2] / "BENCHMARK.md"
    begin, end = "<!-- simulations:begin -->", "<!-- simulations:end -->"
    text = page.read_text(encoding="utf-8")
    made = markdown()
    sys.stdout.write(made)
    page.write_text(f"{text.split(begin)[0]}{begin}\n{made}\n{end}{text.split(end)[1]}", encoding="utf-8")
