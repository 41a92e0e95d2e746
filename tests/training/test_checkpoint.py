"""Checkpoints: whole or not at all, two kept, and a state that comes back bit for bit."""

import copy
import errno
import os
import resource
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.training.checkpoint import (
    checkpoint_path,
    checkpoints,
    load_checkpoint,
    load_newest,
    restore,
    save_checkpoint,
    state_fault,
    state_tensors,
    with_prefix,
)
from ltgen_bench.training.ema import EMA

INFO = {"seconds": 1.5, "device": "cpu"}


def save(folder, position, value=0.0):
    return save_checkpoint(folder, {"a": torch.full((3,), value)}, {**INFO, "images_seen": position})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tensors_and_information_come_back(tmp_path):
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "c": torch.tensor(2.0)}
    path = save_checkpoint(tmp_path / "train", tensors, {**INFO, "images_seen": 640})
    assert path == checkpoint_path(tmp_path / "train", 640)
    assert path.name == "checkpoint-000000000640.safetensors"
    found, info = load_checkpoint(path)
    assert info == {**INFO, "images_seen": 640}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_the_newest_two_are_kept(tmp_path):
    for position in (8, 16, 999_999, 1_000_000):
        save(tmp_path, position)
    assert checkpoints(tmp_path) == [checkpoint_path(tmp_path, 1_000_000), checkpoint_path(tmp_path, 999_999)]
    assert len(names(tmp_path)) == 2


def test_nothing_is_found_in_an_empty_or_missing_folder(tmp_path):
    assert load_newest(tmp_path, SILENT) is None
    assert load_newest(tmp_path / "missing", SILENT) is None


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b"\0" * len(b), lambda b: b[:4]])
def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(tmp_path, told, damage):
    save(tmp_path, 8, 1.0)
    newest = save(tmp_path, 16, 2.0)
    newest.write_bytes(damage(newest.read_bytes()))
    tensors, info = load_newest(tmp_path, told)
    assert info["images_seen"] == 8
    assert tensors["a"].tolist() == [1.0] * 3
    [message] = told.messages
    assert "checkpoint-000000000016.safetensors is damaged (" in message
    assert message.endswith("checkpoint-000000000016.safetensors.damaged, and going back to the one before.")
    assert names(tmp_path) == ["checkpoint-000000000008.safetensors", "checkpoint-000000000016.safetensors.damaged"]


def flip_a_bit(path, place):
    """One bit of the file, at this share of its length."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0.0, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_one_bit_is_enough_and_where_none_is_left_training_starts_anew(tmp_path, told, place):
    tensors = {f"{kind}.{name}": torch.randn(64) for kind in ("net", "ema", "adam.step") for name in "ab"}
    newest = save_checkpoint(tmp_path, tensors, {**INFO, "images_seen": 16})
    flip_a_bit(newest, place)
    assert load_newest(tmp_path, told) is None
    [message] = told.messages
    assert message.endswith("training starts anew.")


def test_a_file_under_the_name_of_another_position_is_damaged(tmp_path, told):
    save(tmp_path, 8).rename(checkpoint_path(tmp_path, 16))
    assert load_newest(tmp_path, told) is None
    assert "another position" in told.messages[0]


def test_of_several_processes_one_sets_aside(tmp_path, told):
    flip_a_bit(save(tmp_path, 16), 1.0)
    assert load_newest(tmp_path, told, aside=False) is None
    assert names(tmp_path) == ["checkpoint-000000000016.safetensors"]


def test_a_foreign_file_of_that_name_is_passed_over(tmp_path, told):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, checkpoint_path(tmp_path, 8))
    assert load_newest(tmp_path, told) is None
    assert len(told.messages) == 1


def test_what_a_killed_command_left_half_written_is_tidied_up(tmp_path):
    (tmp_path / ".checkpoint-000000000008-abc123.safetensors").write_bytes(b"half")
    save(tmp_path, 16)
    assert names(tmp_path) == ["checkpoint-000000000016.safetensors"]


class TestFullDisk:
    def test_safetensors_own_error_is_understood(self, tmp_path, monkeypatch):
        save(tmp_path, 8, 1.0)

        def full(*args, **kwargs):
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

        monkeypatch.setattr("ltgen_bench.runtime.tensors_file.save_file", full)
        with pytest.raises(MachineError, match=r"the disk is full: .*checkpoint-000000000016"):
            save(tmp_path, 16)
        assert names(tmp_path) == ["checkpoint-000000000008.safetensors"]
        assert load_newest(tmp_path, SILENT)[1]["images_seen"] == 8

    def test_so_is_a_disk_that_fills_while_it_is_flushed(self, tmp_path, monkeypatch):
        save(tmp_path, 8)

        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(MachineError, match="the disk is full"):
            save(tmp_path, 16)
        assert names(tmp_path) == ["checkpoint-000000000008.safetensors"]

    @pytest.mark.slow
    def test_a_file_that_the_system_really_refuses(self, tmp_path):
        """In a process whose files may have 100,000 bytes at most."""
        assert resource.RLIMIT_FSIZE is not None
        program = (
            "import resource, signal, sys\nfrom pathlib import Path\nimport torch\n"
            "from ltgen_bench.core.errors import MachineError\nfrom ltgen_bench.training.checkpoint import save_checkpoint\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
            "save_checkpoint(Path(sys.argv[1]), {'a': torch.zeros(10)}, {'images_seen': 8})\n"
            "try: save_checkpoint(Path(sys.argv[1]), {'a': torch.zeros(100_000)}, {'images_seen': 16})\n"
            "except MachineError as error: print(error)\n")
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
        assert "could not be written" in done.stdout
        assert names(tmp_path) == ["checkpoint-000000000008.safetensors"]


def trained_state(steps, layout=torch.contiguous_format):
    """(net, EMA, extra modules, optimiser) after some steps."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Dropout(0.0), nn.Conv2d(3, 1, 1)).to(memory_format=layout)
    extra = nn.ModuleDict({"head": nn.Linear(2, 2)})
    ema = EMA(net, 10, 0.0)
    optimizer = torch.optim.Adam([*net.parameters(), *extra.parameters()], lr=0.1, fused=True)
    for step in range(steps):
        one_step(net, ema, extra, optimizer, step)
    return net, ema, extra, optimizer


def stored(net, ema, extra, optimizer):
    """What the functions of checkpoints take of a state."""
    return {"net": net, "ema": ema.net, "extra": extra}, optimizer


def one_step(net, ema, extra, optimizer, step):
    x = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(step))
    loss = (net(x).mean() - 1).square() + extra["head"](x[:, :, 0, 0]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ema.update(net, 4 * (step + 1), 4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_whole_state_comes_back_bit_for_bit_and_goes_on_alike(tmp_path, layout):
    state = trained_state(3, layout)
    save_checkpoint(tmp_path, state_tensors(*stored(*state)), {"images_seen": 12})
    fresh = trained_state(0, layout)
    tensors, _ = load_newest(tmp_path, SILENT)
    restore(tensors, *stored(*fresh))
    for step in (3, 4):
        one_step(*state, step)
        one_step(*fresh, step)
    expected, found = state_tensors(*stored(*state)), state_tensors(*stored(*fresh))
    assert expected.keys() == found.keys()
    assert len([name for name in expected if name.startswith("adam.")]) == 3 * 6
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert fresh[0][0].weight.is_contiguous(memory_format=layout)


def test_a_state_before_the_first_step_has_no_moments(tmp_path):
    tensors = state_tensors(*stored(*trained_state(0)))
    assert {name.split(".")[0] for name in tensors} == {"net", "ema", "extra"}


def test_a_state_that_lacks_something_is_told_without_a_checksum_too():
    modules, optimizer = stored(*trained_state(1))
    tensors = state_tensors(modules, optimizer)
    assert state_fault(tensors, modules) == ""
    assert state_fault(state_tensors(*stored(*trained_state(0))), modules) == ""
    for name in tensors:
        assert name in state_fault({other: tensors[other] for other in tensors if other != name}, modules)
        assert name in state_fault({**tensors, name: torch.zeros(7, 7)}, modules)
    assert "adam.other" in state_fault({**tensors, "adam.other": torch.zeros(1)}, modules)


def test_names_are_cut_at_their_prefix():
    tensors = {"ema.a": torch.zeros(1), "ema.b.c": torch.ones(1), "net.a": torch.zeros(1)}
    assert list(with_prefix(tensors, "ema.")) == ["a", "b.c"]
    assert copy.copy(tensors).keys() == tensors.keys()


def test_checkpoints_ahead_of_the_newest_go_first(tmp_path):
    """After going back behind damaged files, what is written now is what must stay."""
    from ltgen_bench.training.checkpoint import checkpoint_path, checkpoints, save_checkpoint

    for images in (80, 90):
        checkpoint_path(tmp_path, images).write_bytes(b"damaged")
    for images in (10, 20, 30):
        save_checkpoint(tmp_path, {"x": torch.zeros(1)}, {"images_seen": images})
    assert checkpoints(tmp_path) == [checkpoint_path(tmp_path, 30), checkpoint_path(tmp_path, 20)]
