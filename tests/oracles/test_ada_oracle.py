"""ADA against a slow version: 3 x 3 matrices as the public code multiplies them, one pixel after another.

The slow version takes the procedure of section 4.1 of the method definitions word for word, in float64.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch
from ltgen_bench.training.augmentation import AUGMENTATIONS
from ltgen_bench.training.augmentation.ada import Parameters, draw
from ltgen_bench.training.augmentation.warp import warp

CPU = torch.device("cpu")
BORDER = 60


def keys_kernel(d, a=-0.5):
    """Keys (1981), equation 4: the weight of a pixel at distance d."""
    d = abs(d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def slow_value(image, x, y, a=-0.5):
    """The channels of `image` [C, H, W] at (x, y), from an image that numpy continues by reflection."""
    around = np.pad(image, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)), mode="reflect")
    value = np.zeros(len(image))
    for row in range(math.floor(y) - 1, math.floor(y) + 3):
        for column in range(math.floor(x) - 1, math.floor(x) + 3):
            value += keys_kernel(x - column, a) * keys_kernel(y - row, a) * around[:, row + BORDER, column + BORDER]
    return value


def translate(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=float)


def scale(x, y):
    return np.diag([x, y, 1.0])


def rotate(angle):
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def slow_matrix(a, height, width):
    """From places of the image to places of the result, of the eight numbers a0 ... a7."""
    matrices = [
        translate((width - 1) / 2, (height - 1) / 2),
        scale(1 - 2 * a[0], 1), scale(1, 1 - 2 * a[1]),
        scale(2 ** (0.2 * a[2]), 2 ** (0.2 * a[2])),
        rotate(-a[3]),
        rotate(a[4]), scale(2 ** (0.2 * a[5]), 2 ** (-0.2 * a[5])), rotate(-a[4]),
        translate(width / 8 * a[6], height / 8 * a[7]),
        translate(-(width - 1) / 2, -(height - 1) / 2)]
    return np.linalg.multi_dot(matrices)


def slow_ada(image, a):
    _, height, width = image.shape
    back = np.linalg.inv(slow_matrix(a, height, width))
    result = np.empty(image.shape)
    for row in range(height):
        for column in range(width):
            x, y, _ = back @ [column, row, 1]
            result[:, row, column] = slow_value(image.astype(float), x, y)
    return result


def slow_condition(a):
    return [a[0], a[1], a[2], math.cos(a[3]) - 1, math.sin(a[3]), a[5] * math.cos(a[4]), a[5] * math.sin(a[4]), a[6], a[7]]


def numbers_of(parameters):
    """[B, 8] in float64."""
    return np.stack([getattr(parameters, name).double().numpy() for name in
                     ("mirrored", "upturned", "enlarged", "turned", "axis", "stretched", "right", "down")], axis=1)


def all_on(count, seed=0):
    """Parameters with every element switched on."""
    rng = np.random.default_rng(seed)
    coins, angles = rng.integers(0, 2, (2, count)), rng.uniform(-np.pi, np.pi, (2, count))
    normal = rng.standard_normal((4, count))
    return Parameters(*map(torch.tensor, np.float32([*coins, normal[0], angles[0], angles[1], *normal[1:]])))


@pytest.mark.parametrize("shape", [(3, 6, 6), (1, 5, 8), (2, 7, 4), (1, 1, 1), (1, 1, 6), (1, 3, 1)])
def test_everything_at_once_equals_the_slow_version(shape):
    images = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1))
    parameters = all_on(6)
    found = warp(images, *parameters.sources(*shape[1:])).numpy()
    for image, a, result in zip(images.numpy(), numbers_of(parameters), found, strict=True):
        assert np.allclose(result, slow_ada(image, a), atol=2e-5)


def test_a_batch_is_what_its_draws_say_with_the_vector_that_tells_it():
    images = torch.rand(40, 2, 6, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    batch = Batch(images, torch.arange(40) % 3)
    draws = Draws(5, 80, 40, CPU)
    found = AUGMENTATIONS["ada"].transform(batch, draws, False)
    numbers = numbers_of(draw(draws))
    assert (numbers != 0).any(0).all(), "each element is on somewhere"
    for image, a, result, vector in zip(images.numpy(), numbers, found.x_0.numpy(), found.augment.numpy(), strict=True):
        assert np.allclose(result, slow_ada(image, a), atol=2e-5)
        assert np.allclose(vector, slow_condition(a), atol=1e-6)
    assert torch.equal(found.labels, batch.labels)
    assert found.augment.shape == (40, AUGMENTATIONS["ada"].condition_dim) == (40, 9)


def test_a_straight_ramp_stays_straight_between_pixels_where_torch_bends_it():
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    x, y = torch.linspace(2, 6, 33).expand(1, 33, 33), torch.linspace(2, 6, 33)[:, None].expand(1, 33, 33)
    assert torch.allclose(warp(ramp, x, y)[0, 0], x[0], atol=1e-5)
    theirs = grid_sample(ramp, torch.stack([x, y], -1) / 4 - 1, mode="bicubic", padding_mode="reflection", align_corners=True)
    assert (theirs[0, 0] - x[0]).abs().max() > 0.01
    for column in (1, 5, 18, 30):
        assert theirs[0, 0, 7, column].item() == pytest.approx(
            slow_value(ramp[0].numpy(), x[0, 7, column].item(), y[0, 7, column].item(), a=-0.75)[0], abs=1e-5)


def test_values_overshoot_and_are_not_clipped():
    edge = torch.tensor([-1.0, -1, -1, 1, 1, 1]).expand(1, 1, 6, 6)
    x, y = torch.full((1, 1, 1), 3.5), torch.full((1, 1, 1), 2.0)
    assert warp(edge, x, y).item() == pytest.approx(1.125)  # 2 (9 + 9 - 1)/16 - 1
