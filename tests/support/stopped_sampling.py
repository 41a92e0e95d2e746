"""A sampling that is interrupted between two chunks."""

from contextlib import contextmanager
from unittest.mock import patch

import pytest

from ltgen_bench.core.errors import Interrupted
from ltgen_bench.sampling.chunks import Sampling


@contextmanager
def stopped_after(chunks):
    """Sampling inside is interrupted when so many chunks are drawn."""
    draw, drawn = Sampling.draw, []

    def draw_or_stop(self, *args):
        if len(drawn) == chunks:
            raise Interrupted("stopped")
        drawn.append(1)
        return draw(self, *args)

    with patch.object(Sampling, "draw", draw_or_stop), pytest.raises(Interrupted):
        yield
