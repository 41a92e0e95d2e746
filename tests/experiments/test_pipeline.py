"""The whole line on tiny digits: what is left behind, what is used again, what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ltgen_bench.api import run
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.metrics import default_metrics
from ltgen_bench.experiments.pipeline import carry_out
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.experiments.record_assembly import training_flops
from ltgen_bench.runtime.context import RunContext

SHORT = {"evaluate.metrics": ["fid"], "evaluate.downstream": False}  # an evaluation of a moment


def claim(plan, say=lambda message: None):
    plan.folder.claim(plan.trained_part(), say)


def test_a_run_leaves_everything_in_its_folder(undisturbed):
    folder = undisturbed.plan.folder.path
    assert folder.name == f"cbdm-{undisturbed.record.train_digest}-s0"
    assert folder.parent.name == "digits-lt"
    for place in (folder, undisturbed.plan.scores.folder):
        assert (place / "record.json").is_file()
        assert (place / "scores.csv").is_file()
    with np.load(undisturbed.plan.samples.folder / "samples.npz") as samples:
        assert samples["images"].shape == (120, 8, 8, 1)
        assert samples["images"].dtype == np.uint8
        assert np.bincount(samples["labels"]).tolist() == [12] * 10
        assert len(np.unique(samples["seeds"])) == 120
    for picture in (undisturbed.plan.samples.folder / "samples.png", folder / "train" / "loss.png"):
        with Image.open(picture) as image:
            image.verify()
    assert not list(folder.rglob("*.part")), "no unfinished file stays behind"
    assert not list(folder.rglob("chunks"))


def test_the_record_says_what_was_run_and_what_it_cost(undisturbed):
    record = undisturbed.record
    assert record.entry.budget_images == 200
    assert record.entry.omega == 0.5
    assert record.class_counts == [131, 93, 67, 48, 34, 24, 17, 12, 9, 6]
    assert {stage.name for stage in record.stages} == {"train", "sample", "evaluate"}
    assert all(stage.seconds > 0 and stage.peak_memory_mb > 10 for stage in record.stages)
    assert {"torch", "diffusers", "torch-fidelity", "ltgen-bench"} <= record.versions.keys()
    assert record.hardware["threads"] >= 1
    assert record.deterministic
    assert len(record.extractor_weights["classifier"]) == 64
    assert record.config["train"]["batch_size"] == 16


def test_every_score_names_a_protocol_of_the_record(undisturbed):
    table = undisturbed.scores.table
    assert set(table["protocol"]) == set(undisturbed.record.protocols)
    assert set(table["metric"]) == set(undisturbed.record.metrics) == set(default_metrics())
    recalls = table[(table.metric == "recall") & (table.scope == "class")]
    assert recalls["label"].tolist() == list(range(10))
    assert (recalls["n_real"] == recalls["n_generated"]).all(), "recall of a class is measured at equal counts"


def test_a_finished_run_is_read_and_not_made_again(undisturbed, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a finished run was made again")

    for name in ("train", "sample", "evaluate"):
        monkeypatch.setattr(f"ltgen_bench.experiments.pipeline.{name}", refuse)
    again = run(undisturbed.plan.config, runs=undisturbed.plan.runs, device="cpu")
    assert again.record == undisturbed.record
    assert again.scores.table.equals(undisturbed.scores.table)


def test_another_omega_samples_anew_from_the_same_training(undisturbed, tiny_run, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(undisturbed.plan.runs, tmp_path / "runs")
    steps = []
    monkeypatch.setattr("ltgen_bench.training.loop.Trainer.step", lambda self: steps.append(1))
    other = run(tiny_run(**{"sample.omega": 2.0}, **SHORT), runs=tmp_path / "runs", device="cpu")
    assert not steps, "training was not repeated"
    assert other.plan.train_digest == undisturbed.plan.train_digest
    assert other.plan.samples.folder.name != undisturbed.plan.samples.folder.name
    assert (tmp_path / "runs" / "digits-lt" / undisturbed.plan.folder.name / "scores" / undisturbed.record.score_digest
            / "record.json").is_file(), "the earlier scores stay"


def test_other_metrics_use_the_same_samples(undisturbed, tiny_run, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(undisturbed.plan.runs, tmp_path / "runs")
    monkeypatch.setattr("ltgen_bench.sampling.draw.Sampling.draw", None)
    monkeypatch.setattr("ltgen_bench.evaluation.downstream.train_classifier", None)  # its predictions stay with the samples
    other = run(tiny_run(**{"evaluate.metrics": ["fid", "downstream_accuracy"]}), runs=tmp_path / "runs", device="cpu")
    assert set(other.scores.table["metric"]) == {"fid", "downstream_accuracy"}
    merged = other.scores.table.merge(undisturbed.scores.table, on=["metric", "extractor", "train_data", "scope", "protocol"])
    assert (merged["value_x"] == merged["value_y"]).all()
    assert len(merged[merged.metric == "fid"]) == 7


def test_guidance_without_a_null_label_is_refused(tiny_run, tiny_dataset, tmp_path):
    with pytest.raises(UserError, match=r"omega: 0.5 needs a null"):
        make_plan(tiny_run(**{"method.name": "ddpm"}), tiny_dataset, tmp_path, RunContext())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("override", "sentence"), [
    ({"method.name": "cdbm"}, "'cdbm'. Did you mean 'cbdm'"),
    ({"sample.sampler": "ddimm"}, "'ddimm'. Did you mean 'ddim'"),
    ({"evaluate.metrics": ["fidd"]}, "'fidd'. Did you mean 'fid'"),
    ({"evaluate.extractors": ["inceptoin"]}, "'inceptoin'. Did you mean 'inception'"),
    ({"data.name": "digts-lt"}, "'digts-lt'. Did you mean 'digits-lt'"),
    ({"sample.sampler": "ddim", "sample.steps": 30}, "divide 1000; 30 does not"),
    ({"method.tua": 1.0}, "setting. Did you mean 'tau'"),
    ({"network.channels": [8, 16, 16, 16, 16]}, "images are 8 x 8"),
])
def test_what_cannot_run_is_refused_before_anything_is_written(tiny_run, tmp_path, override, sentence):
    with pytest.raises(UserError) as refused:
        run(tiny_run(**override), runs=tmp_path / "runs", device="cpu")
    assert sentence in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_settings_at_their_defaults_are_the_same_run(tiny_run, tiny_dataset, tmp_path):
    spelled = make_plan(tiny_run(**{"method.tau": 1, "method.label_drop": 0.1}), tiny_dataset, tmp_path, RunContext())
    plain = make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext())
    assert spelled.folder == plain.folder
    assert make_plan(tiny_run(**{"method.tau": 2.0}), tiny_dataset, tmp_path, RunContext()).folder != plain.folder


def test_a_folder_of_another_configuration_is_refused_with_the_differences(tiny_run, tiny_dataset, tmp_path):
    mine = make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext())
    claim(mine)
    claim(mine)  # its own again
    theirs = mine.folder.path / "config.toml"
    theirs.write_text(theirs.read_text().replace("batch_size = 16", "batch_size = 64"))
    before = theirs.read_text()
    with pytest.raises(UserError) as refused:
        claim(mine)
    assert "belongs to another configuration" in str(refused.value)
    assert refused.value.problems == ("train.batch_size: 64 there, 16 now",)
    assert theirs.read_text() == before


def test_one_image_for_a_metric_that_needs_more_is_told_at_the_number(undisturbed, tiny_run, tmp_path):
    import shutil

    from ltgen_bench.report.run_table import score_table

    shutil.copytree(undisturbed.plan.runs, tmp_path / "runs")
    one = run(tiny_run(**{"evaluate.images": 1, "evaluate.metrics": ["fid"], "evaluate.downstream": False}),
              runs=tmp_path / "runs", device="cpu")
    assert one.scores.table["value"].isna().all()
    assert "needs n >= 2 images" in score_table(one.record, one.scores, 100, False, folder=one.plan.folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe[train", b"x = [1", b"x = " + b"[" * 3000, b"x = " + b"9" * 5000])
def test_a_broken_config_file_of_a_run_is_made_again(tiny_run, tiny_dataset, tmp_path, told, content):
    mine = make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext())
    claim(mine)
    file = mine.folder.path / "config.toml"
    before = file.read_bytes()
    file.write_bytes(content)
    claim(mine, told.say)
    claim(mine, told.say)
    assert file.read_bytes() == before
    assert "config.toml is damaged" in told.messages[0]
    assert len(told.messages) == 1


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"per_image": "x"}', b'{"per_image": 5.0, "sha256": "00"}'])
def test_a_broken_count_of_operations_is_made_again(tiny_run, tiny_dataset, tmp_path, content):
    plan = make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext())
    counted = training_flops(plan, RunContext())
    file = plan.folder.path / "train" / "flops.json"
    file.write_bytes(content)
    for _ in range(2):
        assert training_flops(plan, RunContext()) == counted


def test_unbalanced_training_images_are_judged_against_the_test_set(make_images, tiny_run, tmp_path):
    from ltgen_bench.data.dataset import LongTailDataset

    tail = make_images((40, 20, 5))
    natural = LongTailDataset("own", tail, tail, make_images((9, 9, 9), seed=3), ("a", "b", "c"), False)
    assert make_plan(tiny_run(), natural, tmp_path, RunContext()).config.evaluate.reference == "test"


def test_two_commands_do_not_write_into_one_run(tiny_run, tiny_dataset, tmp_path):
    plan = make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext())
    with plan.folder.lock(), pytest.raises(UserError, match="being written by another command"):
        carry_out(plan, RunContext(__import__("torch").device("cpu")))


def test_a_second_machine_with_other_threads_is_said_and_recorded(tiny_run, tmp_path, told, two_threads, monkeypatch):

    from ltgen_bench.core.errors import Interrupted
    from ltgen_bench.training import loop, session

    step = loop.Trainer.step

    def stop_after_four(self):
        if self.images_seen >= 64:
            raise Interrupted("here")
        return step(self)

    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop.Session, "due", lambda session: True)
    monkeypatch.setattr(loop.Trainer, "step", stop_after_four)
    with pytest.raises(Interrupted):
        run(tiny_run(**SHORT), runs=tmp_path, device="cpu")
    monkeypatch.setattr(loop.Trainer, "step", step)
    torch.set_num_threads(1)
    finished = run(tiny_run(**SHORT), runs=tmp_path, device="cpu", progress=told)
    assert any("continuing at 64 of 200 images" in message for message in told.messages)
    assert any("threads 1 instead of 2" in message for message in told.messages)
    assert not finished.record.deterministic


def test_the_config_file_reads_back_as_written(undisturbed):
    import tomllib

    stored = tomllib.loads((undisturbed.plan.folder.path / "config.toml").read_text())
    assert stored["fingerprint"] == undisturbed.record.fingerprint
    assert stored["train"]["budget_images"] == 200
    record = json.loads((undisturbed.plan.folder.path / "record.json").read_text())
    told = {name: value for name, value in record["config"]["train"].items() if value is not None}  # TOML has no null
    assert told == stored["train"]


def test_an_edited_method_file_is_another_training(tmp_path, tiny_run, tiny_dataset):
    from ltgen_bench.methods import METHODS, add_method_file

    code = ("from ltgen_bench.methods.ddpm import DDPM\n\n\nclass Mine(DDPM):\n    \"\"\"Mine.\"\"\"\n\n"
            "    name = 'mine'\n    weight = {weight}\n")
    folders = []
    for weight in (1, 2):
        (tmp_path / "mine.py").write_text(code.format(weight=weight))
        add_method_file(tmp_path / "mine.py")
        try:
            plan = make_plan(tiny_run(**{"method.name": "mine", "sample.omega": 0.0}), tiny_dataset, tmp_path, RunContext())
            folders.append(plan.folder)
        finally:
            METHODS.remove("mine")
    assert folders[0] != folders[1]
    assert folders[0].path.parent == folders[1].path.parent


def test_the_datas_default_factor_said_aloud_is_the_same_run(undisturbed, tiny_run, tmp_path):
    import shutil

    shutil.copytree(undisturbed.plan.runs, tmp_path / "runs")
    said = run(tiny_run(**{"data.imbalance_factor": 20.0, "evaluate.metrics": ["fid"]}), runs=tmp_path / "runs", device="cpu")
    assert said.plan.train_digest == undisturbed.plan.train_digest


def test_a_setting_added_since_with_a_default_orphans_no_folder(tiny_run, tiny_dataset, tmp_path):
    plan = make_plan(tiny_run(), tiny_dataset, tmp_path, RunContext())
    claim(plan)
    stored = plan.folder.path / "config.toml"
    text = stored.read_text()
    assert "gamma = 0.25" in text, "every setting of the method is written, also at its default"
    stored.write_text(text.replace("gamma = 0.25\n", ""))
    claim(plan)


def test_a_picture_that_cannot_be_drawn_takes_no_run_down_also_when_it_is_repeated(tiny_run, tmp_path, told, monkeypatch):
    def broken(*_):
        raise ValueError("ParseFatalException")

    monkeypatch.setattr("ltgen_bench.report.sheets.sample_sheet", broken)
    monkeypatch.setattr("ltgen_bench.experiments.pipeline.loss_curve", broken)
    config = tiny_run(**{"evaluate.downstream": False, "evaluate.metrics": ["fid"]})
    made = run(config, runs=tmp_path, device="cpu", progress=told)
    assert sum("could not be drawn" in message for message in told.messages) == 2
    assert run(config, runs=tmp_path, device="cpu").record == made.record
