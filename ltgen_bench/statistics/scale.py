"""The scale on which scores are compared, and the error that its steps and a finite number of images leave."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

ScaleName = Literal["log", "logit", "linear"]
ROUNDING = 4 * np.finfo(np.float64).eps  # relative rounding error of a value
LARGEST_DENOMINATOR = 1_000_000  # largest density: 100,000 images at k = 10


@dataclass(frozen=True)
class Scale:
    """Scores are compared as logarithms ("log"), as log odds ("logit") or as they are ("linear").

    `step` is the smallest difference between two scores, in the unit of the score (1/450 for shares of 450 images; 0: none).
    `error` is the sampling error of one score, on this scale (0: not known).
    """

    name: ScaleName = "linear"
    step: float = 0.0
    error: float = 0.0

    def transform(self, values: Any) -> Any:
        """Return scores (any shape, NaN allowed) on this scale; shares of 0 and 1 are moved half a step inside."""
        values = np.asarray(values, dtype=np.float64)
        if self.name == "log":
            return np.log(values)
        if self.name == "logit":
            values = self._inside(values)
            return np.log(values / (1 - values))
        return values

    def back(self, values: Any) -> Any:
        """Return the scores that stand at `values` on this scale; the inverse of `transform`."""
        values = np.asarray(values, dtype=np.float64)
        if self.name == "log":
            return np.exp(values)
        return 1 / (1 + np.exp(-values)) if self.name == "logit" else values

    def slope(self, values: Any) -> Any:
        """Return the derivative of `transform` at scores: by how much it widens small differences there."""
        values = np.asarray(values, dtype=np.float64)
        if self.name == "log":
            return 1 / values
        if self.name == "logit":
            values = self._inside(values)
            return 1 / (values * (1 - values))
        return np.ones_like(values)

    def least_variance(self, values: Any) -> Any:
        """Return the smallest variance on this scale that scores at `values` can have: of rounding to steps, and of sampling."""
        return (self.step * self.slope(values)) ** 2 / 12 + self.error**2

    def _inside(self, values: Any) -> Any:
        half = self.step / 2 if self.step else 1e-6
        return np.clip(values, half, 1 - half)


def scale_of(name: ScaleName, values: Any, errors: Any = np.nan) -> Scale:
    """Return the `Scale` called `name` for the scores `values` with their sampling `errors` (same shape, in the score's unit).

    It is linear where a score is outside the bounds of the named one (not above 0, or outside [0, 1]). NaN is ignored.
    """
    values = np.asarray(values, dtype=np.float64)
    errors = np.broadcast_to(np.asarray(errors, dtype=np.float64), values.shape)
    known = values[np.isfinite(values)]
    if (name == "log" and (known <= 0).any()) or (name == "logit" and ((known < 0) | (known > 1)).any()):
        name = "linear"
    scale = Scale(name, step_of(known))
    both = np.isfinite(values) & np.isfinite(errors)
    if not both.any():
        return scale
    on_scale = errors[both] * scale.slope(values[both])
    return Scale(name, scale.step, float(np.sqrt(np.median(on_scale**2))))


def step_of(values: Iterable[float]) -> float:
    """Return the step of the scale of all `values`: 1/450 for shares of 450 images, 0.01 for numbers of two decimals.

    It is the largest s = 1 / m, m an integer up to 1,000,000, of which every value is a multiple up to rounding; 0.0 where
    there is none, as for FID. NaN is ignored.
    """
    denominator = 1
    for value in {float(value) for value in values if np.isfinite(value)}:
        near = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
        if abs(float(near) - value) > ROUNDING * abs(value):
            return 0.0
        denominator = math.lcm(denominator, near.denominator)
        if denominator > LARGEST_DENOMINATOR:
            return 0.0
    return 1.0 / denominator
