"""How much is measured, and under which conditions."""

from dataclasses import dataclass

from ltgen_bench.config.schema import Compile

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
NETWORK = "ddpm"  # 35.7 M parameters, the network of the targets
CPU_BATCH, CUDA_BATCH = 16, 128  # training images of a step for which the targets were set
CORES = {1: "one CPU core", 2: "two CPU cores"}


@dataclass(frozen=True)
class Conditions:
    """Under which the jobs run. `methods` are those asked for; a stage has its own where none is."""

    sizes: Sizes
    threads: int
    device: str  # of the network and of the extractor; metrics of features are computed by the CPU
    methods: tuple[str, ...] = ()
    preset: str = NETWORK
    batch: int | None = None  # images of a training step or of a sampled chunk; what the targets are for when absent
    compile: Compile = "auto"  # of the stage train, as `train.compile`

    @property
    def cuda(self) -> bool:
        return self.device != "cpu"

    @property
    def batch_size(self) -> int:
        return self.batch or (CUDA_BATCH if self.cuda else CPU_BATCH)

    @property
    def network(self) -> str:
        """`the ddpm network`"""
        return f"the {self.preset} network"

    @property
    def sized(self) -> str:
        """`the ddpm network at batch 16`"""
        return f"{self.network} at batch {self.batch_size}"

    @property
    def placed(self) -> str:
        """`the ddpm network at batch 16 on two CPU cores`"""
        return f"{self.sized} on {'CUDA' if self.cuda else CORES.get(self.threads, f'{self.threads} CPU cores')}"
