"""A training step of the 35.7 M network against a plain loop, and the cost of methods against that of DDPM."""

import numpy as np
import pytest
from benchmarks.plain_references import LOSSES, PlainLoop, loss_of, wake

from ltgen_bench.experiments.speed.training_rates import loop_config, matrix_rate, random_images, training_speed
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.training.cost import forked, in_turn, probing

pytestmark = pytest.mark.benchmark
NETWORK = "ddpm"
BATCH = {"cpu": 16, "cuda": 128}
TOLERANCE = {"float32": 1e-5, "bf16": 1e-2}  # of a loss, relative
COSTS = {"cbdm": 1.9, "coral": 1.1, "oc": 1.1, "resample": 1.1}  # at most, in those of ddpm
MEMORY_MB = 12_000.0  # of a step of 128 images
PEAK = 35.0  # percent of the rate of matrix products, at least, on CUDA


@pytest.mark.parametrize("method", list(LOSSES))
@exact_float32()
def test_losses_agree_and_a_step_is_faster_than_that_of_the_plain_loop(method, device, reach):
    config = loop_config(method, NETWORK, 4, **{"network.dropout": 0.0})  # whose masks are drawn otherwise in each loop
    loops = probing(config, random_images(), device, 4), PlainLoop(config, random_images(), device)
    for loop in loops:
        wake(loop.net)
    ours, plain = np.array([[loss_of(loop) for loop in loops] for _ in range(4)]).T
    assert np.abs(ours / plain - 1).max() < TOLERANCE[loops[0].precision]

    batch = BATCH[device.type]
    config = loop_config(method, NETWORK, batch)
    ours, plain = probing(config, random_images(), device, batch), PlainLoop(config, random_images(), device)
    with forked(device):
        rounds = in_turn([ours.step, plain.step], device, warm_up=2, least=3, most=40, seconds=60).rounds
    wanted = 8.0 if device.type == "cuda" else 1.7 if ours.precision == "bf16" else 1.0
    reach(f"{method}: plain loop's seconds / ours, {ours.precision}", np.median(rounds[:, 1] / rounds[:, 0]), at_least=wanted)


@pytest.mark.parametrize("method", ["ddpm", *COSTS])
def test_costs_beside_ddpm(method, device, reach):
    found = training_speed(method, NETWORK, BATCH[device.type], device, "auto")
    reach(f"{method}: images/s", found.times.rate)
    reach(f"{method}: cost of an image in those of ddpm", found.times.cost, at_most=COSTS.get(method, 1.1))
    on_cuda = device.type == "cuda"
    reach(f"{method}: MB of a step of {BATCH[device.type]} images", found.memory_mb, at_most=MEMORY_MB if on_cuda else None)
    share = 100 * found.times.rate * found.flops / matrix_rate(found.precision, device)
    reach(f"{method}: % of the rate of matrix products", share, at_least=PEAK if on_cuda else None)
