"""Signals from outside. After SIGKILL at random moments the run ends like an undisturbed one, bit for bit."""

import os
import subprocess
import sys

import pytest
import torch

from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")]

# One process imports the library and never computes. It forks a child for each attempt (a process of its own that
# takes up what the last one left) and kills it after a random moment, until one comes to its end.
DRIVER = '''
import os, random, signal, sys, time
from pathlib import Path

import torch

torch.set_num_threads(1)
import numpy as np

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.core.errors import Interrupted
from ltgen_bench.core.files import only_writer
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training import loop, session

session.CHECKPOINT_SECONDS = 0.0
config = RunConfig.from_values({
    "network": {"preset": "digits", "channels": [8, 16], "dropout": 0.2},
    "method": {"name": "cbdm"},
    "train": {"budget_images": 403, "batch_size": 16, "warmup_images": 64, "ema_halflife_images": 100,
              "precision": "float32", "compile": "no"}})
rng = np.random.default_rng(0)
images = ImageSet(rng.integers(0, 256, (30, 1, 8, 8), dtype=np.uint8), np.repeat([0, 1, 2], [20, 7, 3]))
dataset = LongTailDataset("tiny", images, images, images, ("a", "b", "c"), True)


def attempt(folder):
    child = os.fork()
    if child == 0:
        loop.Session.due = lambda session: True  # a checkpoint a step: the kill often falls into the writing
        with only_writer(folder):
            loop.train(config, dataset, folder, RunContext())
        os._exit(0)
    return child


whole, pieces = Path(sys.argv[1]), Path(sys.argv[2])
begin = time.monotonic()
os.waitpid(attempt(whole), 0)
duration = time.monotonic() - begin
moments, kills = random.Random(int(sys.argv[3])), 0
while True:
    child = attempt(pieces)
    time.sleep(duration * moments.uniform(0.02, 0.5))
    if kills < 3:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        print(kills, os.WEXITSTATUS(status), len(list(pieces.glob(".checkpoint-*"))))
        break
    kills += 1

# SIGTERM: the child saves and says where; its exit code comes last
told, tell = os.pipe()
if (child := os.fork()) == 0:
    record = loop.Session.record
    loop.Session.record = lambda self, *a: (record(self, *a), os.write(tell, b"."))
    try:
        with Interruption() as interruption:
            loop.train(config, dataset, Path(sys.argv[4]), RunContext(interruption=interruption))
    except Interrupted as error:
        print(error, flush=True)
        os._exit(error.exit_code)
    os._exit(0)
os.read(told, 1)
os.kill(child, signal.SIGTERM)
print(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
'''


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """The folder in which the driver ran, and the lines that it printed."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", DRIVER, str(folder / "whole"), str(folder / "pieces"), "1", str(folder / "stopped")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.splitlines()


def test_killed_again_and_again_it_ends_like_an_undisturbed_run(driven):
    folder, lines = driven
    kills, code, left = map(int, lines[0].split())
    assert code == 0
    assert kills >= 2  # it was disturbed in earnest
    assert left == 0  # what the kills left half-written is tidied up
    (first, info), (second, also) = (load_checkpoint(checkpoints(folder / name)[0]) for name in ("whole", "pieces"))
    assert info["images_seen"] == also["images_seen"] == 403
    assert also["exact"]
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_sigterm_from_outside_saves_the_position_and_ends_with_143(driven):
    folder, lines = driven
    assert lines[-1] == "143"
    assert lines[-2].endswith("of 403 images; the position is saved")
    seen = load_checkpoint(checkpoints(folder / "stopped")[0])[1]["images_seen"]
    assert lines[-2].startswith(f"stopped at {seen} of")
