"""The self-check: whether this machine, with what is installed on it, computes what it should.

`run_checks` goes through CHECKS in their order. A check looks at one thing and yields what it found; one that stops with an
error has failed, and the next goes on.
"""

from collections.abc import Callable, Iterator

from ltgen_bench.experiments.check.closed_forms import (
    frechet_of_known_moments,
    kernel_of_known_points,
    neighbours_of_known_sets,
    predictions_without_doubt,
)
from ltgen_bench.experiments.check.evaluator_findings import (
    kept_features,
    number_of_threads,
    order_of_images,
    real_images,
    shipped_features,
    size_of_batches,
)
from ltgen_bench.experiments.check.finding import Finding, Machine
from ltgen_bench.experiments.check.machine_findings import arithmetic, installed, room
from ltgen_bench.experiments.check.weights import given_weights, weights_at_hand

CHECKS: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
    installed, arithmetic, room, frechet_of_known_moments, kernel_of_known_points, neighbours_of_known_sets,
    predictions_without_doubt, shipped_features, real_images, order_of_images, size_of_batches, number_of_threads,
    kept_features, weights_at_hand, given_weights)


def run_checks(machine: Machine) -> Iterator[Finding]:
    """Every finding as soon as it is there."""
    for check in CHECKS:
        try:
            yield from check(machine)
        except Exception as error:  # noqa: BLE001  (whatever went wrong is what the check is there to find)
            words = str(error).strip().splitlines() or ["no reason given"]
            yield Finding(check.__name__.replace("_", " "), "FAILED", f"{type(error).__name__}: {words[0]}", "no error")
