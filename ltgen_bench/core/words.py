"""Numbers, lists and file names as short text."""

import hashlib
import re
from typing import SupportsFloat

LONGEST_NAME = 80  # characters


def count(images: SupportsFloat) -> str:
    """A number of images in few letters: 441, 44.8k, 14.4M."""
    images = float(images)
    for limit, letter in ((1e6, "M"), (1e4, "k")):
        if images >= limit:
            return f"{images / (1e3 if letter == 'k' else 1e6):.1f}".removesuffix(".0") + letter
    return f"{images:.0f}"


def power(value: float) -> str:
    """A large number with a power of ten: 1.91e12."""
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def file_name(text: str) -> str:
    """`text` as a name for a file or folder: nothing in it leads elsewhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def distinct_name(text: str) -> str:
    """`file_name` of `text`, and where that is not the text itself a checksum behind it: `a/b` and `a-b` are two files."""
    name = file_name(text)[:LONGEST_NAME]
    return name if name == text else f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
