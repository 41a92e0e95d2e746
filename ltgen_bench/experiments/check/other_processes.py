"""The part of the contract of methods that is about noise processes other than the one that everything else is tried under."""

from dataclasses import replace

from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.experiments.check.losses import its_loss_is_finite_in_float32, the_terms_add_up_to_the_loss
from ltgen_bench.experiments.check.practice import its_samples_have_the_right_shape, training_teaches_it_the_target
from ltgen_bench.experiments.check.trial import Trial, Unmet

TRIED = (its_loss_is_finite_in_float32, the_terms_add_up_to_the_loss, its_samples_have_the_right_shape,
         training_teaches_it_the_target)


def it_works_under_the_other_processes(trial: Trial) -> None:
    """Loss, terms, samples and learning under every process, or `needs_process` says which one alone and why."""
    if trial.kind.needs_process is not None:
        process, reason = trial.kind.needs_process
        if process not in PROCESSES or not reason.strip():
            raise Unmet(f"needs_process is {trial.kind.needs_process}; it is a process ({', '.join(PROCESSES)}) and the reason.")
        return
    for process in PROCESSES:
        for requirement in TRIED if process != trial.under else ():
            try:
                requirement(replace(trial, process=process))
            except Unmet as unmet:
                raise Unmet(f"under process {process}: {unmet} Where the definition is of {trial.under} alone, state "
                            f"needs_process = (\"{trial.under}\", REASON).") from unmet
