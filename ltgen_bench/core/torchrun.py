"""What torchrun tells a process that it starts. Imports no torch."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """This process among those of the run: number `rank` of `size`, and number `local` of the `here` on this machine.

    `machines` is how many torchruns started them.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    here: int = 1
    machines: int = 1


def place() -> Place:
    """From the environment; the only process there is, where torchrun started no other."""
    size = int(os.environ.get("WORLD_SIZE", "1")) if {"RANK", "LOCAL_RANK", "MASTER_ADDR"} <= os.environ.keys() else 1
    if size == 1:
        return Place()
    return Place(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", size)),
                 int(os.environ.get("GROUP_WORLD_SIZE", "1")))
