"""The cached features of one image set: memory-mapped arrays, and a JSON file with the checksum of each finished block.

A block is written before its checksum, and the JSON file is replaced atomically. So after a kill at any moment a block with a
checksum is complete, unless it was damaged later, which `missing` detects. An array is never shortened in place, so that
processes that have it mapped keep valid data.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.core.files import write_at, write_atomically, write_text
from ltgen_bench.evaluation.cached_evaluation import FEATURES
from ltgen_bench.evaluation.extractors import Extractor, Features

BLOCK = 2048  # images of a block, which has one checksum
NOTE = "note.json"


class FeatureFile:
    """The features of `images` by `extractor`: a folder in `cache` with `features.npy`, `logits.npy` where the extractor has a
    head, and `note.json`. It may be missing or incomplete.

    `about` describes both; its `key` is a digest of the pixels and of all that decides the features.
    """

    def __init__(self, images: UInt8[np.ndarray, "N C H W"], extractor: Extractor, cache: Path) -> None:
        who = (extractor.name, extractor.weights_id, extractor.logits_id, extractor.sha256, extractor.resize,
               extractor.precision, extractor.batch_size, images.shape)
        digest = hashlib.sha256(repr(who).encode())
        digest.update(np.ascontiguousarray(images).data)  # 0.1 s for the 150 MB of CIFAR
        self.about = {"key": digest.hexdigest(), "extractor": extractor.name, "weights": extractor.sha256,
                      "resize": extractor.resize, "precision": extractor.precision, "batch_size": extractor.batch_size,
                      "images": images.shape}
        self.folder = FEATURES.path(cache, extractor.name, digest.hexdigest())
        self.count, self.feature_dim = len(images), extractor.feature_dim
        self.names = ("features", "logits") if extractor.has_logits else ("features",)
        self._checksums: list[str | None] | None = None  # of every block; None: the arrays must be created first

    def missing(self, say: Callable[[str], object] = lambda message: None) -> list[slice]:
        """The blocks of images whose features are missing or damaged; `say` is called with a sentence on damaged ones."""
        blocks = [slice(start, min(start + BLOCK, self.count)) for start in range(0, self.count, BLOCK)]
        self._checksums = None
        if not (self.folder / NOTE).is_file():
            return blocks
        try:
            checksums, found = self._stored_checksums(len(blocks)), self.read()
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            say(f"the cached features {self.folder.name} cannot be used ({error}); making them again")
            return blocks
        self._checksums = checksums
        right = [checksum is not None and checksum == _checksum(found, block)
                 for checksum, block in zip(checksums, blocks, strict=True)]
        damaged = sum(checksum is not None and not whole for checksum, whole in zip(checksums, right, strict=True))
        if damaged:
            say(f"the cached features {self.folder.name} are damaged in {damaged} of {len(blocks)} blocks; making them again")
        return [block for block, whole in zip(blocks, right, strict=True) if not whole]

    def _stored_checksums(self, blocks: int) -> list[str | None]:
        """The stored checksums. Raises `ValueError` where they are of other images, another extractor or other blocks."""
        note = json.loads((self.folder / NOTE).read_text(encoding="utf-8"))
        checksums = note["checksums"]
        if note["key"] != self.about["key"] or note["block"] != BLOCK or len(checksums) != blocks:
            raise ValueError("its note does not match its name")
        return list(checksums)

    def write(self, block: slice, found: Features) -> None:
        """Write the features of one block of `missing()`, and then its checksum."""
        if self._checksums is None:
            self._create_arrays(found)
        assert self._checksums is not None, "created just above"
        for name in self.names:
            values = np.ascontiguousarray(getattr(found, name))
            offset = self._mapped(name).offset + block.start * values[0].nbytes
            write_at(self.folder / f"{name}.npy", offset, values.data.cast("B"))
        self._checksums[block.start // BLOCK] = _checksum(found, slice(None))
        self._write_note()

    def _create_arrays(self, found: Features) -> None:
        """Create arrays without content, as wide as `found`, and a JSON file without checksums."""
        for name in self.names:
            shape = self.count, getattr(found, name).shape[1]
            write_atomically(self.folder / f"{name}.npy", lambda part, shape=shape: np.lib.format.open_memmap(  # type: ignore[misc]
                part, mode="w+", dtype=np.float32, shape=shape))
        self._checksums = [None] * -(-self.count // BLOCK)
        self._write_note()

    def _write_note(self) -> None:
        note = {**self.about, "block": BLOCK, "checksums": self._checksums}
        write_text(self.folder / NOTE, json.dumps(note) + "\n")

    def read(self) -> Features:
        """The arrays, memory-mapped copy-on-write, so that changes stay in this process.

        Raises `ValueError` or `OSError` for arrays of another shape or type. Their content is checked by `missing`.
        """
        mapped = [self._mapped(name) for name in self.names]
        for array in mapped:
            if array.dtype != np.float32 or array.ndim != 2 or len(array) != self.count or mapped[0].shape[1] != self.feature_dim:
                raise ValueError("its arrays do not match its name")
        plain = [array.view(np.ndarray) for array in mapped]
        return Features(plain[0], plain[1] if len(plain) == 2 else None)

    def _mapped(self, name: str) -> Any:
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", mode="c")

    def mark_used(self) -> None:
        """Set the time of the last use, by which `ltgen-bench cache clear` chooses."""
        with suppress(OSError):  # a read-only cache is not cleared
            os.utime(self.folder / NOTE)


def _checksum(found: Features, block: slice) -> str:
    """SHA-256 over the block's features and logits."""
    digest = hashlib.sha256()
    for values in found:
        if values is not None:
            digest.update(np.ascontiguousarray(values[block]).data)
    return digest.hexdigest()
