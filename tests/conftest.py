"""What all tests share: one thread, a cache of their own, no network, and small data sets that are made, not read.

Nothing of ltgen_bench is imported at the top: jaxtyping hooks into the imports after this file was read.
"""

import hashlib
import io
import os
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest

THREADS = 1  # tiny tensors, and a process a core; two threads only wait for each other
PROCESSES = 8  # more of them would import longer than they test
LOCAL = ("127.0.0.1", "::1", "localhost")
# a whole run small enough for a test: digits, a network of a few thousand parameters, a few steps of everything
TINY = {
    "data": {"name": "digits-lt"},
    "network": {"preset": "digits", "channels": [8, 16], "dropout": 0.1},
    "method": {"name": "cbdm"},
    "train": {"budget_images": 200, "batch_size": 16, "learning_rate": 2e-3, "warmup_images": 32,
              "ema_halflife_images": 60, "precision": "float32"},
    "sample": {"sampler": "dpm-solver++", "steps": 3, "omega": 0.5, "images_per_class": 12, "batch_size": 25},
    "evaluate": {"downstream_steps": 6},
}


def pytest_configure(config):
    import torch

    torch.set_num_threads(THREADS)


def pytest_xdist_auto_num_workers(config):
    """A process a core, at most `PROCESSES`; none besides this one where single files or tests, or benchmarks, are asked for.

    A process imports torch and its kin for longer than the tests of a file usually take.
    """
    if all(".py" in argument for argument in config.args) or config.option.markexpr == "benchmark":
        return 0
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, PROCESSES)


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory, worker_id):
    """A folder that all processes of these tests share."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def one_at_a_time(common_folder):
    """`with one_at_a_time(name):` what is done under that name by one process of these tests after the other."""
    from filelock import FileLock

    return lambda name: FileLock(common_folder / f"{name}.lock")


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(common_folder):
    """No test reads or fills the user's cache; all processes of these tests share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LTGEN_BENCH_CACHE", str(common_folder / "cache"))
        yield common_folder / "cache"


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """A connection to anything but this machine fails, as it would without a network."""
    connect = socket.socket.connect

    def only_local(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise OSError(f"the tests have no network (asked for {address})")
        return connect(self, address)

    socket.socket.connect = only_local
    yield
    socket.socket.connect = connect


@pytest.fixture(scope="session")
def make_images():
    """`make_images(counts, shape)`: an `ImageSet` with that many images of each class, in mixed order.

    Class c is a bright bar at its own place under noise, so that a network can learn it.
    """
    from ltgen_bench.data.images import ImageSet

    def make(counts, shape=(1, 8, 8), seed=0):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
        images = rng.integers(0, 60, (len(labels), *shape), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, label % shape[1]] += 180
        return ImageSet(images, labels)

    return make


@pytest.fixture(scope="session")
def make_dataset(make_images):
    """`make_dataset(counts, shape)`: a `LongTailDataset` whose training set has these class counts."""
    from ltgen_bench.data.dataset import LongTailDataset

    def make(counts=(20, 9, 4), shape=(1, 8, 8), flip=False, name="tiny"):
        top = [max(counts)] * len(counts)
        return LongTailDataset(name, make_images(counts, shape), make_images(top, shape, 1), make_images(top, shape, 2),
                               tuple(f"class {c}" for c in range(len(counts))), flip)

    return make


@pytest.fixture(scope="session")
def tiny_dataset(make_dataset):
    return make_dataset()


@pytest.fixture(scope="session")
def make_problem():
    """`make_problem(counts, shape, process)`: what a method is told of the data."""
    from ltgen_bench.data.groups import all_groups
    from ltgen_bench.diffusion.ddpm_process import DDPMProcess
    from ltgen_bench.methods.base import Problem

    def make(counts=(20, 9, 4), shape=(1, 8, 8), process=None):
        return Problem(list(counts), all_groups(list(counts)), process or DDPMProcess(), shape)

    return make


@pytest.fixture(scope="session")
def make_config():
    """`make_config(**{"train.batch_size": 4})`: a run of a few steps on the CPU in float32, with overrides."""
    from ltgen_bench.config.schema import RunConfig

    tiny = {
        "network": {"preset": "digits", "channels": [8, 16]},
        "method": {"name": "ddpm"},
        "train": {"budget_images": 60, "batch_size": 8, "learning_rate": 2e-3, "warmup_images": 16,
                  "ema_halflife_images": 40, "precision": "float32", "compile": "no"},
        "sample": {"sampler": "dpm-solver++", "steps": 4, "images_per_class": 3, "batch_size": 4},
    }

    def make(overrides=None, **more):
        return RunConfig.from_values(tiny, overrides={**(overrides or {}), **more})

    return make


@pytest.fixture(scope="session")
def make_network():
    """`make_network(shape, num_classes)`: the smallest U-Net, its last layer awake so that its output is not zero."""
    import torch

    from ltgen_bench.config.schema import NetworkConfig
    from ltgen_bench.diffusion.network import build_network

    def make(shape=(1, 8, 8), num_classes=3, dropout=0.0, channels=(8, 16), seed=0, augment_dim=0):
        config = NetworkConfig(preset="digits", channels=channels, dropout=dropout)
        net = build_network(config, shape, num_classes, seed=seed, augment_dim=augment_dim)
        awake = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            net.unet.conv_out.weight.normal_(0, 0.1, generator=awake)
        return net

    return make


@pytest.fixture
def told():
    """A `Progress` that remembers what it was told: `told.messages` and `told.stages`."""
    from contextlib import contextmanager

    class Told:
        def __init__(self):
            self.messages, self.stages = [], []

        def say(self, message):
            self.messages.append(message)

        @contextmanager
        def stage(self, name, total, unit, done=0):
            entry = {"name": name, "total": total, "unit": unit, "done": done}
            self.stages.append(entry)

            class Bar:
                def advance(self, amount, note=""):
                    entry["done"] += amount
                    entry["note"] = note

            yield Bar()

    return Told()


@pytest.fixture
def two_threads():
    """torch with two threads for one test."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_run():
    """`tiny_run(**{"sample.omega": 1.0})`: the configuration of a whole tiny run."""
    from ltgen_bench.config.schema import RunConfig

    return lambda **overrides: RunConfig.from_values(TINY, overrides=overrides)


@pytest.fixture(scope="module")
def few_halvings():
    """Baseline scores and sampling errors from one halving instead of several, where a file looks at other things."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BASELINE_SPLITS", "SPREAD_SPLITS"):
            patch.setattr(f"ltgen_bench.evaluation.baseline_scores.{name}", 1)
        yield


@pytest.fixture(scope="session")
def undisturbed(tiny_run, common_folder, one_at_a_time, tmp_path_factory):
    """A finished tiny run that nothing interrupted, made once and copied for each process; do not write into it."""
    import shutil

    from ltgen_bench.api import run

    with one_at_a_time("undisturbed"):
        run(tiny_run(), runs=common_folder / "undisturbed", device="cpu", command="ltgen-bench run")
        own = shutil.copytree(common_folder / "undisturbed", tmp_path_factory.mktemp("undisturbed") / "runs")
    return run(tiny_run(), runs=own, device="cpu", command="ltgen-bench run")


@pytest.fixture(scope="session")
def result_files():
    """`result_files(run)`: what a run is for, byte by byte: weights, samples, scores."""
    from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint

    def read(run):
        tensors, _ = load_checkpoint(checkpoints(run.plan.folder.path / "train")[0])
        samples = (run.plan.samples.folder / "samples.npz").read_bytes()
        return {name: value.numpy().tobytes() for name, value in tensors.items()}, samples, \
            (run.plan.scores.folder / "scores.csv").read_text()

    return read


@pytest.fixture(scope="session")
def read_back():
    """`read_back("ltgen-bench run ...")`: the configuration that the real command line makes of it."""
    import shlex

    from ltgen_bench.cli.run_command import run
    from ltgen_bench.cli.run_options import config_of

    def read(command):
        program, name, *arguments = shlex.split(command)
        assert (program, name) == ("ltgen-bench", "run")
        options = run.make_context("run", arguments).params
        taken = {key: options.pop(key) for key in ("method", "dataset", "recipe", "method_file", "settings")}
        return config_of(**taken, options=options)

    return read


@pytest.fixture
def counting_extractor():
    """An extractor of made-up features (means of rows and columns) that remembers how often it was asked."""
    from ltgen_bench.evaluation.extractors import Features

    class Counting:
        name, resize, precision, has_logits, class_logits, batch_size = "counting", "none", "float32", True, True, 4
        feature_dim = 16
        weights_id = logits_id = "counting-1"
        sha256 = hashlib.sha256(b"counting").hexdigest()
        seen = 0

        def __call__(self, images):
            self.seen += len(images)
            means = images.astype(np.float32).mean(axis=1) / 255
            features = np.concatenate([means.mean(axis=1), means.mean(axis=2)], axis=1)
            return Features(features, features[:, :3])

    return Counting()


@pytest.fixture
def methods(monkeypatch):
    """The registry of methods, put back afterwards."""
    from ltgen_bench.methods import METHODS

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    return METHODS


@pytest.fixture
def program(tmp_path, monkeypatch):
    """`program("run", "--seed", "1")`: what the program does in an empty folder; its returncode, stdout and stderr.

    In this process: a new interpreter would import torch again.
    """
    import torch

    from ltgen_bench.cli import main

    def call(*arguments, **environment):
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["ltgen-bench", *map(str, arguments)])
            patch.chdir(tmp_path)
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        torch.set_num_threads(THREADS)
        return SimpleNamespace(returncode=ended.value.code, stdout=out.getvalue(), stderr=err.getvalue())

    return call


@pytest.fixture
def refused(program):
    """`refused("run", "--seed", "x")`: what the program says of a user's mistake: on stderr alone, with exit code 2."""
    def call(*arguments):
        answer = program(*arguments)
        assert answer.returncode == 2, answer.stderr
        assert "Traceback" not in answer.stderr
        assert answer.stdout == ""
        return answer.stderr

    return call
