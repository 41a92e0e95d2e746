"""What a metric is: facts about it, and a pure function of features."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.evaluation.metrics.enough import SHARE, Enough, Size
from ltgen_bench.evaluation.protocol import SEED

Direction = Literal["lower", "higher", "nearest"]  # nearest: best is nearest to the value of real images
ScopeKind = Literal["all", "group", "class"]
Blind = Literal["copies of held-out images", "repeated images", "copies of training images of other classes"]
HELD_OUT: Blind = "copies of held-out images"
REPEATED: Blind = "repeated images"
OTHER_CLASS: Blind = "copies of training images of other classes"


@dataclass(frozen=True)
class Side:
    """One side of a comparison, real or generated.

    `features` float32 [N, D]; `logits` float32 [N, L] or None where the extractor has none; `labels` int64 [N].
    """

    features: Float32[np.ndarray, "N D"]
    labels: Int64[np.ndarray, " N"]
    logits: Float32[np.ndarray, "N L"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Side":
        """The images at `indices` (integers or a mask), in that order."""
        return Side(self.features[indices], self.labels[indices], None if self.logits is None else self.logits[indices])


@dataclass(frozen=True)
class Settings:
    """The numbers inside the metrics' definitions; each enters the protocol of the metrics that use it."""

    k: int = 5
    edge: Literal["<=", "<"] = "<="  # whether the edge belongs to a k-NN ball
    is_splits: int = 10
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    kid_degree: int = 3
    seed: int = SEED
    device: str = "cpu"  # where large matrices are multiplied; the numbers do not depend on it, and no protocol knows it

    @classmethod
    def of(cls, config: EvaluateConfig, device: str = "cpu") -> "Settings":
        """What `config` asks for; what it does not say stays at its default."""
        return cls(k=config.k, edge=config.edge, device=device)


@dataclass(frozen=True)
class Result:
    """One number with what belongs to it. None as a count: no such images play a part."""

    value: float
    uncertainty: float = math.nan
    n_real: int | None = None
    n_generated: int | None = None


Compute = Callable[[Side, Side, Settings, ScopeKind], Mapping[str, Result]]
Unseen = Callable[[Side, Side, Side], Mapping[str, Result]]


@dataclass(frozen=True)
class Metric:
    """The facts about one metric. `compute(generated, real, settings, scope kind)` gives results by metric name.

    Metrics with the same `compute` are computed in one call. Those that ask what a model was trained on have `unseen` in its
    place, a function of (generated, training images, held-out images). Downstream metrics have neither: they train classifiers.
    """

    name: str
    title: str  # how a report heads the column
    summary: str  # one line for `ltgen-bench list metrics`
    source: str
    direction: Direction
    bounds: tuple[float, float]
    needs: tuple[str, ...]  # of: features, reference, logits, class logits, train, held out, training
    scopes: tuple[ScopeKind, ...]
    revision: int = 1
    scale: float = 1.0  # what papers may multiply it by; a report prints it as it is
    decimals: int | None = None  # digits after the point in a report; None: three of a share, else two
    min_images: int = 1  # on each side that plays a part; `images_needed` adds what the settings ask for
    min_per_class: int = 1  # likewise of every class of the scope
    min_held_out: int = 0  # held-out images of every class, for `unseen`
    on_request: bool = False  # computed only where it is named: too slow, or made for one extractor alone
    expected: Callable[[Result, Settings], float] | None = field(default=None, repr=False)  # value of equal distributions
    floors: tuple[Literal["half", "test"], ...] = ("half", "test")
    depends_on_n: bool = True  # whether its expectation changes with the number of images
    enough: Enough = SHARE  # a value of fewer images is marked
    target: float | None = None  # of direction nearest: the expected value of real images where it is known without them
    biased_below: int | None = None  # images; a row with fewer says so, and what the value is at the floor's n
    settings: tuple[str, ...] = ()  # the fields of Settings that enter its protocol
    conventions: tuple[tuple[str, str], ...] = ()  # fixed fields of its protocol
    blind_to: tuple[Blind, ...] = (HELD_OUT,)  # what would have to count against the samples, and does not
    compute: Compute | None = field(default=None, repr=False)
    unseen: Unseen | None = field(default=None, repr=False)

    def wanted(self, classes: int, width: int, settings: Settings) -> int:
        """How many images on a side are enough, of so many classes in features of that width."""
        return self.enough.images(Size(classes, width, settings.k, settings.is_splits))

    def images_needed(self, settings: Settings) -> int:
        """The fewest images on a side for which this metric is defined."""
        if "k" in self.settings:
            return max(self.min_images, settings.k + 1)  # a point's k nearest neighbours besides itself
        return max(self.min_images, settings.is_splits) if "is_splits" in self.settings else self.min_images

    def protocol_fields(self, config: EvaluateConfig, settings: Settings) -> dict[str, Any]:
        """The fields of its protocol that follow from the configuration, whatever the data and the extractor."""
        fields = {"metric": self.name, "revision": self.revision, **{name: getattr(settings, name) for name in self.settings},
                  **dict(self.conventions)}
        if "reference" in self.needs:
            fields |= {"reference": config.reference, "reference_per_class": config.reference_per_class}
        if {"reference", "held out"} & set(self.needs):
            fields |= {"reference_half": config.half}
        return fields
