"""How scores are printed in all tables and plots: title, direction, scale and digits of each metric."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ltgen_bench.evaluation.metrics import METRICS

SMALL_SAMPLE_MARK = "°"  # at a value of too few images
MISSING = "–"  # noqa: RUF001  (an en dash is meant)
PAPERS_ONLY = {  # metrics that only papers print: title, direction; accuracies are in percent there
    "ifid": ("mean per-class FID", "lower"),
    "fid_clip": ("FID (CLIP)", "lower"),
    "ifid_clip": ("mean per-class FID (CLIP)", "lower"),
    "fid_delta_vs_cbdm": ("FID minus FID of CBDM", "lower"),
    "accuracy": ("accuracy in %", "higher"),
}


@dataclass(frozen=True)
class Facts:
    """How one metric is printed: a raw value times `scale` (1 but for accuracies in percent), with `decimals` digits after the
    point.

    Its best value is the lowest, the highest, or the one nearest to `target` (None: to that of real images). `depends_on_n`:
    values of different numbers of images do not compare.
    """

    title: str
    direction: str
    scale: float
    decimals: int
    target: float | None = None
    depends_on_n: bool = True

    @property
    def heading(self) -> str:
        """Title and what is best: `FID ↓`, `IS ↑`, `density ≈ 1`, `diversity ≈ real`."""
        return f"{self.title} {self.arrow}".strip()

    @property
    def arrow(self) -> str:
        """What is best, in a sign or two; empty where a metric has no best value."""
        if self.direction == "nearest":
            return "≈ real" if self.target is None else f"≈ {self.target:g}"
        return {"lower": "↓", "higher": "↑"}.get(self.direction, "")


def facts(metric: str) -> Facts:
    """The facts of a registered metric, or of one that only papers print. Fractions get three digits, the rest two."""
    if metric in PAPERS_ONLY:
        title, direction = PAPERS_ONLY[metric]
        return Facts(title, direction, 100.0 if metric == "accuracy" else 1.0, 2)
    described = METRICS[metric]
    decimals = described.decimals if described.decimals is not None else 3 if described.bounds[1] == 1 else 2
    return Facts(described.title, described.direction, 1.0, decimals, described.target, described.depends_on_n)


def show(metric: str, value: float, spread: float = math.nan) -> str:
    """A score as text, scaled: `12.34`, with a spread `12.34 ± 0.21`, `–` when it is not available."""
    if math.isnan(value):
        return MISSING
    fact = facts(metric)
    text = f"{value * fact.scale:.{fact.decimals}f}"
    return text if math.isnan(spread) else f"{text} ± {spread * fact.scale:.{fact.decimals}f}"


def marked(text: str, few: bool) -> str:
    """A number as text, with the mark of too few images where it is of such."""
    return f"{text}{SMALL_SAMPLE_MARK}" if few and text not in ("", MISSING) else text


def metric_order(metric: str) -> int:
    """The position of the metric's column: in the order of the registry, then those that only papers print."""
    names = [*METRICS, *PAPERS_ONLY]
    return names.index(metric) if metric in names else len(names)


def is_known(value: Any) -> bool:
    """Whether a fact of an entry is known: of external samples many are missing, or an empty text."""
    return bool(pd.notna(value) and value != "")
