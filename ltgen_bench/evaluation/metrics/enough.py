"""Number of images that a score needs; scores of fewer images are marked wherever they are shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Size(NamedTuple):
    """Values that a sufficient number of images depends on: classes of the scope, width of the features, settings."""

    classes: int
    width: int
    settings: Any


@dataclass(frozen=True)
class Enough:
    """`images(size)` are enough on each side that plays a part; `why` says in words how many these are, and for what reason.

    `by_class`: the smallest class counts, as if all had its size.
    """

    images: Callable[[Size], int]
    why: str
    by_class: bool = False


def too_few(counts: Mapping[str, int], wanted: int) -> str:
    """Which of `counts` (by the name of the side) are below `wanted`: `10 generated and 12 real`; empty where none is."""
    return " and ".join(f"{count:,} {name}" for name, count in counts.items() if count < wanted)


OF_A_SHARE = 100  # images whose share has a standard error of at most 0.05
SHARE = Enough(lambda size: OF_A_SHARE, "100: the standard error of a share of fewer may exceed 0.05")
NEIGHBOURS = Enough(lambda size: max(OF_A_SHARE, 20 * size.settings.k),
                    "100, and 20 k: the standard error of a share of fewer may exceed 0.05, and a ball holds more than a "
                    "twentieth of the images")
COVARIANCE = Enough(lambda size: size.width + 1,
                    "one more than there are features: the covariance of fewer is singular, and bias rules")
ENTROPY = Enough(lambda size: 10 * size.settings.splits * size.classes,
                 "10 of each class in each of the splits: of fewer it falls short by 5 % and more, and of one a split it is 1")
ERROR = Enough(lambda size: 50, "50: of fewer its standard error is itself uncertain by more than a tenth")
PAIRS = Enough(lambda size: 20 * size.classes, "20 of each class: these are worth ten pairs that share no image", by_class=True)
CLUSTERS = Enough(lambda size: 200 * size.classes, "200 of each class: 10 in a cluster, whose share is then known to a third",
                  by_class=True)
VARIETY = Enough(lambda size: 100, "100: it cannot exceed their number, and grows with it")
