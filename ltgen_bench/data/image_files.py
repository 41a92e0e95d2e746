"""Decoding of image files by threads, in blocks, to one size.

Pixels are taken as stored: the orientation in a camera's metadata is not applied, as in torchvision's image folders, and
transparent pixels are composed on white; both are reported with the number of files. With an image size, the centre square is
cut out and resized by Pillow: BOX (the mean over the area of a pixel) to a smaller size, BICUBIC to a larger one.
"""

import hashlib
import io
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import UInt8

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.data.listing import NAMED, Listing, Part

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZE_RULE = "centre square; Pillow BOX when shrinking, BICUBIC when enlarging; stored orientation"
BROKEN_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)  # what Pillow raises
BLOCK = 64  # images that a thread reads at once
AHEAD = 16  # blocks that are read in advance, at most
ORIENTATION = 0x0112  # the tag of Exif; 1 is upright
WHITE = (255, 255, 255, 255)  # background of transparent pixels
MOVING = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")  # formats whose frames or pages are images of their own
Shape = tuple[int, int, int]


class BadImageError(ValueError):
    """File that cannot be decoded as an image; the message says why."""


class Pixels(NamedTuple):
    """Decoded image: uint8 [C, H, W], whether its metadata ask for a rotation, and whether it had transparent pixels."""

    array: UInt8[np.ndarray, "C H W"]
    turned: bool
    transparent: bool


@dataclass
class Marks:
    """Numbers of images with an orientation in their metadata, and with transparent pixels."""

    turned: int = 0
    transparent: int = 0

    def add(self, other: "Pixels | Marks") -> None:
        """Add one image, or the numbers of another count."""
        self.turned += other.turned
        self.transparent += other.transparent

    def say(self, total: str, progress: Progress) -> None:
        """Report the numbers to the user; `total` is the number of images in words."""
        if self.turned:
            progress.say(f"{self.turned:,} of {total} carry a camera's orientation, which is not applied: they are read as their "
                         "pixels are stored; turn the files themselves where that matters")
        if self.transparent:
            progress.say(f"{self.transparent:,} of {total} have transparent pixels, which are composed on white; save them "
                         "without transparency where another background is meant")


@dataclass
class Block:
    """Consecutive images: uint8 [n, C, H, W], the SHA-256 of each file, and the faults of those that could not be read."""

    images: UInt8[np.ndarray, "n C H W"]
    digests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    marks: Marks = field(default_factory=Marks)


def decode(data: bytes, image_size: int | None = None) -> tuple[UInt8[np.ndarray, "C H W"], bool]:
    """Return (pixels, whether the metadata ask for a rotation) of an image file; one channel for grey files, else three."""
    return decode_marked(data, image_size)[:2]


def decode_marked(data: bytes, image_size: int | None = None) -> Pixels:
    """Decode the bytes of an image file; one channel for grey files, else three. Raises `BadImageError`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            _refuse_empty(image)
            deep, grey = image.mode in ("I", "F") or image.mode.startswith("I;"), _is_grey(image)
            frames = _frames(image)
            if not deep and frames == 1:
                opaque, transparent = _opaque(image)
                array = np.asarray(_resized(opaque.convert("L" if grey else "RGB"), image_size))
                return Pixels(array[None] if grey else array.transpose(2, 0, 1), _is_turned(image), transparent)
    except BadImageError:  # a ValueError, too
        raise
    except (*BROKEN_IMAGE, Image.DecompressionBombError) as error:
        raise BadImageError(f"it is corrupt or no image ({pillow_message(error)})") from error
    if frames > 1:
        raise BadImageError(f"it has {frames} frames or pages; save each that is meant as a file of its own")
    raise BadImageError(f"it has {image.mode} pixels; only 8-bit images are read")


def pillow_message(error: BaseException) -> str:
    """Return what is wrong with an image file, without the Python objects in Pillow's messages."""
    from PIL import UnidentifiedImageError

    return "its content is of no format that is read" if isinstance(error, UnidentifiedImageError) else str(error)


def _refuse_empty(image: "Image") -> None:
    if 0 in image.size:
        raise BadImageError(f"it has no pixels ({image.width} x {image.height})")


def _is_grey(image: "Image") -> bool:
    return image.mode in ("L", "1", "LA", "La")


def _frames(image: "Image") -> int:
    """Return the number of images in a file, not counting the preview in a camera's JPEG."""
    if image.format not in MOVING:
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except (IndexError, TypeError, KeyError) as error:  # for damaged pages, after `Image.open` succeeded
        raise BadImageError(f"it is corrupt ({error})") from error


def _opaque(image: "Image") -> tuple["Image", bool]:
    """Return the image composed on white, and whether it had transparent pixels."""
    from PIL import Image

    if not image.has_transparency_data:
        return image, False
    colours = image.convert("RGBA")
    if colours.getchannel("A").getextrema()[0] == 255:
        return colours.convert("RGB"), False
    return Image.alpha_composite(Image.new("RGBA", colours.size, WHITE), colours).convert("RGB"), True


def _is_turned(image: "Image") -> bool:
    if "exif" not in image.info:
        return False
    try:
        return image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except BROKEN_IMAGE:  # the pixels were decoded nevertheless
        return False


def _resized(image: "Image", size: int | None) -> "Image":
    from PIL.Image import Resampling

    side = min(image.size)
    if size is None or image.size == (size, size):
        return image
    left, top = (image.width - side) // 2, (image.height - side) // 2
    rule = Resampling.BOX if side > size else Resampling.BICUBIC
    return image.crop((left, top, left + side, top + side)).resize((size, size), rule)


def common_shape(listing: Listing, part: Part, image_size: int | None) -> Shape | None:
    """Return the (channels, height, width) of the first readable image of a part; None where none is readable.

    One channel where all files are grey; the headers of all files are read only if the first is grey.
    """
    with _quiet_pillow():
        for file in part.files:
            try:
                pixels, _ = decode(listing.content(file), image_size)
            except (OSError, BadImageError):
                continue
            if len(pixels) == 1 and not all(_grey_or_broken(listing, other) for other in part.files):
                return 3, *pixels.shape[1:]
            return pixels.shape
    return None


def _grey_or_broken(listing: Listing, file: str) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(listing.content(file))) as image:
            return _is_grey(image)
    except (*BROKEN_IMAGE, Image.DecompressionBombError):
        return True


def read_images(listing: Listing, name: str, shape: Shape, image_size: int | None, progress: Progress) -> Iterator[Block]:
    """Yield the images of the part `name` (train or test) in blocks, in order.

    Grey files among colour ones get three channels. After the last block raises `UserError` with the number of files that could
    not be read or differ from `shape`, and the first of them.
    """
    part = listing.parts[name]
    faults: list[str] = []
    odd: list[str] = []
    marks = Marks()
    with progress.stage(f"read {name}", len(part), "images") as stage, _quiet_pillow(), ThreadPoolExecutor() as pool:
        try:
            for block in _in_order(pool, listing, part, shape, image_size):
                faults.extend(block.faults)
                odd.extend(block.odd)
                marks.add(block.marks)
                yield block
                stage.advance(len(block.images))
        finally:
            pool.shutdown(cancel_futures=True)  # of an interrupted reading
    _refuse(listing, part, name, shape, faults, odd)
    marks.say(f"{len(part):,} {name} images", progress)


def _in_order(pool: ThreadPoolExecutor, listing: Listing, part: Part, shape: Shape, image_size: int | None) -> Iterator[Block]:
    """Yield the blocks in order, reading at most AHEAD of them in advance."""
    waiting: deque[Future[Block]] = deque()
    for start in range(0, len(part), BLOCK):
        waiting.append(pool.submit(_read_block, listing, part.files[start:start + BLOCK], shape, image_size))
        if len(waiting) == AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read_block(listing: Listing, files: tuple[str, ...], shape: Shape, image_size: int | None) -> Block:
    block = Block(np.zeros((len(files), *shape), dtype=np.uint8))
    for row, file in enumerate(files):
        try:
            data = listing.content(file)
            block.digests.append(hashlib.sha256(data).hexdigest())
            found = decode_marked(data, image_size)
        except (OSError, BadImageError) as error:
            block.faults.append(f"{listing.root / file}: {error}")
            continue
        block.marks.add(found)
        pixels = found.array
        if pixels.shape[1:] == shape[1:]:
            block.images[row] = pixels
        else:
            block.odd.append(f"{listing.root / file}: {pixels.shape[2]} x {pixels.shape[1]}")
    return block


def _refuse(listing: Listing, part: Part, name: str, shape: Shape, faults: list[str], odd: list[str]) -> None:
    if faults:
        raise UserError(f"{len(faults):,} of {len(part):,} {name} images under {listing.root} could not be read", faults[:NAMED])
    if odd:
        raise UserError(f"{len(odd):,} of {len(part):,} {name} images under {listing.root} are not {shape[2]} x {shape[1]} like "
                        "the first; resize them so that all have one size, or give --image-size 32, 64 or 128", odd[:NAMED])


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings about metadata; it raises errors about pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
