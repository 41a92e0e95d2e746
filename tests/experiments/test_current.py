"""Scores are shown again only where they would be measured by the same metrics and the same weights."""

from dataclasses import replace

import pytest

from ltgen_bench.core.files import file_sha256
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.records.score_files import outdated
from ltgen_bench.records.store import find_runs


@pytest.fixture
def record_of(undisturbed):
    """`record_of(extractor, sha256, weights)`: the record of scores under this extractor with such weights."""
    def save(extractor, sha256, weights="0123"):
        protocols = {key: {**described, **({"extractor": extractor, "weights": weights} if "extractor" in described else {})}
                     for key, described in undisturbed.record.protocols.items()}
        return undisturbed.record.model_copy(update={"extractor_weights": {extractor: sha256}, "protocols": protocols})

    return save


def test_without_a_file_the_published_weights_are_meant(record_of, tmp_path):
    theirs = tmp_path / "theirs.pth"
    theirs.write_bytes(b"weights")
    of_theirs = record_of("inception", file_sha256(theirs))
    assert not outdated(of_theirs, {"inception": theirs})
    assert outdated(of_theirs, {})
    assert not outdated(record_of("inception", PUBLISHED["inception"].sha256.ljust(64, "0")), {})
    assert not outdated(record_of("vgg16", PUBLISHED["vgg16"].sha256.ljust(64, "0")), {})


def test_ids_that_name_no_trained_weights_are_old(record_of):
    sha256 = "ab" * 32
    assert outdated(record_of("classifier", sha256, "01234567-0123456789abcdef"), {})
    assert not outdated(record_of("classifier", sha256, f"01234567-0123456789abcdef-{sha256[:16]}"), {})
    assert not outdated(record_of("classifier", sha256, f"shipped-{sha256[:16]}"), {})
    assert not outdated(record_of("of another package", sha256, "anything"), {})


def test_which_files_the_user_gives_is_not_known_where_runs_are_listed(record_of):
    assert not outdated(record_of("inception", "ab" * 32))
    assert outdated(record_of("classifier", "ab" * 32, "01234567-0123456789abcdef"))


def test_scores_from_before_a_metric_or_its_new_revision_are_outdated(undisturbed, monkeypatch):
    record = undisturbed.record
    assert undisturbed.plan.finished
    assert not outdated(record, {})
    before = {name: revision for name, revision in record.metrics.items() if name != "fid"}
    assert outdated(record.model_copy(update={"metrics": before}), {})
    assert not outdated(record.model_copy(update={"metrics": {}}), {}), "records of before have no revisions"
    monkeypatch.setitem(METRICS._entries, "fid", replace(METRICS["fid"], revision=METRICS["fid"].revision + 1))
    assert outdated(record, {})
    assert {run.state for run in find_runs(undisturbed.plan.runs)} == {"outdated"}
    assert not undisturbed.plan.finished


def test_scores_of_another_weights_file_are_outdated(undisturbed, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"others")
    assert outdated(undisturbed.record, {"classifier": tmp_path / "weights.pth"})
