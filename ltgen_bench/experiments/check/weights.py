"""The weights of the large extractors: where they lie, and what networks see with files that the user gives."""

from collections.abc import Iterator
from pathlib import Path

import torch

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import file_sha256
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.features.reference_features import SLOW_IMAGES, TOLERANCE, read_reference, reference_images
from ltgen_bench.experiments.check.finding import Finding, Machine, at_most, note


def weights_at_hand(machine: Machine) -> Iterator[Finding]:
    """Check the weights files in the cache, and say how to bring missing ones to a machine without network."""
    for name, file in PUBLISHED.items():
        if name in machine.context.extractor_weights:
            continue
        # where the evaluation would find it: in the cache, or torch.hub's folder
        places = (machine.context.cache / "features" / file.file_name, Path(torch.hub.get_dir()) / "checkpoints" / file.file_name)
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            yield note(f"weights of {name}", f"not here; fetched when first used, or bring {file.url} ({file.megabytes:,} MB) "
                                             f"from a machine with a network and give it by {file.option}")
        else:
            right = file_sha256(place).startswith(file.sha256)
            yield Finding(f"weights of {name}", "ok" if right else "FAILED", str(place) if right else f"{place} is damaged",
                          f"SHA-256 {file.sha256[:8]}...")


def given_weights(machine: Machine) -> Iterator[Finding]:
    """Check the given weights files."""
    for name, path in machine.context.extractor_weights.items():
        try:
            yield from _file(machine, name, path)
        except UserError as error:  # it was refused, with a sentence that says why
            yield Finding(f"{name} from {path.name}", "FAILED", str(error), "a file of tensors that fits the network")


def _file(machine: Machine, name: str, path: Path) -> Iterator[Finding]:
    extractor = EXTRACTORS[name].build(machine.dataset, machine.context, None)
    reference, images = read_reference(), reference_images(machine.dataset).images[:SLOW_IMAGES]
    known = extractor.weights_id == reference.weights.get(name)
    digest = file_sha256(path)
    right = digest.startswith(PUBLISHED[name].sha256)
    figure = f"SHA-256 {digest[:16]}" + (", another file with the tensors of the stored features" if known and not right else "")
    yield Finding(f"{name}, checksum", "ok" if right or known else "FAILED", figure, f"{PUBLISHED[name].sha256[:16]}...")
    found = extractor(images).features
    if known:
        yield at_most(f"{name}, stored features", reference.difference(name, found), TOLERANCE)
    else:
        yield note(f"{name}, stored features", "none are shipped for these weights")
    if name == "inception" and not extractor.has_logits:
        yield note(f"{name}, logits", "the file has none; IS is not available with it")
