"""torch.compile, the same for the network in training and in sampling. Whether it is asked for is said by settings."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ltgen_bench.config.schema import Compile

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

C = TypeVar("C", bound=Callable[..., Any])

FORMS = 64  # of one function that are kept; beyond torch would go on without compiling, and a grid trains many methods


def asks_for_compiling(setting: Compile, device: "torch.device", *, worth_it: bool = True) -> bool:
    """Whether `setting` does: `yes` and `graphs`, and `auto` on CUDA where it is `worth_it`."""
    return setting in ("yes", "graphs") or (setting == "auto" and device.type == "cuda" and worth_it)


def compiled(call: C, *, graphs: bool = False) -> C:
    """`call`, compiled when it is first called with inputs of some shape. Its last bits differ from those of `call`.

    With `graphs` the kernels of a call are recorded as a CUDA graph and started together (mode "reduce-overhead"), for networks
    so small that starting kernels takes longer than running them; without CUDA this changes nothing.
    """
    import torch
    import torch._dynamo  # its configuration is read when a call is compiled, and by nothing else of this program

    # the U-Net asks, through a cache, which version of torch this is; nothing else of it is cached
    warnings.filterwarnings("ignore", message=r"(?s)Dynamo detected a call to a `functools\.lru_cache`-wrapped function")
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, FORMS)
    # each shape for itself: else what is compiled, and its bits, would depend on which shapes this process has seen before
    return cast("C", torch.compile(call, dynamic=False, mode="reduce-overhead" if graphs else None))


def forget_graphs() -> None:
    """Give back the memory that CUDA graphs hold for their next call; what is compiled is forgotten with them."""
    import torch

    torch.compiler.reset()
    torch.cuda.empty_cache()


def begin_step() -> None:
    """With CUDA graphs: what the calls of the step before gave may be overwritten from here on."""
    import torch

    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
