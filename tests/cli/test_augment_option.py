"""`--augment NAME`: which recipe it means, and that a report never takes its runs for those without."""

import json

import pytest

from ltgen_bench.api import run
from ltgen_bench.experiments.command_lines import as_command
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.records.results_csv import measured_csv, read_measured, runs_path
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import find_runs, rows
from ltgen_bench.report.entries import blocks
from ltgen_bench.report.notes import verdict_notes


@pytest.fixture(scope="module")
def both(tiny_run, tmp_path_factory):
    """The folder of two runs alike but for the augmentation, and the one with ADA."""
    runs = tmp_path_factory.mktemp("augmented")
    short = {"evaluate.metrics": ["fid"], "evaluate.downstream": False, "evaluate.classifier_steps": 5}
    run(tiny_run(**short), runs=runs, device="cpu")
    return runs, run(tiny_run(**short, **{"train.augment": "ada"}), runs=runs, device="cpu")


def test_the_record_and_the_name_of_the_row_say_it(both):
    _, augmented = both
    assert augmented.record.entry.augment == "ada"
    assert augmented.record.label == "cbdm (augment=ada)"
    assert augmented.record.settings == {}, "it is none of the method's settings"
    assert augmented.record.config["train"]["augment"] == "ada"


def test_they_are_two_rows_of_one_table_and_can_be_kept_apart(both):
    runs, _ = both
    table = rows(find_runs(runs), runs)
    (block,) = blocks(table)
    assert block.entries == ["cbdm", "cbdm (augment=ada)"]
    assert dict(zip(table["label"], table["augment"], strict=True)) == {"cbdm": "flip", "cbdm (augment=ada)": "ada"}
    assert any("also differ in augmentation (ada" in note for note in verdict_notes(block))
    assert [one.equal_in for one in blocks(table, ["augment"])] == [("augmentation ada",), ("augmentation flip",)]


def test_records_and_tables_from_before_mirrored_their_images(both, tmp_path):
    runs, augmented = both
    path = augmented.record.save(tmp_path)
    old = json.loads(path.read_text())
    del old["entry"]["augment"], old["sha256"]
    path.write_text(json.dumps(old))
    assert RunRecord.load(path).entry.augment == "flip"
    table = rows(find_runs(runs), runs)
    file = measured_csv(table, tmp_path / "results.csv")
    assert read_measured(file)["augment"].tolist() == table["augment"].tolist()
    runs = runs_path(file)
    text = runs.read_text().replace(",run,ada,", ",run,").replace(",run,flip,", ",run,")
    runs.write_text(text.replace(",kind,augment,", ",kind,"))
    assert set(read_measured(file)["augment"]) == {"flip"}


def test_an_augmentation_with_a_recipe_of_its_own_takes_it(read_back):
    with_ada = read_back("ltgen-bench run --dataset cifar100-lt --augment ada")
    assert (with_ada.train.augment, with_ada.train.budget_images, with_ada.sample.omega) == ("ada", 500_000 * 48, 1.4)
    assert (with_ada.data.name, with_ada.method.name, with_ada.train.batch_size) == ("cifar100-lt", "cbdm", 48)
    assert "with the method" not in with_ada.source
    by_setting = read_back("ltgen-bench run --dataset cifar100-lt --set train.augment=ada")
    assert by_setting == with_ada
    without = read_back("ltgen-bench run --dataset cifar100-lt --augment flip")
    assert without == read_back("ltgen-bench run --dataset cifar100-lt")
    assert (without.train.budget_images, without.sample.omega) == (300_000 * 48, 1.6)


@pytest.mark.parametrize("augment", ["ada", "none"])
def test_one_without_is_laid_over_the_recipe_of_the_method(augment):
    plain = resolve_recipe(recipe=None, method="cfg", dataset="digits-lt", overrides={})
    found = resolve_recipe(recipe=None, method="cfg", dataset="digits-lt", overrides={"train.augment": augment})
    assert found == plain.model_copy(update={"train": plain.train.model_copy(update={"augment": augment})})


@pytest.mark.parametrize(("dataset", "overrides"), [
    ("digits-lt", {"train.augment": "none"}), ("digits-lt", {"train.augment": "ada"}),
    ("cifar100-lt", {"train.augment": "ada", "sample.omega": 2.0}), ("cifar100-lt", {"train.augment": "none"})])
def test_the_command_that_is_printed_means_the_same(dataset, overrides, read_back):
    config = resolve_recipe(recipe=None, method="cbdm", dataset=dataset, overrides=overrides)
    command = as_command(config)
    assert f"--augment {overrides['train.augment']}" in command
    assert read_back(command).model_dump(exclude={"source", "reported"}) == config.model_dump(exclude={"source", "reported"})
