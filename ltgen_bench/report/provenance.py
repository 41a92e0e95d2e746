"""How the numbers were measured: command, seeds, time, machine and versions, and what each protocol id stands for."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import count, power
from ltgen_bench.evaluation.protocol import Protocol
from ltgen_bench.records.run_record import RunRecord


def run_lines(records: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """(command, the cost of each run that it made), in the order of method and seed; several runs of one command are named."""
    ordered = sorted(records, key=lambda record: (record.label, record.seed, record.finished))
    made: dict[str, list[RunRecord]] = {}
    for record in ordered:
        made.setdefault(record.command, []).append(record)
    return [(printable(command), [printable((f"{record.label}, " if len(runs) > 1 else "") + _cost(record)) for record in runs])
            for command, runs in made.items()]


def _cost(record: RunRecord) -> str:
    stages = ", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in record.stages)
    peak = record.peak_memory_mb
    memory = f"{peak / 1000:.1f} GB" if peak is not None else "not known"
    exact = ", not bit-exact" if record.deterministic is False else ""
    parameters, seen = record.entry.parameters, record.entry.budget_images
    made = "not trained here" if parameters is None or seen is None else \
        f"{count(parameters)} parameters, {count(seen)} images seen"
    flops = record.entry.train_flops
    made += f", {power(flops)} training FLOPs" if flops is not None else ""
    return (
        f"seed {record.seed}, {made}; {stages}; "
        f"peak memory {memory}; finished {record.finished[:10]}{exact}"
    )


def machine_lines(records: Sequence[RunRecord]) -> list[str]:
    """Hardware and versions, each combination once."""
    lines = []
    for record in records:
        hardware = ", ".join(f"{name} {value}" for name, value in record.hardware.items())
        versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        lines += [f"Hardware: {hardware}.", f"Versions: {versions}."]
    return sorted(dict.fromkeys(printable(line) for line in lines))


def protocol_words(description: Mapping[str, Any]) -> str:
    """A protocol in one sentence; one that another version described is given field by field."""
    try:
        return Protocol.model_validate(dict(description)).words
    except ValidationError:
        return ", ".join(f"{name} {value}" for name, value in description.items()) + "."
