"""The contract of a method as requirements, each tried on a tiny network: for every registered method and for a user's own.

A requirement is a function that returns where it is met and raises `Unmet` with a sentence where it is not. REQUIREMENTS are the
public functions of `statements`, `losses` and `practice`, in their order there; `examine` tries one.
"""

import inspect
from collections.abc import Callable, Iterator

from ltgen_bench.core.errors import BenchError, MethodError, UserError
from ltgen_bench.experiments.check import losses, practice, statements
from ltgen_bench.experiments.check.finding import Finding
from ltgen_bench.experiments.check.trial import Trial, Unmet, sentence

Requirement = Callable[[Trial], None]

REQUIREMENTS: tuple[Requirement, ...] = tuple(
    function for module in (statements, losses, practice) for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"))
FOUNDATION = losses.its_loss_is_finite_in_float32  # where it fails, the rest would say the same in other words
# What a method may refuse, if it says so in a sentence; and what costs time and changes no result.
REFUSABLE = (losses.it_works_with_two_classes, losses.it_works_with_a_hundred_classes, losses.it_works_with_a_class_of_one_image,
             losses.it_works_with_a_batch_of_one_image)
ADVISORY = (losses.a_step_waits_for_no_device,)


def title(requirement: Requirement) -> str:
    """`it works with two classes`"""
    return requirement.__name__.replace("_", " ")


def examine(requirement: Requirement, trial: Trial) -> Finding:
    """`ok`, or `FAILED` or `note` with the sentence. A note is a refusal in words that the contract allows, or an advice."""
    try:
        requirement(trial)
    except Unmet as unmet:
        return Finding(title(requirement), "note" if requirement in ADVISORY else "FAILED", str(unmet))
    except BenchError as error:
        refused = requirement in REFUSABLE and isinstance(error, UserError) and not isinstance(error, MethodError)
        return Finding(title(requirement), "note" if refused else "FAILED", f"it refuses: {error}" if refused else str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a method raises is what the check is there to find)
        return Finding(title(requirement), "FAILED", sentence(error))
    return Finding(title(requirement), "ok", "")


def check_method(trial: Trial) -> Iterator[Finding]:
    """Yield every finding as soon as it is known, up to the loss where that fails."""
    for requirement in REQUIREMENTS:
        finding = examine(requirement, trial)
        yield finding
        if requirement is FOUNDATION and finding.state == "FAILED":
            return
