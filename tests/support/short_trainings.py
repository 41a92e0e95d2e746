"""A short training of every method, alone or as one of several processes."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from ltgen_bench.experiments.check.trial import Trial, tiny_dataset
from ltgen_bench.methods import METHODS
from ltgen_bench.runtime.distributed import SINGLE_PROCESS, destroy_process_group, init_process_group
from ltgen_bench.training.loop import untrained_method
from ltgen_bench.training.trainer import Trainer

STEPS = 20
# every method, and the settings in which it looks at the batch as a whole
CASES = [*((name, {}) for name in METHODS), ("cm", {"variant": "released-code"}), ("ccua", {"variant": "released-code"}),
         ("oc", {"transfer": "full"}), ("coral", {"label_drop_unit": "sample"}), ("ccua", {"label_drop_unit": "sample"})]


def trained(name, settings, folder, ranks=SINGLE_PROCESS, **train):
    """(losses and terms of STEPS steps, the weights after them); batches of 7 images are no equal parts."""
    trial = Trial(name, folder, settings)
    trainer = trainer_of(trial, ranks, batch_size=7, budget_images=7 * STEPS - 3, **train)
    losses = []
    while trainer.images_seen < trainer.train.budget_images:
        loss = trainer.step()
        losses.append({key: ranks.all_reduce_sum(value).item() for key, value in {"loss": loss.total, **loss.terms}.items()})
    state = {f"net.{key}": value for key, value in trainer.net.state_dict().items()}
    state |= {f"ema.{key}": value for key, value in trainer.ema.net.state_dict().items()}
    return losses, {key: value.contiguous() for key, value in state.items()}


def trainer_of(trial, ranks=SINGLE_PROCESS, **train):
    config = trial.config(warmup_images=0, learning_rate=2e-4, **train)
    # groups of two channels: those of one make some gradients nothing but rounding, which Adam makes large
    network = config.network.model_copy(update={"dropout": 0.0, "channels": (16, 16)})
    config = config.model_copy(update={"network": network})
    dataset = tiny_dataset()
    method, _ = untrained_method(config, dataset, torch.device("cpu"))
    trainer = Trainer(config, dataset, method, torch.device("cpu"), ranks)
    with torch.no_grad():  # a network whose output is not zero, the same in all processes
        for net in (trainer.net, trainer.ema.net):
            net.unet.conv_out.weight.copy_(torch.linspace(-0.1, 0.1, net.unet.conv_out.weight.numel()).view_as(
                net.unet.conv_out.weight))
    return trainer


def work(folder):
    """What each of the processes does."""
    torch.set_num_threads(1)
    ranks = init_process_group("cpu")
    for number, (name, settings) in enumerate(CASES):
        losses, state = trained(name, settings, Path(folder), ranks)
        save_file(state, Path(folder) / f"{number}-{ranks.rank}.safetensors", metadata={"losses": json.dumps(losses)})
    destroy_process_group()
