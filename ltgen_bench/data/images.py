"""Sets of images as NumPy arrays."""

import hashlib
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import write_atomically

# What numpy, zipfile and zlib raise for a file that is damaged in its headers or in its content.
BROKEN_ARRAYS = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, SyntaxError, RuntimeError, MemoryError,
                 OverflowError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError)


@dataclass(frozen=True)
class ImageSet:
    """Images with labels: `images` uint8 [N, C, H, W] in 0 to 255, `labels` int64 [N] in 0 to K - 1."""

    images: UInt8[np.ndarray, "N C H W"]
    labels: Int64[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "ImageSet":
        """Return the images at `indices` (integers or a mask), in that order."""
        return ImageSet(self.images[indices], self.labels[indices])

    def content_hash(self) -> str:
        """Return the SHA-256 over shape, images and labels, in order."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True)
class SampleSet(ImageSet):
    """Generated images: an `ImageSet` with the seed of each image, int64 [N]."""

    seeds: Int64[np.ndarray, " N"]

    def save(self, path: Path) -> None:
        """Write an npz with `images` uint8 [N, H, W, C], `labels` and `seeds`."""
        images = self.images.transpose(0, 2, 3, 1)
        write_atomically(path, lambda part: np.savez(part, images=images, labels=self.labels, seeds=self.seeds))

    @classmethod
    def load(cls, path: Path) -> "SampleSet":
        """Read an npz that `save` wrote. Object arrays are refused, since unpickling them would run code."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                images, labels, seeds = stored["images"].transpose(0, 3, 1, 2), stored["labels"], stored["seeds"]
        except BROKEN_ARRAYS as error:
            raise UserError(f"{path} is not a file of samples written by ltgen-bench ({error}); delete it and repeat "
                            "the command that drew them to make it again.") from error
        return cls(np.ascontiguousarray(images), labels.astype(np.int64), seeds.astype(np.int64))
