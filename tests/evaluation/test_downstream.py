from dataclasses import replace

import numpy as np
import pytest

from ltgen_bench.evaluation import downstream
from ltgen_bench.evaluation.classifiers.classifier_recipe import ClassifierRecipe
from ltgen_bench.evaluation.downstream import TRAIN_DATA, DownstreamImages, downstream_predictions, prediction_key
from ltgen_bench.runtime.context import RunContext

RECIPE = ClassifierRecipe("cnn-8x8", steps=12, flip=False, padding=1, batch_size=16)


@pytest.fixture
def trainings(monkeypatch):
    """What each training was given, in order; the training itself goes on as ever."""
    seen = []
    real = downstream.train_classifier

    def watched(images, labels, num_classes, recipe, *, device, stage):
        seen.append((len(labels), recipe.steps))
        return real(images, labels, num_classes, recipe, device=device, stage=stage)

    monkeypatch.setattr(downstream, "train_classifier", watched)
    return seen


def images_of(dataset, samples):
    return DownstreamImages(dataset.train, samples, dataset.test, np.zeros(len(dataset.test), dtype=bool), 3)


def predict(dataset, samples, told, *folders, recipe=RECIPE):
    return downstream_predictions(images_of(dataset, samples), recipe,
                                  dict(zip(TRAIN_DATA, folders or (None,) * 3, strict=True)), RunContext(progress=told))


def test_the_three_trainings_take_equally_many_steps_over_real_synthetic_and_their_union(
        tiny_dataset, make_images, trainings, told):
    samples = make_images((7, 7, 7), seed=5)
    found = predict(tiny_dataset, samples, told)
    assert trainings == [(33, 12), (21, 12), (54, 12)]
    assert list(found) == ["real-lt", "synthetic", "real-lt+synthetic"]
    assert all(len(predicted) == len(tiny_dataset.test) for predicted in found.values())
    assert (told.stages[0]["done"], told.stages[0]["total"]) == (36, 36)


def test_the_union_holds_every_image_once(tiny_dataset, make_images):
    samples = make_images((7, 7, 7), seed=5)
    union = images_of(tiny_dataset, samples).training_sets["real-lt+synthetic"]
    assert np.array_equal(union.images, np.concatenate([tiny_dataset.train.images, samples.images]))
    assert np.array_equal(union.labels, np.concatenate([tiny_dataset.train.labels, samples.labels]))


def test_finished_classifiers_are_not_trained_again(tiny_dataset, make_images, trainings, told, tmp_path):
    samples = make_images((7, 7, 7), seed=5)
    first = predict(tiny_dataset, samples, told, tmp_path, tmp_path, tmp_path)
    again = predict(tiny_dataset, samples, told, tmp_path, tmp_path, tmp_path)
    assert len(trainings) == 3
    assert all(np.array_equal(first[name], again[name]) for name in TRAIN_DATA)
    predict(tiny_dataset, make_images((7, 7, 7), seed=6), told, tmp_path, tmp_path, tmp_path)
    assert len(trainings) == 5  # other samples: what the real set taught is known


def test_a_damaged_file_is_said_and_trained_again(tiny_dataset, make_images, trainings, told, tmp_path):
    samples = make_images((7, 7, 7), seed=5)
    first = predict(tiny_dataset, samples, told, tmp_path, None, None)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    again = predict(tiny_dataset, samples, told, tmp_path, None, None)
    assert "training that classifier again" in told.messages[0]
    assert np.array_equal(first["real-lt"], again["real-lt"])


def test_the_key_knows_images_recipe_and_kind_of_device(tiny_dataset, make_images):
    train, test = tiny_dataset.train, tiny_dataset.test
    keys = {prediction_key(train, test, RECIPE, "cpu"), prediction_key(test, test, RECIPE, "cpu"),
            prediction_key(train, train, RECIPE, "cpu"), prediction_key(train, test, replace(RECIPE, steps=9), "cpu"),
            prediction_key(train, test, RECIPE, "cuda:0")}
    assert len(keys) == 5
    assert prediction_key(train, test, RECIPE, "cuda:1") in keys
