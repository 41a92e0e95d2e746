"""Sizes and conditions of the measurements."""

from dataclasses import dataclass

from ltgen_bench.config.schema import Compile


@dataclass(frozen=True)
class Sizes:
    """Sizes of the input of metrics and extractors.

    `images` is the number on each side of a metric; `wide` that of a further measurement of the k-NN metrics, whose memory grows
    with it (0: none).
    """

    images: int = 4_000
    features: int = 2048
    classes: int = 20
    per_class: int = 500
    inception: int = 128
    wide: int = 0


FULL = Sizes(images=10_000, classes=100, inception=256, wide=50_000)
NETWORK = "ddpm"  # 35.7 M parameters


@dataclass(frozen=True)
class Conditions:
    """Conditions of all stages. An empty `methods` leaves the choice to the stage, an absent `batch` too."""

    sizes: Sizes
    threads: int
    device: str  # of the network and the extractor; metrics of features are computed by the CPU
    methods: tuple[str, ...] = ()
    preset: str = NETWORK
    batch: int | None = None  # images of a training step or of a sampled chunk
    compile: Compile = "auto"  # of the stage train, as `train.compile`

    def batch_size(self, on_cpu: int, on_cuda: int) -> int:
        """`batch`, else what is usual on this device."""
        return self.batch or (on_cpu if self.device == "cpu" else on_cuda)
