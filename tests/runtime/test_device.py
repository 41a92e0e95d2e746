"""What a run says of the machine and its cost."""

import resource
import time
from pathlib import Path

import pytest
import torch

from ltgen_bench.core.errors import UserError
from ltgen_bench.runtime.device import choose_device, hardware, read_cost, stage_cost, versions
from ltgen_bench.runtime.memory import peak_memory_mb

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match=f"--device {name}: "):
        choose_device(name)


def test_without_a_name_the_device_is_cuda_where_there_is_one():
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_cost_adds_up_over_sessions_and_counts_interrupted_ones(tmp_path):
    path = tmp_path / "cost.json"
    assert read_cost(path)["seconds"] == 0

    def interrupted():
        with stage_cost(path, CPU):
            time.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    first = read_cost(path)["seconds"]
    assert first >= 0.02
    with stage_cost(path, CPU):
        time.sleep(0.02)
    assert read_cost(path)["seconds"] >= first + 0.02
    assert read_cost(path)["device"] == "cpu"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b'{"seconds": 1}',
                                     b'{"seconds": 5, "peak_memory_mb": 1, "device": "cpu", "sha256": "00"}'])
def test_a_broken_cost_is_told_and_counted_anew(tmp_path, content):
    path, said = tmp_path / "cost.json", []
    path.write_bytes(content)
    with stage_cost(path, CPU, said.append):
        time.sleep(0.01)
    assert 0.01 <= read_cost(path)["seconds"] < 1
    assert "cost.json is damaged" in said[0]
    assert (tmp_path / "cost.json.damaged").read_bytes() == content


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="only Linux tells what is resident")
def test_the_peak_is_at_least_what_is_resident_now():
    held = torch.ones(30_000_000)  # 120 MB that must count
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident = pages * resource.getpagesize() / 1e6
    assert resident > 120 * held.mean()
    assert peak_memory_mb(CPU) >= 0.99 * resident


def test_versions_and_hardware_are_plain_values():
    assert versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
    found = hardware(CPU)
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()
    assert all(isinstance(value, str | int) for value in found.values())
