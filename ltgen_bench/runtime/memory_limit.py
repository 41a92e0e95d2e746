"""Memory available to this process."""

import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_memory(limit_file: Path = CGROUP_LIMIT) -> int:
    """Return the memory that this process may use, in bytes: the machine's, or the container's limit where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(limit_file.read_text())
    except (OSError, ValueError):  # no container, or one with the limit "max"
        return physical
    return min(physical, limit)
