"""Several sampling seeds of one training: their mean in comparisons, and the table of the sources of variance."""

import numpy as np
import pandas as pd
import pytest

from ltgen_bench.records.store import find_runs, rows
from ltgen_bench.report.comparisons import comparison
from ltgen_bench.report.entries import blocks
from ltgen_bench.report.tables import comparison_table, section_tables
from ltgen_bench.report.variance_table import variance_table


@pytest.fixture(scope="module")
def single(three_seeds):
    """The rows of three methods and seeds, of one sampling seed."""
    return rows(find_runs(three_seeds), three_seeds)


@pytest.fixture(scope="module")
def several(single):
    """Each of them under the sampling seeds 0, 1 and 2, whose scores are 0.9, 1 and 1.1 times those of `single`."""
    made = [single.assign(sample_seed=seed, value=single["value"] * factor, score_digest=single["score_digest"] + str(seed))
            for seed, factor in enumerate((0.9, 1.0, 1.1))]
    return pd.concat([one.astype({"sample_seed": "Int64"}) for one in made], ignore_index=True)


def test_a_training_counts_once_with_the_mean_of_its_sampling_seeds(single, several):
    (one,), (block,) = blocks(single), blocks(several)
    for key in one.keys:
        before, after = one.part(key, "all"), block.part(key, "all")
        assert list(after["seed"]) == list(before["seed"])
        assert after["value"].to_numpy() == pytest.approx(before["value"].to_numpy(), nan_ok=True)
        assert comparison(block, key).model.df == comparison(one, key).model.df
    assert block.older == 0
    assert len(block.sampled) == 3 * len(block.rows)
    assert any("a training seed counts once" in note for note in comparison_table(block).notes)


def test_the_uncertainty_of_a_mean_is_smaller(single, several):
    (one,), (block,) = blocks(single), blocks(several)
    key = next(key for key in one.keys if key[0] == "kid")
    before, after = (own.part(key, "all")["uncertainty"].to_numpy(float) for own in (one, block))
    assert np.isfinite(before).any()
    assert after == pytest.approx(before / np.sqrt(3), nan_ok=True)


def test_the_table_of_sources_has_shares_and_degrees_of_freedom(several):
    (block,) = blocks(several)
    table = variance_table(block)
    cells = {row.cells[-1].text.rpartition(":")[0]: [cell.text for cell in row.cells] for row in table.rows}
    fid = cells["fid:classifier:few@thirds"]
    assert fid[5].endswith(" %")
    assert float(fid[5].split()[0]) == pytest.approx(10, abs=0.5), "percent of the score"
    assert int(fid[3].split()[0]) + int(fid[6].split()[0]) == 100
    assert (fid[4], fid[7]) == (str(3 * 2), str(9 * 2))
    assert "fid:classifier" in cells
    assert "variance" in [one.name for one in section_tables(block)]


def test_deviations_of_shares_are_in_their_unit_though_one_method_is_near_0(single):
    near = single["value"].where((single["metric"] != "recall") | (single["method"] != "ddpm"), 0.002)
    made = [single.assign(sample_seed=seed, value=near + shift, score_digest=single["score_digest"] + str(seed))
            for seed, shift in enumerate((-0.001, 0.0, 0.001))]
    (block,) = blocks(pd.concat([one.astype({"sample_seed": "Int64"}) for one in made], ignore_index=True))
    cells = {row.cells[-1].text.rpartition(":")[0]: row.cells[5].text for row in variance_table(block).rows}
    assert float(cells["recall:classifier"]) == pytest.approx(0.001, abs=1e-4)


def test_nothing_is_said_with_one_sampling_seed(single):
    (block,) = blocks(single)
    assert variance_table(block) is None
    assert not len(block.sampled)
