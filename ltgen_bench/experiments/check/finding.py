"""Findings of the self-check, and the input of its checks."""

import math
from dataclasses import dataclass
from typing import Literal

from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.runtime.context import RunContext


@dataclass(frozen=True)
class Finding:
    """One line of the self-check: what was looked at, the figure found and its bound. A note is neither ok nor failed."""

    name: str
    state: Literal["ok", "FAILED", "note"]
    figure: str
    bound: str = ""
    value: float = math.nan


@dataclass(frozen=True)
class Machine:
    """Input of the checks: the digits that ship with scikit-learn, and the context with device, cache and given weights files."""

    dataset: LongTailDataset
    context: RunContext


def at_most(name: str, value: float, bound: float) -> Finding:
    """Return the finding whether `value` is a number of at most `bound`."""
    return Finding(name, "ok" if value <= bound else "FAILED", f"{value:.3g}", f"at most {bound:g}", value)


def at_least(name: str, value: float, bound: float, unit: str = "") -> Finding:
    """Return the finding whether `value` is a number of at least `bound`, both in `unit`."""
    unit = f" {unit}" if unit else ""
    return Finding(name, "ok" if value >= bound else "FAILED", f"{value:.3g}{unit}", f"at least {bound:g}{unit}", value)


def near(name: str, value: float, expected: float, tolerance: float) -> Finding:
    """Return the finding whether `value` is `expected`, within `tolerance` (absolute)."""
    state: Literal["ok", "FAILED"] = "ok" if abs(value - expected) <= tolerance else "FAILED"
    return Finding(name, state, f"{value:.6g}", f"{expected:.6g} within {tolerance:g}", value)


def note(name: str, figure: str) -> Finding:
    """Something to know that cannot fail."""
    return Finding(name, "note", figure)
