"""The expected coverage of a perfect generator, whose distribution equals that of the real images."""


def expected_coverage(n_real: int, n_generated: int, k: int) -> float:
    """Expected coverage of `n_real` real images by `n_generated` of the same distribution, in 0 ... 1.

    1 - prod_{i<k} (N - 1 - i) / (M + N - 1 - i), with N real and M generated images: a real image stays uncovered if its k
    nearest neighbours among all others are real, and in whatever space, all orders of equals are equally likely. Exact where
    no two distances are equal. Needs more than `k` real images. About 1 - 2^-k where N = M.
    """
    assert n_real > k >= 1, "a ball needs k neighbours"
    assert n_generated >= 0, "a negative number of images"
    uncovered = 1.0
    for i in range(k):
        uncovered *= (n_real - 1 - i) / (n_generated + n_real - 1 - i)
    return 1 - uncovered
