"""How scores are printed: title, direction, scale and digits of each metric, in one place for all tables and plots."""

import hashlib
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ltgen_bench.evaluation.description import FEW, arrow
from ltgen_bench.evaluation.metrics import METRICS

LONGEST_NAME = 80  # characters
MISSING = "–"  # noqa: RUF001  (an en dash is meant)
PAPERS_ONLY = {  # metrics that only papers print: title, direction; accuracies stand there in percent
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
    values of unlike numbers of images do not compare.
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
        """What is best, in a sign or two."""
        return arrow(self.direction, self.target)


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
    return f"{text}{FEW}" if few and text not in ("", MISSING) else text


def metric_order(metric: str) -> int:
    """Where the metric's column stands: the order of the registry, then those that only papers print."""
    names = [*METRICS, *PAPERS_ONLY]
    return names.index(metric) if metric in names else len(names)


def is_known(value: Any) -> bool:
    """Whether a fact of an entry is there: of images from elsewhere many are missing, or an empty text."""
    return bool(pd.notna(value) and value != "")


def count(images: int | float | np.integer) -> str:
    """A number of images in few letters: 441, 44.8k, 14.4M."""
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if images >= limit:
            return f"{images / (1e3 if letter == 'k' else 1e6):.1f}".removesuffix(".0") + letter
    return f"{images:.0f}"


def power(value: float) -> str:
    """A large number with a power of ten: 1.91e12."""
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def file_name(text: str) -> str:
    """`text` as a name for a file or folder: nothing in it leads elsewhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def distinct_name(text: str) -> str:
    """`file_name` of `text`, and where that is not the text itself a checksum behind it: `a/b` and `a-b` are two files."""
    name = file_name(text)[:LONGEST_NAME]
    return name if name == text else f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
