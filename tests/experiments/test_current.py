"""Scores are shown again only where they would be measured by the same metrics and the same weights."""

import pytest

from ltgen_bench.core.files import file_sha256
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.experiments.current import still_current


@pytest.fixture
def record_of(undisturbed, tmp_path):
    """`record_of(extractor, sha256, weights)`: the folder of a record of scores on this extractor, by such weights."""
    def save(extractor, sha256, weights="0123"):
        protocols = {key: {**described, **({"extractor": extractor, "weights": weights} if "extractor" in described else {})}
                     for key, described in undisturbed.record.protocols.items()}
        undisturbed.record.model_copy(update={"extractor_weights": {extractor: sha256}, "protocols": protocols}).save(tmp_path)
        return tmp_path

    return save


def test_without_a_file_the_published_weights_are_meant(record_of, undisturbed, tmp_path):
    rule = undisturbed.plan.config.evaluate
    theirs = tmp_path / "theirs.pth"
    theirs.write_bytes(b"weights")
    of_theirs = record_of("inception", file_sha256(theirs))
    assert still_current(of_theirs, rule, {"inception": theirs})
    assert not still_current(of_theirs, rule, {})
    assert still_current(record_of("inception", PUBLISHED["inception"].sha256.ljust(64, "0")), rule, {})
    assert still_current(record_of("vgg16", PUBLISHED["vgg16"].sha256.ljust(64, "0")), rule, {})


def test_ids_that_name_no_trained_weights_are_old(record_of, undisturbed):
    rule, sha256 = undisturbed.plan.config.evaluate, "ab" * 32
    assert not still_current(record_of("classifier", sha256, "01234567-0123456789abcdef"), rule, {})
    assert still_current(record_of("classifier", sha256, f"01234567-0123456789abcdef-{sha256[:16]}"), rule, {})
    assert still_current(record_of("classifier", sha256, f"shipped-{sha256[:16]}"), rule, {})
    assert still_current(record_of("of another package", sha256, "anything"), rule, {})
