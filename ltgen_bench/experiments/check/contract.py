"""The contract of a method as requirements, each tried on a tiny network: for every registered method and for a user's own.

A requirement is a function that returns where it is met and raises `Unmet` with a sentence where it is not. `examine` tries
one; REQUIREMENTS has all in the order in which a reader wants to hear of them.
"""

from collections.abc import Callable, Iterator

from ltgen_bench.core.errors import BenchError, MethodError, UserError
from ltgen_bench.experiments.check.finding import Finding
from ltgen_bench.experiments.check.losses import (
    a_batch_in_parts_has_the_loss_of_the_whole,
    a_step_moves_everything_that_is_trained,
    a_step_waits_for_no_device,
    equal_draws_give_equal_losses,
    every_random_number_comes_from_the_draws,
    guidance_is_taught_where_it_is_offered,
    it_works_with_a_batch_of_one_image,
    it_works_with_a_class_of_one_image,
    it_works_with_a_hundred_classes,
    it_works_with_two_classes,
    its_draws_have_names_of_their_own,
    its_loss_is_finite_in_bf16,
    its_loss_is_finite_in_float32,
    its_variants_are_valid,
    the_augmentation_vector_reaches_the_network,
    the_terms_add_up_to_the_loss,
)
from ltgen_bench.experiments.check.other_processes import it_works_under_the_other_processes
from ltgen_bench.experiments.check.practice import (
    it_goes_on_bit_for_bit,
    its_samples_have_the_right_shape,
    its_weights_depend_on_the_seed_alone,
    training_teaches_it_the_target,
)
from ltgen_bench.experiments.check.statements import (
    it_says_what_it_is,
    its_evidence_and_references_are_known,
    its_settings_are_strict_frozen_and_described,
)
from ltgen_bench.experiments.check.trial import Trial, Unmet, sentence

Requirement = Callable[[Trial], None]

REQUIREMENTS: tuple[Requirement, ...] = (
    it_says_what_it_is, its_settings_are_strict_frozen_and_described, its_evidence_and_references_are_known,
    its_loss_is_finite_in_float32, its_loss_is_finite_in_bf16, the_terms_add_up_to_the_loss, its_variants_are_valid,
    equal_draws_give_equal_losses, every_random_number_comes_from_the_draws, its_draws_have_names_of_their_own,
    its_weights_depend_on_the_seed_alone, a_step_moves_everything_that_is_trained, guidance_is_taught_where_it_is_offered,
    the_augmentation_vector_reaches_the_network, a_batch_in_parts_has_the_loss_of_the_whole, it_works_with_two_classes,
    it_works_with_a_hundred_classes, it_works_with_a_class_of_one_image, it_works_with_a_batch_of_one_image,
    its_samples_have_the_right_shape, training_teaches_it_the_target, it_goes_on_bit_for_bit,
    it_works_under_the_other_processes, a_step_waits_for_no_device)
FOUNDATION = its_loss_is_finite_in_float32  # where it fails, the rest would say the same in other words
# What a method may refuse, if it says so in a sentence; and what costs time and changes no result.
REFUSABLE = (it_works_with_two_classes, it_works_with_a_hundred_classes, it_works_with_a_class_of_one_image,
             it_works_with_a_batch_of_one_image)
ADVISORY = (a_step_waits_for_no_device,)


def title(requirement: Requirement) -> str:
    """`it works with two classes`"""
    return requirement.__name__.replace("_", " ")


def examine(requirement: Requirement, trial: Trial) -> Finding:
    """`ok`, or `FAILED` or `note` with the sentence. A note is a refusal in words that the contract allows, or an advice."""
    try:
        requirement(trial)
    except Unmet as unmet:
        return Finding(title(requirement), "note" if requirement in ADVISORY else "FAILED", str(unmet))
    except UserError as error:
        if requirement in REFUSABLE and not isinstance(error, MethodError):
            return Finding(title(requirement), "note", f"it refuses: {error}")
        return Finding(title(requirement), "FAILED", str(error))
    except BenchError as error:
        return Finding(title(requirement), "FAILED", str(error))
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
