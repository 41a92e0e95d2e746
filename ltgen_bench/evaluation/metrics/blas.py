"""Number of threads of numpy's linear algebra.

Two gain little in a decomposition or on small matrices, and on a busy machine they lose ten times as much by waiting.
"""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # scikit-learn brings it along


def blas_threads(count: int) -> AbstractContextManager[object]:
    """Inside, BLAS and LAPACK take at most `count` threads, in the whole process; afterwards as many as before."""
    limit: AbstractContextManager[object] = _libraries().limit(limits=count, user_api="blas")
    return limit


@cache
def _libraries() -> Any:
    """The libraries that are loaded; finding them takes milliseconds, more than many a class's metric."""
    import numpy as np  # noqa: F401  (its BLAS must be among them)

    return ThreadpoolController()
