"""A metric: its facts, its settings, and a pure function of features."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64
from pydantic import BaseModel, ConfigDict, Field

from ltgen_bench.config.schema import SHARED_SETTINGS, EvaluateConfig
from ltgen_bench.core.validation import validate
from ltgen_bench.evaluation.metrics.enough import SHARE, Enough, Size

SEED = 2020  # of every random draw inside a metric; torch-fidelity's default

Direction = Literal["lower", "higher", "nearest"]  # nearest: best is nearest to the value of real images
ScopeKind = Literal["all", "group", "class"]
Need = Literal["features", "logits", "class logits", "reference", "training images", "held-out images", "downstream classifier"]
Blind = Literal["copies of held-out images", "repeated images", "copies of training images of other classes"]
HELD_OUT: Blind = "copies of held-out images"
REPEATED: Blind = "repeated images"
OTHER_CLASS: Blind = "copies of training images of other classes"


@dataclass(frozen=True)
class FeatureSet:
    """One side of a comparison, real or generated.

    `features` float32 [N, D]; `logits` float32 [N, L] or None where the extractor has none; `labels` int64 [N]. `device` is
    where a metric may multiply large matrices of them; its value does not depend on it.
    """

    features: Float32[np.ndarray, "N D"]
    labels: Int64[np.ndarray, " N"]
    logits: Float32[np.ndarray, "N L"] | None = None
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "FeatureSet":
        """The images at `indices` (integers or a mask), in that order."""
        logits = None if self.logits is None else self.logits[indices]
        return FeatureSet(self.features[indices], self.labels[indices], logits, self.device)


class Settings(BaseModel):
    """The parameters in a metric's definition; a metric with parameters of its own has a subclass of this.

    Each field enters the metric's protocol, under its serialization alias where it has one, so another value gives another
    protocol id. `title` is what reports call the field. Users set it as `[evaluate.settings.METRIC] FIELD = VALUE`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @property
    def least_images(self) -> int:
        """The fewest images on a side for which the metric is defined at these settings."""
        return 1

    def fitted(self, n_generated: int, n_real: int) -> "Settings":
        """The settings that are used for so many generated and real images: these, where the numbers do not matter."""
        return self

    def protocol_fields(self) -> dict[str, Any]:
        """Name in the protocol -> value, as plain JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def described(cls) -> dict[str, tuple[str, Callable[[Any], str]]]:
        """Name in the protocol -> (what reports call the setting, its value as text).

        A field with `json_schema_extra={"words": {VALUE: TEXT}}` has its values in words.
        """
        return {field.serialization_alias or name: (field.title or name, partial(_in_words, field.json_schema_extra))
                for name, field in cls.model_fields.items()}


def _in_words(extra: Any, value: Any) -> str:
    words = extra.get("words") if isinstance(extra, dict) else None
    if words is not None:
        return words.get(str(value), str(value))
    return f"{value:,}" if isinstance(value, int) else str(value)


class DrawSettings(Settings):
    """The settings of a metric that draws at random."""

    seed: int = Field(default=SEED, ge=0, lt=2**32, title="seed inside the metric", json_schema_extra={"words": {}})


@dataclass(frozen=True)
class Result:
    """One number with what belongs to it. None as a count: no such images play a part."""

    value: float
    uncertainty: float = math.nan
    n_real: int | None = None
    n_generated: int | None = None


Plot = Literal["groups", "classes", "curve"]  # bars by group of classes, lines by class, lines along the training
Compute = Callable[[FeatureSet, FeatureSet, Any, ScopeKind], Mapping[str, Result]]  # the third is of the metric's own `settings`
ComputeAgainstTraining = Callable[[FeatureSet, FeatureSet, FeatureSet], Mapping[str, Result]]


@dataclass(frozen=True)
class Metric:
    """The facts about one metric. `compute(generated, real, settings, scope kind)` gives results by metric name.

    Metrics with the same `compute` and equal settings are computed in one call. Those that compare with the images that the
    model was trained on have `against_training` instead, a function of (generated, training, held-out images). Downstream
    metrics have neither: they train classifiers.
    """

    name: str
    title: str  # how a report heads the column
    summary: str  # one line for `ltgen-bench list metrics`
    source: str
    direction: Direction
    bounds: tuple[float, float]
    needs: tuple[Need, ...]
    scopes: tuple[ScopeKind, ...]
    revision: int = 1
    scale: float = 1.0  # what papers may multiply it by; a report prints it as it is
    transform: Literal["log", "logit", "linear"] | None = None  # the scale on which seeds are compared; None: by `compared_as`
    uncertainty_is_error: bool = True  # whether the uncertainty of a result is the standard error of its value
    decimals: int | None = None  # digits after the point in a report; None: three of a share, else two
    min_images: int = 1  # on each side that takes part; `images_needed` adds what the settings ask for
    min_per_class: int = 1  # likewise of every class of the scope
    min_held_out: int = 0  # held-out images of every class, for `against_training`
    on_request: bool = False  # computed only where it is named: too slow, or made for one extractor alone
    expected: Callable[[Result, Any], float] | None = field(default=None, repr=False)  # value of a perfect generator
    baselines: tuple[Literal["half", "test"], ...] = ("half", "test")
    depends_on_n: bool = True  # whether its expectation changes with the number of images
    enough: Enough = SHARE  # a value of fewer images is marked
    target: float | None = None  # of direction nearest: the expected value of real images where it is known without them
    biased_below: int | None = None  # images; a row with fewer says so, and what the value is at the n of the baseline score
    settings: type[Settings] = Settings  # its parameters, which enter its protocol
    plots: tuple[Plot, ...] = ("groups",)  # plots of a report that it appears in
    plotted_against: str = ""  # a metric that a report plots it against, run by run
    conventions: tuple[tuple[str, str], ...] = ()  # fixed fields of its protocol
    blind_to: tuple[Blind, ...] = (HELD_OUT,)  # what would have to count against the samples, and does not
    compute: Compute | None = field(default=None, repr=False)
    against_training: ComputeAgainstTraining | None = field(default=None, repr=False)

    @property
    def compared_as(self) -> Literal["log", "logit", "linear"]:
        """The scale on which scores of several seeds are compared: logarithms of positive scores without an upper bound, log
        odds of shares, and others, also distances from a target, as they are."""
        if self.transform is not None:
            return self.transform
        if self.direction == "nearest" or self.bounds[0] < 0:
            return "linear"
        return "logit" if self.bounds == (0.0, 1.0) else "log" if self.bounds[1] == math.inf else "linear"

    @property
    def is_downstream(self) -> bool:
        """Whether classifiers are trained for the metric; it is then computed by `evaluation.downstream`."""
        return "downstream classifier" in self.needs

    def wanted(self, classes: int, width: int, settings: Settings) -> int:
        """Return how many images per side are enough, for so many classes and features of that width."""
        return self.enough.images(Size(classes, width, settings))

    def images_needed(self, settings: Settings) -> int:
        """The fewest images on a side for which this metric is defined."""
        return max(self.min_images, settings.least_images)

    def settings_of(self, config: EvaluateConfig) -> Any:
        """Its settings as `config` states them, of the type `settings`. A value that is not allowed is a `UserError`.

        A setting named `k` or `edge` is `evaluate.k` or `evaluate.edge`, unless `[evaluate.settings.METRIC]` states it.
        """
        shared = {name: getattr(config, name) for name in SHARED_SETTINGS if name in self.settings.model_fields}
        stated = (config.settings or {}).get(self.name, {})
        return validate(self.settings, {**shared, **stated}, where="the configuration", prefix=f"evaluate.settings.{self.name}.")

    def protocol_fields(self, config: EvaluateConfig, settings: Settings) -> dict[str, Any]:
        """The fields of its protocol that follow from the configuration, whatever the data and the extractor."""
        fields = {"metric": self.name, "revision": self.revision,
                  "settings": settings.protocol_fields(), **dict(self.conventions)}
        if "reference" in self.needs:
            fields |= {"reference": config.reference, "reference_per_class": config.reference_per_class}
        if {"reference", "held-out images"} & set(self.needs):
            fields |= {"reference_half": config.half}
        return fields
