"""What a RunContext owns: defaults, the main process, costs of stages, locks and signals."""

import json
import signal
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass

import pytest

from ltgen_bench.core.errors import Interrupted
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.core.progress import SILENT
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import Ranks


@dataclass(frozen=True)
class Other(Ranks):
    """The second of two processes; the main process has broadcast 7."""

    def broadcast(self, value):
        assert value is None
        return 7

    def barrier(self):
        """The other one is always there."""


def test_by_default_it_is_one_silent_process_on_the_cpu(cache_of_the_tests):
    context = RunContext()
    assert (context.device.type, context.progress, context.ranks.size, context.command) == ("cpu", SILENT, 1, "")
    assert context.features == cache_of_the_tests / "features"
    assert dict(context.extractor_weights) == {}
    with pytest.raises(FrozenInstanceError):
        context.command = "other"


def test_only_the_main_process_acts_locks_and_counts(tmp_path):
    held, done = [], []

    @contextmanager
    def lock():
        held.append(1)
        yield

    for ranks in (Ranks(), Other(1, 2)):
        context = RunContext(ranks=ranks)
        with context.exclusively(lock()), context.timed(tmp_path / f"{ranks.rank}.json"):
            context.on_main(lambda: done.append(1))
    assert (held, done) == ([1], [1])
    assert [path.name for path in tmp_path.iterdir()] == ["0.json"]
    assert json.loads((tmp_path / "0.json").read_text())["device"] == "cpu"


def test_a_value_of_the_main_process_is_computed_there_alone():
    assert Ranks().from_main(lambda: 3) == 3
    assert Other(1, 2).from_main(lambda: pytest.fail("computed")) == 7


def test_alone_leaves_all_but_the_processes(tmp_path):
    context = RunContext(ranks=Other(1, 2), cache=tmp_path, command="run")
    assert (context.alone.ranks.size, context.alone.cache, context.alone.command) == (1, tmp_path, "run")


def test_nested_blocks_share_the_handlers_of_signals():
    interruption, before = Interruption(), signal.getsignal(signal.SIGINT)
    with interruption:
        with interruption:
            inside = signal.getsignal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == inside != before
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_later_block_forgets_an_earlier_signal():
    interruption = Interruption()
    with pytest.raises(Interrupted), interruption:
        signal.raise_signal(signal.SIGTERM)
    with interruption:
        assert interruption.requested is None
