"""A batch of eight small images of three classes, and their problem."""

import pytest
from small import COUNTS, SHAPE, as_batch


@pytest.fixture(scope="module")
def batch(make_images):
    return as_batch(make_images((4, 3, 1), SHAPE))


@pytest.fixture(scope="module")
def problem(make_problem):
    return make_problem(COUNTS, SHAPE)
