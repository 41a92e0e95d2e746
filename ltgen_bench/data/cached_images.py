"""The kind of the cache folder that image files are read into, for listing and clearing it. Imports no torch."""

import json
from pathlib import Path

from ltgen_bench.core.cache_folder import CacheKind, register_kind


def shape_words(shape: list[int]) -> str:
    """`50,000 images of 3 x 32 x 32` for the shape [N, C, H, W] of an array."""
    count, channels, height, width = shape
    return f"{count:,} images of {channels} x {height} x {width}"


def _words(folder: Path) -> str:
    """Where the image files lie, and how many of which shape, as the listing beside the arrays says."""
    try:
        facts = json.loads((folder / "listing.json").read_text(encoding="utf-8"))
        return f"{facts['root']}, {' and '.join(shape_words(part['shape']) for part in facts['parts'].values())}"
    except FileNotFoundError:
        return "a reading that was killed, no images yet"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "of a data set, its listing cannot be read"


IMAGES = register_kind(CacheKind("images", "images", "{hex16}", _words, lock="beside", is_folder=True))
