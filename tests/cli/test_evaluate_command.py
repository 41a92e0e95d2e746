"""`ltgen-bench evaluate`: finished samples under other rules, and the samples of other models."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ltgen_bench.api import run
from ltgen_bench.cli import cli
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import find_run, find_runs, find_samples, protocols, reported_runs, rows
from ltgen_bench.report.entries import blocks
from ltgen_bench.report.tables import section_tables
from ltgen_bench.runtime.context import RunContext

CLASSIFIER = ("--preset", "ccua-paper", "--extractor", "classifier", "--metrics", "fid,precision", "--device", "cpu")
MAKING = ("training.loop.Trainer.step", "sampling.chunks.Sampling.draw", "evaluation.downstream.train_classifier")


@pytest.fixture(scope="module", autouse=True)
def _quick(undisturbed, few_halvings):
    """`undisturbed`, which other files look at too, is made before with all halvings."""


@pytest.fixture
def runs(undisturbed, tmp_path):
    """A folder with one finished run in it, which a test may write into."""
    shutil.copytree(undisturbed.plan.runs, tmp_path / "runs")
    return tmp_path / "runs"


def asked(runs, arguments, width=100):
    """(stdout, stderr) of a command in this process, on these runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setattr(sys, "argv", ["ltgen-bench", *arguments])
        result = CliRunner().invoke(cli, [*arguments, "--runs", str(runs)], standalone_mode=False, catch_exceptions=False)
    return result.stdout, result.stderr


@pytest.fixture
def ask(runs):
    """`ask("evaluate", ...)`: (stdout, stderr) of the command, on the copied runs."""
    return lambda *arguments, width=100: asked(runs, arguments, width)


@pytest.fixture(scope="module")
def by_preset(undisturbed, _quick, tmp_path_factory):
    """(runs, stdout, stderr): the run scored by both settings of a preset, once; do not write into it."""
    runs = shutil.copytree(undisturbed.plan.runs, tmp_path_factory.mktemp("preset") / "runs")
    with pytest.MonkeyPatch.context() as patch:
        for name in MAKING:
            patch.setattr(f"ltgen_bench.{name}", None)
        return runs, *asked(runs, ["evaluate", "cbdm", *CLASSIFIER])


@pytest.fixture
def nothing_is_made(monkeypatch):
    for name in MAKING:
        monkeypatch.setattr(f"ltgen_bench.{name}", None)


@pytest.fixture
def theirs(undisturbed, tmp_path):
    """The run's samples as another program would hand them in: in another order and layout."""
    with np.load(undisturbed.plan.samples.folder / "samples.npz") as stored:
        np.savez(tmp_path / "theirs.npz", images=stored["images"][::-1, ..., 0], labels=stored["labels"][::-1])
    return tmp_path / "theirs.npz"


class TestK:
    def test_each_k_has_its_neighbour_metrics_and_the_first_has_all(self, ask, runs, undisturbed, nothing_is_made):
        ask("evaluate", "cbdm", "--metrics", "fid,recall,coverage", "--k", "3,4,2")
        found = {}
        for one in find_runs(runs):
            if one.record.command.startswith("ltgen-bench evaluate"):
                rows = one.scores.table[one.scores.table["scope"] == "all"]
                ks = {described["k"] for described in one.record.protocols.values() if "k" in described}
                assert len(ks) == 1
                found[ks.pop()] = dict(zip(rows["metric"], rows["value"], strict=True))
        assert {k: set(values) for k, values in found.items()} == {
            3: {"fid", "recall", "coverage"}, 4: {"recall", "coverage"}, 2: {"recall", "coverage"}}
        assert found[2]["recall"] <= found[3]["recall"] <= found[4]["recall"]
        assert found[2]["recall"] < found[4]["recall"]

    @pytest.mark.parametrize(("given", "sentence"), [
        (("--k", "3,x"), "--k 3,x: write different whole"),
        (("--k", "0"), "--k 0: write different whole numbers"), (("--k", "3,3"), "--k 3,3: write different"),
        (("--k", ","), "--k ,: write different"), (("--k", "3", "--set", "evaluate.k=3"), "leave one out"),
        (("--k", "3", "--metrics", "fid"), "none of the metrics asked")])
    def test_a_bad_k_is_one_sentence(self, ask, given, sentence):
        with pytest.raises(UserError, match=sentence):
            ask("evaluate", "cbdm", *given)


class TestPreset:
    @pytest.fixture
    def runs(self, by_preset, tmp_path):
        return shutil.copytree(by_preset[0], tmp_path / "runs")

    def test_every_rule_has_its_folder_its_record_and_its_table(self, by_preset, undisturbed):
        runs, out, told = by_preset
        assert out.splitlines().count("classifier features") == 2
        assert "ccua-paper: 120 images where ccua-paper" in " ".join(out.split())
        assert "digits-lt" in told
        stored = [one for one in find_runs(runs) if one.record.preset]
        assert [one.record.preset for one in stored] == ["ccua-paper"] * 2
        for one in stored:
            assert one.record.departures == ["120 images where ccua-paper asks for 10,000",
                                             "classifier features where ccua-paper asks for inception"]
            assert one.files.folder.name == one.record.score_digest
            assert set(one.scores.table["protocol"]) == set(one.record.protocols)
            assert one.record.entry == undisturbed.record.entry
            assert one.record.command.startswith("ltgen-bench evaluate cbdm --preset ccua-paper")
            assert {stage.name for stage in one.record.stages} == {"train", "sample", "evaluate"}
        assert {described["reference"] for one in stored for described in one.record.protocols.values()} == {"train", "test"}
        assert len(find_runs(runs)) == 3

    def test_a_finished_evaluation_is_shown_and_not_made_again(self, ask, runs, by_preset, monkeypatch):
        monkeypatch.setattr("ltgen_bench.experiments.rescore.evaluate", None)
        again, _ = ask("evaluate", "cbdm", *CLASSIFIER)
        assert again.count("measured on 20") == 2
        first = by_preset[1].replace(str(by_preset[0]), str(runs))
        assert [line for line in again.splitlines() if not line.startswith("measured on")] == first.splitlines()

    def test_the_runs_own_command_shows_its_own_scores_afterwards(self, runs, undisturbed, monkeypatch):
        monkeypatch.setattr("ltgen_bench.experiments.pipeline.evaluate", None)
        again = run(undisturbed.plan.config, runs=runs, device="cpu")
        assert again.record == undisturbed.record
        assert find_run(runs, "cbdm").record.preset == "ccua-paper", "the newest scores stand for the run"

    def test_without_options_the_runs_own_scores_are_shown_also_after_a_preset(self, ask, undisturbed):
        out, _ = ask("evaluate", "cbdm", "--json")
        assert json.loads(out)[0] == undisturbed.record.model_dump(mode="json")

    @pytest.mark.parametrize("width", [60, 80])
    def test_no_line_is_wider_than_the_terminal_but_commands_and_paths(self, ask, width):
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER, width=width)
        wide = [line for line in out.splitlines() if len(line) > width]
        assert all(line.startswith(("measured on", " to draw", " samples", " scores", " next")) for line in wide)
        assert "sampling  sampler dpm-solver++ 3 where" in out
        assert "sampler ddim 100" in out
        assert "ltgen-bench run --preset ccua-paper" in out


class TestRuns:

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

    def test_json_is_a_list_of_records_with_their_departures(self, ask):
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER, "--metrics", "fid", "--json")
        records = json.loads(out)
        assert [record["preset"] for record in records] == ["ccua-paper"] * 2
        assert all(record["departures"][0].startswith("120 images where") for record in records)

    def test_half_of_the_real_images(self, ask):
        out, _ = ask("evaluate", "cbdm", "--half", "report", "--metrics", "fid", "--device", "cpu", "--json")
        (described,) = json.loads(out)[0]["protocols"].values()
        assert described["reference_half"] == "report"

    def test_the_command_that_is_named_draws_from_the_same_training(self, ask, undisturbed, read_back, tmp_path):
        out, _ = ask("evaluate", "cbdm", *CLASSIFIER, "--metrics", "fid")
        command = next(line for line in out.splitlines() if line.startswith(" to draw")).removeprefix(" to draw   ")
        config = read_back(command)
        assert (config.sample.sampler, config.sample.steps, config.sample.omega, config.sample.images_per_class) == (
            "ddim", 100, 1.5, 1000)
        config = config.model_copy(update={"evaluate": undisturbed.plan.config.evaluate})
        assert make_plan(config, undisturbed.plan.dataset, tmp_path, RunContext()).folder.name == undisturbed.plan.folder.name

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
        assert "ltgen-bench run --method mine --method-file FILE --preset ccua-paper" in out
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
        with pytest.raises(UserError, match=r"made with: fingerprint 0{16}"):
            ask("evaluate", "cbdm", "--metrics", "fid")

    def test_an_unfinished_run_has_nothing_to_score(self, ask, runs, undisturbed):
        shutil.rmtree(runs / "digits-lt" / undisturbed.plan.folder.name / "scores")
        with pytest.raises(UserError, match=r"finished \(sampled\)"):
            ask("evaluate", "cbdm")

    def test_samples_that_were_removed_are_missed(self, ask, runs, undisturbed):
        shutil.rmtree(runs / "digits-lt" / undisturbed.plan.folder.name / "samples")
        with pytest.raises(UserError, match="repeat the run's command"):
            ask("evaluate", "cbdm")

    def test_a_run_folder_anywhere_is_found_by_its_path(self, runs, undisturbed, tmp_path):
        elsewhere = tmp_path / "elsewhere" / "digits-lt" / undisturbed.plan.folder.name
        shutil.copytree(runs / "digits-lt" / undisturbed.plan.folder.name, elsewhere)
        assert find_samples(runs, str(elsewhere)).folder.path == elsewhere
        assert find_samples(runs, "cbdm").folder.path.is_relative_to(runs)


class TestFiles:
    def test_other_models_samples_get_the_numbers_of_the_run_and_a_record(self, ask, theirs, runs, undisturbed):
        out, _ = ask("evaluate", str(theirs), "--dataset", "digits-lt", "--metrics", "fid,recall", "--device", "cpu", "--json",
                     "--name", "Some GAN", "--seed", "4")
        (found,) = json.loads(out)
        stored = find_run(runs, "Some-GAN")
        assert stored.record == RunRecord.model_validate_json(json.dumps(found))
        both = stored.scores.table.merge(undisturbed.scores.table, on=["metric", "scope", "class_name", "protocol"])
        assert len(both) == len(stored.scores.table) == 7 + 17
        np.testing.assert_array_equal(both["value_x"], both["value_y"])
        assert (found["kind"], found["label"], found["seed"]) == ("samples", "Some GAN", 4)
        assert (found["entry"]["images_per_class"], found["entry"]["omega"], found["deterministic"]) == (12, None, None)
        assert found["fingerprint"] == undisturbed.record.fingerprint
        assert set(found["config"]) == {"data", "evaluate"}
        assert (stored.folder.path / "samples" / found["sample_digest"] / "samples.png").is_file()

    def test_the_same_images_in_another_form_are_known_again(self, ask, theirs, runs, tmp_path, monkeypatch):
        rules = ("--dataset", "digits-lt", "--metrics", "fid", "--device", "cpu")
        first, _ = ask("evaluate", str(theirs), *rules)
        with np.load(theirs) as stored:
            np.save(tmp_path / "theirs.npy", stored["images"])
            (tmp_path / "labels.txt").write_text("\n".join(map(str, stored["labels"])))
            for place, (image, label) in enumerate(zip(stored["images"], stored["labels"], strict=True)):
                (tmp_path / "theirs" / str(label)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(tmp_path / "theirs" / str(label) / f"{place}.png")
        shutil.make_archive(str(tmp_path / "theirs"), "zip", tmp_path, "theirs")
        monkeypatch.setattr("ltgen_bench.experiments.rescore.evaluate", None)
        for form in (["theirs.npz"], ["theirs.npy", "--labels", str(tmp_path / "labels.txt")], ["theirs"], ["theirs.zip"]):
            again, _ = ask("evaluate", str(tmp_path / form[0]), *form[1:], *rules)
            assert again.startswith("measured on 20")
            assert again.splitlines()[1:] == first.splitlines()
        with pytest.raises(UserError, match="--seed 1: these very images"):
            ask("evaluate", str(theirs), "--seed", "1", *rules)
        assert len(find_runs(runs)) == 2

    def test_images_that_are_not_kept_cannot_be_scored_by_name(self, ask, theirs):
        ask("evaluate", str(theirs), "--dataset", "digits-lt", "--metrics", "is", "--device", "cpu")
        with pytest.raises(UserError, match="give the images themselves again"):
            ask("evaluate", "theirs")

    def test_a_collapsed_and_a_copying_generator_are_exposed_below_a_run_and_never_ranked(self, ask, runs):
        rules = ("--dataset", "digits-lt", "--images-per-class", "12", "--metrics", "fid,recall,coverage,memorised", "--device",
                 "cpu")
        collapsed, _ = ask("evaluate", "one-per-class", *rules)
        assert "class, repeated: a collapsed generator." in " ".join(
            collapsed.split())
        assert "One seed" not in collapsed
        for name in ("copy-train", "real-train", "jitter-train", "class-gaussian"):
            ask("evaluate", name, *rules)
        found, _ = reported_runs(runs)
        (block,) = blocks(rows(found, runs), (), protocols(found))
        (table,) = (table for table in section_tables(block, []) if table.name == "comparison")
        kinds = {row.cells[0].text: row.kind for row in table.rows}
        below = ["baseline", "baseline-n", "score-at-n", "baseline", "baseline"]
        assert list(kinds.values()) == ["entry", *["reference"] * 5, *below]
        assert not any(cell.best for row in table.rows for cell in row.cells)
        columns = {head.key.partition(":")[0]: place for place, head in enumerate(table.heads)}
        values = {row.cells[0].text: {name: row.cells[place].value for name, place in columns.items()} for row in table.rows}
        assert values["one-per-class"]["recall"] < 0.1 < 0.5 < values["real-train"]["recall"]
        assert values["copy-train"]["memorised"] == values["one-per-class"]["memorised"] == 1
        assert values["copy-train"]["fid"] < values["one-per-class"]["fid"]
        ranked, _ = ask("report", "--rank", "fid:classifier")
        lines = ranked.splitlines()
        assert next(line for line in lines if "copy-train" in line).startswith("  ")
        assert next(line.split()[1] for line in lines if line.startswith("–")) == "cbdm"  # noqa: RUF001

    def test_real_train_in_full_has_the_fid_zero(self, ask, runs):
        ask("evaluate", "real-train", "--dataset", "digits-lt", "--images-per-class", "1000", "--metrics", "fid", "--device",
            "cpu")
        stored = find_run(runs, "real-train")
        every = stored.scores.table.set_index("scope").loc["all"]
        assert every["value"] == pytest.approx(0, abs=1e-6)
        assert stored.record.kind == "reference"
        assert stored.record.entry.images_per_class is None

    def test_fewer_real_images_than_asked_for_are_said(self, ask):
        _, told = ask("evaluate", "real-test", "--dataset", "digits-lt", "--metrics", "is", "--device", "cpu")
        assert "real-test has 450 images" in " ".join(told.split())

    def test_a_table_is_printed_and_written_with_its_departures(self, ask, theirs, tmp_path):
        rules = ("--preset", "cbdm-paper", "--extractor", "classifier", "--label-policy", "uniform", "--metrics", "fid")
        out, told = ask("evaluate", str(theirs), "--dataset", "digits-lt", *rules, "--device", "cpu", "--out",
                        str(tmp_path / "out"))
        words = " ".join(out.split())
        assert "cbdm-paper: 120 images where cbdm-paper" in words
        assert "labels" not in words.partition("Not cbdm-paper:")[2].partition(".")[0], "they are as the paper's"
        assert "how these images were drawn" in words
        assert "to draw ltgen-bench run --preset cbdm-paper --sampler ddpm --steps 1000 --images-per-class 5000" in words
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
    (["cbdm", "--preset", "cbdm"], "'cbdm'. Did you mean 'cbdm-paper'?"),
    (["cbdm", "--protocol", "oc-paper"], "--preset oc-paper"),
    (["cbdm", "--metrics", "fidd"], "'fidd'. Did you mean 'fid'?"),
    (["cbdm", "--extractor", "inceptoin"], "'inceptoin'. Did you mean 'inception'?"),
    (["cbdm", "--set", "sample.omega=1"], "--set sample.omega:"),
    (["cbdm", "--set", "evaluate.k=0"], "evaluate.k: 0"),
    (["cbdm", "--dataset", "digits-lt"], "--dataset: cbdm is a run"),
    (["cbdm", "--split-seed", "1"], "--split-seed: cbdm is a run"),
    (["cbdm", "--label-policy", "uniform"], "--label-policy: cbdm is a run"),
    (["cbdm", "--name", "x"], "--name: cbdm is a run"),
    (["cbdm", "--images-per-class", "3"], "--images-per-class: cbdm is a run"),
    (["copy-train"], "copy-train: name the data set"),
    (["copy-train", "--dataset", "digits-lt", "--name", "x"], "--name: copy-train is a reference row"),
    (["copy-trian", "--dataset", "digits-lt"], "row. Did you mean 'copy-train'?"),
    (["none.npz", "--dataset", "digits-lt", "--images-per-class", "3"], "--images-per-class: all images of none.npz"),
    (["cbdm", "--samples", "zzz"], "--samples zzz: of the samples"),
    (["cbdn"], "there is no run 'cbdn'"),
    (["cbdm", "--extractor-weights", "inception=none.pth"], "there is no file none.pth"),
    (["cbdm", "--half", "report", "--set", "evaluate.reference=longtail"], "long-tailed training set"),
    (["none.npz"], "none.npz: name the data set"),
    (["none.npz", "--dataset", "digits-lt"], "none.npz: there is no such"),
    (["none.npz", "--dataset", "digts-lt"], "'digts-lt'. Did you mean 'digits-lt'?"),
    (["none.npz", "--dataset", "digits-lt", "--samples", "abc"], "--samples: none.npz is one set"),
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
    ["evaluate", "cbdm", "--preset", "cbdm"], ["run", "--preset", "cbdm"], ["search", "--over", "seed=1", "--metric", "fidd"],
    ["search", "--over", "sample.omega=0,1", "--preset", "cbdm"]])
def test_unknown_names_are_refused_before_torch_is_imported(arguments):
    code = (f"import sys; sys.argv = ['ltgen-bench', *{arguments!r}]\nfrom ltgen_bench.cli import main\n"
            "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["2", "False"]
    assert "Did you mean" in shown.stderr
