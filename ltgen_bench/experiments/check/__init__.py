"""The self-check: whether this machine, with what is installed on it, computes what it should.

`run_checks` goes through CHECKS in their order. A check looks at one thing and yields what it found; one that stops with an
error has failed, and the next goes on.
"""

from collections.abc import Callable, Iterator

from ltgen_bench.experiments.check.evaluator_findings import (
    frechet_of_known_moments,
    neighbours_of_known_sets,
    number_of_threads,
    shipped_features,
)
from ltgen_bench.experiments.check.finding import Finding, Machine
from ltgen_bench.experiments.check.machine_findings import arithmetic, installed, memory_and_disk
from ltgen_bench.experiments.check.weights import given_weights, weights_at_hand

CHECKS: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
    installed, arithmetic, memory_and_disk, frechet_of_known_moments, neighbours_of_known_sets, shipped_features,
    number_of_threads, weights_at_hand, given_weights)


def run_checks(machine: Machine) -> Iterator[Finding]:
    """Yield every finding as soon as it is known."""
    for check in CHECKS:
        try:
            yield from check(machine)
        except Exception as error:  # noqa: BLE001  (whatever went wrong is what the check is there to find)
            words = str(error).strip().splitlines() or ["no reason given"]
            yield Finding(check.__name__.replace("_", " "), "FAILED", f"{type(error).__name__}: {words[0]}", "no error")
