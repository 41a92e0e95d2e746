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
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
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
MARKS = {  # property of images that is counted -> what the user is told
    "turned": "carry a camera's orientation, which is not applied: they are read as their pixels are stored; turn the files "
    "themselves where that matters",
    "transparent": "have transparent pixels, which are composed on white; save them without transparency where another "
    "background is meant",
}
Shape = tuple[int, int, int]


class BadImageError(ValueError):
    """File that cannot be decoded as an image; the message says why."""


class OtherSizeError(BadImageError):
    """Image of another size than is wanted; the message is its size."""


class Pixels(NamedTuple):
    """Decoded image: uint8 [C, H, W], whether its metadata ask for a rotation, and whether it had transparent pixels."""

    array: UInt8[np.ndarray, "C H W"]
    turned: bool
    transparent: bool


@dataclass(frozen=True)
class ImageFiles:
    """Image files that are read together: their paths below `root`, and a function that reads one, or raises `OSError`.

    `stage` names the reading on the display, `noun` the images in messages; `unlike` is what is wrong with those of another size.
    """

    root: Path
    names: Sequence[str]
    content: Callable[[str], bytes]
    stage: str
    noun: str
    unlike: str


@dataclass
class Block:
    """Consecutive images: uint8 [n, C, H, W], the SHA-256 of each file, numbers of MARKS, and faults of images by their rows."""

    images: UInt8[np.ndarray, "n C H W"]
    digests: list[str] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def say_marks(marks: Mapping[str, int], total: str, progress: Progress) -> None:
    """Tell the user how many images have each of MARKS; `total` is the number of images in words."""
    for mark, words in MARKS.items():
        if marks.get(mark):
            progress.say(f"{marks[mark]:,} of {total} {words}")


def decode(data: bytes, image_size: int | None = None, *, only: tuple[int, int] | None = None) -> Pixels:
    """Decode the bytes of an image file; one channel for grey files, else three. Raises `BadImageError`.

    With `image_size` it is resized. Images of another (width, height) than `only` are refused by their header.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            frames = int(getattr(image, "n_frames", 1)) if image.format in MOVING else 1  # not the preview in a camera's JPEG
            deep, grey = image.mode in ("I", "F") or image.mode.startswith("I;"), _is_grey(image)
            if 0 not in image.size and not deep and frames == 1 and only in (None, image.size):
                opaque, transparent = _opaque(image)
                array = np.asarray(_resized(opaque.convert("L" if grey else "RGB"), image_size))
                return Pixels(array[None] if grey else array.transpose(2, 0, 1), _is_turned(image), transparent)
    except (*BROKEN_IMAGE, IndexError, TypeError, KeyError, Image.DecompressionBombError) as error:
        raise BadImageError(f"it is corrupt or no image ({pillow_message(error)})") from error
    if only not in (None, image.size):
        raise OtherSizeError(f"{image.width} x {image.height}")
    if 0 in image.size:
        raise BadImageError(f"it has no pixels ({image.width} x {image.height})")
    if frames > 1:
        raise BadImageError(f"it has {frames} frames or pages; save each that is meant as a file of its own")
    raise BadImageError(f"it has {image.mode} pixels; only 8-bit images are read")


def pillow_message(error: BaseException) -> str:
    """Return what is wrong with an image file, without the Python objects in Pillow's messages."""
    from PIL import UnidentifiedImageError

    return "its content is of no format that is read" if isinstance(error, UnidentifiedImageError) else str(error)


def _is_grey(image: "Image") -> bool:
    return image.mode in ("L", "1", "LA", "La")


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
                pixels = decode(listing.content(file), image_size).array
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
    """Yield the images of the part `name` (train or test) of a listing as `read_files` does."""
    files = ImageFiles(
        listing.root, listing.parts[name].files, listing.content, f"read {name}", f"{name} images",
        f"are not {shape[2]} x {shape[1]} like the first; resize them so that all have one size, or give --image-size 32, 64 or "
        "128")
    yield from read_files(files, shape, image_size, progress)


def read_files(files: ImageFiles, shape: Shape, image_size: int | None, progress: Progress) -> Iterator[Block]:
    """Yield the images in blocks, in order, read by threads. Grey files among colour ones get three channels.

    After the last block raises `UserError` with the number of files that could not be read or do not fit `shape`, and the first
    of them.
    """
    faults: list[str] = []
    odd: list[str] = []
    marks: Counter[str] = Counter()
    total = f"{len(files.names):,} {files.noun}"
    with progress.stage(files.stage, len(files.names), "images") as stage, _quiet_pillow(), ThreadPoolExecutor() as pool:
        try:
            for block in _in_order(pool, files, shape, image_size):
                faults += block.faults
                odd += block.odd
                marks += block.marks
                yield block
                stage.advance(len(block.images))
        finally:
            pool.shutdown(cancel_futures=True)  # of an interrupted reading
    if faults:
        raise UserError(f"{len(faults):,} of {total} of {files.root} could not be read", faults[:NAMED])
    if odd:
        raise UserError(f"{len(odd):,} of {total} of {files.root} {files.unlike}", odd[:NAMED])
    say_marks(marks, total, progress)


def _in_order(pool: ThreadPoolExecutor, files: ImageFiles, shape: Shape, image_size: int | None) -> Iterator[Block]:
    """Yield the blocks in order, reading at most AHEAD of them in advance."""
    waiting: deque[Future[Block]] = deque()
    for start in range(0, len(files.names), BLOCK):
        waiting.append(pool.submit(_read_block, files, range(start, min(start + BLOCK, len(files.names))), shape, image_size))
        if len(waiting) == AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read_block(files: ImageFiles, rows: range, shape: Shape, image_size: int | None) -> Block:
    block = Block(np.zeros((len(rows), *shape), dtype=np.uint8))
    for row, name in enumerate(files.names[rows.start:rows.stop]):
        try:
            data = files.content(name)
            block.digests.append(hashlib.sha256(data).hexdigest())
            found = decode(data, image_size, only=None if image_size else (shape[2], shape[1]))
        except OtherSizeError as error:
            block.odd.append(f"{files.root / name}: {error}")
            continue
        except (OSError, BadImageError) as error:
            block.faults.append(f"{files.root / name}: {error}")
            continue
        block.marks += Counter(turned=found.turned, transparent=found.transparent)
        pixels = found.array
        if len(pixels) > shape[0] and (pixels == pixels[:1]).all():  # grey values in three channels
            pixels = pixels[:1]
        if len(pixels) <= shape[0]:
            block.images[row] = pixels
        else:
            block.odd.append(f"{files.root / name}: in colour")
    return block


def _quiet_pillow() -> warnings.catch_warnings:
    """Ignore Pillow's warnings about metadata; it raises errors about pixels."""
    return warnings.catch_warnings(action="ignore")
