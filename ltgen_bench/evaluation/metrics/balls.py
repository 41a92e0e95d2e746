"""k-nearest-neighbour balls around points, and which other points lie inside them: decided as float64 decides, at float32's
speed where features are wide.

A product of wide features in float32 settles every pair but those that its rounding could turn round; of 10,000 by 10,000
images these are some ten, and they are computed again in float64. All of it happens on one device: no matrix of distances
leaves a GPU.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

BLOCK = 1024  # rows of a distance matrix held at a time
WIDE = 512  # features wider than this meet in float32 first
TIE, SCREEN = 8.0, 32.0  # roundings within which distances count as equal, and within which float32 decides nothing
PAIRS = 4096  # differences of pairs held in float64 at a time

PENDING = 1 << 20  # doubtful pairs held at a time

Edge = Literal["<=", "<"]
Pairs = tuple[Tensor, Tensor]  # numbers of generated images and, in the same places, of real ones


class NeighbourScores(NamedTuple):
    """Precision, recall and coverage in 0 ... 1, density at least 0."""

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_scores(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], k: int, edge: Edge = "<=",
                     block: int = BLOCK, device: str = "cpu") -> NeighbourScores:
    """Return precision, recall, density and coverage in one pass over blocks of distances; memory grows with `block`, not M N.

    Both sides need more than `k` images. A ball reaches to its centre's k-th nearest neighbour besides itself, and `edge`
    says whether that far is still inside. Every pair is decided as float64 decides it.
    """
    assert min(len(generated), len(real)) > k, "a ball needs k neighbours"
    sides = [torch.from_numpy(np.ascontiguousarray(side)).to(device) for side in (generated, real)]
    centre = sides[1].mean(dim=0, dtype=torch.float64)
    tally = _Tally(*(Balls(side, centre, k, edge, block) for side in sides))
    for start in range(0, len(generated), block):
        tally.add(slice(start, start + block))
    tally.settle()
    precision, recall, coverage = (float(found.double().mean()) for found in (tally.inside, tally.recalled, tally.covered))
    return NeighbourScores(precision, recall, int(tally.hits) / (k * len(generated)), coverage)


class Points(NamedTuple):
    """Centred features with their squared lengths, in float32 or float64."""

    features: Float[Tensor, "N D"]
    sizes: Float[Tensor, " N"]

    @classmethod
    def of(cls, features: Float[Tensor, "N D"], centre: Float64[Tensor, " D"], dtype: torch.dtype) -> "Points":
        """`features` less `centre`, which keeps |a|^2 + |b|^2 - 2 ab from losing its digits."""
        centred = features.to(dtype) - centre.to(dtype)
        return cls(centred, centred.square().sum(dim=1))

    def take(self, rows: slice) -> "Points":
        """The points of some rows."""
        return Points(self.features[rows], self.sizes[rows])


class Balls:
    """Balls around all of `features` that reach to each one's k-th nearest neighbour besides itself.

    `points` are in float64, or in float32 where features are wide. A squared distance up to `surely` is inside, one above
    `perhaps` outside; between them `decide` has to be asked. In float64 both are one limit: what rounding alone can leave
    between equal distances is added to the reach for the edge `<=` and taken away for `<`, so that a point just on the edge
    is inside by the first and outside by the second, whatever the order of the sums.
    """

    def __init__(self, features: Float[Tensor, "N D"], centre: Float64[Tensor, " D"], k: int, edge: Edge, block: int) -> None:
        self.features, self.centre, self.k, self.edge, self.block = features, centre, k, edge, block
        self.screened = features.shape[1] > WIDE
        self.points = Points.of(features, centre, torch.float32 if self.screened else torch.float64)
        reach = squared_reach(self.points, k, block)
        if self.screened:
            slack = _edge_slack(self.points.sizes, reach, SCREEN)
            self.surely, self.perhaps = reach - slack, reach + slack
            self._exact = torch.full_like(reach, torch.nan, dtype=torch.float64)
        else:
            self.surely = self.perhaps = self._limit(self.points.sizes, reach)

    def _limit(self, sizes: Float64[Tensor, " n"], reach: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        slack = _edge_slack(sizes, reach, TIE)
        return reach + slack if self.edge == "<=" else reach - slack

    def decide(self, centres: Int64[Tensor, " n"], others: Float[Tensor, "M D"],
               numbers: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Return whether `others[numbers[p]]` lies in the ball around point `centres[p]`, pair by pair, in float64."""
        self._make_exact(centres.unique())  # type: ignore[no-untyped-call]
        inside = torch.empty_like(centres, dtype=torch.bool)
        for start in range(0, len(centres), PAIRS):
            part = slice(start, start + PAIRS)
            apart = self.features[centres[part]].double() - others[numbers[part]]
            inside[part] = apart.square().sum(dim=1) <= self._exact[centres[part]]
        return inside

    def _make_exact(self, centres: Int64[Tensor, " n"]) -> None:
        """The limits of these balls in float64."""
        missing = centres[self._exact[centres].isnan()]
        for start in range(0, len(missing), self.block):
            chosen = missing[start:start + self.block]
            rows = Points.of(self.features[chosen], self.centre, torch.float64)
            nearest = torch.full((len(chosen), self.k + 1), torch.inf, dtype=torch.float64, device=self.centre.device)
            for column in range(0, len(self.features), self.block):
                some = Points.of(self.features[column:column + self.block], self.centre, torch.float64)
                nearest = _smallest(nearest, squared_distances(rows, some))
            self._exact[chosen] = self._limit(rows.sizes, nearest.amax(dim=1))


def squared_reach(points: Points, k: int, block: int) -> Float[Tensor, " N"]:
    """Squared distance from every point to its k-th nearest neighbour besides itself; every pair is multiplied once."""
    nearest = points.sizes.new_full((len(points.sizes), k + 1), torch.inf)  # the point itself is one of them
    for start in range(0, len(nearest), block):
        rows, later = slice(start, start + block), slice(start + block, None)
        distance = squared_distances(points.take(rows), points.take(slice(start, None)))
        nearest[rows] = _smallest(nearest[rows], distance)
        nearest[later] = _smallest(nearest[later], distance[:, block:].T.contiguous())  # the same pairs from the other side
    return nearest.amax(dim=1)


def _smallest(smallest: Float[Tensor, "n K"], more: Float[Tensor, "n m"]) -> Float[Tensor, "n K"]:
    """The K smallest numbers of each row of both, in any order."""
    width = smallest.shape[1]
    if more.shape[1] > width:
        more = more.topk(width, dim=1, largest=False, sorted=False).values
    return torch.cat([smallest, more], dim=1).topk(width, dim=1, largest=False, sorted=False).values


def squared_distances(first: Points, second: Points) -> Float[Tensor, "M N"]:
    """|a - b|^2 by products. In float64 what rounding alone can leave between equal points counts as 0: copies stay copies."""
    distance = torch.addmm(second.sizes[None], first.features, second.features.T, alpha=-2)
    distance += first.sizes[:, None]
    if distance.dtype == torch.float64:
        distance.masked_fill_(distance < _rounding(first.sizes[:, None] + second.sizes, TIE), 0)
    return distance


def _rounding(sizes: Float[Tensor, "..."], times: float) -> Float[Tensor, "..."]:
    """Return the largest rounding error of a squared distance between points whose squared lengths sum to `sizes`."""
    return sizes * (times * torch.finfo(sizes.dtype).eps)


def _edge_slack(sizes: Float[Tensor, " n"], reach: Float[Tensor, " n"], times: float) -> Float[Tensor, " n"]:
    """`_rounding` between a centre and a point as far out as one on its ball's edge can lie."""
    return _rounding(sizes + (sizes.sqrt() + reach.clamp_min(0).sqrt()).square(), times)


class _Tally:
    """Counts of points in balls, block by block; pairs within the rounding error are collected and decided in float64."""

    def __init__(self, generated: Balls, real: Balls) -> None:
        self.generated, self.real = generated, real
        self.inside = torch.zeros_like(generated.surely, dtype=torch.bool)  # generated images within some real ball
        self.recalled, self.covered = (torch.zeros_like(real.surely, dtype=torch.bool) for _ in range(2))
        self.hits = torch.zeros((), dtype=torch.int64, device=real.surely.device)  # pairs of an image and a real ball around it
        self.in_real: list[Pairs] = []
        self.in_generated: list[Pairs] = []

    def add(self, rows: slice) -> None:
        """Compare some generated images with all real ones."""
        distance = squared_distances(self.generated.points.take(rows), self.real.points)  # [block, N]
        surely = distance <= self.real.surely
        self.inside[rows] |= surely.any(dim=1)
        self.hits += surely.sum()
        self.covered |= surely.any(dim=0)
        around = distance <= self.generated.surely[rows, None]
        self.recalled |= around.any(dim=0)
        if self.real.screened:
            self.in_real.append(_pairs((distance <= self.real.perhaps) & ~surely, rows.start))
            perhaps = (distance <= self.generated.perhaps[rows, None]) & ~around
            self.in_generated.append(_pairs(perhaps & ~self.recalled, rows.start))
            if sum(len(found) for found, _ in self.in_real + self.in_generated) > PENDING:
                self.settle()

    def settle(self) -> None:
        """Decide the pairs in doubt."""
        if self.in_real:
            images, centres = map(torch.cat, zip(*self.in_real, strict=True))
            sure = self.real.decide(centres, self.generated.features, images)
            self.inside[images[sure]] = self.covered[centres[sure]] = True
            self.hits += sure.sum()
        if self.in_generated:
            centres, images = map(torch.cat, zip(*self.in_generated, strict=True))
            self.recalled[images[self.generated.decide(centres, self.real.features, images)]] = True
        self.in_real, self.in_generated = [], []


def _pairs(doubtful: Bool[Tensor, "M N"], start: int) -> Pairs:
    rows, columns = doubtful.nonzero(as_tuple=True)
    return rows + start, columns
