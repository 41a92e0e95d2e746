"""Scores along one training: its end is the run itself, and training is not touched by them."""

import pandas as pd
import pytest
import torch

from ltgen_bench.config import DataConfig
from ltgen_bench.curves import carry_out_curve, positions
from ltgen_bench.data.load import load_dataset
from ltgen_bench.pipeline import carry_out, make_plan
from ltgen_bench.records.curve import COSTS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plan_in(tiny_run):
    digits = load_dataset(DataConfig(name="digits-lt"))
    config = tiny_run(**{"evaluate.downstream": False, "evaluate.metrics": ["fid", "is"]})
    return lambda runs: make_plan(config, digits, runs)


def test_the_last_point_is_the_run_and_the_training_is_that_of_a_run_without_a_curve(plan_in, tmp_path):
    plain = carry_out(plan_in(tmp_path / "plain"), device=CPU)
    plan = plan_in(tmp_path / "curve")
    every = plan.config.train.batch_size * 2
    run, curve = carry_out_curve(plan, every, device=CPU)
    assert plan.folder.name == plain.plan.folder.name
    assert run.scores.table["value"].tolist() == pytest.approx(plain.scores.table["value"].tolist(), abs=0, nan_ok=True)
    places = [*positions(plan.config.train, every), plan.config.train.budget_images]
    assert sorted(set(curve["images"])) == places
    assert len(places) > 1
    last = curve[curve["images"] == places[-1]].drop(columns=list(COSTS)).reset_index(drop=True)
    pd.testing.assert_frame_equal(last, run.scores.table)
    each = curve["flops"] / curve["images"]
    assert each.min() > 0
    assert each.tolist() == pytest.approx([each[0]] * len(each), rel=1e-12)
    assert (plan.folder / "curve.csv").is_file()
    first = curve[curve["images"] == places[0]]["value"].tolist()
    assert first != pytest.approx(last["value"].tolist(), nan_ok=True)


def test_after_the_fact_the_points_are_the_same(plan_in, tmp_path):
    plan = plan_in(tmp_path / "during")
    every = plan.config.train.batch_size * 2
    _, during = carry_out_curve(plan, every, device=CPU)
    later = plan_in(tmp_path / "after")
    carry_out(later, device=CPU)
    _, after = carry_out_curve(later, every, device=CPU)
    assert after["value"].tolist() == pytest.approx(during["value"].tolist(), abs=0, nan_ok=True)
    assert not (later.folder / "curve" / "train").exists()
