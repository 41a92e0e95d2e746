"""Choosing on one half of the real images and reporting on the other."""

import json
import math
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.config.schema import DataConfig, RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.load import load_dataset
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.experiments.recipes import resolved_run
from ltgen_bench.experiments.search import carry_out_search, make_search, parse_axis, repeats, selection_value
from ltgen_bench.records.store import find_samples
from ltgen_bench.runtime.context import RunContext

OMEGAS = {"sample.omega": [0.0, 1.0, 4.0]}


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(name="digits-lt"))


@pytest.fixture(scope="module")
def small(tiny_run):
    """A tiny run without downstream classifiers."""
    return tiny_run(**{"evaluate.downstream": False, "evaluate.metrics": ["fid", "is"]})


@pytest.fixture(scope="module")
def found(small, digits, tmp_path_factory):
    """(a finished search, how many training steps it took): three omegas of one training, two seeds each."""
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        from ltgen_bench.training.session import Session

        record = Session.record  # of a step that trains; those that count operations are noted nowhere

        def counting(self, loss, stage):
            steps.append(self.trainer.images_seen)
            return record(self, loss, stage)

        patch.setattr(Session, "record", counting)
        search = make_search(small, {**OMEGAS, "seed": [0, 1]}, digits, tmp_path_factory.mktemp("search"), RunContext())
        return carry_out_search(search, RunContext()), len(steps)


def fid(run):
    return selection_value(run.scores, "fid")


class TestTheWholeSearch:
    def test_each_training_is_made_once(self, found, small):
        steps = math.ceil(small.train.budget_images / small.train.batch_size)
        assert found[1] == 2 * steps, "two seeds, and three candidates of each"
        assert found[0].search.words == "3 candidates of 2 seeds, 2 trainings"

    def test_the_best_mean_over_the_seeds_on_the_selection_half_is_chosen(self, found, digits):
        from ltgen_bench.experiments.pipeline import read_run

        result = found[0]
        means = [np.mean([fid(read_run(plan)) for plan in candidate.plans]) for candidate in result.search.candidates]
        assert result.means == pytest.approx(means)
        assert result.chosen == int(np.argmin(means))
        for candidate in result.search.candidates:
            (described,) = read_run(candidate.plans[0]).record.protocols.values()
            assert described["reference_half"] == "selection"
            assert described["data"] == digits.half("selection").fingerprint

    def test_the_result_is_of_the_other_half_and_says_how_it_was_chosen(self, found, digits):
        result = found[0]
        omega = OMEGAS["sample.omega"][result.chosen]
        assert [run.record.seed for run in result.results] == [0, 1]
        for run in result.results:
            assert run.record.entry.omega == omega
            described = run.record.protocols.values()
            assert {one["metric"] for one in described} == {"fid", "is"}, "all that the run asks for"
            assert {one["selection"] for one in described} == {"selected-on-half"}
            assert {one["data"] for one in described} == {digits.half("report").fingerprint}
            assert {one.get("reference_half") for one in described} == {"report", None}, "IS has no reference"
        assert fid(result.results[0]) != pytest.approx(result.means[result.chosen], abs=1e-9)

    def test_a_repeated_search_reads_what_is_finished(self, found, monkeypatch):
        for name in ("train", "sample", "evaluate"):
            monkeypatch.setattr(f"ltgen_bench.experiments.pipeline.{name}", None)
        again = carry_out_search(found[0].search, RunContext())
        assert (again.means, again.chosen) == (found[0].means, found[0].chosen)

    def test_more_candidates_use_the_same_training(self, found, small, digits, monkeypatch):
        monkeypatch.setattr("ltgen_bench.training.loop.Trainer.step", None)
        runs = found[0].search.candidates[0].plans[0].runs
        wider = make_search(small, {"sample.omega": [*OMEGAS["sample.omega"], 2.0]}, digits, runs, RunContext())
        assert len(carry_out_search(wider, RunContext()).means) == 4

    def test_each_candidates_samples_can_be_scored_again(self, found):
        plan = found[0].search.candidates[1].plans[0]
        drawn = find_samples(plan.runs, plan.folder.name, plan.sample_digest[:5])
        assert drawn.record.entry.omega == OMEGAS["sample.omega"][1]
        assert drawn.files.folder == plan.samples.folder
        with pytest.raises(UserError, match="--samples zz: of the samples"):
            find_samples(plan.runs, plan.folder.name, "zz")


class TestChoosing:
    """What is chosen, with the scores given; everything else is finished."""

    @pytest.mark.parametrize(("metric", "values", "chosen"), [
        ("fid", [3.0, 1.0, 2.0], 1), ("fid", [math.nan, 2.0, 1.0], 2), ("fid", [1.0, 1.0, 2.0], 0),
        ("recall", [0.1, 0.9, 0.5], 1), ("recall", [math.nan, 0.1, 0.2], 2)])
    def test_the_metric_says_which_end_is_best(self, found, monkeypatch, metric, values, chosen):
        from dataclasses import replace

        given = iter(value for value in values for _ in range(2))  # both seeds
        monkeypatch.setattr("ltgen_bench.experiments.search.selection_value", lambda scores, name: next(given))
        search = found[0].search
        every = replace(search, metric=metric, reports=(search.reports[found[0].chosen],) * 3)  # this one is finished
        assert carry_out_search(every, RunContext()).chosen == chosen

    def test_the_mean_over_seeds_decides(self, found, monkeypatch):
        from dataclasses import replace

        given = iter([1.0, 9.0, 4.0, 4.0, 6.0, 6.0])
        monkeypatch.setattr("ltgen_bench.experiments.search.selection_value", lambda scores, name: next(given))
        search = found[0].search
        chosen = carry_out_search(replace(search, reports=(search.reports[found[0].chosen],) * 3), RunContext())
        assert chosen.means == (5.0, 4.0, 6.0)
        assert chosen.chosen == 1, "and not the lucky seed of the first"
        assert chosen.spreads == pytest.approx((np.std([1, 9], ddof=1), 0.0, 0.0))

    def test_without_any_value_nothing_is_chosen(self, found, monkeypatch):
        monkeypatch.setattr("ltgen_bench.experiments.search.selection_value", lambda scores, name: math.nan)
        with pytest.raises(UserError, match="value for any candidate"):
            carry_out_search(found[0].search, RunContext())


class TestThePlan:
    def test_a_grid_has_every_combination(self, small, digits, tmp_path):
        over = {"sample.omega": [0.0, 1.0], "train.budget_images": [100, 200], "sample.steps": [3, 4]}
        search = make_search(small, over, digits, tmp_path, RunContext())
        assert len(search.candidates) == 8
        assert search.words == "8 candidates, 2 trainings"
        assert search.candidates[5].words == "sample.omega 1.0, train.budget_images 100, sample.steps 4"
        assert len({plan.scores.folder for candidate in search.candidates for plan in candidate.plans}) == 8
        assert not list(tmp_path.iterdir()), "a plan writes nothing"

    def test_numbers_of_images_take_the_place_of_a_budget_in_other_units(self, small, digits, tmp_path):
        config = small.model_validate({**small.model_dump(), "budget": {"flops": 1e12}})
        search = make_search(config, {"train.budget_images": [100, 200]}, digits, tmp_path, RunContext())
        assert [candidate.plans[0].config.train.budget_images for candidate in search.candidates] == [100, 200]

    def test_seeds_of_training_and_sampling_repeat_a_candidate(self, small, digits, tmp_path):
        search = make_search(small, {**OMEGAS, "seed": [0, 1], "sample.seed": [5, 6]}, digits, tmp_path, RunContext())
        pairs = [(plan.config.seed, plan.config.sample.seed) for plan in search.candidates[0].plans]
        assert pairs == [(0, 5), (0, 6), (1, 5), (1, 6)]
        assert len(search.candidates) == 3

    def test_a_candidate_measures_nothing_but_what_chooses(self, tiny_run, digits, tmp_path):
        search = make_search(tiny_run(), OMEGAS, digits, tmp_path, RunContext(), metric="kid", extractor="inception")
        candidate, report = search.candidates[0].plans[0].config.evaluate, search.reports[0][0].config.evaluate
        assert (candidate.metrics, candidate.extractors, candidate.downstream) == (("kid",), ("inception",), False)
        assert (report.metrics, report.extractors, report.downstream) == (None, ("classifier",), True)
        accuracy = make_search(tiny_run(), OMEGAS, digits, tmp_path, RunContext(), metric="downstream_accuracy")
        assert accuracy.candidates[0].plans[0].config.evaluate.downstream

    def test_the_settings_of_a_preset_stay(self, small, digits, tmp_path):
        config = small.model_copy(update={"evaluate": small.evaluate.model_validate({"preset": "oc-paper"})})
        search = make_search(resolved_run(config, "one is needed"), OMEGAS, digits, tmp_path, RunContext())
        rule = search.reports[0][0].config.evaluate
        assert (rule.preset, rule.images, rule.metrics, rule.half) == ("oc-paper", 50_000, ("fid", "is"), "report")
        assert search.extractor == "inception"

    @pytest.mark.parametrize(("over", "metric", "sentence"), [
        ({"seed": [0, 1]}, "fid", "chosen but averaged over"),
        ({"evaluate.k": [3, 5]}, "fid", "--over evaluate.k: it changes"),
        ({"data.imbalance_factor": [10.0, 20.0]}, "fid", "--over data.imbalance_factor: it changes"),
        ({"sample.images_per_class": [10, 20]}, "fid", "it changes what is measured"),
        ({"sample.omgea": [0.0]}, "fid", "setting. Did you mean 'omega'?"),
        ({"sample.omega": [-1.0]}, "fid", "sample.omega: -1.0"),
        ({"sample.omega": [1.0], "method.name": ["ddpm"]}, "fid", "null label, and ddpm trains"),
        ({"sample.sampler": ["ddim"], "sample.steps": [50, 30]}, "fid", "divide 1000; 30 does not"),
        (OMEGAS, "is", "report half would repeat"),
        (OMEGAS, "downstream_recall", "value over all classes"),
        (OMEGAS, "fidd", "unknown metric 'fidd'"),
    ])
    def test_what_cannot_be_compared_or_run_is_refused_before_anything_is_trained(
            self, small, digits, tmp_path, over, metric, sentence):
        with pytest.raises(UserError) as refused:
            make_search(small, over, digits, tmp_path / "runs", RunContext(), metric=metric)
        assert sentence in str(refused.value)
        assert not (tmp_path / "runs").exists()

    def test_classes_too_small_to_be_halved_are_refused(self, small, make_images, tmp_path):
        from ltgen_bench.data.dataset import LongTailDataset

        tiny = LongTailDataset("tiny", make_images((9, 3)), make_images((9, 9)), make_images((4, 1)), ("a", "b"), False)
        with pytest.raises(UserError, match="test set has 1 images"):
            make_search(small, OMEGAS, tiny, tmp_path, RunContext())

    def test_a_preset_with_two_lists_of_settings_is_refused(self, small):
        config = small.model_copy(update={"evaluate": small.evaluate.model_validate({"preset": "ccua-paper"})})
        with pytest.raises(UserError, match="ccua-paper has 2 lists of evaluation settings"):
            resolved_run(config, "one is needed")


@pytest.mark.parametrize(("text", "axis"), [
    ("sample.omega=0,0.5,1", ("sample.omega", [0, 0.5, 1])), ("sample.steps=20", ("sample.steps", [20])),
    ("sample.sampler=ddim,dpm-solver++", ("sample.sampler", ["ddim", "dpm-solver++"])),
    ("network.channels=[8,16],[16,32]", ("network.channels", [[8, 16], [16, 32]])),
    (" train.precision = float32, bf16 ", ("train.precision", ["float32", "bf16"])),
    ("network.dropout=0.1,0.2", ("network.dropout", [0.1, 0.2]))])
def test_values_are_read_as_settings_are(text, axis):
    assert parse_axis(text) == axis


@pytest.mark.parametrize(("text", "sentence"), [
    ("sample.omega", "write it as KEY=VALUE,VALUE"), ("=1,2", "write it as KEY=VALUE"),
    ("sample.omega=", "write it as KEY=VALUE"),
    ("sample.omega=1,2,1.0", "the value 1.0 is given twice")])
def test_values_that_are_none_are_refused(text, sentence):
    with pytest.raises(UserError, match=sentence):
        parse_axis(text)


@pytest.fixture
def ask(found, small, tmp_path, monkeypatch):
    """`ask(...)`: (stdout, stderr) of the command, on the finished search."""
    recipe = tmp_path / "small.toml"
    recipe.write_text(small.to_toml())

    def call(*arguments, width=100):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "argv", ["ltgen-bench", "search", *arguments])
        runs = found[0].search.candidates[0].plans[0].runs
        result = CliRunner().invoke(cli, ["search", "--recipe", str(recipe), "--runs", str(runs), "--device", "cpu", *arguments],
                                    standalone_mode=False, catch_exceptions=False)
        return result.stdout, result.stderr

    return call


class TestTheCommand:
    GRID = ("--over", "sample.omega=0.0,1.0,4.0", "--over", "seed=0,1")

    def test_it_shows_the_candidates_and_then_the_result(self, ask, found):
        out, told = ask(*self.GRID)
        head = out.partition("finished on")[0]
        rows = [line.split() for line in head.splitlines() if line.split() and line.split()[0] in ("0.0", "1.0", "4.0")]
        assert [row[0] for row in rows] == ["0.0", "1.0", "4.0"]
        assert [float(row[1]) for row in rows] == [float(f"{mean:.2f}") for mean in found[0].means]
        assert ["*" in row for row in rows] == [place == found[0].chosen for place in range(3)]
        assert "against the selection half" in " ".join(head.split())
        assert out.splitlines().count("classifier features") == 2, "a table a seed"
        assert "3 candidates of 2 seeds" in told
        assert all(len(line) <= 60 or line.startswith((" samples", " scores", " next", " recipe", "finished"))
                   for line in ask(*self.GRID, width=60)[0].splitlines())

    def test_the_written_recipe_is_the_result(self, found):
        written = RunConfig.from_recipe(found[0].recipe)
        plan = found[0].results[0].plan
        again = make_plan(written, plan.dataset, plan.runs, RunContext())
        assert again.finished
        assert (again.folder, again.score_digest) == (plan.folder, plan.score_digest)
        assert "on the selection half" in written.source

    def test_short_trainings_have_three_seeds(self, ask, small, digits):
        assert repeats(small, digits) == [0, 1, 2]
        long = small.model_copy(update={"train": small.train.model_copy(update={"budget_images": 10**9})})
        assert repeats(long, digits) == [0]
        assert "2 candidates of 3 seeds" in ask("--over", "sample.omega=0.0,3.0", "--dry-run")[1]

    def test_json_has_candidates_and_records(self, ask, found):
        shown = json.loads(ask(*self.GRID, "--json")[0])
        assert [one["mean"] for one in shown["candidates"]] == list(found[0].means)
        assert shown["chosen"] in shown["may_be_best"]
        assert shown["recipe"] == str(found[0].recipe)
        assert shown["chosen"] == {"sample.omega": OMEGAS["sample.omega"][found[0].chosen]}
        assert [record["seed"] for record in shown["records"]] == [0, 1]

    def test_a_dry_run_lists_the_candidates(self, ask):
        out, _ = ask("--over", "sample.omega=0.0,3.0", "--seed", "0", "--dry-run")
        first, second = (line.split("\t") for line in out.splitlines())
        assert (first[0], first[2]) == ("sample.omega 0.0", "finished")
        assert second[0] == "sample.omega 3.0"
        assert len(second) == 2

    def test_it_takes_the_options_of_run(self):
        from ltgen_bench.cli.run_command import run
        from ltgen_bench.cli.search_command import LEFT_OUT, search

        assert {option.name for option in run.params} - set(LEFT_OUT) <= {option.name for option in search.params}
