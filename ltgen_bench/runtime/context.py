"""The context of a run: device, progress, processes, interruption, cache, extractor weights, command line."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ltgen_bench.core.files import cache_folder
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.runtime.distributed import SINGLE_PROCESS, Ranks

if TYPE_CHECKING:  # torch takes seconds to import
    import torch


def _cpu() -> "torch.device":
    import torch

    return torch.device("cpu")


@dataclass(frozen=True)
class RunContext:
    """Where and how the stages of a run are carried out. By default: one silent process on the CPU.

    Stages, and functions that only hand it on, take it as `context`; any other function takes the one field that it needs.
    """

    device: "torch.device" = field(default_factory=_cpu)
    progress: Progress = SILENT
    ranks: Ranks = SINGLE_PROCESS
    interruption: Interruption = field(default_factory=Interruption)
    cache: Path = field(default_factory=cache_folder)
    extractor_weights: Mapping[str, Path] = field(default_factory=dict)  # extractor -> weights file of the user
    command: str = ""  # for the record

    @property
    def features(self) -> Path:
        """The part of the cache with features of images and trained classifiers."""
        return self.cache / "features"

    @property
    def alone(self) -> "RunContext":
        """This context for what the main process does without the others."""
        return replace(self, ranks=SINGLE_PROCESS)

    def on_main(self, action: Callable[[], object]) -> None:
        """Call `action` in the main process alone, without waiting for it in the others."""
        if self.ranks.is_main:
            action()

    def timed(self, cost: Path, finished: bool = False) -> AbstractContextManager[None]:
        """Add the seconds and the peak memory of the block to the JSON file `cost`, in the main process.

        With `finished` the block only reads what an earlier call made, and nothing is added.
        """
        from ltgen_bench.runtime.device import stage_cost

        return self.ranks.only_on_main(stage_cost(cost, self.device, self.progress.say, done=finished))

    @contextmanager
    def exclusively(self, lock: AbstractContextManager[None]) -> Iterator[None]:
        """Run the block while the main process holds `lock`, with Ctrl-C and SIGTERM handled; all processes leave together."""
        with self.ranks.only_on_main(lock), self.interruption:
            yield
            self.ranks.barrier()
