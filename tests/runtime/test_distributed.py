"""What processes of one run have in common, and what they notice where they have not: disks, the order of turns."""

import pytest
from several import processes

from ltgen_bench.cli.torchrun_output import launcher
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.torchrun import TorchrunProcess, torchrun_process
from ltgen_bench.runtime.distributed import SINGLE_PROCESS, Ranks
from ltgen_bench.training.session import refuse_too_many

DISK = """
import sys
from pathlib import Path
from ltgen_bench.runtime import distributed as ranks
from ltgen_bench.core.errors import UserError
ranks.VISIBLE_WITHIN = 1.0
here = ranks.init_process_group("cpu")
folder = Path(sys.argv[1 + here.rank])
folder.mkdir(exist_ok=True)
try:
    here.check_shared_folder(folder)
except UserError as error:
    print(error, file=sys.stderr)
ranks.destroy_process_group()
"""

ORDER = """
import os
import sys
import time
from ltgen_bench.runtime import distributed as ranks
here = ranks.init_process_group("cpu")
def note(word):
    with open(sys.argv[1], "a") as file:
        file.write(f"{word}{here.rank} ")
with here.main_first():
    note("in")
    time.sleep(0.3)
    note("out")
assert here.all_gather(here.rank + 10) == [10, 11, 12, 13]
ranks.destroy_process_group()
"""


def told(started):
    errors = [process.communicate(timeout=100)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), errors
    return errors


@pytest.mark.slow
def test_a_folder_that_all_see_is_left_as_it_was(tmp_path):
    (tmp_path / "runs").mkdir()
    assert told(processes(DISK, 2, tmp_path / "runs", tmp_path / "runs")) == ["", ""]
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_is_not_shared_is_told_before_anything_is_done(tmp_path):
    errors = told(processes(DISK, 2, tmp_path / "one", tmp_path / "other"))
    assert all("--runs be on a disk" in text for text in errors)
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.slow
def test_the_main_process_goes_first_then_the_first_of_each_other_machine_then_the_rest(tmp_path):
    told(processes(ORDER, 4, tmp_path / "order", local=[0, 1, 0, 1]))
    order = (tmp_path / "order").read_text().split()
    assert order[:4] == ["in0", "out0", "in2", "out2"]
    assert sorted(order[4:6]) == ["in1", "in3"]


def test_one_process_waits_for_nobody(tmp_path):
    with SINGLE_PROCESS.main_first():
        SINGLE_PROCESS.check_shared_folder(tmp_path / "not there")
    assert SINGLE_PROCESS.all_gather("me") == ["me"]


def test_too_many_processes_are_refused_before_a_method_trains_anything(tmp_path, monkeypatch):
    from ltgen_bench.experiments.check.trial import Trial, tiny_dataset
    from ltgen_bench.runtime.context import RunContext
    from ltgen_bench.training.loop import prepare_method

    monkeypatch.setattr("ltgen_bench.training.trainer.DistributedDataParallel", lambda module, **_: module)
    config = Trial("classifier-guidance", tmp_path).config(batch_size=2, budget_images=16)
    with pytest.raises(UserError, match=r"train\.batch_size is 2"):
        prepare_method(config, tiny_dataset(), tmp_path, RunContext(ranks=Three(0, 3)))
    assert not list(tmp_path.rglob("checkpoint-*"))
    refuse_too_many(Ranks(0, 2), config.train)
    with pytest.raises(UserError, match="auto is bf16 and float32"):
        prepare_method(config, tiny_dataset(), tmp_path, RunContext(ranks=Unlike(0, 2)))
    assert not list(tmp_path.rglob("checkpoint-*"))


class Three(Ranks):
    """Three processes, of which the others have what this one has."""

    def all_gather(self, value):
        return [value] * 3


class Unlike(Ranks):
    """Two processes on devices of which one has no bf16."""

    def all_gather(self, value):
        return ["bf16", "float32"] if isinstance(value, str) else [value, value]


@pytest.mark.parametrize(("machines", "words"), [("1", "torchrun --nproc-per-node 2 -m ltgen_bench"),
                                                 ("3", "torchrun --nnodes 3 ... --nproc-per-node 2 -m ltgen_bench")])
def test_the_command_to_go_on_says_how_many_machines_there_are(machines, words, monkeypatch):
    given = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "7", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
             "GROUP_WORLD_SIZE": machines}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert launcher() == words
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert torchrun_process() == TorchrunProcess()
    assert launcher() == "ltgen-bench"


def test_a_meeting_that_fails_is_told_in_a_sentence(monkeypatch):
    from torch import distributed

    from ltgen_bench.core.errors import MachineError
    from ltgen_bench.runtime.distributed import init_process_group

    def fail(*_):
        raise RuntimeError("[c10d] The client socket has timed out\nand more")

    monkeypatch.setattr(distributed, "init_process_group", fail)
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match="2 processes of this run"):
        init_process_group("cpu")
