"""The cache kind of decoded image files, for listing and clearing. Imports no torch."""

import json
from pathlib import Path

from ltgen_bench.core.cache_folder import CacheKind, register_kind


def shape_words(shape: list[int]) -> str:
    """Return the shape [N, C, H, W] of an array in words: `50,000 images of 3 x 32 x 32`."""
    count, channels, height, width = shape
    return f"{count:,} images of {channels} x {height} x {width}"


def _words(folder: Path) -> str:
    """Return the source folder, number and shape of the cached images."""
    try:
        facts = json.loads((folder / "listing.json").read_text(encoding="utf-8"))
        return f"{facts['root']}, {' and '.join(shape_words(part['shape']) for part in facts['parts'].values())}"
    except FileNotFoundError:
        return "a reading that was killed, no images yet"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "of a data set, its listing cannot be read"


IMAGES = register_kind(CacheKind("images", "images", "{hex16}", _words, lock="beside", is_folder=True))
