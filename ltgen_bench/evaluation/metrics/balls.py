"""k-nearest-neighbour balls around points, and which other points lie inside them: decided as float64 decides, at float32's
speed where features are wide.

A product of wide features in float32 settles every pair but those that its rounding could turn round; of 10,000 by 10,000
images these are some ten, and they are looked at again in float64.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

BLOCK = 1024  # rows of a distance matrix held at a time
WIDE = 512  # features wider than this meet in float32 first
TIE, SCREEN = 8.0, 32.0  # roundings within which distances count as equal, and within which float32 decides nothing
PAIRS = 4096  # differences of pairs held in float64 at a time

Edge = Literal["<=", "<"]


class Points(NamedTuple):
    """Centred features with their squared lengths."""

    features: Float[np.ndarray, "N D"]
    sizes: Float[np.ndarray, " N"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "N D"], centre: Float64[np.ndarray, " D"], dtype: type) -> "Points":
        """`features` less `centre`, which keeps |a|^2 + |b|^2 - 2 ab from losing its digits."""
        centred = np.subtract(features, centre.astype(dtype), dtype=dtype)
        return cls(centred, np.square(centred).sum(axis=1))

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

    def __init__(self, features: Float[np.ndarray, "N D"], centre: Float64[np.ndarray, " D"], k: int, edge: Edge,
                 block: int) -> None:
        self.features, self.centre, self.k, self.edge, self.block = features, centre, k, edge, block
        self.screened = features.shape[1] > WIDE
        self.points = Points.of(features, centre, np.float32 if self.screened else np.float64)
        reach = squared_reach(self.points, k, block)
        if self.screened:
            slack = _edge_slack(self.points.sizes, reach, SCREEN)
            self.surely, self.perhaps = reach - slack, reach + slack
            self._exact = np.full(len(features), np.nan)
        else:
            self.surely = self.perhaps = self._limit(self.points.sizes, reach)

    def _limit(self, sizes: Float64[np.ndarray, " n"], reach: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        slack = _edge_slack(sizes, reach, TIE)
        return reach + slack if self.edge == "<=" else reach - slack

    def decide(self, centres: Int64[np.ndarray, " n"], others: Float[np.ndarray, "M D"],
               numbers: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Whether `others[numbers[p]]` lies in the ball around point `centres[p]`, pair by pair, in float64."""
        self._make_exact(np.unique(centres))
        inside = np.empty(len(centres), bool)
        for start in range(0, len(centres), PAIRS):
            part = slice(start, start + PAIRS)
            apart = self.features[centres[part]].astype(np.float64) - others[numbers[part]]
            inside[part] = np.square(apart).sum(axis=1) <= self._exact[centres[part]]  # numpy sums by pairs: 10 roundings
        return inside

    def _make_exact(self, centres: Int64[np.ndarray, " n"]) -> None:
        """The limits of these balls in float64."""
        missing = centres[np.isnan(self._exact[centres])]
        for start in range(0, len(missing), self.block):
            chosen = missing[start:start + self.block]
            rows = Points.of(self.features[chosen], self.centre, np.float64)
            nearest = np.full((len(chosen), self.k + 1), np.inf)
            for column in range(0, len(self.features), self.block):
                some = Points.of(self.features[column:column + self.block], self.centre, np.float64)
                nearest = smallest(nearest, squared_distances(rows, some))
            self._exact[chosen] = self._limit(rows.sizes, nearest.max(axis=1))


def squared_reach(points: Points, k: int, block: int) -> Float[np.ndarray, " N"]:
    """Squared distance from every point to its k-th nearest neighbour besides itself; every pair is multiplied once."""
    nearest = np.full((len(points.sizes), k + 1), np.inf, points.features.dtype)  # the point itself is one of them
    for start in range(0, len(nearest), block):
        rows, later = slice(start, start + block), slice(start + block, None)
        distance = squared_distances(points.take(rows), points.take(slice(start, None)))
        nearest[rows] = smallest(nearest[rows], distance)
        nearest[later] = smallest(nearest[later], distance[:, block:].T)  # the same pairs, seen from the other side
    return nearest.max(axis=1)


def smallest(kept: Float[np.ndarray, "n K"], more: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n K"]:
    """The K smallest numbers of each row of both, in any order."""
    width = kept.shape[1]
    if more.shape[1] > width:
        more = np.partition(more, width - 1, axis=1)[:, :width]
    return np.partition(np.concatenate([kept, more], axis=1), width - 1, axis=1)[:, :width]


def squared_distances(first: Points, second: Points) -> Float[np.ndarray, "M N"]:
    """|a - b|^2 by products. What rounding alone can leave between equal points counts as 0, so copies stay copies."""
    sizes = first.sizes[:, None] + second.sizes[None, :]
    distance = first.features @ second.features.T
    distance *= -2
    distance += sizes
    distance[distance < _rounding(sizes, TIE)] = 0
    return distance


def _rounding(sizes: Float[np.ndarray, "..."], times: float) -> Float[np.ndarray, "..."]:
    """What rounding can add to a squared distance between points whose squared lengths sum to `sizes`."""
    sizes *= times * np.finfo(sizes.dtype).eps
    return sizes


def _edge_slack(sizes: Float[np.ndarray, " n"], reach: Float[np.ndarray, " n"], times: float) -> Float[np.ndarray, " n"]:
    """`_rounding` between a centre and a point as far out as one on its ball's edge can lie."""
    return _rounding(sizes + np.square(np.sqrt(sizes) + np.sqrt(reach)), times)
