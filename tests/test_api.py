"""The library's front: what README shows."""

import subprocess
import sys

import numpy as np
import pytest

import ltgen_bench as lt
from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.core.errors import UserError


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, ltgen_bench; print('torch' in sys.modules or 'numpy' in sys.modules, ltgen_bench.__version__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert shown == ["False", "0.1.0"]


def test_everything_at_the_front_is_there():
    for name in lt.__all__:
        assert getattr(lt, name) is not None
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = lt.nothing


def test_samples_of_any_model_are_scored_as_a_run_scores_its_own(undisturbed, tmp_path):
    with np.load(undisturbed.plan.samples.folder / "samples.npz") as stored:
        np.savez(tmp_path / "theirs.npz", images=stored["images"][::-1], labels=stored["labels"][::-1])
    config = lt.EvaluateConfig(metrics=("fid", "recall"))
    scores = lt.evaluate(tmp_path / "theirs.npz", "digits-lt", config=config, device="cpu")
    ours = undisturbed.scores.table
    both = scores.table.merge(ours, on=["metric", "scope", "label", "protocol"])
    assert len(both) == len(scores.table)
    np.testing.assert_array_equal(both["value_x"], both["value_y"])


def test_all_rules_of_a_preset_come_in_one_table(undisturbed, tmp_path):
    """120 balanced images are cut to the 10,000 that are asked for by taking all of them, and that is said."""
    with np.load(undisturbed.plan.samples.folder / "samples.npz") as stored:
        np.savez(tmp_path / "theirs.npz", images=stored["images"], labels=stored["labels"])
    config = lt.EvaluateConfig(extractors=("classifier",), metrics=("fid", "precision"))
    scores = lt.evaluate(tmp_path / "theirs.npz", "digits-lt", preset="ccua-paper", config=config, device="cpu")
    every = scores.table[scores.table["scope"] == "all"]
    assert every["metric"].tolist() == ["fid", "precision", "fid"]
    assert [scores.protocols[key]["reference"] for key in every["protocol"]] == ["train", "train", "test"]
    assert scores.protocols[every["protocol"].iloc[1]]["k"] == 3
    assert scores.preset == "ccua-paper"
    assert scores.departures == ["120 images where ccua-paper asks for 10,000",
                                 "classifier features where ccua-paper asks for inception"]


def test_labels_drawn_at_random_can_be_said(undisturbed, tmp_path):
    images = lt.SampleSet.load(undisturbed.plan.samples.folder / "samples.npz")
    config = lt.EvaluateConfig(metrics=("fid",))
    scores = lt.evaluate(images, "digits-lt", config=config, sampling=SampleConfig(labels="uniform"), device="cpu")
    assert {described["labels"] for described in scores.protocols.values()} == {"i.i.d. uniform"}


def test_an_unknown_preset_is_refused_before_the_samples_are_read(tmp_path):
    with pytest.raises(UserError, match=r"'cbdm'. Did you mean 'cbdm-paper'"):
        lt.evaluate(tmp_path / "nothing.npz", preset="cbdm")


@pytest.mark.parametrize(("arrays", "sentence"), [
    ({"images": np.zeros((4, 8, 8), np.float32), "labels": np.zeros(4, np.int64)}, "float32, from 0 to 0"),
    ({"images": np.zeros((4, 8, 8), np.uint8)}, "has no array 'labels'"),
    ({"images": np.zeros((4, 8, 8), np.uint8), "labels": np.array([0, 1, 2, 10])}, "10"),
    ({"images": np.zeros((4, 9, 8), np.uint8), "labels": np.array([0, 1, 2, 3])}, "9 x 8"),
])
def test_samples_that_cannot_be_judged_are_refused_in_words(tmp_path, arrays, sentence):
    np.savez(tmp_path / "theirs.npz", **arrays)
    with pytest.raises(UserError) as refused:
        lt.evaluate(tmp_path / "theirs.npz", device="cpu")
    assert sentence in str(refused.value)
