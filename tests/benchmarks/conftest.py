"""Benchmarks for the developers of this package: it against plain loops, prdc and torch-fidelity, on this machine, in one run.

    pytest -o addopts= -m benchmark tests/benchmarks

takes about ten minutes of two CPU cores, and prints each figure with its target. A ratio is of calls that were made in turn in
the same process; results must agree before a speed counts. Without `-m benchmark` nothing of this folder is collected. Give it a
machine that does nothing else, and as many threads as the targets were set for (OMP_NUM_THREADS=2).
"""

import pytest
import torch

FIGURES = []  # lines of the summary


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """One benchmark at a time, whatever the options of the tests say: several would slow each other."""
    if "benchmark" in config.option.markexpr:
        config.option.numprocesses, config.option.dist = 0, "no"


def pytest_ignore_collect(collection_path, config):
    """Whether a file of this folder is left out (None: pytest decides)."""
    return None if "benchmark" in config.option.markexpr or collection_path.is_dir() else True


def pytest_terminal_summary(terminalreporter):
    """Print every figure."""
    for line in FIGURES:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def all_threads():
    """The tests take one thread; benchmarks take those of the machine."""
    import os

    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def device():
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def reach():
    """`reach(what, value, at_least=..., at_most=...)`: note a figure, and fail where it misses its target."""
    def note(what, value, *, at_least=None, at_most=None):
        bounds = ((">=", at_least), ("<=", at_most))
        target = "".join(f"   target {sign} {bound:g}" for sign, bound in bounds if bound is not None)
        FIGURES.append(f"{what:<58} {value:10.4g}{target}")
        assert at_least is None or value >= at_least, what
        assert at_most is None or value <= at_most, what

    return note
