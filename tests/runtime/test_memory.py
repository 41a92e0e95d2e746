"""The peak of a stage is its own: not what the process held before, and not what is open beside it."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ltgen_bench.runtime import memory
from ltgen_bench.runtime.device import read_cost, stage_cost
from ltgen_bench.runtime.memory import free_memory, machine_memory, peak_memory, resident_mb

CPU = torch.device("cpu")
LARGE = 400  # 10^6 bytes
tells = pytest.mark.skipif(not memory.FORGET.exists(), reason="only Linux forgets a peak")


def hold(megabytes):
    return np.ones(megabytes * 125_000)


@tells
def test_what_was_held_before_is_not_in_it():
    del (held := [hold(LARGE)])[:]
    with peak_memory(CPU) as peak:
        assert peak.mb < resident_mb() + LARGE / 4
        own = hold(LARGE // 2)
        del own
    assert peak.mb == pytest.approx(resident_mb() + LARGE / 2, abs=LARGE / 4)
    assert held == []


@tells
def test_one_inside_another_leaves_it_its_own():
    with peak_memory(CPU) as outer:
        before = resident_mb()
        del (held := [hold(LARGE)])[:]
        with peak_memory(CPU) as inner:
            held.append(hold(LARGE // 4))
        assert inner.mb < before + LARGE / 2
        held.clear()
    assert outer.mb > before + 0.9 * LARGE


@tells
def test_a_stage_that_does_nothing_and_later_ones_inherit_nothing(tmp_path):
    def cost(name, work, **given):
        with stage_cost(tmp_path / name, CPU, **given):
            work()
        return read_cost(tmp_path / name)

    with peak_memory(CPU):  # what other tests held is given back
        pass
    now = resident_mb()
    large = cost("large", lambda: hold(LARGE))
    assert large["peak_memory_mb"] > now + 0.9 * LARGE
    nothing = cost("nothing", lambda: None)
    assert nothing["peak_memory_mb"] < now + LARGE / 4
    assert cost("large", lambda: None, done=True) == large, "what is there is read for nothing"
    again = cost("nothing", lambda: hold(LARGE // 2))
    assert now + LARGE / 4 < again["peak_memory_mb"] < now + 0.9 * LARGE
    assert cost("nothing", lambda: None)["peak_memory_mb"] == again["peak_memory_mb"], "the largest of all sessions"


@pytest.mark.parametrize("status", [True, False])
def test_where_a_system_does_not_forget_only_a_higher_peak_is_known(tmp_path, monkeypatch, status):
    with peak_memory(CPU):  # what other tests held is forgotten
        pass
    monkeypatch.setattr(memory, "FORGET", tmp_path / "nothing" / "here")
    if not status:
        monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    del (held := [hold(LARGE)])[:]  # so that there was a higher peak
    with stage_cost(tmp_path / "first.json", CPU):
        assert held == []
    assert read_cost(tmp_path / "first.json")["peak_memory_mb"] is None
    with peak_memory(CPU) as peak:
        held = hold(2 * LARGE)
        top = peak.mb
    assert top is not None
    assert top > held.nbytes / 1e6
    del held
    with stage_cost(tmp_path / "second.json", CPU):
        pass
    assert read_cost(tmp_path / "second.json")["peak_memory_mb"] is None
    assert read_cost(tmp_path / "second.json")["seconds"] >= 0


def test_a_system_that_takes_the_word_and_does_not_heed_it(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "FORGET", tmp_path / "ignored")
    monkeypatch.setattr(memory, "_peak_of_status", lambda: 1000.0)
    monkeypatch.setattr(memory, "resident_mb", lambda: 400.0)
    with peak_memory(CPU) as peak:
        assert peak.mb is None


class TestMachine:
    @pytest.fixture(autouse=True)
    def container(self, tmp_path, monkeypatch):
        """The files of a container are looked for in `tmp_path`."""
        names = [(limit, used) for _, limit, used in memory.CGROUPS]
        monkeypatch.setattr(memory, "CGROUPS", tuple((str(tmp_path), *pair) for pair in names))

    def test_without_a_container_it_is_the_machine(self):
        everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert machine_memory() == everything
        assert 1e7 < free_memory() <= everything

    @pytest.mark.parametrize(("files", "limit", "left"), [
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 5\ninactive_file 50\n"}, 1000, 350),
        ({"memory.max": "1000", "memory.current": "700"}, 1000, 300),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": "anon 5\n"}, math.inf, math.inf),
        ({"memory.max": "1" + 20 * "0", "memory.current": "700", "memory.stat": ""}, math.inf, math.inf),
        ({"memory.limit_in_bytes": "1000", "memory.usage_in_bytes": "900",
          "memory.stat": "inactive_file 1\ntotal_inactive_file 20\n"}, 1000, 120),
        ({"memory.max": "1000", "memory.current": "1700", "memory.stat": ""}, 1000, 0)])
    def test_a_container_may_take_what_its_limit_leaves(self, files, limit, left, tmp_path):
        for name, text in files.items():
            Path(tmp_path, name).write_text(text)
        everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert machine_memory() == min(limit, everything)
        assert free_memory() == left if left < math.inf else free_memory() > 1e7
