"""A network as it was on the way: the points of a curve are exported like the end of the run."""

import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from ltgen_bench.cli import cli
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import SampleSet
from ltgen_bench.data.load import load_dataset
from ltgen_bench.experiments.curves import carry_out_curve
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.export.diffusers_folder import read_network
from ltgen_bench.export.folder_samples import draw, make_drawing
from ltgen_bench.export.run_export import export, find_trained
from ltgen_bench.runtime.context import RunContext


@pytest.fixture(scope="module")
def plan(tiny_run, tmp_path_factory):
    """A run of 200 images with scores and weights after 112."""
    config = tiny_run(**{"evaluate.downstream": False, "evaluate.metrics": ["is"], "sample.images_per_class": 3})
    made = make_plan(config, load_dataset(config.data), tmp_path_factory.mktemp("at") / "runs", RunContext())
    carry_out_curve(made, 112, RunContext())
    return made


@pytest.fixture(scope="module")
def point(plan, tmp_path_factory):
    """What the position 112 was exported to."""
    return export(find_trained(plan.runs, "cbdm", 112), tmp_path_factory.mktemp("point") / "net", RunContext())


def test_it_gives_the_samples_of_the_curve_bit_for_bit(plan, point, tmp_path):
    stored = read_network(point.folder)
    draw(make_drawing(stored, stored.facts.sample, None), tmp_path / "samples.npz", RunContext())
    [theirs] = plan.folder.path.glob("curve/000000000112/samples/*/samples.npz")
    np.testing.assert_array_equal(SampleSet.load(tmp_path / "samples.npz").images, SampleSet.load(theirs).images)
    assert not np.array_equal(SampleSet.load(theirs).images, SampleSet.load(plan.samples.folder / "samples.npz").images)


def test_name_card_and_scores_are_those_of_the_point(plan, point):
    assert point.facts.name == f"cbdm-{plan.train_digest}-at-112-s0"
    assert point.facts.row == f"exported cbdm-{plan.train_digest}-at-112"
    card = (point.folder / "README.md").read_text()
    assert "112 of the run's 200" in card
    assert "ltgen-bench run --recipe recipe.toml --evaluate-every 112\n" in card
    [sheet] = plan.folder.path.glob("curve/000000000112/samples/*/samples.png")
    assert (point.folder / "samples.png").read_bytes() == sheet.read_bytes()
    assert "Scores" in card


def test_the_end_of_the_run_is_the_run(plan, tmp_path):
    found = find_trained(plan.runs, "cbdm", 200)
    assert found == find_trained(plan.runs, "cbdm")
    exported = export(found, tmp_path / "net", RunContext())
    assert exported.facts.name == plan.folder.name
    assert "training | 200 images" in (exported.folder / "README.md").read_text()


def test_weights_without_scores_are_exported_too_and_a_run_that_is_not_finished(plan, point, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(plan.runs, runs)
    [folder] = runs.glob("*/cbdm-*")
    for place in (folder / "scores", folder / "curve" / "000000000112" / "scores"):
        shutil.rmtree(place)
    found = find_trained(runs, "cbdm", 112)
    assert found.record is None
    exported = export(found, tmp_path / "net", RunContext())
    first, second = (load_file(place / "class_embedding.safetensors")["weight"] for place in (exported.folder, point.folder))
    assert torch.equal(first, second)
    assert "## Scores" not in (exported.folder / "README.md").read_text()


def test_a_position_that_nothing_was_left_at_is_refused_with_those_that_there_are(plan, tmp_path):
    answer = CliRunner().invoke(cli, ["export", "cbdm", str(tmp_path / "net"), "--at", "100", "--runs", str(plan.runs)],
                                standalone_mode=False)
    assert isinstance(answer.exception, UserError)
    for words in ("--at 100", str(plan.folder), "100 images", "112", "--evaluate-every"):
        assert words in str(answer.exception)
    assert not (tmp_path / "net").exists()
    shutil.copytree(plan.folder, tmp_path / "runs" / "tiny" / plan.folder.name, ignore=shutil.ignore_patterns("curve"))
    with pytest.raises(UserError, match="ltgen-bench run with --evaluate-every makes"):
        find_trained(tmp_path / "runs", "cbdm", 112)
