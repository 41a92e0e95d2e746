"""Batch size of an extractor: its default, a given number, or the fastest of this machine.

The batch size changes the last bits of features, so it is part of their key in the cache. The fastest one is cached too, so
that a later evaluation on such a machine finds the same features. No protocol depends on it.
"""

import copy
import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.core.files import write_text
from ltgen_bench.evaluation.cached_evaluation import BATCH_SIZE
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.features.feature_file import BLOCK, FeatureFile
from ltgen_bench.runtime.batch_size import AUTO, fastest_size
from ltgen_bench.runtime.context import RunContext


def with_batch_size(extractor: Extractor, asked: int | Literal["auto"] | None, images: UInt8[np.ndarray, "N C H W"],
          context: RunContext) -> Extractor:
    """`extractor` with the batch size that is `asked`; its own for None.

    For "auto" it is the batch size that was found on such a machine before (a file in the cache), or the extractor's own where
    the cache has all features of `images` by that; else it is measured now, in a few seconds, and cached. The main process
    decides.
    """
    if asked != AUTO:
        return extractor if asked is None else _with(extractor, asked)
    return _with(extractor, context.ranks.from_main(lambda: _found(extractor, images, context)))


def _with(extractor: Extractor, size: int) -> Extractor:
    other = copy.copy(extractor)  # the network is shared
    other.batch_size = size
    return other


def _found(extractor: Extractor, images: UInt8[np.ndarray, "N C H W"], context: RunContext) -> int:
    import torch

    place, folder = context.device, context.features
    kind = torch.cuda.get_device_name(place) if place.type == "cuda" else f"cpu, threads {torch.get_num_threads()}"
    about = {"extractor": extractor.name, "weights": extractor.weights_id, "precision": extractor.precision, "device": kind,
             "shape": list(images.shape[1:])}
    note = BATCH_SIZE.path(folder, extractor.name, hashlib.sha256(repr(about).encode()).hexdigest())
    known = _stored_size(note)
    for size in (known, extractor.batch_size):
        if size is not None and not FeatureFile(images, _with(extractor, size), folder).missing():
            return size
    if known is not None:
        return known
    seen = images[:BLOCK]
    # more than the images of one block never go through together; a power of two cuts a block into whole batches
    size = fastest_size(lambda count: _with(extractor, count)(np.resize(seen, (count, *images.shape[1:]))), place, largest=BLOCK)
    write_text(note, json.dumps({**about, "batch_size": size}) + "\n")
    context.progress.say(f"{extractor.name}: batch size {size:,}, which is fastest here")
    return size


def _stored_size(note: Path) -> int | None:
    """The number in the file `note`; None where there is none, or none that can be read."""
    try:
        size = json.loads(note.read_text(encoding="utf-8"))["batch_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and 0 < size <= BLOCK else None
