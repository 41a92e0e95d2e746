"""A number is called the same by `run`, by `evaluate FILE` and by the library: same extractors, same metrics."""

import sys

import numpy as np
import pytest
from click.testing import CliRunner

import ltgen_bench as lt
from ltgen_bench import api
from ltgen_bench.cli import cli
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.scores import Scores


class Seen(Exception):  # noqa: N818  (no error: it ends a command where enough was seen)
    pass


@pytest.fixture
def rules(monkeypatch, tmp_path):
    """`rules(command, ...)`: the evaluation settings with which the command would measure."""
    def stop(settings, weights):
        raise Seen(list(settings))

    monkeypatch.setattr("ltgen_bench.evaluation.evaluator.check_weights", stop)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ltgen-bench", *arguments])
        with pytest.raises(Seen) as seen:
            CliRunner().invoke(cli, [*arguments, "--runs", str(tmp_path)], standalone_mode=False, catch_exceptions=False)
        return seen.value.args[0]

    return call


def npz(path, size):
    images, labels = np.zeros((8, size, size, 3), np.uint8), np.repeat([0, 1], 4)
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels, images=images, labels=labels)
    return path


@pytest.mark.parametrize(("data", "options"), [
    ("cifar10-lt", ()), ("cifar10-lt-50", ()), ("digits-lt", ()), (32, ()), (8, ()), ("cifar10-lt", ("--preset", "cbdm-paper")),
    (32, ("--preset", "ccua-paper", "--extractor", "classifier")), ("cifar100-lt", ("--set", "evaluate.k=3"))])
def test_files_are_measured_as_runs_are(rules, tmp_path, data, options):
    theirs = npz(tmp_path / "theirs.npz", data if isinstance(data, int) else 8)
    name = f"npz:{theirs}" if isinstance(data, int) else data
    expected = rules("run", "--dataset", name, *options)
    assert [rule.model_dump() for rule in rules("evaluate", str(theirs), "--dataset", name, *options)] == [
        rule.model_dump() for rule in expected]
    if not options:
        large = data not in ("digits-lt", 8)
        assert expected[0].extractors == (("inception", "classifier") if large else ("classifier",))


def test_reference_rows_too(rules):
    assert rules("evaluate", "real-train", "--dataset", "cifar10-lt")[0].extractors == ("inception", "classifier")


def test_options_win(rules, tmp_path):
    theirs = str(npz(tmp_path / "theirs.npz", 8))
    (rule,) = rules("evaluate", theirs, "--dataset", "cifar10-lt", "--extractor", "classifier", "--metrics", "fid")
    assert (rule.extractors, rule.metrics) == (("classifier",), ("fid",))


@pytest.mark.parametrize(("size", "name", "extractors"), [
    (32, "theirs", ("inception", "classifier")), (8, "theirs", ("classifier",)), (32, "cifar10-lt", ("inception", "classifier"))])
def test_the_library_too(monkeypatch, size, name, extractors):
    images = lt.ImageSet(np.zeros((4, 3, size, size), np.uint8), np.repeat([0, 1], 2))
    dataset = LongTailDataset(name, images, images, images, ("a", "b"), flip=True)
    found = []
    monkeypatch.setattr(api, "measure", lambda images, dataset, rule, *_: found.append(rule) or Scores.from_rows([], {}))
    lt.evaluate(images, dataset)
    lt.evaluate(images, dataset, config=lt.EvaluateConfig(metrics=("fid",)))
    lt.evaluate(images, dataset, config=lt.EvaluateConfig(extractors=("vgg16",), k=3))
    assert [(rule.extractors, rule.metrics, rule.k) for rule in found] == [
        (extractors, None, 5), (extractors, ("fid",), 5), (("vgg16",), None, 3)]
