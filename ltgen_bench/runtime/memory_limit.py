"""How much memory there is to work with."""

import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_memory(limit_file: Path = CGROUP_LIMIT) -> int:
    """Bytes of memory that this process may use: the machine's, or a container's share of it where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(limit_file.read_text())
    except (OSError, ValueError):  # no container, or one with the limit "max"
        return physical
    return min(physical, limit)
