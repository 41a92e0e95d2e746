"""The handwritten digits that ship with scikit-learn."""

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.class_names import DIGITS
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.raw import RawData, stratified_split

# `ImageSet.content_hash` of all 1,797 images
SHA256 = "ac2213023a1dd19f8222ec82825f32c3504d17957813b2fdf14736bb5f12f150"


def load_digits() -> RawData:
    """Return scikit-learn's 1,797 handwritten digits, 8 x 8, grey levels 0 to 16 scaled to 0 to 255; 75 % / 25 %, stratified."""
    return RawData(*stratified_split(all_digits()), DIGITS)


def all_digits() -> ImageSet:
    """Return the 1,797 digits in scikit-learn's order, uint8 [1797, 1, 8, 8]."""
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    return ImageSet(images, digits.target.astype(np.int64))


def verify_digits() -> list[str]:
    """Check the hash of images and labels, and return a message. Raises `UserError` where it differs from the published one."""
    digits = all_digits()
    found = digits.content_hash()
    if found != SHA256:
        raise UserError(f"scikit-learn's digits have the sha256 {found[:16]}... and not {SHA256[:16]}...: this installation has "
                        "other images; install scikit-learn again.")
    return [f"scikit-learn's {len(digits):,} digits: sha256 {found} as expected"]
