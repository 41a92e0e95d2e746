"""torch.compile of the network, in training and in sampling."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ltgen_bench.config.schema import Compile

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

C = TypeVar("C", bound=Callable[..., Any])

FORMS = 64  # compiled variants per function; beyond this torch would stop compiling, and a grid trains many methods


def asks_for_compiling(setting: Compile, device: "torch.device", *, worth_it: bool = True) -> bool:
    """Return whether to compile: True for `yes` and `graphs`, for `auto` on CUDA where it is `worth_it`."""
    return setting in ("yes", "graphs") or (setting == "auto" and device.type == "cuda" and worth_it)


def compiled(call: C, *, graphs: bool = False) -> C:
    """Return `call` compiled for each input shape when it is first used. Results differ in the last bits from those of `call`.

    With `graphs` the kernels of a call are recorded as a CUDA graph and started together (mode "reduce-overhead"), for
    networks so small that starting kernels takes longer than running them; without CUDA this changes nothing.
    """
    import torch
    import torch._dynamo  # its configuration is read only when a call is compiled

    # diffusers caches torch's version for the U-Net; nothing else is cached
    warnings.filterwarnings("ignore", message=r"(?s)Dynamo detected a call to a `functools\.lru_cache`-wrapped function")
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, FORMS)
    # each shape separately: else the compiled code, and its bits, would depend on earlier shapes in this process
    return cast("C", torch.compile(call, dynamic=False, mode="reduce-overhead" if graphs else None))


def forget_graphs() -> None:
    """Release the memory of CUDA graphs; everything compiled is discarded with them."""
    import torch

    torch.compiler.reset()
    torch.cuda.empty_cache()


def begin_step() -> None:
    """Mark the begin of a step for CUDA graphs: results of the previous step may be overwritten from here on."""
    import torch

    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
