"""Reports of suites from finished runs with known truth: sentences, tables, policies, recorded results and what is refused."""

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from suite_runs import cells_of, finish

from ltgen_bench.cli import cli
from ltgen_bench.core.errors import UserError
from ltgen_bench.experiments.suite import keep_suite
from ltgen_bench.experiments.suite_collect import collect, read_recorded, record
from ltgen_bench.experiments.suite_file import find_suite
from ltgen_bench.report import suite_drawings, suite_report
from ltgen_bench.report.suite_measured import ALL, FEW, suite_tables
from ltgen_bench.report.suite_plots import COLORS
from ltgen_bench.report.suite_words import of_runs, told

FILE = """
version = {version}
methods = ["ddpm", "cfg", "cbdm", "oc"]
seeds = [0, 1, 2]
metrics = ["fid", "recall"]
baseline = "cfg"
settings.train.budget_images = {images}
settings.evaluate.metrics = ["fid", "recall"]
tasks = [
  {{ name = "a", data.name = "digits-lt-5" }},
  {{ name = "b", data.name = "digits-lt-20" }},
  {{ name = "c", data.name = "digits-lt-50" }},
]
"""
SKILL = {"ddpm": -1.5, "cfg": 0.0, "cbdm": 0.7, "oc": 0.0}


def write_suite(folder, version=1, images=48):
    path = folder / "made-up.toml"
    path.write_text(FILE.format(version=version, images=images), encoding="utf-8")
    return find_suite(str(path))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A suite and a folder of its finished runs, which no test changes."""
    folder = tmp_path_factory.mktemp("suite")
    suite = write_suite(folder)
    for cell in cells_of(suite, folder / "runs"):
        finish(cell, SKILL[cell.method], noise=0.05, of_task=0.03, metrics=("fid", "recall"))
    keep_suite(suite, folder / "runs")
    return suite, folder / "runs"


@pytest.fixture(scope="module")
def results(place):
    suite, runs = place
    return collect(suite, cells_of(suite, runs), suite.methods, suite.seeds, runs)


@pytest.fixture(scope="module")
def tables(results):
    return suite_tables(results)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(suite_drawings, "drawings", lambda tables: {})


def without(results, gone):
    """The results without the runs that `gone` (of a row of states) picks; of FID alone, which is quicker."""
    states = results.states.assign(state=["missing" if gone(row) else row.state for row in results.states.itertuples()])
    lost = set(states.loc[states["state"] == "missing", "score_digest"])
    kept = results.rows[~results.rows["score_digest"].isin(lost) & results.rows["metric"].eq("fid")]
    return replace(results, metrics=("fid",), rows=kept, states=states)


def typed(*words):
    return CliRunner().invoke(cli, ["suite", "report", *map(str, words)], catch_exceptions=False)


def test_class_orders_of_one_task_count_as_one(place):
    assert place[0].groups == {"a": "a", "b": "b", "c": "c"}
    digits = find_suite("digits").groups
    assert digits == {"lt-5": "lt-5", "lt-5b": "lt-5", "lt-20": "lt-20", "lt-20b": "lt-20", "lt-50": "lt-50", "lt-50b": "lt-50"}


def test_what_is_true_is_told(tables):
    fid = tables.of(("fid", "classifier", ""))
    assert next(iter(fid)) == FEW, "the few classes stand first"
    for one in (fid[FEW], fid[ALL]):
        best, against, rest, seeds = told(one)[:4]
        assert best.startswith("Over the 3 tasks only cbdm may be the best")
        assert "better than cfg: " in against
        assert "worse than cfg: ddpm (skill -1." in against
        assert rest == "Not settled against cfg: oc."
        assert "By seeds within 3 tasks" in seeds
        assert "cbdm (3)" in seeds
        assert "ddpm (3)" in seeds
        assert one.scores.skill["cbdm"].value == pytest.approx(0.7, abs=0.05)
        assert one.scores.win_rate["ddpm"].value == 0
    assert any("oc in" in sentence for sentence in told(fid[ALL])), "few open differences are told by name"


def test_equal_methods_have_no_verdict_and_all_may_be_the_best(place, results):
    fid = results.rows["metric"] == "fid"
    drawn = np.exp(np.random.default_rng(3).normal(size=int(fid.sum())))
    equal = replace(results, metrics=("fid",), rows=results.rows[fid].assign(value=drawn))
    sentences = told(suite_tables(equal).of(("fid", "classifier", ""))[ALL])
    assert "no method is shown to be worse than another" in sentences[0]
    assert "nor equivalent" in sentences[1]
    assert any("All 9 differences there are open" in sentence for sentence in sentences)


def test_two_tasks_tell_nothing_of_other_tasks(results):
    two = without(results, lambda row: row.task in ("b", "c"))
    plan = type(results.plan)({"a": "a"}, results.plan.entries, results.plan.seeds, "cfg")
    two = replace(two, plan=plan, states=two.states[two.states["state"] == "done"])
    one = suite_tables(two).of(("fid", "classifier", ""))[ALL]
    assert told(one)[0] == "1 task: too few to say anything of other tasks."
    assert one.over_tasks is None


class TestMissingRuns:
    def gap(self, results):
        return without(results, lambda row: (row.task, row.method, row.seed) == ("b", "oc", 2))

    def test_they_are_an_error_that_names_them(self, results):
        with pytest.raises(UserError, match=r"1 run of 36 is not done.*--missing drop") as error:
            suite_tables(self.gap(results))
        assert error.value.problems == ("missing: oc on b (seed 2)",)

    @pytest.mark.parametrize(("policy", "words"), [("drop", "1 seed of tasks left out"), ("impute", "the score of 'cfg' stands")])
    def test_a_policy_treats_them_and_is_told(self, results, policy, words):
        tables = suite_tables(self.gap(results), policy)
        one = tables.of(("fid", "classifier", ""))[FEW]
        assert one.scores.failures["oc"] == 1
        assert any(words in note for note in one.notes)
        assert any("missing: oc on b (seed 2)" in sentence and f"policy '{policy}'" in sentence for sentence in of_runs(tables))

    def test_a_method_without_any_run_is_named_and_takes_nothing(self, results, tables):
        found = suite_tables(without(results, lambda row: row.method == "ddpm"))
        assert any("Not compared, since no run of them is done: ddpm." in sentence for sentence in of_runs(found))
        one, before = (made.of(("fid", "classifier", ""))[FEW].scores for made in (found, tables))
        assert one.skill["cbdm"] == before.skill["cbdm"]

    def test_a_metric_that_a_method_lacks(self, results):
        rows = results.rows[~((results.rows["method"] == "oc") & (results.rows["metric"] == "recall"))]
        found = suite_tables(replace(results, rows=rows))
        one = found.of(("recall", "classifier", ""))[ALL]
        assert np.isnan(one.scores.skill["oc"].value)
        assert any("Not compared" in note and "oc" in note for note in one.notes)
        assert found.of(("fid", "classifier", ""))[ALL].scores.skill["oc"].value == pytest.approx(0, abs=0.1)

    def test_no_runs_at_all(self, place, tmp_path):
        suite, _ = place
        with pytest.raises(UserError, match="no run of it is finished"):
            suite_tables(collect(suite, cells_of(suite, tmp_path, ["cfg", "oc"], [0]), ["cfg", "oc"], [0], tmp_path))


class TestTheFolder:
    @pytest.fixture
    def made(self, results, tmp_path, no_pictures):
        return suite_report.suite_report(results, tmp_path / "out")

    def test_the_page_opens_with_the_sentences_and_has_the_few_before_all(self, made):
        page = (made.out / "index.html").read_text(encoding="utf-8")
        assert page.index("What is known") < page.index("FID ↓ (classifier), few classes") < page.index(
            "FID ↓ (classifier), all classes") < page.index("Scores over all tasks")
        assert "may be the best" in page
        assert "protocols of task b" in page
        text = made.terminal(150)
        assert text.index("few classes") < text.index("all classes") < text.index("win rate")

    def test_tables_have_costs_failures_and_the_numbers(self, made):
        (table, _) = made.scores
        titles = [head.key for head in table.heads]
        assert titles[:3] == ["method", f"skill:{FEW}", f"skill:{ALL}"]
        assert {"failures", "seconds", "memory_mb"} <= set(titles)
        marked = {row.cells[0].text for row in table.rows if row.cells[1].best}
        assert marked == {"cbdm"}
        folder = made.out / "tables" / "suite"
        for name in ("scores-fid-classifier", "verdicts-recall-classifier"):
            assert all((folder / f"{name}{suffix}").is_file() for suffix in (".md", ".csv", ".tex"))
        numbers = pd.read_csv(folder / "differences.csv")
        own = numbers[(numbers["task"] == "b") & (numbers["method"] == "cbdm") & (numbers["scope"] == FEW)]
        assert set(own["verdict"]) <= {"better", "open"}
        assert own.iloc[0]["low"] < own.iloc[0]["estimate"] < own.iloc[0]["high"] < 0
        with (folder / "runs.csv").open(encoding="utf-8") as file:
            assert sum(row["state"] == "done" for row in csv.DictReader(file)) == 36

    def test_a_report_is_replaced_and_other_folders_are_left_alone(self, made, results):
        again = suite_report.suite_report(results, made.out)
        assert again.files == made.files
        (made.out.parent / "mine").mkdir()
        (made.out.parent / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(UserError, match="no report"):
            suite_report.suite_report(results, made.out.parent / "mine")


def test_every_picture_is_drawn_and_has_at_most_seven_colours(tables):
    assert len(COLORS) == 7
    found = suite_drawings.drawings(tables)
    names = {name for name, _ in found.values()}
    for kind in ("differences", "wins", "ranks", "cost", "class-count", "differences-b"):
        assert any(name.startswith(f"{kind}-") for name in names), kind
    for _, draw in list(found.values())[:6]:
        assert draw().axes


class TestRecordedResults:
    def test_they_give_the_same_report_without_run_folders(self, place, results, tables, tmp_path):
        suite, _ = place
        record(suite, results, tmp_path)
        again = suite_tables(read_recorded(suite, tmp_path, None, None))
        for one, before in zip(again.measured, tables.measured, strict=True):
            assert told(one) == told(before)
        pd.testing.assert_frame_equal(again.costs, tables.costs)
        some = read_recorded(suite, tmp_path, ["cfg", "oc"], [0, 1])
        assert set(some.rows["method"]) == {"cfg", "oc"}
        assert set(some.rows["seed"]) == {0, 1}
        with pytest.raises(UserError, match="recorded: ddpm, cfg"):
            read_recorded(suite, tmp_path, ["cfg", "coral"], None)

    def test_another_version_is_refused_with_the_difference(self, place, results, tmp_path):
        suite, _ = place
        record(suite, results, tmp_path)
        with pytest.raises(UserError, match="Versions are not mixed") as error:
            read_recorded(write_suite(tmp_path, version=2, images=64), tmp_path, None, None)
        assert error.value.problems == ("train.budget_images: 48 there, 64 here",)

    def test_a_folder_that_holds_none(self, place, tmp_path):
        with pytest.raises(UserError, match="--record"):
            read_recorded(place[0], tmp_path, None, None)


class TestTheCommand:
    def test_it_tells_records_and_prints_json(self, place, tmp_path, no_pictures):
        suite, runs = place
        own = (suite.path, "--runs", runs, "--out", tmp_path / "out", "--methods", "ddpm,cbdm")
        told_of = json.loads(typed(*own, "--record", tmp_path / "kept", "--json").output)
        assert {run["method"] for run in told_of["runs"]} == {"ddpm", "cbdm", "cfg"}, "the baseline comes with them"
        assert told_of["sentences"][0]["about"] == "FID ↓ (classifier), few classes"
        shown = typed(suite.path, "--results", tmp_path / "kept", "--out", tmp_path / "out").output
        assert "may be the best" in shown
        assert "27 of 27 runs done." in shown

    def test_runs_of_another_version_are_left_out_and_named(self, place, tmp_path, no_pictures):
        _, runs = place
        newer = write_suite(tmp_path, version=2, images=64)
        with pytest.raises(UserError, match="another version was run there") as error:
            typed(newer.path, "--runs", runs, "--out", tmp_path / "out")
        assert any("train.budget_images: 48 there, 64 here" in problem for problem in error.value.problems)
        assert not (tmp_path / "out").exists()
        for cell in cells_of(newer, runs, ["cfg", "oc"], [0]):
            finish(cell, SKILL[cell.method], metrics=("fid", "recall"))
        shown = typed(newer.path, "--runs", runs, "--out", tmp_path / "out", "--methods", "oc", "--seeds", "0")
        assert "Left out, since they are of other settings: digits-lt" in shown.output
        assert "48 there, 64 here" in shown.output
        assert "No verdict by seeds" in shown.output
