"""A whole step, from the images to the averaged weights, reads nothing back from the device: the host runs ahead of it."""

import pytest
import torch
from short_trainings import CASES, trainer_of

from ltgen_bench.experiments.check.trial import Trial, Waits
from ltgen_bench.training.augmentation import AUGMENTATIONS

STEPS = 3


def found_in(trainer):
    """Where `trainer` would wait for a device, in some steps after the first, which lays out the optimiser's state."""
    trainer.step()
    with Waits() as waits:
        for _ in range(STEPS):
            trainer.step()
    return waits.found


@pytest.mark.parametrize(("name", "settings"), [case for case in CASES if case[1]])
def test_no_step_of_a_variant_waits(name, settings, tmp_path):
    """Of the methods as they are by default the contract tests say so."""
    assert found_in(trainer_of(Trial(name, tmp_path, settings), batch_size=8, budget_images=80)) == []


@pytest.mark.parametrize("augment", list(AUGMENTATIONS))
@pytest.mark.parametrize("micro", [None, 3])
def test_neither_augmentation_nor_micro_batches_make_it_wait(augment, micro, tmp_path):
    trainer = trainer_of(Trial("cfg", tmp_path), batch_size=8, budget_images=80, augment=augment, micro_batch=micro)
    assert found_in(trainer) == []


def test_what_waits_is_found(tmp_path):
    trainer = trainer_of(Trial("ddpm", tmp_path), batch_size=8, budget_images=80)
    update = trainer.ema.update

    def reading(net, images_seen, images):
        assert torch.isfinite(next(net.parameters())).all()
        update(net, images_seen, images)

    trainer.ema.update = reading
    assert len(found_in(trainer)) == STEPS
