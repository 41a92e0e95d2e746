"""Exact float32: no TF32 or bf16 in float32 operations, whatever the program that calls this library allows.

By default torch may use TF32 (10 bits of mantissa) in convolutions on CUDA, and a caller may have allowed TF32 or bf16 in
matrix products. Functions that train, sample or measure are decorated with `exact_float32()`, which restores the caller's
settings afterwards. Automatic mixed precision in bf16 is not affected.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def _settings() -> list[Any]:
    """Return torch's objects that have an `fp32_precision`. Imports torch only here, so that decorating does not."""
    import torch

    cudnn: Any = torch.backends.cudnn  # torch's stubs know no `conv`
    mkldnn: Any = torch.backends.mkldnn
    return [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul, mkldnn.conv, mkldnn.rnn, mkldnn.matmul]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 convolutions and matrix products inside in float32, on every device."""
    import torch

    before = [setting.fp32_precision for setting in _settings()]
    convolutions: bool | None = None
    products: str | None = None
    with suppress(RuntimeError):  # torch does not tell where a caller mixed its older and newer switches
        convolutions = torch.backends.cudnn.allow_tf32
    with suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
    # both the older switches, which torch's compiler reads, and the newer ones, which decide: they must not contradict each other
    _set(False, "highest", ["ieee"] * len(before))
    try:
        yield
    finally:
        _set(convolutions, products, before)


def _set(convolutions: bool | None, products: str | None, values: list[str]) -> None:
    import torch

    if convolutions is not None:
        torch.backends.cudnn.allow_tf32 = convolutions
    if products is not None:
        torch.set_float32_matmul_precision(products)
    for setting, value in zip(_settings(), values, strict=True):
        setting.fp32_precision = value


@contextmanager
def deterministic_float32() -> Iterator[None]:
    """Apply `exact_float32`, and restrict cuDNN to deterministic kernels."""
    from torch.backends import cudnn

    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        with exact_float32():
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
