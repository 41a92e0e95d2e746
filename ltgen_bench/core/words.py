"""Formatting of numbers, lists and file names as short text."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import SupportsFloat

LONGEST_NAME = 80  # characters
NAMED = 5  # of many names, in an error


def count(images: SupportsFloat) -> str:
    """Return a number of images in short form: 441, 44.8k, 14.4M."""
    images = float(images)
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if images >= limit:
            return f"{images / (1e3 if letter == 'k' else 1e6):.1f}".removesuffix(".0") + letter
    return f"{images:.0f}"


def power(value: float) -> str:
    """Return a large number in scientific notation with three digits: 1.91e12."""
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def file_name(text: str) -> str:
    """Return `text` as a file name: characters other than ASCII letters, digits, `.`, `_` and `-` become dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def distinct_name(text: str) -> str:
    """Return `file_name(text)`, followed by a checksum where it differs from `text`, so that `a/b` and `a-b` are two files."""
    name = file_name(text)[:LONGEST_NAME]
    return name if name == text else f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def listed(names: list[str]) -> str:
    """Return a list in words: `a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def some(names: Iterable[str], most: int = NAMED) -> str:
    """Return the first names of a list: `a, b, c, d, e and 12 more`."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """Return `1 file`, `12,000 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size_words(shape: Sequence[int]) -> str:
    """Return an image shape [C, H, W] in words: `32 x 32 with 3 channels`."""
    channels, height, width = shape
    return f"{width} x {height} with {counted(channels, 'channel')}"
