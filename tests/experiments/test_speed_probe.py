"""The estimate of a dry run is made of measured steps and grows with the budget."""

import pytest
import torch

from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.experiments.speed_probe import estimate
from ltgen_bench.runtime.context import RunContext


def test_the_estimate_grows_with_budget_and_images(tiny_run, tiny_dataset, tmp_path, monkeypatch):
    for place in ("experiments.speed_probe", "training.cost"):
        monkeypatch.setattr(f"ltgen_bench.{place}.seconds_each", lambda call, device: (0.5 if call() is not None else 0.0, 3))
    cpu = torch.device("cpu")

    def of(**overrides):
        return estimate(make_plan(tiny_run(**overrides), tiny_dataset, tmp_path, RunContext()), cpu)

    one, two = of(), of(**{"train.budget_images": 400, "sample.images_per_class": 36})
    assert two.train_seconds == pytest.approx(2 * one.train_seconds)
    assert two.sample_seconds == pytest.approx(3 * one.sample_seconds)
    # 200 images in steps of 16 at half a second; 3 classes x 12 images x 3 evaluations in calls of 16
    assert one.train_seconds == pytest.approx(0.5 * 200 / 16)
    assert one.sample_seconds == pytest.approx(0.5 * 36 * 3 / 16)


def test_the_estimate_is_near_what_training_takes(tiny_run, tiny_dataset, tmp_path):
    found = estimate(make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext()), torch.device("cpu"))
    assert found.parameters > 1000
    assert found.measured_steps >= 6
    assert found.memory_mb > 50
    assert found.train_seconds == pytest.approx(200 / found.train_images_per_second)
    assert not list(tmp_path.iterdir())


def test_a_probe_leaves_the_callers_random_numbers_alone(tiny_run, tiny_dataset, tmp_path):
    before = torch.random.get_rng_state()
    estimate(make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext()), torch.device("cpu"))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_budget_smaller_than_the_probe_is_estimated_too(tiny_run, tiny_dataset, tmp_path):
    found = estimate(make_plan(tiny_run(**{"train.budget_images": 5}), tiny_dataset, tmp_path, RunContext()), torch.device("cpu"))
    assert found.train_seconds == pytest.approx(5 / found.train_images_per_second)
