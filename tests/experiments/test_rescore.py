"""Scores are shown again only where the real images are those that they were measured against, whatever these are called."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ltgen_bench.cli import cli
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import find_runs

CLASSES = ("anvil", "bell")
QUICK = ("--metrics", "fid", "--set", "evaluate.classifier_steps=2", "--set", "evaluate.downstream=false", "--device", "cpu",
         "--threads", "1")


@pytest.fixture
def fid(tmp_path):
    """`fid(dataset, *options)`: (FID over all classes, whether it was shown from a folder)."""

    def call(dataset, *options, samples=None):
        arguments = ["evaluate", samples or str(tmp_path / "made.npz"), "--dataset", dataset, *QUICK, *options,
                     "--runs", str(tmp_path / "runs")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["ltgen-bench", *arguments])
            shown = CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False).stdout
            found = CliRunner().invoke(cli, [*arguments, "--json"], standalone_mode=False, catch_exceptions=False).stdout
        record = json.loads(found)[0]
        run = next(one for one in find_runs(tmp_path / "runs") if one.record == RunRecord.model_validate_json(json.dumps(record)))
        table = run.scores.table
        return float(table.loc[table["scope"] == "all", "value"].iloc[0]), "shown from" in shown

    return call


@pytest.fixture
def arrays():
    """`arrays(level)`: 8 grey images of 8 x 8 a class, with one label each."""

    def make(level, count=8, seed=0):
        images = np.random.default_rng(seed).integers(level, level + 60, (2 * count, 8, 8), dtype=np.uint8)
        return images, np.repeat([0, 1], count)

    return make


@pytest.fixture
def folder(tmp_path, arrays):
    """`folder(root, level)`: images of that level as root/part/class/number.png."""

    def write(root, level, parts=("train", "test")):
        for number, part in enumerate(parts):
            images, labels = arrays(level, seed=number)
            for place, (image, label) in enumerate(zip(images, labels, strict=True)):
                path = tmp_path / root / part / CLASSES[label] / f"{place}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
        return f"folder:{tmp_path / root}"

    return write


@pytest.fixture
def made(tmp_path, arrays):
    """Samples that equal the images of level 0 in training."""
    images, labels = arrays(0)
    np.savez(tmp_path / "made.npz", images=images, labels=labels)


def test_two_folders_of_one_name(fid, folder, made):
    first, second = folder("a/photos", 0), folder("b/photos", 150)
    near, known = fid(first)
    assert near == pytest.approx(0, abs=1e-4)
    assert not known
    far, known = fid(second)
    assert far > 10 * max(near, 0.01)
    assert not known
    assert [fid(first), fid(second)] == [(near, True), (far, True)], "both are kept"


def test_a_file_that_was_overwritten(fid, tmp_path, arrays, made):
    path = tmp_path / "real.npz"
    values = {}
    for level in (0, 150):
        (train, labels), (test, test_labels) = arrays(level), arrays(level, seed=1)
        np.savez(path, train_images=train, train_labels=labels, test_images=test, test_labels=test_labels)
        values[level], known = fid(f"npz:{path}")
        assert not known
    assert values[0] < 0.01 < values[150]


def test_another_list_of_test_images_for_the_same_reference_row(fid, folder, tmp_path):
    real = folder("photos", 0, ("train", "other"))
    paths = sorted(path.relative_to(tmp_path / "photos") for path in (tmp_path / "photos" / "other").rglob("*.png"))
    lines = [f"{path} {CLASSES.index(path.parent.name)}" for path in paths]
    train = sorted(path.relative_to(tmp_path / "photos") for path in (tmp_path / "photos" / "train").rglob("*.png"))
    (tmp_path / "index.txt").write_text("\n".join(f"{path} {CLASSES.index(path.parent.name)}" for path in train))
    seen = []
    for number, chosen in enumerate((lines[:6] + lines[8:14], lines[2:8] + lines[10:16])):
        listed = tmp_path / f"test{number}.txt"
        listed.write_text("\n".join(chosen))
        seen.append(fid(real, "--index-list", str(tmp_path / "index.txt"), "--test-list", str(listed),
                        "--set", "evaluate.reference=test", samples="real-train"))
    assert [known for _, known in seen] == [False, False]
    assert seen[0][0] != seen[1][0]


def test_scores_from_before_the_data_were_in_the_digest_are_shown_for_their_own_data_alone(fid, folder, made, tmp_path):
    first, second = folder("a/photos", 0), folder("b/photos", 150)
    value, _ = fid(first)
    (run,) = find_runs(tmp_path / "runs")
    from ltgen_bench.config.schema import DataConfig, EvaluateConfig, RunConfig
    from ltgen_bench.data.images import ImageSet
    from ltgen_bench.experiments.rescore import ExternalSamples
    with np.load(tmp_path / "made.npz") as stored:
        images = ImageSet(stored["images"][:, None], stored["labels"])
    external = ExternalSamples("made", images, DataConfig(name=first))
    rule = EvaluateConfig.model_validate(run.record.config["evaluate"], strict=False)
    earlier = RunConfig(data=external.data, evaluate=rule).score_digest(external.sample_digest)
    run.files.folder.rename(run.files.folder.with_name(earlier))
    assert fid(first) == (value, True)
    assert not fid(second)[1]
