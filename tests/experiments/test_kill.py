"""Killed without warning in each stage and repeated, a run ends with the same bytes."""

import subprocess
import sys

import pytest
import torch

from ltgen_bench.api import run

pytestmark = pytest.mark.slow
# Each kills the process, as a power cut would, at its third call.
KILL_AT = {
    "train": "ltgen_bench.training.checkpoint.save_checkpoint",
    "sample": "ltgen_bench.sampling.draw.Sampling.draw",
    "features": "ltgen_bench.evaluation.features.feature_file.write_at",
    "downstream": "ltgen_bench.evaluation.downstream.train_classifier",
}

DRIVER = """
import importlib, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[4]))
from ltgen_bench.config.schema import RunConfig
from ltgen_bench.api import run
from ltgen_bench.training import checkpoint, loop, session, trainer

session.CHECKPOINT_SECONDS = 0.0
loop.Session.due = lambda session: True
path, runs, recipe = sys.argv[1:4]
parts = path.split(".")
owner = importlib.import_module(".".join(parts[:3]))
for name in parts[3:-1]:
    owner = getattr(owner, name)
original, calls = getattr(owner, parts[-1]), []

def deadly(*args, **kwargs):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, parts[-1], deadly)
if parts[-1] == "save_checkpoint":
    trainer.save_checkpoint = deadly
run(RunConfig.from_recipe(recipe), runs=Path(runs), device="cpu")
"""


@pytest.mark.parametrize("stage", KILL_AT)
def test_a_run_killed_in_any_stage_ends_with_the_same_bytes(stage, tiny_run, undisturbed, result_files, tmp_path, monkeypatch):
    monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path / "cache"))  # features must be made here, not found
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tiny_run().to_toml())
    arguments = [KILL_AT[stage], str(tmp_path / "runs"), str(recipe), str(torch.get_num_threads())]
    killed = subprocess.run([sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    again = run(tiny_run(), runs=tmp_path / "runs", device="cpu")
    for mine, theirs in zip(result_files(again), result_files(undisturbed), strict=True):
        assert mine == theirs
