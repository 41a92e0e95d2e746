"""Suites: files with all their faults at once, digests over what decides values, the state of runs and the time left."""

import pytest

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.load import load_dataset
from ltgen_bench.experiments.grid import carry_out_grid
from ltgen_bench.experiments.suite import keep_suite, make_suite, other_runs, other_versions
from ltgen_bench.experiments.suite_file import differences, find_suite, shipped_suites
from ltgen_bench.experiments.suite_time import Times
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.store import find_runs
from ltgen_bench.runtime.context import RunContext

TINY = """
version = 1
title = "{title}"
methods = ["ddpm", "cfg", "oc"]
seeds = [0, 1]
metrics = ["fid"]
baseline = "cfg"

[settings]
network = {{ preset = "digits", channels = [8, 16] }}
train = {{ budget_images = {images}, batch_size = 16, warmup_images = 32, ema_halflife_images = 32 }}
sample = {{ images_per_class = 12, steps = 3 }}
evaluate = {{ metrics = ["fid"], classifier_steps = 20 }}

[[tasks]]
name = "plain"
data.name = "digits-lt-5"

[[tasks]]
name = "straight"
data.name = "digits-lt-5"
process.name = "flow"
sample.sampler = "euler"
"""


@pytest.fixture
def tiny(tmp_path):
    """A suite of two tasks, of which `oc` can do one; `title` and `images` may differ."""
    def make(title="tiny", images=48, name="tiny"):
        path = tmp_path / f"{name}.toml"
        path.write_text(TINY.format(title=title, images=images), encoding="utf-8")
        return find_suite(str(path))

    return make


def cells_of(suite, runs, methods=("ddpm",), seeds=(0,)):
    return make_suite(suite, methods, seeds, lambda data: load_dataset(data), runs, RunContext())


class TestTheFile:
    def test_every_shipped_suite_is_whole(self):
        assert {"smoke", "digits"} <= set(shipped_suites())
        for name in shipped_suites():
            suite = find_suite(name)
            assert not any(suite.impossible(task, method) for task in suite.tasks for method in suite.methods)
            assert len(suite.digest) == 8

    def test_all_faults_are_told_at_once_with_near_names(self, tmp_path):
        path = tmp_path / "bad.toml"
        path.write_text('version = 1\nmethods = ["cdbm"]\nseeds = [-1]\nmetrics = ["fidd"]\nbaseline = "cgf"\ntitel = "a"\n'
                        '[settings]\nsample.sampler = "ddmi"\n'
                        '[[tasks]]\nname = "a"\ndata.name = "digit-lt"\nnetwork.preset = "huge"\n'
                        'evaluate = { preset = "standrd", extractors = ["inceptio"], metrics = ["kidd"] }\n'
                        '[[tasks]]\nname = "b"\ndate.name = "digits-lt"\nprocess.name = "flwo"\n', encoding="utf-8")
        with pytest.raises(UserError) as error:
            find_suite(str(path))
        for words in ("'cbdm'", "seeds.0: -1", "'fid'", "'cfg'", "'title'", "'digits-lt'", "'huge'", "'standard'", "'inception'",
                      "'kid'", "'data'", "'flow'"):
            assert words in str(error.value), words
        assert "settings.sample.sampler: unknown sampler 'ddmi'" in str(error.value)
        assert "task b: process.name" in str(error.value)
        assert len(error.value.problems) == 13

    @pytest.mark.parametrize(("old", "new", "words"), [
        ('baseline = "cfg"', 'baseline = "coral"', "coral is not among the methods"),
        ('seeds = [0, 1]', "seeds = [0, 0]", "0 is given twice"),
        ('metrics = ["fid"], classifier', 'metrics = ["kid"], classifier', "lacks fid"),
        ('sampler = "euler"', 'sampler = "ddim"', "task straight: .*ddim"),
        ('name = "straight"', 'name = "plain"', "another task has this name"),
        ('name = "digits-lt-5"\nprocess', 'image_size = 32\nprocess', "data.name: is needed"),
    ])
    def test_what_does_not_go_together_is_refused(self, tmp_path, old, new, words):
        path = tmp_path / "odd.toml"
        text = TINY.format(title="", images=48)
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(UserError, match=words):
            find_suite(str(path))

    def test_an_unknown_suite_names_the_nearest(self):
        with pytest.raises(UserError, match="Did you mean 'digits'"):
            find_suite("digit")

    def test_the_digest_is_of_what_decides_values(self, tiny):
        first, title, budget = tiny(), tiny(title="another"), tiny(images=64)
        assert first.digest == title.digest != budget.digest
        assert differences(first.stated, title.stated) == []
        assert differences(first.stated, budget.stated) == ["train.budget_images: 48 there, 64 here"], "once, not for each run"

    def test_differences_name_tasks_and_methods(self, tiny):
        there, here = tiny().stated, tiny(title="a copy").stated
        here["seeds"] = [0]
        here["tasks"]["plain"]["oc"]["method.strength"] = 2
        here["tasks"]["third"] = here["tasks"].pop("straight")
        assert differences(there, here) == ["seeds: [0, 1] there, [0] here", "task third: not there", "task straight: not here",
                                            "method.strength: the default there, 2 here (plain, oc)"]

    def test_a_preset_decides_in_place_of_the_recipe(self, tmp_path):
        path = tmp_path / "preset.toml"
        path.write_text('version = 1\nmethods = ["cfg"]\nseeds = [0]\nmetrics = ["fid"]\nbaseline = "cfg"\n'
                        '[[tasks]]\nname = "a"\ndata.name = "digits-lt"\nevaluate.preset = "standard"\n', encoding="utf-8")
        assert "extractors" not in find_suite(str(path)).config("a", "cfg").evaluate.model_fields_set


class TestTheRuns:
    def test_a_method_that_cannot_run_on_a_task_is_named_and_the_rest_is_planned(self, tiny, tmp_path):
        cells = cells_of(tiny(), tmp_path, ("oc", "cfg"), (0, 1))
        assert [(one.task, one.method, one.cell.seed) for one in cells[:5]] == [
            ("plain", "oc", 0), ("plain", "cfg", 0), ("straight", "oc", 0), ("straight", "cfg", 0), ("plain", "oc", 1)]
        state, why = cells[2].state
        assert state == "impossible"
        assert "oc needs process ddpm" in why
        assert {one.state[0] for one in cells} == {"impossible", "missing"}

    def test_runs_are_missing_running_failed_and_done(self, tiny, tmp_path):
        (one, other) = cells_of(tiny(), tmp_path)
        folder = one.cell.plans[0].folder
        assert one.state == ("missing", "")

        def broken(plan, context):
            raise UserError("the disk is on fire")

        carry_out_grid([one.cell], RunContext(), make=broken)
        assert one.state == ("failed", "the disk is on fire")
        with folder.lock():
            assert one.state == ("running", "")
        before = Times([one, other]).left()
        assert (before.done, before.of, before.seconds) == (0, 2, None), "nothing says how long it takes"
        carry_out_grid([one.cell], RunContext())
        assert one.state == ("done", "")
        assert not folder.failure.exists(), "what failed before is finished now"

        left = Times([one, *cells_of(tiny(), tmp_path, ("cfg",))]).left()
        assert (left.done, left.of) == (1, 3)
        assert left.unknown == 2, "guided and straight ones take another time"
        again = Times([one, *cells_of(tiny(), tmp_path, seeds=(1,))[:1]]).left()
        assert again.seconds == pytest.approx(sum(stage.seconds for stage in one.cell.plans[0].scores.read()[0].stages))
        assert "1 of 2 runs done; about" in again.words(1)

    def test_a_run_that_cannot_be_measured_does_not_end_the_suite(self, tiny, tmp_path, monkeypatch, told):
        def broken(self, net, batch, draws):
            raise KeyError("oops")

        monkeypatch.setattr("ltgen_bench.methods.ddpm.DDPM.loss", broken)
        times = Times(cells_of(tiny(), tmp_path)[:1])
        times.measure(RunContext(progress=told))
        assert times.left().seconds is None
        assert "could not be measured" in told.messages[-1]

    def test_another_method_takes_as_much_longer_as_it_was_measured_to(self, tiny, tmp_path):
        from ltgen_bench.experiments.suite_time import Timed

        (one, _) = cells_of(tiny(), tmp_path, ("cfg",))
        times = Times([one])
        times.costs = {"cfg": 3.0, "oc": 2.0}
        work = times.cells[0][1]
        times.measured = [Timed("", "oc", work, train=10.0, rest=7.0)]
        assert times.left().seconds == pytest.approx(10.0 / 2.0 * 3.0 + 7.0)

    def test_runs_of_another_version_are_no_runs_of_this_one(self, tiny, tmp_path):
        (one, _) = cells_of(tiny(), tmp_path)
        carry_out_grid([one.cell], RunContext())
        changed = cells_of(tiny(images=64), tmp_path)
        assert [cell.state[0] for cell in changed] == ["missing", "missing"]
        assert [run.folder for run in other_runs(changed, find_runs(tmp_path))] == [RunFolder(one.cell.plans[0].folder.path)]
        assert other_runs([one], find_runs(tmp_path)) == []
        keep_suite(tiny(), tmp_path)
        assert other_versions(tiny(), tmp_path) == {}
        assert other_versions(tiny(images=64), tmp_path) == {
            f"version 1, digest {tiny().digest}": ["train.budget_images: 48 there, 64 here"]}
