"""Features kept by content: an image goes through an extractor once, whatever its file was called.

The key holds who looks and what is seen: one changed pixel is another key, a renamed folder is not. An interrupted pass over
a large set goes on where it stood.
"""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.errors import MachineError
from ltgen_bench.evaluation.extractors import Extractor, Features
from ltgen_bench.evaluation.features_file import About, FeatureFile
from ltgen_bench.files import turn_to_write
from ltgen_bench.progress import Progress, Stage


def cached_features(images: UInt8[np.ndarray, "N C H W"], extractor: Extractor, folder: Path, progress: Progress,
                    stage: Stage) -> Features:
    """Features of `images` in their order, from `folder` where they are known; `stage` advances by images.

    The arrays are mapped from their file; what is written into them stays in this process. Two commands that need the
    same features make them once. Raises `MachineError` when a feature is not finite, naming the extractor.
    """
    about = about_features(images, extractor)
    file = FeatureFile(folder / f"{extractor.name}-{about.key[:32]}", about, feature_dim=extractor.feature_dim,
                       has_logits=extractor.has_logits)
    if file.missing():
        with turn_to_write(file.folder, progress.say):
            missing = file.missing(progress.say)
            stage.advance(len(images) - sum(len(images[block]) for block in missing))
            for block in missing:
                file.write(block, _extract(images[block], extractor, stage))
    else:
        stage.advance(len(images))
    file.mark_used()
    return file.read()


def about_features(images: UInt8[np.ndarray, "N C H W"], extractor: Extractor) -> About:
    """Who looks (name, weights, resize rule, precision, batch size) at what (shape and pixels), and the key of it all."""
    who = (extractor.name, extractor.weights_id, extractor.logits_id, extractor.sha256, extractor.resize, extractor.precision,
           extractor.batch_size, images.shape)
    digest = hashlib.sha256(repr(who).encode())
    digest.update(np.ascontiguousarray(images).data)  # 0.1 s for the 150 MB of CIFAR
    return About(digest.hexdigest(), extractor.name, extractor.sha256, extractor.resize, extractor.precision,
                 extractor.batch_size, images.shape)


def _extract(images: UInt8[np.ndarray, "N C H W"], extractor: Extractor, stage: Stage) -> Features:
    features, logits = [], []
    for start in range(0, len(images), extractor.batch_size):
        batch = images[start:start + extractor.batch_size]
        seen = extractor(batch)
        features.append(seen.features)
        if seen.logits is not None:
            logits.append(seen.logits)
        stage.advance(len(batch), extractor.name)
    found = Features(np.concatenate(features), np.concatenate(logits) if logits else None)
    for values in found:
        if values is not None and not np.isfinite(values).all():
            broken = int((~np.isfinite(values)).any(axis=1).sum())
            raise MachineError(f"the extractor '{extractor.name}' gave features that are not finite for {broken} of "
                               f"{len(values)} images; its weights (sha256 {extractor.sha256[:16]}) may be broken.")
    return found
