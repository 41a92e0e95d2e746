from dataclasses import replace

import numpy as np
import pytest
import torch

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.classifiers.classifier_networks import NETWORKS
from ltgen_bench.evaluation.classifiers.classifier_recipe import (
    ClassifierRecipe,
    downstream_recipe,
    extractor_recipe,
    network_for,
)
from ltgen_bench.evaluation.classifiers.classifier_training import augment, batch_stream, learning_rate, predict, train_classifier

RECIPE = ClassifierRecipe("cnn-8x8", steps=30, flip=False, padding=1, batch_size=16)


def trained(images, recipe=RECIPE):
    with SILENT.stage("classifier", recipe.steps, "steps") as stage:
        return train_classifier(images.images, images.labels, 3, recipe, device="cpu", stage=stage)


@pytest.mark.parametrize(("name", "shape", "parameters"), [
    ("cnn-8x8", (1, 8, 8), 28_842), ("resnet-32", (3, 32, 32), 464_154), ("resnet-32", (1, 41, 23), None)])
def test_a_network_gives_64_features_and_a_logit_a_class(name, shape, parameters):
    net = NETWORKS[name](shape[0], 10)
    features, logits = net(torch.zeros(2, *shape))
    assert features.shape == (2, 64)
    assert logits.shape == (2, 10)
    if parameters:  # He et al. give 0.46 M for ResNet-32
        assert sum(p.numel() for p in net.parameters()) == parameters


def test_training_learns_the_stripes_and_leaves_the_global_generator_alone(make_images):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    far = (20, 0, 0, 20, 0, 0, 20)  # bars further apart than a crop moves them
    train, test = make_images(far), make_images(far, seed=9)
    net = trained(ImageSet(train.images, train.labels // 3))
    assert (predict(net, test.images, device="cpu")[1].argmax(axis=1) == test.labels // 3).mean() > 0.95
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == before[2]


def test_the_same_arguments_give_the_same_bits_whatever_the_global_seed(make_images):
    images = make_images((9, 9, 9))
    torch.manual_seed(1)
    first = trained(images).state_dict()
    torch.manual_seed(2)
    second = trained(images).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = trained(images, replace(RECIPE, seed=1)).state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_the_number_of_threads_changes_no_bit_of_the_small_network(make_images, two_threads):
    images = make_images((9, 9, 9))
    torch.set_num_threads(1)
    first = trained(images).state_dict()
    torch.set_num_threads(2)
    second = trained(images).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_image_comes_once_before_any_comes_twice():
    stream = batch_stream(10, 4, torch.Generator().manual_seed(0))
    drawn = torch.cat([next(stream) for _ in range(10)]).reshape(4, 10)
    assert (drawn.sort(dim=1).values == torch.arange(10)).all()
    assert not torch.equal(drawn[0], drawn[1])


def test_a_batch_may_be_larger_than_the_set():
    batch = next(batch_stream(3, 8, torch.Generator().manual_seed(0)))
    assert batch.bincount().tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_augmentation_is_a_crop_of_the_padded_image_and_flips_only_where_allowed():
    image = torch.arange(1, 17, dtype=torch.uint8).reshape(1, 1, 4, 4).repeat(400, 1, 1, 1)
    padded = torch.nn.functional.pad(image[0, 0], (1, 1, 1, 1))
    crops = {tuple(padded[r:r + 4, c:c + 4].flatten().tolist()) for r in range(3) for c in range(3)}
    mirrored = {tuple(torch.tensor(crop).reshape(4, 4).flip(1).flatten().tolist()) for crop in crops}
    plain = augment(image, RECIPE, torch.Generator().manual_seed(0))
    assert {tuple(crop.flatten().tolist()) for crop in plain} == crops
    flipped = augment(image, replace(RECIPE, flip=True), torch.Generator().manual_seed(0))
    assert {tuple(crop.flatten().tolist()) for crop in flipped} == crops | mirrored


def test_the_learning_rate_rises_then_falls_to_nothing():
    rates = [learning_rate(step, RECIPE) for step in range(RECIPE.steps)]
    assert max(rates) == pytest.approx(RECIPE.learning_rate)
    assert rates[0] < RECIPE.learning_rate
    assert rates[-1] < 0.01 * RECIPE.learning_rate
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_predictions_do_not_depend_on_the_batch(make_images):
    images = make_images((9, 9, 9))
    net = trained(images)
    whole, single = (predict(net, part, device="cpu")[0] for part in (images.images, images.images[4:5]))
    np.testing.assert_allclose(whole[4:5], single, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_training(make_images):
    with pytest.raises(MachineError, match=r"cnn-8x8 is (nan|inf) at step"):
        trained(make_images((9, 9, 9)), replace(RECIPE, learning_rate=1e30))


@pytest.mark.parametrize(("size", "network"), [(8, "cnn-8x8"), (16, "cnn-8x8"), (17, "resnet-32"), (32, "resnet-32")])
def test_images_up_to_16_pixels_get_the_small_network(size, network):
    assert network_for((3, size, size)) == network


@pytest.mark.parametrize(("images", "size", "steps"), [(441, 8, 250), (12_406, 32, 19_384), (10_847, 32, 16_948),
                                                      (100, 32, 200), (50_000, 32, 20_000)])
def test_downstream_steps_follow_the_long_tailed_set(images, size, steps):
    assert downstream_recipe((3, size, size), True, images).steps == steps
    assert downstream_recipe((3, size, size), True, images, steps=3).steps == 3


def test_every_value_of_a_recipe_is_in_its_digest():
    recipe = extractor_recipe((3, 32, 32), flip=True)
    others = [replace(recipe, flip=False), replace(recipe, steps=1), replace(recipe, seed=1), replace(recipe, padding=0)]
    assert len({recipe.digest, *(other.digest for other in others)}) == 5
