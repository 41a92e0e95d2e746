"""`torchrun ... -m ltgen_bench run` on two processes of this machine: the same numbers, and a death that is told and survived."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
TINY = ["run", "--method", "oc", "--images-per-class", "5", "--threads", "1", "--set", "train.batch_size=32", "--set",
        "train.precision=float32", "--set", "sample.batch_size=8", "--set", "evaluate.downstream_steps=10"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*arguments):
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "ltgen_bench",
            *map(str, arguments)]


def alone(*arguments):
    return [sys.executable, "-m", "ltgen_bench", *map(str, arguments)]


def done(command, code=0):
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == code, result.stderr
    return result


def run_folder(runs):
    (folder,) = (runs / "digits-lt").glob("oc-*")
    return folder


def images(runs):
    (file,) = run_folder(runs).glob("samples/*/samples.npz")
    return np.load(file)["images"].astype(int)


def log(runs):
    return [json.loads(line) for line in (run_folder(runs) / "train" / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A finished run of one process."""
    runs = tmp_path_factory.mktemp("one")
    done(alone(*TINY, "--budget-images", 320, "--runs", runs))
    return runs


def test_two_processes_make_the_run_of_one(one, tmp_path):
    result = done(torchrun(*TINY, "--budget-images", 320, "--runs", tmp_path))
    for own, theirs in zip(log(one), log(tmp_path), strict=True):
        assert theirs["images"] == own["images"]
        assert theirs["loss"] == pytest.approx(own["loss"], abs=1e-5)
    assert np.abs(images(one) - images(tmp_path)).max() <= 1
    scores = [(run_folder(runs) / "scores.csv").read_text().splitlines() for runs in (one, tmp_path)]
    assert len(scores[0]) == len(scores[1]) > 50
    records = [json.loads((run_folder(runs) / "record.json").read_text()) for runs in (one, tmp_path)]
    assert [record["hardware"].get("processes") for record in records] == [None, 2]
    assert records[0]["protocols"] == records[1]["protocols"]
    assert records[1]["command"].startswith("torchrun --nproc-per-node 2 -m ltgen_bench run")
    assert result.stdout.count("classifier features") == 1, "both processes print the table"
    assert "2 processes, each on cpu" in result.stderr
    again = done(torchrun(*TINY, "--budget-images", 320, "--runs", tmp_path))
    assert "finished on" in again.stdout


def test_two_processes_draw_and_score_the_very_images_of_one(one, tmp_path):
    """From the same weights: chunks and batches are those of one process, so nothing differs, not in a bit."""
    import shutil

    shutil.copytree(one, tmp_path, dirs_exist_ok=True)
    folder = run_folder(tmp_path)
    before = images(tmp_path), (folder / "scores.csv").read_text()
    shutil.rmtree(folder / "samples")
    shutil.rmtree(folder / "scores")
    environment = {**ENVIRONMENT, "LTGEN_BENCH_CACHE": str(tmp_path / "cache")}
    result = subprocess.run(torchrun(*TINY, "--budget-images", 320, "--runs", tmp_path), env=environment, capture_output=True,
                            text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert np.array_equal(images(tmp_path), before[0])
    assert (folder / "scores.csv").read_text() == before[1]


def process_of(rank, parent):
    """The worker with this rank among the children of `parent`."""
    children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False).stdout.split()
    for child in map(int, children):
        if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
            return child
    raise AssertionError(f"no process {rank} among {children}")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="finds the worker in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_the_death_of_one_process_ends_all_and_the_command_goes_on_from_the_checkpoint(rank, tmp_path):
    # a checkpoint a step, so that there is one; and long enough to be killed in the middle
    patch = ("import ltgen_bench.training.session as session; session.Session.due = lambda self: True; "
             "from ltgen_bench.cli import main; main()")
    script = tmp_path / "often.py"
    script.write_text(patch)
    arguments = [*TINY, "--budget-images", "3200", "--runs", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script), *arguments]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not list((tmp_path / "runs").glob("*/*/train/checkpoint-*")):
            time.sleep(0.1)
        os.kill(process_of(rank, running.pid), signal.SIGKILL)
        killed = time.monotonic()
        _, errors = running.communicate(timeout=60)
        assert time.monotonic() - killed < 60
    assert running.returncode != 0
    assert "another process of this run" in errors
    assert "goes on from there" in errors
    result = done(alone(*arguments))  # on another number of processes
    assert "continuing at" in result.stderr
    assert "processes 1 instead of 2" in result.stderr
    assert log(tmp_path / "runs")[-1]["images"] == 3200


def test_other_commands_are_refused_and_a_mistake_is_told_once():
    result = done(torchrun("report"), code=1)
    assert "start 'ltgen-bench report' without torchrun." in result.stderr
    result = done(torchrun("run", "--method", "cdbm"), code=1)
    assert result.stderr.count("unknown method 'cdbm'") == 1


def test_a_dry_run_measures_on_one_of_them_and_says_so(tmp_path):
    script = tmp_path / "noted.py"
    script.write_text("import os; from pathlib import Path; import ltgen_bench.experiments.speed_probe as probe\n"
                      "plain = probe.estimate\n"
                      "def noting(*given):\n"
                      f"    Path({str(tmp_path)!r}, f'measured-{{os.environ[\"RANK\"]}}').touch()\n"
                      "    return plain(*given)\n"
                      "probe.estimate = noting\n"
                      "from ltgen_bench.cli import main; main()\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script), *TINY]
    result = done([*command, "--dry-run", "--runs", str(tmp_path / "runs")])
    assert "cpu alone (the run has 2 processes)" in result.stdout
    assert [path.name for path in tmp_path.glob("measured-*")] == ["measured-0"]
    assert not (tmp_path / "runs").exists()


def test_machines_without_a_common_disk_are_refused_before_training(tmp_path):
    """As two machines: each process is told another folder, which the other one does not see."""
    script = tmp_path / "apart.py"
    script.write_text("import os, sys; import ltgen_bench.runtime.distributed as ranks; ranks.VISIBLE_WITHIN = 1.0\n"
                      "sys.argv += ['--runs', f'{sys.argv.pop()}-{os.environ[\"RANK\"]}']\n"
                      "from ltgen_bench.cli import main; main()\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script), *TINY,
               "--budget-images", "320", str(tmp_path / "runs")]
    result = done(command, code=1)
    assert result.stderr.count("let --runs be on a disk that all machines share") == 1
    assert not [path for path in tmp_path.glob("runs-*/**/*") if path.is_file()], "and nothing is left behind"


def test_processes_with_other_data_are_refused_before_anything_is_written(tmp_path):
    """Each process has images of its own in a folder of the same name."""
    script = tmp_path / "other.py"
    script.write_text("import os, sys; from pathlib import Path; here = Path(sys.argv.pop()) / os.environ['RANK']\n"
                      "import numpy as np; rng = np.random.default_rng(int(os.environ['RANK']))\n"
                      "here.mkdir(); os.chdir(here)\n"
                      "labels = np.repeat(np.arange(3), 8)\n"
                      "draw = lambda: rng.integers(0, 256, (24, 8, 8, 1), dtype=np.uint8)\n"
                      "np.savez('data.npz', train_images=draw(), train_labels=labels, test_images=draw(), test_labels=labels)\n"
                      "sys.argv += ['--runs', str(here.parent / 'runs')]\n"
                      "from ltgen_bench.cli import main; main()\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script), *TINY,
               "--dataset", "npz:data.npz", "--budget-images", "320", str(tmp_path)]
    result = done(command, code=1)
    assert result.stderr.count("would train 2 different things") == 1
    assert not (tmp_path / "runs").exists()


def test_a_mistake_that_the_first_one_finds_is_told_by_it_alone(one, tmp_path):
    import shutil

    shutil.copytree(one, tmp_path, dirs_exist_ok=True)
    folder = run_folder(tmp_path)
    shutil.rmtree(folder / "scores")
    text = (folder / "config.toml").read_text()
    assert "batch_size = 32" in text
    (folder / "config.toml").write_text(text.replace("batch_size = 32", "batch_size = 33"))
    result = done(torchrun(*TINY, "--budget-images", 320, "--runs", tmp_path), code=1)
    assert result.stderr.count("belongs to another configuration") == 1
    assert "another process of this run has ended" not in result.stderr
