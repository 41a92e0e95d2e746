"""The library's front: what README shows."""

import subprocess
import sys

import numpy as np
import pytest

import ltgen_bench as lt
from ltgen_bench.errors import UserError


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
    with np.load(undisturbed.plan.sample_folder / "samples.npz") as stored:
        np.savez(tmp_path / "theirs.npz", images=stored["images"][::-1], labels=stored["labels"][::-1])
    config = lt.EvaluateConfig(metrics=("fid", "recall"))
    scores = lt.evaluate(tmp_path / "theirs.npz", "digits-lt", config=config, device="cpu")
    ours = undisturbed.scores.table
    both = scores.table.merge(ours, on=["metric", "scope", "label", "protocol"])
    assert len(both) == len(scores.table)
    np.testing.assert_array_equal(both["value_x"], both["value_y"])


@pytest.mark.parametrize(("arrays", "sentence"), [
    ({"images": np.zeros((4, 8, 8), np.float32), "labels": np.zeros(4, np.int64)}, "images are float32, from 0 to 0"),
    ({"images": np.zeros((4, 8, 8), np.uint8)}, "has no array 'labels'"),
    ({"images": np.zeros((4, 8, 8), np.uint8), "labels": np.array([0, 1, 2, 10])}, "10"),
    ({"images": np.zeros((4, 9, 8), np.uint8), "labels": np.array([0, 1, 2, 3])}, "9 x 8"),
])
def test_samples_that_cannot_be_judged_are_refused_in_words(tmp_path, arrays, sentence):
    np.savez(tmp_path / "theirs.npz", **arrays)
    with pytest.raises(UserError) as refused:
        lt.evaluate(tmp_path / "theirs.npz", device="cpu")
    assert sentence in str(refused.value)
