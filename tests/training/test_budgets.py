"""Budgets in FLOPs and seconds: whole steps, found once, and then the run of that many images."""

import json
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ltgen_bench.cli.run_command import run
from ltgen_bench.cli.run_options import overrides_of
from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.experiments.pipeline import carry_out
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.budgets import UNITS, in_images


@pytest.fixture
def of(tiny_run, tiny_dataset, tmp_path):
    """`of(**{"budget.flops": 1e9})`: the tiny run with its budget in images."""
    return lambda **overrides: in_images(tiny_run(**overrides), tiny_dataset, tmp_path, RunContext())


@pytest.fixture
def costs(monkeypatch):
    """Two operations and half a second an image; a list of what was measured."""
    measured = []
    for unit, cost in (("flops", 2.0), ("seconds", 0.5)):
        monkeypatch.setitem(UNITS, unit, lambda config, dataset, device, unit=unit, cost=cost: measured.append(unit) or cost)
    return measured


@pytest.mark.parametrize(("budget", "images"), [
    ({"budget.flops": 1000.0}, 496), ({"budget.flops": 32.0}, 16), ({"budget.flops": 63.9}, 16),
    ({"budget.seconds": 100}, 192), ({"budget.seconds": 8.1}, 16)])
def test_a_budget_is_as_many_whole_steps_of_16_as_it_pays_for(of, costs, budget, images):
    assert of(**budget).train.budget_images == images


def test_what_was_found_stays_for_every_seed_and_whatever_is_measured_later(of, costs, tmp_path, monkeypatch):
    first = of(**{"budget.seconds": 100.0})
    monkeypatch.setitem(UNITS, "seconds", None)
    again = of(**{"budget.seconds": 100.0, "seed": 5, "train.budget_images": 77, "sample.omega": 2.0})
    assert again.train.budget_images == first.train.budget_images == 192
    (file,) = (tmp_path / "tiny" / "budgets").iterdir()
    kept = json.loads(file.read_text())
    assert (kept["unit"], kept["amount"], kept["per_image"], kept["images"], kept["device"]) == ("seconds", 100, 0.5, 192, "cpu")
    assert kept["threads"] == torch.get_num_threads()


def test_another_training_or_amount_is_measured_anew(of, costs):
    of(**{"budget.flops": 1000.0})
    of(**{"budget.flops": 1000.0, "method.tau": 2.0})
    of(**{"budget.flops": 2000.0})
    of(**{"budget.seconds": 1000.0})
    of(**{"budget.flops": 1000.0, "train.batch_size": 8})
    assert costs == ["flops", "flops", "flops", "seconds", "flops"]


def test_without_one_nothing_is_measured_and_nothing_written(of, costs, tmp_path):
    assert of().train.budget_images == 200
    assert costs == []
    assert not list(tmp_path.iterdir())


def test_one_that_does_not_pay_for_a_step_is_refused(of, costs, tmp_path):
    with pytest.raises(UserError, match=r"budget.seconds: 7.9 does not pay"):
        of(**{"budget.seconds": 7.9})
    assert not list(tmp_path.iterdir())


def test_both_at_once_and_a_broken_file_are_refused(of, costs, tmp_path):
    with pytest.raises(UserError, match="both flops and seconds"):
        of(**{"budget.flops": 1.0, "budget.seconds": 1.0})
    of(**{"budget.flops": 1000.0})
    (file,) = (tmp_path / "tiny" / "budgets").iterdir()
    file.write_text("{")
    with pytest.raises(UserError, match="budget is measured again"):
        of(**{"budget.flops": 1000.0})


@pytest.mark.parametrize("damage", [
    lambda text: text.replace("496", "480"), lambda text: text.replace('"images"', '"image"'), lambda text: "[1]",
    lambda text: "", lambda text: json.dumps({**json.loads(text), "sha256": "0" * 64}), lambda text: "[" * 100_000])
def test_a_file_that_says_something_else_is_refused_by_name(of, costs, tmp_path, damage):
    of(**{"budget.flops": 1000.0})
    (file,) = (tmp_path / "tiny" / "budgets").iterdir()
    file.write_text(damage(file.read_text()))
    with pytest.raises(UserError, match=rf"{file.name} is broken .*; delete it"):
        of(**{"budget.flops": 1000.0})


def test_a_file_of_before_there_were_checksums_is_read(of, costs, tmp_path):
    first = of(**{"budget.seconds": 100.0})
    (file,) = (tmp_path / "tiny" / "budgets").iterdir()
    kept = json.loads(file.read_text())
    del kept["sha256"]
    file.write_text(json.dumps(kept))
    assert of(**{"budget.seconds": 100.0}).train == first.train
    assert costs == ["seconds"]


def test_commands_that_measure_at_once_train_the_same_number_of_images(of, monkeypatch, tmp_path):
    paces, started = iter([0.5, 0.4, 0.3]), []

    def slow(config, dataset, device):
        started.append(device)
        time.sleep(0.3)
        return next(paces)

    monkeypatch.setitem(UNITS, "seconds", slow)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda seed: of(**{"budget.seconds": 100.0, "seed": seed}).train.budget_images, range(3)))
    assert found == [192] * 3
    assert len(started) == 1
    assert len(list((tmp_path / "tiny" / "budgets").iterdir())) == 1


def test_where_the_first_fails_the_next_measures(of, monkeypatch, tmp_path):
    outcomes = iter([1000.0, 0.5])

    def failing(config, dataset, device):
        time.sleep(0.2)
        return next(outcomes)

    monkeypatch.setitem(UNITS, "seconds", failing)

    def attempt(seed):
        try:
            return of(**{"budget.seconds": 100.0, "seed": seed}).train.budget_images
        except UserError:
            return None

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, range(2)), key=str) == [192, None]


def test_a_run_of_so_many_operations_is_the_run_of_so_many_images_and_says_so_in_its_record(tiny_run, tiny_dataset, tmp_path):
    small = {"evaluate.downstream": False, "evaluate.metrics": ["fid"]}
    plan = make_plan(tiny_run(**small, **{"budget.flops": 1e9}), tiny_dataset, tmp_path, RunContext())
    images = plan.config.train.budget_images
    assert plan.folder == make_plan(tiny_run(**small, **{"train.budget_images": images}), tiny_dataset, tmp_path,
                                    RunContext()).folder
    record = carry_out(plan, RunContext()).record
    assert record.config["budget"] == {"flops": 1e9, "seconds": None}
    assert record.entry.budget_images == images
    one_step = 16 * record.entry.train_flops_per_image
    assert 1e9 - one_step < record.entry.train_flops <= 1e9
    stored = json.loads((plan.scores.folder / "record.json").read_text())
    del stored["entry"]["train_flops_per_image"], stored["sha256"]
    older = Path(tmp_path / "record.json")
    older.write_text(json.dumps(stored))
    assert type(record).load(older).entry.train_flops is None, "records from before are read"


class TestTheOptions:
    def overrides(self, *arguments):
        options = run.make_context("run", list(arguments)).params
        return overrides_of(options.pop("settings"), options)

    def test_one_of_three_is_given(self):
        assert self.overrides("--budget-flops", "1e15")["budget.flops"] == 1e15
        assert self.overrides("--budget-seconds", "600")["budget.seconds"] == 600
        with pytest.raises(UserError, match="--budget-images and --budget-flops:"):
            self.overrides("--budget-images", "10", "--budget-flops", "1e9")

    @pytest.mark.parametrize(("arguments", "budget", "images"), [
        (["--budget-images", "500"], None, 500), (["--budget-seconds", "60"], {"flops": None, "seconds": 60.0}, 320)])
    def test_it_takes_the_place_of_what_the_recipe_says(self, arguments, budget, images):
        recipe = {"train": {"budget_images": 320}, "budget": {"flops": 1e12}}
        config = RunConfig.from_values(recipe, overrides=self.overrides(*arguments))
        assert (None if config.budget is None else config.budget.model_dump()) == budget
        assert config.train.budget_images == images

    @pytest.mark.parametrize("arguments", [["--set", "train.budget_images=500"], ["--budget-images", "500"]])
    def test_a_number_of_images_by_its_key_takes_the_place_of_the_recipes_operations(self, read_back, tmp_path, arguments):
        recipe = tmp_path / "mine.toml"
        recipe.write_text("[budget]\nflops = 1e12\n")
        config = read_back(shlex.join(["ltgen-bench", "run", "--recipe", str(recipe), *arguments]))
        assert (config.budget, config.train.budget_images) == (None, 500)

    @pytest.mark.parametrize("arguments", [
        "--set train.budget_images=500 --budget-flops 1e9", "--budget-images 500 --set budget.flops=1e9",
        "--set train.budget_images=500 --set budget.flops=1e9"])
    def test_by_their_keys_too_one_of_them_is_given(self, read_back, arguments):
        with pytest.raises(UserError, match=r"train.budget_images and budget.flops:"):
            read_back(f"ltgen-bench run {arguments}")

    def test_values_that_are_no_budget_are_refused(self):
        with pytest.raises(UserError, match=r"budget.seconds: -1.0"):
            RunConfig.from_values({}, overrides=self.overrides("--budget-seconds", "-1"))
