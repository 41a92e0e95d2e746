"""Features cached by content: an image set goes through an extractor once, whatever its files are called.

The key is a digest of the pixels and of the extractor (name, weights, resizing, precision, batch size). An interrupted
extraction continues with the blocks that are missing.
"""

from itertools import islice, zip_longest

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.files import cache_lock
from ltgen_bench.core.progress import Stage
from ltgen_bench.evaluation.extractors import Extractor, Features
from ltgen_bench.evaluation.features.feature_file import FeatureFile
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import Ranks


def cached_features(images: UInt8[np.ndarray, "N C H W"], extractor: Extractor, context: RunContext, stage: Stage) -> Features:
    """Features of `images` in their order, from the cache where they are there; `stage` advances by images.

    The arrays are memory-mapped copy-on-write. Two commands that need the same features compute them once. Raises
    `MachineError` for features that are not finite.
    """
    file = ensure_features(images, extractor, context, stage)
    file.mark_used()
    return file.read()


def ensure_features(images: UInt8[np.ndarray, "N C H W"], extractor: Extractor, context: RunContext, stage: Stage) -> FeatureFile:
    """The complete file of these features; each process computes those of a part of the images, and the main process writes."""
    ranks, progress = context.ranks, context.progress
    file = FeatureFile(images, extractor, context.features)
    if not ranks.broadcast(bool(ranks.is_main and file.missing())):
        stage.advance(len(images))
        return file
    with ranks.only_on_main(cache_lock(file.folder, progress.say)):
        missing = ranks.broadcast(file.missing(progress.say) if ranks.is_main else [])
        stage.advance(len(images) - sum(len(images[block]) for block in missing))
        for start in range(0, len(missing), ranks.size):
            blocks = missing[start:start + ranks.size]  # together they have batches for all, however large these are
            for block, found in zip(blocks, _extract(images, blocks, extractor, stage, ranks), strict=ranks.is_main):
                file.write(block, found)
    return file


def _extract(images: UInt8[np.ndarray, "N C H W"], blocks: list[slice], extractor: Extractor, stage: Stage,
             ranks: Ranks) -> list[Features]:
    """Features of each of `blocks`, every batch by one of the ranks in turn; nothing but in the first."""
    size = extractor.batch_size
    batches = [[images[block][start:start + size] for start in range(0, len(images[block]), size)] for block in blocks]
    together = [batch for of_block in batches for batch in of_block]
    own: list[Features] = []
    for turn in range(0, len(together), ranks.size):
        mine = turn + ranks.rank
        if mine < len(together):
            own.append(extractor(together[mine]))
        stage.advance(sum(map(len, together[turn:turn + ranks.size])), extractor.name)
    seen = iter([found for turn in zip_longest(*ranks.gather(own)) for found in turn if found is not None])
    return [_joined(list(islice(seen, len(of_block))), extractor) for of_block in batches] if ranks.is_main else []


def _joined(seen: list[Features], extractor: Extractor) -> Features:
    """The features of a block from those of its batches. Raises `MachineError` where some are not finite."""
    logits = [batch.logits for batch in seen if batch.logits is not None]
    found = Features(np.concatenate([batch.features for batch in seen]), np.concatenate(logits) if logits else None)
    for values in found:
        if values is not None and not np.isfinite(values).all():
            broken = int((~np.isfinite(values)).any(axis=1).sum())
            raise MachineError(f"the extractor '{extractor.name}' gave features that are not finite for {broken} of "
                               f"{len(values)} images; its weights (sha256 {extractor.sha256[:16]}) may be broken.")
    return found
