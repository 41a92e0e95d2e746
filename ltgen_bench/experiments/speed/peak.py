"""The rate that a device reaches in nothing but matrix products: what the share of a training step is a share of."""

import time

import torch

from ltgen_bench.diffusion.draws import generator

DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
CPU_SIDE, CUDA_SIDE = 2048, 8192
SECONDS, AT_ONCE = 2.0, 10


def matrix_rate(precision: str, device: torch.device, side: int | None = None) -> float:
    """Floating-point operations a second of square matrices in `precision`: the best of a few products in about two seconds.

    A multiplication and an addition are two. float32 is without TF32, torch's default for matrix products.
    """
    side = side or (CPU_SIDE if device.type == "cpu" else CUDA_SIDE)
    first, second = (torch.randn(side, side, generator=generator(seed, device), device=device).to(DTYPES[precision])
                     for seed in (0, 1))
    products = 1 if device.type == "cpu" else AT_ONCE  # on CUDA several for one wait
    best, begin = float("inf"), time.perf_counter()
    for number in range(1_000):
        start = time.perf_counter()
        for _ in range(products):
            torch.mm(first, second)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number:  # the first warms up
            best = min(best, (time.perf_counter() - start) / products)
        if number >= 3 and time.perf_counter() - begin > SECONDS:
            break
    return 2 * side**3 / best
