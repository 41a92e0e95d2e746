"""Two processes over gloo against one: the same losses, the same weights, whatever the method compares in a batch."""

import json
import re
from pathlib import Path

import pytest
import several
import torch
from safetensors.torch import load_file
from several import processes
from short_trainings import CASES, STEPS, trained, trainer_of

from ltgen_bench.core.errors import UserError
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.experiments.check.trial import Trial
from ltgen_bench.methods import METHODS
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import Ranks
from ltgen_bench.training.session import Session

SUPPORT = Path(several.__file__).parent
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from short_trainings import work
work({folder!r})
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder with what two processes came to."""
    folder = tmp_path_factory.mktemp("two")
    started = processes(SCRIPT.format(tests=str(SUPPORT), folder=str(folder)), 2)
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join([name, *values.values()]) for name, values in CASES])
def test_two_processes_have_the_losses_and_weights_of_one(number, two, tmp_path):
    from safetensors import safe_open

    name, settings = CASES[number]
    losses, state = trained(name, settings, tmp_path)
    with safe_open(two / f"{number}-0.safetensors", framework="pt") as file:
        found = json.loads(file.metadata()["losses"])
    assert len(losses) == len(found) == STEPS
    for own, theirs in zip(losses, found, strict=True):
        assert own.keys() == theirs.keys()
        for key in own:
            assert theirs[key] == pytest.approx(own[key], abs=1e-5, rel=1e-5), key
    first, second = (load_file(two / f"{number}-{rank}.safetensors") for rank in (0, 1))
    for key, value in first.items():
        assert torch.equal(value, second[key]), f"the processes differ in {key}"
    # Adam divides by the gradient's size, so that where it is next to nothing rounding shows; the weights as a whole are held
    distance = torch.stack([(first[key] - state[key]).norm() for key in state]).norm()
    moved = torch.stack([value.norm() for value in state.values()]).norm()
    assert distance < 1e-3 * moved


@pytest.mark.parametrize("name", ["cfg", "cbdm", "oc", "coral", "ccua"])
def test_micro_batches_have_the_losses_of_whole_ones_where_the_loss_is_of_each_image(name, tmp_path):
    trial = Trial(name, tmp_path)
    whole_batch = trainer_of(trial).method.whole_batch()
    losses, _ = trained(name, {}, tmp_path)
    parts, _ = trained(name, {}, tmp_path, micro_batch=2)
    far = max(abs(own["loss"] - other["loss"]) / max(1, abs(own["loss"])) for own, other in zip(losses, parts, strict=True))
    assert (far > 1e-5) == whole_batch


def test_the_methods_whose_loss_is_of_the_batch_are_known(tmp_path):
    def whole(name, **settings):
        return trainer_of(Trial(name, tmp_path, settings)).method.whole_batch()

    assert {name for name in METHODS if whole(name)} == {"oc", "coral", "ccua"}
    assert whole("cm", variant="released-code")
    assert not any([whole("oc", transfer="off"), whole("coral", weight=0.0), whole("ccua", a_ucl=0.0)])


def test_the_parts_of_a_step_are_its_images_once(tmp_path):
    for size, images, micro in ((1, 7, None), (2, 7, None), (3, 8, 1), (2, 5, 1), (4, 64, 5), (1, 10, 3)):
        trainer = trainer_of(Trial("ddpm", tmp_path), batch_size=images, **({} if micro is None else {"micro_batch": micro}))
        trainer.ranks = Ranks(0, size)
        slices = trainer._slices(images)
        for rank in range(size):
            own = [number for pieces in slices for number in pieces[rank]]
            assert own == list(Ranks(rank, size).split(images)[rank])
        seen = sorted(number for pieces in slices for piece in pieces for number in piece)
        assert seen == list(range(images))
        assert min(len(piece) for pieces in slices for piece in pieces) >= 1


def test_what_is_gathered_by_one_process_is_what_it_has():
    values = torch.ones(3, 2)
    assert Draws(0, 0, 3, torch.device("cpu")).gathered(values) is values


@pytest.mark.parametrize(("train", "words"), [({"batch_size": 2}, "train.batch_size is 2"),
                                               ({"batch_size": 8, "budget_images": 25}, "the last step is 1")])
def test_more_processes_than_images_of_a_step_are_refused(train, words, tmp_path):
    trainer = trainer_of(Trial("ddpm", tmp_path), **{"budget_images": 24, **train})
    session = Session(trainer, tmp_path, RunContext(ranks=Ranks(0, 3)), "run")
    with pytest.raises(UserError, match=words):
        session.complete(24)


@pytest.mark.parametrize(("words", "lost"), [
    ("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:31822", True),
    ("NCCL error: ncclRemoteError: A call failed possibly due to a network error or a remote process exiting", True),
    ("NCCL error: unhandled system error, NCCL version 2.27: no usable interface", False)])
def test_only_the_end_of_another_process_is_told_as_such(words, lost, monkeypatch):
    from torch import distributed

    from ltgen_bench.core.errors import LostError
    from ltgen_bench.runtime.distributed import report_lost_processes

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    with pytest.raises(LostError if lost else RuntimeError, match=re.escape(words[:20])) as caught, report_lost_processes():
        raise RuntimeError(words)
    assert isinstance(caught.value, LostError) == lost


def test_a_checkpoint_is_whole_before_any_process_goes_on(tmp_path):
    from dataclasses import dataclass

    from ltgen_bench.training.checkpoint import checkpoints

    there = []

    @dataclass(frozen=True)
    class Waiting(Ranks):
        def barrier(self):
            there.append(len(checkpoints(tmp_path)))

    session = Session(trainer_of(Trial("ddpm", tmp_path)), tmp_path, RunContext(ranks=Waiting()), "run")
    session.save()
    assert there == [1]


@pytest.mark.parametrize(("theirs", "words"), [
    ("bf16", "train.precision: auto is bf16 and float32"),
    (640, "does not look the same to all processes .at 0, 640 images."),
    (0, None)])
def test_processes_that_would_train_otherwise_are_refused(theirs, words, tmp_path):
    class Two(Ranks):
        def all_gather(self, value):
            return [value, theirs if isinstance(value, type(theirs)) else value]

        def barrier(self):
            """The other one is always there."""

    session = Session(trainer_of(Trial("ddpm", tmp_path)), tmp_path, RunContext(ranks=Two(0, 2)), "run")
    if words is None:
        session.go_on()
    else:
        with pytest.raises(UserError, match=words):
            session.go_on()
