"""torch.compile, where a setting asks for it: the same for the network in training and for what a sampler calls."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

Compile = Literal["auto", "yes", "no", "graphs"]  # as `train.compile` has it
C = TypeVar("C", bound=Callable[..., Any])

FORMS = 64  # of one function that are kept; beyond torch would go on without compiling, and a grid trains many methods


def compiled(call: C, setting: Compile, device: "torch.device", *, worth_it: bool = True) -> C:
    """`call`, compiled when it is first called with inputs of some shape: `yes`, and with `auto` on CUDA where it is `worth_it`.

    With `graphs` the kernels of a call are recorded as a CUDA graph and started together (mode "reduce-overhead"), for networks
    so small that starting kernels takes longer than running them; elsewhere than on CUDA that is `yes`. Compiled arithmetic is
    arranged otherwise, so that its last bits differ.
    """
    if setting == "no" or (setting == "auto" and not (device.type == "cuda" and worth_it)):
        return call
    import torch
    import torch._dynamo  # its configuration is read when a call is compiled, and by nothing else of this program

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, FORMS)
    return cast("C", torch.compile(call, mode="reduce-overhead" if setting == "graphs" else None))


def begin_step(setting: Compile, device: "torch.device") -> None:
    """With CUDA graphs: what the calls of the step before gave may be overwritten from here on."""
    if setting == "graphs" and device.type == "cuda":
        import torch

        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
