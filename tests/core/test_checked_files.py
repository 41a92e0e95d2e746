"""Kept files are vouched for by a checksum: any damage is found when they are read, and old files without one are read."""

import json
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save_file

from ltgen_bench.core.errors import DamagedError, MachineError
from ltgen_bench.core.files import read_checked_json, set_aside, write_checked_json
from ltgen_bench.runtime.tensors_file import load_checked_tensors, save_checked_tensors

VALUES = {"b": [1, 2.5, None], "a": {"3": "grüße", "2": True}}
TENSORS = {"w": torch.linspace(-1, 1, 6).reshape(2, 3), "half": torch.ones(3, dtype=torch.bfloat16), "step": torch.tensor(4.0),
           "none": torch.empty(0, 2), "yes": torch.tensor([True, False])}


def flipped(data, number):
    """`data` with one bit changed."""
    return data[:number // 8] + bytes([data[number // 8] ^ (1 << number % 8)]) + data[number // 8 + 1:]


def test_json_comes_back(tmp_path):
    write_checked_json(tmp_path / "a.json", {**VALUES, "t": (1, 2), 5: "key"})
    assert read_checked_json(tmp_path / "a.json") == {**VALUES, "t": [1, 2], "5": "key"}
    assert list(json.loads((tmp_path / "a.json").read_text()))[-1] == "sha256"


def test_every_flipped_bit_and_every_cut_of_json_is_found_or_harmless(tmp_path):
    path = tmp_path / "a.json"
    write_checked_json(path, VALUES)
    data = path.read_bytes()
    changed = [flipped(data, bit) for bit in range(8 * len(data))] + [data[:end] for end in range(len(data))]
    for number, content in enumerate(changed):
        path.write_bytes(content)
        with suppress(DamagedError):  # what is in blanks between the values changes none
            assert read_checked_json(path) == VALUES, number


@pytest.mark.parametrize("content", ["[1]", "nonsense", "", "[" * 100_000, "\udcff", "1" * 5000])
def test_what_is_no_json_object_is_damaged(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedError, match=r"a\.json.*; do this\."):
        read_checked_json(tmp_path / "a.json", "do this")


def test_json_without_a_checksum_is_read_and_one_that_is_not_there_is_no_damage(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({**VALUES, "other": "0" * 64}))
    assert read_checked_json(tmp_path / "a.json") == {**VALUES, "other": "0" * 64}
    with pytest.raises(MachineError, match="could not be read") as caught:
        read_checked_json(tmp_path / "b.json")
    assert not isinstance(caught.value, DamagedError)


def test_tensors_come_back(tmp_path):
    save_checked_tensors(tmp_path / "a.safetensors", TENSORS, {"info": "x"})
    found, said = load_checked_tensors(tmp_path / "a.safetensors")
    assert said == {"info": "x"}
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) and found[name].dtype == TENSORS[name].dtype for name in found)


def test_every_flipped_bit_and_every_cut_of_a_tensor_file_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checked_tensors(path, TENSORS, {"info": "x"})
    data = path.read_bytes()
    for content in [flipped(data, bit) for bit in range(8 * len(data))] + [data[:end] for end in range(0, len(data), 7)]:
        path.write_bytes(content)
        with suppress(DamagedError):
            found, said = load_checked_tensors(path)
            assert said == {"info": "x"}
            assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_a_missing_or_added_tensor_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checked_tensors(path, TENSORS, {"info": "x"})
    from safetensors import safe_open
    with safe_open(path, framework="pt") as file:
        said = file.metadata()
    for tensors in ({**TENSORS, "new": torch.ones(1)}, {name: TENSORS[name] for name in list(TENSORS)[1:]}):
        save_file(tensors, path, metadata=said)
        with pytest.raises(DamagedError):
            load_checked_tensors(path)


def test_tensors_without_a_checksum_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    assert load_checked_tensors(tmp_path / "a.safetensors")[1] == {}
    with pytest.raises(MachineError, match="could not be read"):
        load_checked_tensors(tmp_path / "b.safetensors")


def test_what_is_set_aside_replaces_nothing(tmp_path):
    for name in ("a.json.damaged", "a.json.damaged1"):
        (tmp_path / name).write_text(name)
    (tmp_path / "a.json").write_text("now")
    aside = set_aside(tmp_path / "a.json")
    assert aside.name == "a.json.damaged2"
    assert aside.read_text() == "now"
    assert not (tmp_path / "a.json").exists()
