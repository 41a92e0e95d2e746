"""`ltgen-bench evaluate`: finished samples under other rules, and the samples of other models."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.drawn import find_drawn
from ltgen_bench.errors import UserError
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.pipeline import make_plan, run
from ltgen_bench.records.schema import RunRecord
from ltgen_bench.records.store import find_run, find_runs

CLASSIFIER = ("--protocol", "ccua-paper", "--extractor", "classifier", "--metrics", "fid,precision", "--device", "cpu")


@pytest.fixture
def runs(undisturbed, tmp_path):
    """A folder with one finished run in it, which a test may write into."""
    shutil.copytree(undisturbed.plan.runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def ask(runs, monkeypatch):
    """`ask("evaluate", ...)`: (stdout, stderr) of the command in this process, on the copied runs."""

    def call(*arguments, width=100):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "argv", ["ltgen-bench", *arguments])
        result = CliRunner().invoke(cli, [*arguments, "--runs", str(runs)], standalone_mode=False, catch_exceptions=False)
        return result.stdout, result.stderr

    return call


@pytest.fixture
def nothing_is_made(monkeypatch):
    for name in ("training.loop.Trainer.step", "diffusion.sampling.Sampling.draw", "evaluation.downstream.train_classifier"):
        monkeypatch.setattr(f"ltgen_bench.{name}", None)


@pytest.fixture
def theirs(undisturbed, tmp_path):
    """The run's samples as another program would hand them in: in another order and layout."""
    with np.load(undisturbed.plan.sample_folder / "samples.npz") as stored:
        np.savez(tmp_path / "theirs.npz", images=stored["images"][::-1, ..., 0], labels=stored["labels"][::-1])
    return tmp_path / "theirs.npz"


class TestRuns:
    def test_every_rule_has_its_folder_its_record_and_its_table(self, ask, runs, undisturbed, nothing_is_made):
        out, told = ask("evaluate", "cbdm", *CLASSIFIER)
        assert out.splitlines().count("classifier features") == 2
        assert "Not ccua-paper: 120 images where ccua-paper asks for 10,000" in " ".join(out.split())
        assert "digits-lt" in told
        stored = [one for one in find_runs(runs) if one.record.preset]
        assert [one.record.preset for one in stored] == ["ccua-paper"] * 2
        for one in stored:
            assert one.record.departures == ["120 images where ccua-paper asks for 10,000",
                                             "classifier features where ccua-paper asks for inception"]
            assert one.score_folder.name == one.record.score_digest
            assert set(one.scores.table["protocol"]) == set(one.record.protocols)
            assert one.record.entry == undisturbed.record.entry
            assert one.record.command.startswith("ltgen-bench evaluate cbdm --protocol ccua-paper")
            assert {stage.name for stage in one.record.stages} == {"train", "sample", "evaluate"}
        assert {described["reference"] for one in stored for described in one.record.protocols.values()} == {"train", "test"}
        assert len(find_runs(runs)) == 3

    def test_a_finished_evaluation_is_shown_and_not_made_again(self, ask, monkeypatch):
        first, _ = ask("evaluate", "cbdm", *CLASSIFIER)
        monkeypatch.setattr("ltgen_bench.rescore.evaluate", None)
        again, _ = ask("evaluate", "cbdm", *CLASSIFIER)
        assert again.count("measured on 20") == 2
        assert [line for line in again.splitlines() if not line.startswith("measured on")] == first.splitlines()

    def test_the_runs_own_command_shows_its_own_scores_afterwards(self, ask, runs, undisturbed, monkeypatch):
        ask("evaluate", "cbdm", *CLASSIFIER)
        monkeypatch.setattr("ltgen_bench.pipeline.evaluate", None)
        again = run(undisturbed.plan.config, runs=runs, device="cpu")
        assert again.record == undisturbed.record
        assert find_run(runs, "cbdm").record.preset == "ccua-paper", "the newest scores stand for the run"

    def test_the_same_rules_give_the_same_numbers(self, ask, runs, undisturbed, nothing_is_made):
        out, _ = ask("evaluate", "cbdm", "--metrics", "fid,downstream_accuracy", "--device", "cpu", "--json")
        (record,) = json.loads(out)
        folder = undisturbed.plan.folder.name
        scores = find_run(runs, folder).scores
        both = scores.table.merge(undisturbed.scores.table, on=["metric", "train_data", "scope", "label", "protocol"])
        assert len(both) == len(scores.table) == 7 + 3 * 7
        np.testing.assert_array_equal(both["value_x"], both["value_y"])
        assert record["preset"] == ""
        assert record["sample_digest"] == undisturbed.record.sample_digest

    def test_without_options_the_runs_own_scores_are_shown_also_after_a_preset(self, ask, undisturbed):
        ask("evaluate", "cbdm", *CLASSIFIER)
        out, _ = ask("evaluate", "cbdm", "--json")
        assert json.loads(out)[0] == undisturbed.record.model_dump(mode="json")

    def test_json_is_a_list_of_records_with_their_departures(self, ask):
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER, "--metrics", "fid", "--json")
        records = json.loads(out)
        assert [record["preset"] for record in records] == ["ccua-paper"] * 2
        assert all(record["departures"][0].startswith("120 images where") for record in records)

    def test_half_of_the_real_images(self, ask):
        out, _ = ask("evaluate", "cbdm", "--half", "report", "--metrics", "fid", "--device", "cpu", "--json")
        (described,) = json.loads(out)[0]["protocols"].values()
        assert described["reference_half"] == "report"

    @pytest.mark.parametrize("width", [60, 80])
    def test_no_line_is_wider_than_the_terminal_but_commands_and_paths(self, ask, width):
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER, width=width)
        wide = [line for line in out.splitlines() if len(line) > width]
        assert all(line.startswith((" to draw", " samples", " scores", " next")) for line in wide)
        assert "sampling  sampler dpm-solver++ 3 where" in out
        assert "expects   labels not stated; sampler ddim 100;" in out
        assert " to draw   ltgen-bench run --protocol ccua-paper " in out

    def test_the_command_that_is_named_draws_from_the_same_training(self, ask, undisturbed, read_back, tmp_path):
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER, "--metrics", "fid")
        command = next(line for line in out.splitlines() if line.startswith(" to draw")).removeprefix(" to draw   ")
        config = read_back(command)
        assert (config.sample.sampler, config.sample.steps, config.sample.omega, config.sample.images_per_class) == (
            "ddim", 100, 1.5, 1000)
        config = config.model_copy(update={"evaluate": undisturbed.plan.config.evaluate})
        assert make_plan(config, undisturbed.plan.dataset, tmp_path).folder.name == undisturbed.plan.folder.name

    def test_a_table_can_be_written_elsewhere_too(self, ask, tmp_path):
        ask("evaluate", "cbdm", *CLASSIFIER, "--metrics", "fid", "--out", str(tmp_path / "out"))
        scores = Scores.load(tmp_path / "out" / "scores.csv")
        assert {described["reference"] for described in scores.protocols.values()} == {"train", "test"}

    def test_a_run_of_a_method_of_ones_own_needs_no_method_file(self, ask, runs, undisturbed):
        folder = runs / "digits-lt" / undisturbed.plan.folder.name / "scores" / undisturbed.record.score_digest
        record = RunRecord.load(folder)
        config = {**record.config, "method": {"name": "mine", "weight": 2.0}}
        record.model_copy(update={"config": config, "method": "mine"}).save(folder)
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER)
        assert "ltgen-bench run --method mine --method-file FILE --protocol ccua-paper" in out
        assert "--set method.weight=2.0" in out

    def test_a_method_without_a_null_label_is_not_told_to_be_guided(self, ask, runs, undisturbed):
        folder = runs / "digits-lt" / undisturbed.plan.folder.name / "scores" / undisturbed.record.score_digest
        record = RunRecord.load(folder)
        sample = {**record.config["sample"], "omega": 0.0}
        record.model_copy(update={"config": {**record.config, "method": {"name": "ddpm"}, "sample": sample}}).save(folder)
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER)
        (command,) = (line for line in out.splitlines() if line.startswith(" to draw"))
        assert "--method ddpm" in command
        assert "--omega" not in command

    def test_images_that_are_not_the_runs_are_refused(self, ask, runs, undisturbed):
        folder = runs / "digits-lt" / undisturbed.plan.folder.name / "scores" / undisturbed.record.score_digest
        record = RunRecord.load(folder).model_copy(update={"fingerprint": "0" * 16})
        record.save(folder)
        with pytest.raises(UserError, match=r"are not those that cbdm.* was made with: fingerprint 0{16} there"):
            ask("evaluate", "cbdm", "--metrics", "fid")

    def test_an_unfinished_run_has_nothing_to_score(self, ask, runs, undisturbed):
        shutil.rmtree(runs / "digits-lt" / undisturbed.plan.folder.name / "scores")
        with pytest.raises(UserError, match=r"is not finished \(sampled\), so there are no samples to score"):
            ask("evaluate", "cbdm")

    def test_samples_that_were_removed_are_missed(self, ask, runs, undisturbed):
        shutil.rmtree(runs / "digits-lt" / undisturbed.plan.folder.name / "samples")
        with pytest.raises(UserError, match=r"has no samples\.npz any more; repeat the run's command"):
            ask("evaluate", "cbdm")

    def test_a_run_folder_anywhere_is_found_by_its_path(self, runs, undisturbed, tmp_path):
        elsewhere = tmp_path / "elsewhere" / "digits-lt" / undisturbed.plan.folder.name
        shutil.copytree(runs / "digits-lt" / undisturbed.plan.folder.name, elsewhere)
        assert find_drawn(runs, str(elsewhere)).folder == elsewhere
        assert find_drawn(runs, "cbdm").folder.is_relative_to(runs)


class TestFiles:
    def test_other_models_samples_get_the_numbers_of_the_run(self, ask, theirs, undisturbed):
        out, _ = ask("evaluate", str(theirs), "--dataset", "digits-lt", "--metrics", "fid,recall", "--device", "cpu", "--json")
        (found,) = json.loads(out)
        rows = pd.DataFrame(found["scores"])
        both = rows.merge(undisturbed.scores.table, on=["metric", "scope", "class_name", "protocol"])
        assert len(both) == len(rows) == 7 + 17
        np.testing.assert_array_equal(both["value_x"].astype(float), both["value_y"])
        assert found["fingerprint"] == undisturbed.record.fingerprint

    def test_a_table_is_printed_and_written_with_its_departures(self, ask, theirs, tmp_path):
        rules = ("--protocol", "cbdm-paper", "--extractor", "classifier", "--labels", "uniform", "--metrics", "fid")
        out, told = ask("evaluate", str(theirs), "--dataset", "digits-lt", *rules, "--device", "cpu", "--out",
                        str(tmp_path / "out"))
        words = " ".join(out.split())
        assert "Not cbdm-paper: 120 images where cbdm-paper asks for 50,000; classifier features" in words
        assert "labels" not in words.partition("Not cbdm-paper:")[2].partition(".")[0], "they are as the paper's"
        assert "how these images were drawn is not known here" in words
        assert "to draw ltgen-bench run --protocol cbdm-paper --sampler ddpm --steps 1000 --images-per-class 5000" in words
        assert "theirs.npz (120 images) against digits-lt" in told
        scores = Scores.load(tmp_path / "out" / "scores.csv")
        assert scores.preset == "cbdm-paper"
        assert {described["labels"] for described in scores.protocols.values()} == {"i.i.d. uniform"}

    def test_the_data_options_say_which_tail(self, ask, theirs):
        out, told = ask("evaluate", str(theirs), "--dataset", "digits-lt", "--imbalance-factor", "10", "--metrics", "is",
                        "--device", "cpu")
        assert "imbalance 10" in told
        assert "IS" in out


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["cbdm", "--protocol", "cbdm"], "unknown preset 'cbdm'. Did you mean 'cbdm-paper'?"),
    (["cbdm", "--metrics", "fidd"], "unknown metric 'fidd'. Did you mean 'fid'?"),
    (["cbdm", "--extractor", "inceptoin"], "unknown extractor 'inceptoin'. Did you mean 'inception'?"),
    (["cbdm", "--set", "sample.omega=1"], "--set sample.omega: only evaluate.* can be set here"),
    (["cbdm", "--set", "evaluate.k=0"], "evaluate.k: 0 is not a number above 0."),
    (["cbdm", "--dataset", "digits-lt"], "--dataset: cbdm is a run, which brings its own data and labels; leave it out."),
    (["cbdm", "--split-seed", "1"], "--split-seed: cbdm is a run"),
    (["cbdm", "--labels", "uniform"], "--labels: cbdm is a run"),
    (["cbdm", "--samples", "zzz"], "--samples zzz: of the samples of cbdm-"),
    (["cbdn"], "there is no run 'cbdn'"),
    (["cbdm", "--extractor-weights", "inception=none.pth"], "there is no file none.pth"),
    (["cbdm", "--half", "report", "--set", "evaluate.reference=longtail"], "the long-tailed training set, which has no halves"),
    (["none.npz"], "none.npz: name the data set that it is judged against"),
    (["none.npz", "--dataset", "digits-lt"], "npz:none.npz: there is no such file."),
    (["none.npz", "--dataset", "digts-lt"], "unknown data set 'digts-lt'. Did you mean 'digits-lt'?"),
    (["none.npz", "--dataset", "digits-lt", "--samples", "abc"], "--samples: of an npz there is only one set"),
])
def test_a_mistake_is_refused_in_words_and_nothing_is_written(ask, runs, arguments, sentence):
    before = sorted(path for path in runs.rglob("*") if path.name != ".lock")
    with pytest.raises(UserError) as refused:
        ask("evaluate", *arguments)
    assert sentence in str(refused.value)
    assert sorted(path for path in runs.rglob("*") if path.name != ".lock") == before


def test_samples_of_another_shape_are_refused(ask, tmp_path):
    np.savez(tmp_path / "large.npz", images=np.zeros((20, 32, 32, 3), np.uint8), labels=np.arange(20) % 10)
    with pytest.raises(UserError, match=r"images of 3 x 32 x 32 .* of digits-lt are 1 x 8 x 8"):
        ask("evaluate", str(tmp_path / "large.npz"), "--dataset", "digits-lt", "--device", "cpu")


@pytest.mark.parametrize("arguments", [
    ["evaluate", "cbdm", "--protocol", "cbdm"], ["run", "--protocol", "cbdm"], ["search", "--over", "seed=1", "--metric", "fidd"],
    ["search", "--over", "sample.omega=0,1", "--protocol", "cbdm"]])
def test_unknown_names_are_refused_before_torch_is_imported(arguments):
    code = (f"import sys; sys.argv = ['ltgen-bench', *{arguments!r}]\nfrom ltgen_bench.cli import main\n"
            "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["2", "False"]
    assert "Did you mean" in shown.stderr
