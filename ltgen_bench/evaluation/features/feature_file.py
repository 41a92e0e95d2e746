"""The features of one image set on the disk: arrays that can be mapped, and a note of the blocks in them that are whole.

A block is on the disk before the note says so, and the note is replaced as a whole, with a checksum of every block. So what
a kill at any moment leaves is noted and right, or is not noted; and what is noted but no longer right is found and made
again. An array is never shortened in place: whoever has it mapped keeps what was mapped.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ltgen_bench.core.files import write_at, write_atomically, write_text
from ltgen_bench.evaluation.extractors import Features

BLOCK = 2048  # images that are made and noted together
NOTE = "note.json"


@dataclass(frozen=True)
class About:
    """Description of cached features: extractor and images. `key` identifies them."""

    key: str
    extractor: str
    weights: str  # SHA-256
    resize: str
    precision: str
    batch_size: int
    images: tuple[int, ...]  # their shape, [N, C, H, W]


class FeatureFile:
    """The folder `folder` with `features.npy`, `logits.npy` where the extractor has a head, and `note.json`.

    `feature_dim` and `has_logits` are what the arrays must fit.
    """

    def __init__(self, folder: Path, about: About, *, feature_dim: int, has_logits: bool) -> None:
        self.folder = folder
        self.about = about
        self.feature_dim = feature_dim
        self.names = ("features", "logits") if has_logits else ("features",)
        self._checksums: list[str | None] | None = None  # of every block; None: the arrays must be laid out first

    @property
    def count(self) -> int:
        """Images in all."""
        return self.about.images[0]

    def missing(self, say: Callable[[str], object] = lambda message: None) -> list[slice]:
        """The blocks of images that are not there, or no longer what was written; `say` hears about the latter."""
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
        right = [noted is not None and noted == _checksum(found, block)
                 for noted, block in zip(checksums, blocks, strict=True)]
        damaged = sum(noted is not None and not whole for noted, whole in zip(checksums, right, strict=True))
        if damaged:
            say(f"the cached features {self.folder.name} are damaged in {damaged} of {len(blocks)} blocks; making them again")
        return [block for block, whole in zip(blocks, right, strict=True) if not whole]

    def _stored_checksums(self, blocks: int) -> list[str | None]:
        """The checksums of the note, where it belongs to these images, this extractor and blocks of this size."""
        note = json.loads((self.folder / NOTE).read_text(encoding="utf-8"))
        checksums = note["checksums"]
        if note["key"] != self.about.key or note["block"] != BLOCK or len(checksums) != blocks:
            raise ValueError("its note does not match its name")
        return list(checksums)

    def write(self, block: slice, found: Features) -> None:
        """Put the features of one block of `missing()` into their place, and note that they are whole."""
        if self._checksums is None:
            self._lay_out(found)
        assert self._checksums is not None, "laid out just above"
        for name in self.names:
            values = np.ascontiguousarray(getattr(found, name))
            offset = self._mapped(name).offset + block.start * values[0].nbytes
            write_at(self.folder / f"{name}.npy", offset, values.data.cast("B"))
        self._checksums[block.start // BLOCK] = _checksum(found, slice(None))
        self._write_note()

    def _lay_out(self, found: Features) -> None:
        """New arrays without content, as wide as `found`, and a note that says so."""
        for name in self.names:
            shape = self.count, getattr(found, name).shape[1]
            write_atomically(self.folder / f"{name}.npy", lambda part, shape=shape: np.lib.format.open_memmap(  # type: ignore[misc]
                part, mode="w+", dtype=np.float32, shape=shape))
        self._checksums = [None] * -(-self.count // BLOCK)
        self._write_note()

    def _write_note(self) -> None:
        note = {**asdict(self.about), "block": BLOCK, "checksums": self._checksums}
        write_text(self.folder / NOTE, json.dumps(note) + "\n")

    def read(self) -> Features:
        """The arrays, mapped into memory: a page comes from the disk when it is looked at.

        What is written into them stays in this process. Raises `ValueError` or `OSError` where they are not what they must
        be; their content is `missing`'s affair.
        """
        mapped = [self._mapped(name) for name in self.names]
        for array in mapped:
            if array.dtype != np.float32 or array.ndim != 2 or len(array) != self.count:
                raise ValueError("its arrays do not match its name")
        if mapped[0].shape[1] != self.feature_dim:
            raise ValueError("its arrays do not match its name")
        plain = [array.view(np.ndarray) for array in mapped]
        return Features(plain[0], plain[1] if len(plain) == 2 else None)

    def _mapped(self, name: str) -> Any:
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", mode="c")

    def mark_used(self) -> None:
        """Note the time, for who wants to clear what was not used for long."""
        with suppress(OSError):  # of a cache that may only be read nobody clears anything
            os.utime(self.folder / NOTE)


def _checksum(found: Features, block: slice) -> str:
    """SHA-256 over the block's features and logits."""
    digest = hashlib.sha256()
    for values in found:
        if values is not None:
            digest.update(np.ascontiguousarray(values[block]).data)
    return digest.hexdigest()
