"""Features kept by content: an image goes through an extractor once, whatever its file was called.

Images are kept in chunks of a fixed size, each under a hash of the extractor and of the pixels, so an interrupted pass
over a large set goes on where it stood. A file that cannot be read, or whose content has changed, is made again.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ltgen_bench.errors import MachineError
from ltgen_bench.evaluation.extractors import Extractor, Features
from ltgen_bench.files import write_whole
from ltgen_bench.progress import Progress, Stage

CHUNK = 2048  # images of one file


def cached_features(images: UInt8[np.ndarray, "N C H W"], extractor: Extractor, folder: Path, progress: Progress,
                    stage: Stage) -> Features:
    """Features of `images` in their order, from `folder` where they are known; `stage` advances by images.

    Raises `MachineError` when a feature is not finite, naming the extractor.
    """
    parts = []
    for chunk in _chunks(images):
        path = folder / f"{feature_key(chunk, extractor)}.safetensors"
        found = _read(path, len(chunk), extractor, progress)
        if found is None:
            found = _extract(chunk, extractor, stage)
            _write(path, found)
        else:
            stage.advance(len(chunk))
        parts.append(found)
    logits = [part.logits for part in parts if part.logits is not None]
    return Features(np.concatenate([part.features for part in parts]), np.concatenate(logits) if logits else None)


def feature_key(images: UInt8[np.ndarray, "N C H W"], extractor: Extractor) -> str:
    """SHA-256 over who looks (name, weights, resize rule, batch size) and what is seen (shape and pixels)."""
    who = (extractor.name, extractor.weights_id, extractor.logits_id, extractor.sha256, extractor.resize,
           extractor.batch_size, images.shape)
    digest = hashlib.sha256(repr(who).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _chunks(images: UInt8[np.ndarray, "N C H W"]) -> Iterator[UInt8[np.ndarray, "n C H W"]]:
    for start in range(0, len(images), CHUNK):
        yield images[start:start + CHUNK]


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


def _write(path: Path, found: Features) -> None:
    arrays = {"features": found.features} if found.logits is None else found._asdict()
    write_whole(path, lambda part: save_file(arrays, part, metadata={"content": _content(found)}))


def _read(path: Path, count: int, extractor: Extractor, progress: Progress) -> Features | None:
    """What `_write` kept; None where there is nothing, or nothing whole."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            names, metadata = set(file.keys()), file.metadata() or {}
            found = Features(file.get_tensor("features"), file.get_tensor("logits") if "logits" in names else None)
    except (SafetensorError, OSError) as error:
        reason = str(error)
    else:
        shape = count, extractor.feature_dim
        whole = found.features.shape == shape and (found.logits is not None) == extractor.has_logits
        if whole and metadata.get("content") == _content(found):
            return found
        reason = "its content does not match its name"
    progress.say(f"the kept features {path.name[:16]}... cannot be used ({reason}); making them again")
    return None


def _content(found: Features) -> str:
    digest = hashlib.sha256()
    for values in found:
        if values is not None:
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
