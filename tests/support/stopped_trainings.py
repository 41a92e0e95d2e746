"""Trainings that are stopped during a chosen step, and what their folders hold."""

import signal

import pytest
import torch

from ltgen_bench.core.errors import Interrupted
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint
from ltgen_bench.training.loop import Trainer, train


def final(folder):
    """All tensors of the newest checkpoint: weights, EMA, Adam."""
    tensors, info = load_checkpoint(checkpoints(folder)[0])
    return tensors, info["images_seen"]


def same(a, b):
    (first, seen), (second, also) = final(a), final(b)
    return seen == also and first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class StopAfter(Interruption):
    """As if a signal had come during the step that ends at `images`."""

    def __init__(self, trainer_images, monkeypatch, number=signal.SIGINT):
        super().__init__()
        step, interruption = Trainer.step, self

        def watched(self):
            loss = step(self)
            if self.images_seen >= trainer_images:
                interruption.requested = number
            return loss

        monkeypatch.setattr(Trainer, "step", watched)


def stop_at(images, config, dataset, folder, number=signal.SIGINT):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted) as caught:
        train(config, dataset, folder, RunContext(interruption=StopAfter(images, patch, number)))
    return caught.value
