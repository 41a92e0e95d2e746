"""Rows that are to be equal in what their training cost."""

import math

import pandas as pd
import pytest
from synthetic_runs import write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.records.results_csv import measured_csv, read_measured
from ltgen_bench.records.store import find_runs, rows
from ltgen_bench.report.entries import blocks
from ltgen_bench.report.equal import check_equal, split_equal


@pytest.fixture
def costing(tmp_path):
    """`costing({("cbdm", 0): 1e12})`: rows of runs with these costs, by (method, seed); None where it is not known."""
    def make(costs, column="train_flops"):
        for method, seed in costs:
            write_run(tmp_path, method, seed, samples=False)
        table = rows(find_runs(tmp_path))
        values = [costs[pair] for pair in zip(table["method"], table["seed"], strict=True)]
        table[column] = pd.array([math.nan if value is None else value for value in values], dtype="Float64")
        return table

    return make


def methods(split):
    return [(words[0], sorted(set(part["method"]))) for words, part in split]


def test_costs_within_a_share_of_the_least_are_equal_and_named_by_it(costing):
    table = costing({("ddpm", 0): 1.00e12, ("cfg", 0): 1.019e12, ("cbdm", 0): 1.03e12, ("oc", 0): 1.9e12})
    assert methods(split_equal(table, ["flops"])) == [
        ("about 1.00e12 training FLOPs", ["cfg", "ddpm"]), ("about 1.03e12 training FLOPs", ["cbdm"]),
        ("about 1.90e12 training FLOPs", ["oc"])]


def test_the_seeds_of_an_entry_stay_together_whatever_each_took(costing):
    table = costing({("ddpm", 0): 60.0, ("ddpm", 1): 100.0, ("cbdm", 0): 86.0, ("cbdm", 1): 84.0, ("cfg", 0): 97.0},
                    "train_seconds")
    assert methods(split_equal(table, ["seconds"])) == [
        ("about 80 s of training", ["cbdm", "ddpm"]), ("about 97 s of training", ["cfg"])]


def test_costs_that_are_not_known_stand_apart(costing):
    table = costing({("ddpm", 0): 1e12, ("cbdm", 0): None})
    assert methods(split_equal(table, ["flops"])) == [
        ("about 1.00e12 training FLOPs", ["ddpm"]), ("flops unknown", ["cbdm"])]


def test_costs_and_facts_go_together_and_the_title_says_both(costing):
    table = costing({("ddpm", 0): 1e12, ("cbdm", 0): 1e12, ("cfg", 0): 2e12})
    titles = [block.title for block in blocks(table, ["flops", "omega"])]
    assert titles == ["digits-lt, about 1.00e12 training FLOPs, omega 1", "digits-lt, about 2.00e12 training FLOPs, omega 1"]


def test_words_that_are_neither_are_refused():
    check_equal(["flops", "seconds", "budget"])
    with pytest.raises(UserError, match=r"unknown word of --equal 'flop'\."):
        check_equal(["flop"])


def test_rows_of_a_record_have_what_its_training_cost_and_csvs_keep_it(tmp_path):
    folder, record = write_run(tmp_path / "runs", "cbdm", 0, samples=False)
    counted = record.model_copy(update={"entry": record.entry.model_copy(update={"train_flops_per_image": 2.5e6})})
    counted.save(folder / "scores" / record.score_digest)
    table = rows(find_runs(tmp_path / "runs"))
    assert set(table["train_flops"]) == {44_800 * 2.5e6}
    assert set(table["train_seconds"]) == {80.0}
    back = read_measured(measured_csv(table, tmp_path / "rows.csv"))
    assert set(back["train_flops"]) == {44_800 * 2.5e6}
