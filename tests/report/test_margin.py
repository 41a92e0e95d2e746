"""The margin of equivalence and where its sampling error of real images is from."""

from dataclasses import replace

import pytest

from ltgen_bench.report.comparisons import comparison, margin_text


def key_of(block, metric):
    return next(key for key in block.keys if key[0] == metric)


def with_deviation(block, value):
    changes = {"half_sd": value, "half_n": block.rows["n_generated"] // 4}
    return replace(block, rows=block.rows.assign(**changes))


def test_the_deviation_between_halvings_is_the_margin_where_it_was_measured_and_is_larger(block_of, three_seeds):
    block = block_of(three_seeds)
    key = key_of(block, "recall")
    found = {value: comparison(with_deviation(block, value), key) for value in (1e-6, 0.4)}
    assert "halvings" in margin_text("recall", found[0.4])[0]
    assert found[0.4].differences[0].shown(found[0.4].differences[0].margin) == pytest.approx(0.2, rel=0.2), "root of 1/4"
    share = found[1e-6].differences[0]
    assert share.shown(share.margin) == pytest.approx(0.02 * share.scale.back(share.middle), rel=0.05)


def test_without_it_the_error_of_generated_images_stands_for_that_of_real_ones(block_of, three_seeds):
    block = block_of(three_seeds)
    key = key_of(block, "recall")
    assert "halvings" not in margin_text("recall", comparison(block, key))[0]
    rows = replace(block, rows=block.rows.assign(uncertainty=0.3, half_sd=float("nan")))
    assert "generated ones" in margin_text("recall", comparison(rows, key))[0]
