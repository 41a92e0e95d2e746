"""How float32 is computed, said in this one place: as float32, whatever the process that calls this library allows elsewhere.

torch lets convolutions on CUDA be TF32, with 10 bits of mantissa, unless it is told otherwise, and a caller may have allowed
TF32 or bf16 for matrix products too. Whatever trains, draws or measures is decorated with `exact_float32()`; what was allowed
before is allowed again afterwards. Automatic mixed precision in bf16 is another matter, and is not touched.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def _settings() -> list[Any]:
    """What of torch has a precision of its own. torch is imported here, since what is decorated is also read without it."""
    import torch

    cudnn: Any = torch.backends.cudnn  # torch's stubs know no `conv`
    mkldnn: Any = torch.backends.mkldnn
    return [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul, mkldnn.conv, mkldnn.rnn, mkldnn.matmul]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions and matrix products of float32 inside are float32, on every device."""
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
def steady() -> Iterator[None]:
    """`exact_float32`, by kernels of cuDNN that give the same bits every time."""
    from torch.backends import cudnn

    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        with exact_float32():
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
