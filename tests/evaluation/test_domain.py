import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import shipped_files
from support.extracting import context_of

from ltgen_bench.config.schema import DataConfig, EvaluateConfig
from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import load_dataset
from ltgen_bench.evaluation.evaluator import evaluate
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.extractors import domain_classifier as domain
from ltgen_bench.evaluation.extractors.domain_classifier import SHIPPED, domain_classifier, stored_facts
from ltgen_bench.evaluation.metrics.accuracy import label_accuracy
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.tensors_file import load_checked_tensors


def build(dataset, folder, progress=SILENT, weights=None):
    return domain_classifier(dataset, context_of(folder, "classifier", weights, progress), None)


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


def test_making_weights_again_gives_the_same_file(tiny_dataset, tmp_path, quick_recipes, monkeypatch):
    monkeypatch.setattr(shipped_files, "extractor_recipe", domain.extractor_recipe)  # the quick one
    paths = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    accuracies = [shipped_files.make_weights(tiny_dataset, path) for path in paths]
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


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: b"x" * len(data),
                                    lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]])
def test_a_damaged_file_is_said_set_aside_and_trained_again(tiny_dataset, tmp_path, quick_recipes, told, damage):
    first = build(tiny_dataset, tmp_path)
    (path,) = tmp_path.iterdir()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    again = build(tiny_dataset, tmp_path, told)
    assert (again.sha256, again.weights_id) == (first.sha256, first.weights_id)
    assert path.name in told.messages[0]
    assert "training it again" in told.messages[0]
    assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged
    assert build(tiny_dataset, tmp_path, told).sha256 == first.sha256
    assert len(told.messages) == len(told.stages) == 1


def test_a_flipped_bit_anywhere_is_noticed(tiny_dataset, tmp_path, quick_recipes, monkeypatch):
    first = build(tiny_dataset, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    monkeypatch.setattr(domain, "train_classifier", lambda *_, **__: pytest.fail("noticed"))
    for place in np.random.default_rng(0).integers(8 * len(whole), size=60):
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        path.write_bytes(broken)
        with suppress(pytest.fail.Exception):
            assert build(tiny_dataset, tmp_path).sha256 == first.sha256
        for left in tmp_path.glob("*.damaged*"):
            left.unlink()


def test_a_file_from_before_there_were_checksums_is_read(tiny_dataset, tmp_path, quick_recipes, told):
    first = build(tiny_dataset, tmp_path)
    (path,) = tmp_path.iterdir()
    tensors, said = load_checked_tensors(path)
    save_file(tensors, path, metadata=said)
    again = build(tiny_dataset, tmp_path, told)
    assert (again.sha256, again.weights_id) == (first.sha256, first.weights_id)
    assert told.messages == []


def test_what_was_trained_to_other_weights_has_another_id(tiny_dataset, tmp_path, quick_recipes, other_machine):
    here = build(tiny_dataset, tmp_path / "here")
    with other_machine():
        there = build(tiny_dataset, tmp_path / "there")
    assert here.weights_id != there.weights_id
    assert here.weights_id.rpartition("-")[0] == there.weights_id.rpartition("-")[0], "the same recipe and data"
    assert here.weights_id.endswith(here.sha256[:16])


@pytest.fixture
def other_machine(monkeypatch):
    """`with other_machine()`: trainings inside end in slightly other weights, each in its own."""
    @contextmanager
    def inside(seconds=0.0):
        train, calls = domain.train_classifier, []

        def elsewhere(*given, **named):
            time.sleep(seconds)
            net = train(*given, **named)
            calls.append(net)
            with torch.no_grad():
                next(net.parameters()).add_(1e-6 * len(calls))
            return net

        with monkeypatch.context() as patch:
            patch.setattr(domain, "train_classifier", elsewhere)
            yield calls

    return inside


def test_scores_by_other_weights_stand_apart_and_halves_and_trainings_do_not(tiny_dataset, tmp_path, quick_recipes,
                                                                           other_machine):
    config = EvaluateConfig(metrics=("fid", "label_accuracy", "downstream_accuracy"))

    def ids(place, **changes):
        rule = config.model_copy(update=changes)
        found = evaluate(tiny_dataset.reference, tiny_dataset, rule, RunContext(cache=tmp_path / place))
        return {(described["metric"], key): described.get("weights") for key, described in found.protocols.items()}

    here = ids("here")
    with other_machine():
        there = ids("there")
    assert {metric for metric, _ in here.keys() & there.keys()} == {"downstream_accuracy"}
    half = ids("here", half="report")
    assert set(half.values()) == set(here.values()), "one classifier for the halves and the whole"


def test_commands_that_need_it_at_once_agree(tiny_dataset, tmp_path, quick_recipes, other_machine):
    with other_machine(seconds=0.3) as trained, ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: build(tiny_dataset, tmp_path), range(3)))
    assert len(trained) == 1
    assert len({one.sha256 for one in found}) == 1
    images = tiny_dataset.test.images
    assert all(np.array_equal(one(images).features, found[0](images).features) for one in found)
    assert len(list(tmp_path.iterdir())) == 1, "no lock is left"


def test_shipped_weights_that_are_not_those_are_refused(digits, tmp_path, monkeypatch):
    broken = bytearray(SHIPPED.read_bytes())
    broken[-1] ^= 1
    (tmp_path / "digits.safetensors").write_bytes(broken)
    monkeypatch.setattr(domain, "SHIPPED", tmp_path / "digits.safetensors")
    with pytest.raises(DamagedError, match="install ltgen-bench again"):
        build(digits, tmp_path)


def test_the_protocol_of_the_digits_is_the_published_one(digits, tmp_path):
    assert build(digits, tmp_path).weights_id == "shipped-0408d88bbd0d62c4"


def test_a_weights_file_for_the_classifier_is_refused(tiny_dataset, tmp_path):
    with pytest.raises(UserError, match="takes no weights file"):
        build(tiny_dataset, tmp_path, weights=tmp_path / "mine.pth")
