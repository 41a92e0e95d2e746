"""Ranks of this process, from torchrun's environment variables. Imports no torch."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class TorchrunProcess:
    """Ranks of a process: `rank` of `size` in the run, `local` of `here` on this machine, one of `machines`."""

    rank: int = 0
    size: int = 1
    local: int = 0
    here: int = 1
    machines: int = 1


def torchrun_process() -> TorchrunProcess:
    """Return the ranks of this process; those of a single process where torchrun did not start it."""
    size = int(os.environ.get("WORLD_SIZE", "1")) if {"RANK", "LOCAL_RANK", "MASTER_ADDR"} <= os.environ.keys() else 1
    if size == 1:
        return TorchrunProcess()
    return TorchrunProcess(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]),
                           int(os.environ.get("LOCAL_WORLD_SIZE", size)), int(os.environ.get("GROUP_WORLD_SIZE", "1")))
