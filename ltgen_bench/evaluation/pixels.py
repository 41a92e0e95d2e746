"""Distances between images by their pixels, invariant to brightness, contrast, mirroring and small shifts.

They are of pixels and not of features, since features of a classifier are alike for all images of a class.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, pad

SIDE = 8  # pixels that larger images are averaged down to
FLAT = 4.0  # grey levels; images that vary less are all alike, and no nearness says anything of them
SMALL = 16  # pixels; up to here a shift by one pixel is large
LARGE = 32  # pixels; from here on copies may be shifted by two pixels, below by one
NEIGHBOURS = 8  # nearest by blurred pixels, compared in every shift; 98 % of shifted CIFAR-10 copies have their original there
PAIRS = 1 << 22  # distances held at a time
IMAGES = 4096  # images that are averaged down at a time

Images = UInt8[np.ndarray, "_ C H W"]
Points = Float[Tensor, "_ _"]


def looks(images: Images, device: str, blurred: bool = False) -> Points:
    """Return images averaged down to at most 8 x 8 pixels, minus their mean, divided by their standard deviation (float32).

    So neither brightness nor contrast plays a part; those that are `flat` keep less than unit variance. `blurred`: over 3 x 3 of
    these pixels.
    """
    parts = [_looks(torch.from_numpy(np.ascontiguousarray(images[start:start + IMAGES])).to(device), blurred)
             for start in range(0, len(images), IMAGES)]
    return torch.cat(parts) if parts else torch.empty(0, 1, device=device)


def _looks(images: Tensor, blurred: bool) -> Points:
    small = images.float()
    size = (min(SIDE, images.shape[2]), min(SIDE, images.shape[3]))
    if size != tuple(images.shape[2:]):
        small = adaptive_avg_pool2d(small, size)
    if blurred:
        small = avg_pool2d(pad(small, (1, 1, 1, 1), mode="replicate"), 3, 1)
    flat = small.flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    return centred / centred.square().mean(dim=1, keepdim=True).sqrt().clamp_min(FLAT)


def flat(points: Points) -> Bool[Tensor, " N"]:
    """Return which of `looks` are constant images: their pixels vary by less than `FLAT`."""
    return points.square().mean(dim=1) < 0.99


def variants(images: Images, shifts: bool = True) -> Iterator[Images]:
    """The images as they are and mirrored, and with `shifts` both by a pixel (two from 32 pixels on) in eight directions."""
    height, width = images.shape[2:]
    step = 1 if min(height, width) < LARGE else 2
    places = (0, step, 2 * step) if shifts else (step,)
    for turned in (images, images[:, :, :, ::-1]):
        padded = np.pad(turned, ((0, 0), (0, 0), (step, step), (step, step)), mode="edge")
        for top in places:
            for left in places:
                yield padded[:, :, top:top + height, left:left + width]


class Pictures:
    """Images that others are compared with, on a device.

    Of small images every shift is searched for; of larger ones, of which a shift changes little, the blurred ones are searched,
    and the shifts are tried on the `NEIGHBOURS` nearest alone.
    """

    def __init__(self, images: Images, device: str) -> None:
        self.images, self.device = images, device
        small = min(images.shape[2:]) <= SMALL
        self.blurred = not small
        self.close = [looks(one, device) for one in variants(images)] if len(images) else []
        self.searched = self.close if small or not len(images) else \
            [looks(one, device, blurred=True) for one in variants(images, shifts=False)]

    def __len__(self) -> int:
        return len(self.images)

    def neighbours(self, images: Images, themselves: bool = False) -> tuple[Float[Tensor, "N k"], Int64[Tensor, "N k"]]:
        """(squared distances, numbers) of those nearest to each of `images` in any variant, in no order; at most `NEIGHBOURS`.

        `themselves`: these are the images held here, and none is its own neighbour.
        """
        count = min(NEIGHBOURS, len(self) - themselves)
        if count < 1 or not len(images):
            return torch.empty(len(images), 0, device=self.device), torch.empty(len(images), 0, dtype=torch.int64)
        lengths = [one.square().sum(dim=1) for one in self.searched]
        block = max(1, PAIRS // len(self))
        found = []
        for start in range(0, len(images), block):
            some = images[start:start + block]
            points = looks(some, self.device, self.blurred)
            distance = torch.full((len(points), len(self)), torch.inf, device=self.device)
            for targets, sizes in zip(self.searched, lengths, strict=True):
                torch.minimum(distance, torch.addmm(sizes[None], points, targets.T, alpha=-2), out=distance)
            if themselves:
                distance.diagonal(start).fill_(torch.inf)
            which = distance.topk(count, dim=1, largest=False, sorted=False).indices
            found.append((self._closely(looks(some, self.device) if self.blurred else points, which), which))
        return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])

    def _closely(self, points: Points, which: Int64[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """The squared distance of each point to its candidates, each in the variant that is nearest."""
        nearest = torch.full(which.shape, torch.inf, device=self.device)
        for targets in self.close:
            nearest = torch.minimum(nearest, (points[:, None] - targets[which]).square().sum(dim=2))
        return nearest

    def nearest(self, images: Images) -> Float[Tensor, " N"]:
        """The squared distance of each of `images` to the nearest here; infinite where there are none."""
        distance, _ = self.neighbours(images)
        return distance.amin(dim=1) if distance.shape[1] else torch.full((len(images),), torch.inf, device=self.device)
