"""The recipes of the CIFAR-10 photographs on a CPU: small parts of everything, from image files to scores."""

import pytest

from ltgen_bench.api import run
from ltgen_bench.experiments.recipes import resolve_recipe

SMALL = {
    "network.preset": "cpu", "network.channels": [8, 16], "network.attention": [], "train.budget_images": 16,
    "train.batch_size": 8,
    "sample.steps": 2, "sample.images_per_class": 2, "evaluate.extractors": ["classifier"], "evaluate.classifier_steps": 2,
    "evaluate.metrics": ["fid"], "evaluate.downstream": False, "data.imbalance_factor": 2.0}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    from standins import write_large

    root = tmp_path_factory.mktemp("data")
    write_large("cifar10-photos", root)
    return root


@pytest.mark.parametrize("method", ["ddpm", "cfg", "cbdm"])
def test_a_run_from_image_files_to_scores(method, data_root, tmp_path):
    config = resolve_recipe(recipe=None, method=method, dataset="cifar10-photos-lt", overrides=SMALL)
    made = run(config, runs=tmp_path / "runs", data_root=data_root, device="cpu")
    assert (made.record.dataset, made.record.method) == ("cifar10-photos-lt-2", method)
    assert made.record.entry.sampler == "dpm-solver++"
    assert made.record.entry.sample_precision == "bf16"
    assert made.record.class_counts == [4, 2, 2]
    assert made.scores.table.query("metric == 'fid' and scope == 'all'")["value"].notna().all()
    assert (made.plan.samples.folder / "samples.png").is_file()
