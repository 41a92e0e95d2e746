"""Laws over class counts: how often a class is drawn, and what an image of it weighs in a loss.

Pure functions from the training images of each class, at least one each, to float64 [K] on the CPU.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def power(class_counts: Sequence[int], exponent: float) -> Float[Tensor, " K"]:
    """n_c^exponent, relative: 1 is the training frequency, 1/2 square-root sampling (Mahajan et al., ECCV 2018), 0 balanced.

    Drawn so, an image of a class of n images is repeated (n / n')^(exponent - 1) times as often as one of a class of n'.
    """
    return torch.tensor(class_counts, dtype=torch.float64) ** exponent


def brs(class_counts: Sequence[int], factor: float) -> Float[Tensor, " K"]:
    """factor^(c / (K - 1)), c the rank from the class with most images (0) to that with fewest; from 1 down to `factor`.

    The batch resampling of CCUA (Chen et al., arXiv 2507.09052). Of classes with equally many images the first has the
    lower rank. For counts n_c = n_0 r^(c / (K - 1)) it is `power` with the exponent ln factor / ln r.
    """
    head_to_tail = torch.tensor(class_counts).argsort(descending=True, stable=True)
    return factor ** (head_to_tail.argsort().double() / max(len(class_counts) - 1, 1))


def effective_number(class_counts: Sequence[int], beta: float) -> Float[Tensor, " K"]:
    """E_n = (1 - beta^n) / (1 - beta) for 0 <= beta < 1, and its limit n for beta = 1 (Cui et al., CVPR 2019).

    It lies between 1 (beta = 0) and n. Its inverse is what an image of the class weighs.
    """
    counts = torch.tensor(class_counts, dtype=torch.float64)
    if beta == 1:
        return counts
    return -torch.expm1(counts * torch.tensor(beta, dtype=torch.float64).log()) / (1 - beta)


def mean_one(weights: Float[Tensor, " K"], class_counts: Sequence[int]) -> Float[Tensor, " K"]:
    """`weights` times the number that makes their mean over training images 1: sum_c n_c w_c = sum_c n_c."""
    counts = torch.tensor(class_counts, dtype=torch.float64)
    return weights * counts.sum() / (counts * weights).sum()
