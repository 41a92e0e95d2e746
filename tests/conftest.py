"""What all tests share: one thread, a cache of their own, no network, and small data sets that are made, not read.

Nothing of ltgen_bench is imported at the top: jaxtyping hooks into the imports after this file was read.
"""

import os
import socket

import numpy as np
import pytest

THREADS = 1  # tiny tensors; two threads only wait for each other where the machine is busy
LOCAL = ("127.0.0.1", "::1", "localhost")


def pytest_configure(config):
    import torch

    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """No test reads or fills the user's cache."""
    before = os.environ.get("LTGEN_BENCH_CACHE")
    folder = tmp_path_factory.mktemp("cache")
    os.environ["LTGEN_BENCH_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["LTGEN_BENCH_CACHE"]
    else:
        os.environ["LTGEN_BENCH_CACHE"] = before


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
    """`make_problem(counts, shape)`: what a method is told of the data."""
    from ltgen_bench.data.groups import all_groups
    from ltgen_bench.diffusion.schedule import Schedule
    from ltgen_bench.methods.base import Problem

    def make(counts=(20, 9, 4), shape=(1, 8, 8)):
        return Problem(list(counts), all_groups(list(counts)), Schedule(), shape)

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
