"""Image files as bytes: decoded by threads, block by block, all to one size.

Pixels stay as they are stored: an orientation that a camera wrote beside them is not applied, as in torchvision's image
folders, and the user is told how many files have one. Transparent pixels are composed on white, which is told too. With
an image size, the centre square is cut out and resized by
Pillow: its BOX filter, the mean over the area of a pixel, makes it smaller, and BICUBIC larger.
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
BLOCK = 64  # images that one thread reads in one go
AHEAD = 16  # blocks under way at most, so that memory holds no more than these
ORIENTATION = 0x0112  # the tag of Exif; 1 is upright
WHITE = (255, 255, 255, 255)  # the background on which transparent pixels are composed
MOVING = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")  # formats whose frames or pages are images of their own
Shape = tuple[int, int, int]


class BadImageError(ValueError):
    """A file that is no image which can be read; its text says why."""


class Pixels(NamedTuple):
    """A decoded file: uint8 [C, H, W], whether it is to be turned, and whether transparent pixels were composed on white."""

    array: UInt8[np.ndarray, "C H W"]
    turned: bool
    transparent: bool


@dataclass
class Marks:
    """How many images carry an orientation, and how many transparent pixels."""

    turned: int = 0
    transparent: int = 0

    def add(self, other: "Pixels | Marks") -> None:
        """Count one image, or those of another count."""
        self.turned += other.turned
        self.transparent += other.transparent

    def say(self, total: str, progress: Progress) -> None:
        """What the user is told; `total` is how many images there are, in words."""
        if self.turned:
            progress.say(f"{self.turned:,} of {total} carry a camera's orientation, which is not applied: they are read as their "
                         "pixels are stored; turn the files themselves where that matters")
        if self.transparent:
            progress.say(f"{self.transparent:,} of {total} have transparent pixels, which are composed on white; save them "
                         "without transparency where another background is meant")


@dataclass
class Block:
    """Some images in their order: uint8 [n, C, H, W], the SHA-256 of each file, and what is wrong with some of them."""

    images: UInt8[np.ndarray, "n C H W"]
    digests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    marks: Marks = field(default_factory=Marks)


def decode(data: bytes, image_size: int | None = None) -> tuple[UInt8[np.ndarray, "C H W"], bool]:
    """The pixels of an image file, one channel for grey files and three for others; and whether it is to be turned."""
    return decode_marked(data, image_size)[:2]


def decode_marked(data: bytes, image_size: int | None = None) -> Pixels:
    """The pixels of an image file, one channel for grey files and three for others, and what the user is to be told of it.

    `data` are the bytes of the file. Raises `BadImageError`.
    """
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
        raise BadImageError(f"it is corrupt or no image ({pillow_words(error)})") from error
    if frames > 1:
        raise BadImageError(f"it has {frames} frames or pages; save each that is meant as a file of its own")
    raise BadImageError(f"it has {image.mode} pixels; only 8-bit images are read")


def pillow_words(error: BaseException) -> str:
    """What is wrong with a file of images, without the objects that Pillow names."""
    from PIL import UnidentifiedImageError

    return "its content is of no format that is read" if isinstance(error, UnidentifiedImageError) else str(error)


def _refuse_empty(image: "Image") -> None:
    if 0 in image.size:
        raise BadImageError(f"it has no pixels ({image.width} x {image.height})")


def _is_grey(image: "Image") -> bool:
    return image.mode in ("L", "1", "LA", "La")


def _frames(image: "Image") -> int:
    """How many images a file holds; the preview beside a camera's JPEG is none."""
    if image.format not in MOVING:
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except (IndexError, TypeError, KeyError) as error:  # of damaged pages, which `Image.open` would not have opened
        raise BadImageError(f"it is corrupt ({error})") from error


def _opaque(image: "Image") -> tuple["Image", bool]:
    """The image without transparency, and whether some pixels had it: these are composed on white."""
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
    except BROKEN_IMAGE:  # the pixels were read all the same
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
    """(channels, height, width) that the images of a part have in common, by the first that can be read; None without one.

    A part has one channel where all its files are grey. The headers of all files are looked at only if the first is.
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
    """The images of the part `name` (train or test) in blocks, in their order.

    Grey files among colour ones are shown in three channels. Raises `UserError` behind the last block: how many files
    could not be read or have another size than `shape`, and the first of them.
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
    """The blocks one after the other, with no more than AHEAD of them read before they are asked for."""
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
    """Pillow warns of odd metadata, which nobody asked for; what is wrong with pixels it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
