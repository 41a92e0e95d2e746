"""Several processes of this program on one machine, as torchrun starts them."""

import os
import socket
import subprocess
import sys


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes(script, size, *arguments, local=None):
    """Start `script` in `size` processes that find each other; they are ended with what waits for them.

    `local` is the number of each on its machine, where they are to take themselves for several machines.
    """
    port = free_port()
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size),
              "LOCAL_WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    return [subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)],
                             env={**common, "RANK": str(rank), "LOCAL_RANK": str(own)}, stderr=subprocess.PIPE, text=True)
            for rank, own in enumerate(range(size) if local is None else local)]
