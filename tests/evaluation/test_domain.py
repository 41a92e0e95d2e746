import numpy as np
import pytest

from ltgen_bench.config import DataConfig
from ltgen_bench.data import load_dataset
from ltgen_bench.errors import UserError
from ltgen_bench.evaluation.digits_weights import make
from ltgen_bench.evaluation.domain import SHIPPED, domain_classifier, stored_facts
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.metrics.accuracy import label_accuracy
from ltgen_bench.progress import SILENT


def build(dataset, folder, progress=SILENT, weights=None):
    return domain_classifier(dataset, device="cpu", folder=folder, weights=weights, steps=None, progress=progress)


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig.model_validate({"name": "digits-lt"}))


def test_the_shipped_weights_serve_the_digits_and_reach_their_stored_accuracy(digits, tmp_path):
    extractor = build(digits, tmp_path)
    assert extractor.weights_id.startswith("shipped-")
    accuracy = label_accuracy(extractor(digits.test.images).logits, digits.test.labels)
    assert accuracy == stored_facts(SHIPPED)["accuracy_test"]
    assert accuracy > 0.98
    assert list(tmp_path.iterdir()) == []


def test_another_imbalance_of_the_digits_keeps_the_id_and_other_images_lose_it(digits, tmp_path, quick_recipes):
    flatter = load_dataset(DataConfig.model_validate({"name": "digits-lt", "imbalance_factor": 5}))
    assert build(flatter, tmp_path).weights_id == build(digits, tmp_path).weights_id
    changed = digits.reference.images.copy()
    changed[0, 0, 0, 0] ^= 1
    from dataclasses import replace
    other = replace(digits, reference=replace(digits.reference, images=changed))
    assert not build(other, tmp_path).weights_id.startswith("shipped-")


def test_the_shipped_file_is_small(digits):
    assert SHIPPED.stat().st_size < 500_000


def test_making_weights_again_gives_the_same_file(tiny_dataset, tmp_path, quick_recipes):
    paths = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    accuracies = [make(tiny_dataset, path) for path in paths]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert accuracies[0] == accuracies[1] == stored_facts(paths[0])["accuracy_test"]


def test_a_classifier_is_trained_once_and_then_kept(tiny_dataset, tmp_path, quick_recipes, told):
    first = build(tiny_dataset, tmp_path, told)
    assert [(stage["name"], stage["done"], stage["total"]) for stage in told.stages] == [("classifier", 20, 20)]
    again = build(tiny_dataset, tmp_path, told)
    assert len(told.stages) == 1
    assert (first.weights_id, first.sha256) == (again.weights_id, again.sha256)
    images = tiny_dataset.test.images
    assert np.array_equal(first(images).features, again(images).features)
    assert isinstance(first, Extractor)


def test_the_order_of_the_reference_changes_nothing(tiny_dataset, tmp_path, quick_recipes):
    from dataclasses import replace
    order = np.random.default_rng(0).permutation(len(tiny_dataset.reference))
    shuffled = replace(tiny_dataset, reference=tiny_dataset.reference.take(order))
    first, second = build(tiny_dataset, tmp_path / "a"), build(shuffled, tmp_path / "b")
    assert (first.weights_id, first.sha256) == (second.weights_id, second.sha256)


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: b"x" * len(data)])
def test_a_damaged_file_is_said_and_trained_again(tiny_dataset, tmp_path, quick_recipes, told, damage):
    first = build(tiny_dataset, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = build(tiny_dataset, tmp_path, told)
    assert again.sha256 == first.sha256
    assert "training it again" in told.messages[0]


def test_a_weights_file_for_the_classifier_is_refused(tiny_dataset, tmp_path):
    with pytest.raises(UserError, match="takes no weights file"):
        build(tiny_dataset, tmp_path, weights=tmp_path / "mine.pth")
