"""How much is measured, and under which conditions."""

from dataclasses import dataclass

WIDTH = 2048  # features for which the targets were set


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `wide` images meet each other once more, for the memory at full size; 0: they do not."""

    images: int = 4_000  # on each side
    features: int = WIDTH
    classes: int = 20
    per_class: int = 500
    inception: int = 128
    wide: int = 0


FULL = Sizes(images=10_000, classes=100, inception=256, wide=50_000)


@dataclass(frozen=True)
class Conditions:
    """Under which the jobs run."""

    sizes: Sizes
    threads: int
    device: str  # of the extractor; metrics of features are computed by the CPU
