"""`--process NAME`: what a run under another noise process leaves behind, and that a report never takes it for one of DDPM."""

import json

import pytest
from click.testing import CliRunner

from ltgen_bench.api import run
from ltgen_bench.cli import cli
from ltgen_bench.cli.grid_command import configs_of
from ltgen_bench.config.recipe_files import read_toml
from ltgen_bench.config.schema import RunConfig
from ltgen_bench.experiments.command_lines import as_command
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.methods import METHODS
from ltgen_bench.records.results_csv import measured_csv, read_measured, runs_path
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import find_runs, rows
from ltgen_bench.report.entries import blocks
from ltgen_bench.report.notes import verdict_notes

FLOW = {"process.name": "flow", "sample.sampler": "heun", "sample.steps": 3}


@pytest.fixture(scope="module")
def both(tiny_run, tmp_path_factory):
    """The folder of two runs alike but for the process, and the one under flow."""
    runs = tmp_path_factory.mktemp("processes")
    short = {"evaluate.metrics": ["fid"], "evaluate.downstream": False, "evaluate.classifier_steps": 5,
             "sample.images_per_class": 5}
    run(tiny_run(**short), runs=runs, device="cpu")
    return runs, run(tiny_run(**short, **FLOW), runs=runs, device="cpu")


def test_record_row_and_run_folder_say_it(both):
    _, flow = both
    assert (flow.record.entry.process, flow.record.label) == ("flow", "cbdm (process=flow)")
    assert flow.record.settings == {}, "it is none of the method's settings"
    assert flow.record.config["process"] == {"name": "flow"}
    assert read_toml(flow.plan.folder.config)["process"] == {"name": "flow"}


def test_they_are_two_rows_of_one_table_and_can_be_kept_apart(both):
    runs, _ = both
    table = rows(find_runs(runs), runs)
    (block,) = blocks(table)
    assert block.entries == ["cbdm", "cbdm (process=flow)"]
    assert dict(zip(table["label"], table["process"], strict=True)) == {"cbdm": "ddpm", "cbdm (process=flow)": "flow"}
    assert any("process (ddpm and flow)" in note for note in verdict_notes(block))
    assert [one.equal_in for one in blocks(table, ["process"])] == [("process ddpm",), ("process flow",)]


def test_records_and_tables_from_before_are_of_ddpm(both, tmp_path):
    runs, _ = both
    plain = next(stored for stored in find_runs(runs) if stored.record.entry.process == "ddpm")
    old = json.loads(plain.files.record.read_text())
    del old["entry"]["process"], old["sha256"]
    (tmp_path / "record.json").write_text(json.dumps(old))
    assert RunRecord.load(tmp_path / "record.json").entry.process is None
    plain.files.record.write_text(json.dumps(old))
    table = rows(find_runs(runs), runs)
    assert set(table.loc[table["label"] == "cbdm", "process"]) == {"ddpm"}
    file = measured_csv(table, tmp_path / "results.csv")
    assert read_measured(file)["process"].tolist() == table["process"].tolist()
    without = read_measured(file)
    cells = [line.split(",") for line in runs_path(file).read_text().splitlines()]
    assert "process" in cells[0]
    assert set(without["process"]) == {"ddpm", "flow"}


def test_a_dry_run_states_it_and_what_does_not_fit_ends_with_2(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["run", "--method", "cfg", "--process", "flow", "--dry-run"])
    assert done.exit_code == 0
    config = RunConfig.from_values(read_toml(written(tmp_path, done.stdout)))
    assert (config.process.name, config.sample.sampler) == ("flow", "heun")
    refused = CliRunner().invoke(cli, ["run", "--method", "oc", "--process", "flow", "--dry-run"])
    assert refused.exception.exit_code == 2
    assert "oc needs process ddpm" in str(refused.exception)


def written(folder, text):
    (folder / "shown.toml").write_text(text)
    return folder / "shown.toml"


def test_all_methods_of_a_grid_are_those_that_run_under_it():
    def configured(method, more):
        return resolve_recipe(recipe=None, method=method, dataset="digits-lt", overrides={"process.name": "flow"})

    found = {config.method.name for configs in configs_of("all", "0", (), None, configured).values() for config in configs}
    assert found == {name for name in METHODS if METHODS[name].needs_process is None}


@pytest.mark.parametrize(("method", "overrides"), [("cbdm", {}), ("ddpm", {}), ("cfg", {"sample.sampler": "euler"}),
                                                   ("ddpm", {"sample.sampler": "euler", "sample.steps": 9})])
def test_the_command_that_is_printed_means_the_same(method, overrides, read_back):
    config = resolve_recipe(recipe=None, method=method, dataset="digits-lt", overrides={"process.name": "flow", **overrides})
    command = as_command(config)
    assert "--process flow" in command
    assert read_back(command).model_dump(exclude={"source", "reported"}) == config.model_dump(exclude={"source", "reported"})
