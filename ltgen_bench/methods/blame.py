"""What goes wrong in the code of a user's method, told with its file and line."""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from ltgen_bench.core.errors import MethodError
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Loss, Method
from ltgen_bench.runtime.batch_size import out_of_memory

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")


def checked(found: Any, method: Method) -> Loss:
    """`found`, what `loss` of a method gave, where it can be differentiated; else a `MethodError`. Reads no number."""
    if not isinstance(found, Loss):
        fault = f"gives a {type(found).__name__} where a Loss is needed, as in Loss(total, {{\"error\": total.detach()}})"
    elif not isinstance(found.total, Tensor):
        fault = f"gives a Loss whose total is a {type(found.total).__name__} and no tensor; take no .item() and no float() of it"
    elif found.total.ndim:
        fault = f"gives a Loss whose total has the shape {list(found.total.shape)}, and it is to be one number; take its mean()"
    elif torch.is_grad_enabled() and not found.total.requires_grad:
        fault = ("gives a Loss whose total does not depend on the network, so it cannot be differentiated; take no detach() and "
                 "no torch.no_grad() on the way to it")
    else:
        odd = [name for name, term in found.terms.items() if not isinstance(term, Tensor) or term.ndim]
        if not odd:
            return found
        fault = f"gives the term '{odd[0]}', which is no tensor of one number"
    raise MethodError(f"the loss of {method.name} {fault} ({_definition(type(method).loss)}).")


@contextmanager
def blaming(kind: type[Method]) -> Iterator[None]:
    """An exception from the file of a user's method becomes a `MethodError` with its place, also one that ends the program.

    What this program raises itself, a full memory, and what arises elsewhere go on as they are.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if not kind.code_digest or type(error).__module__.startswith("ltgen_bench.") or out_of_memory(error):
            raise
        where = place_in(error, Path(inspect.getfile(kind)))
        if not where:
            raise
        raise MethodError(f"the method {kind.name} fails: {failure(error)} ({where}).") from error


def blamed(work: Callable[Concatenate[C, P], T]) -> Callable[Concatenate[C, P], T]:
    """`work`, whose first argument is a configuration or has one, inside `blaming` for its method."""
    @functools.wraps(work)
    def watched(first: C, /, *args: P.args, **given: P.kwargs) -> T:
        config: Any = getattr(first, "config", first)
        with blaming(METHODS[config.method.name]):
            return work(first, *args, **given)

    return watched


def failure(error: BaseException) -> str:
    """`ZeroDivisionError: division by zero`, on one line."""
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({error.code!r}), which would end the program with nothing done"
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def place_in(error: BaseException, file: Path) -> str:
    """`mine.py, line 12, in loss`: the innermost frame of an exception in a file; an empty text where there is none."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    return f"{file.name}, line {own[-1].lineno}, in {own[-1].name}" if own else ""


def _definition(function: Any) -> str:
    """Where a function is defined: `mine.py, line 9`."""
    code = inspect.unwrap(function).__code__
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}"
