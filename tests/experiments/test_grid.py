"""Several methods and seeds in one command: what is finished stays, what fails is said, what others make is left to them."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import Interrupted, UserError
from ltgen_bench.data.load import load_dataset
from ltgen_bench.experiments.grid import carry_out_grid, make_grid
from ltgen_bench.runtime.context import RunContext

SMALL = ["--threads", "1", "--budget-images", "96", "--images-per-class", "12", "--steps", "3", "--sampler", "dpm-solver++"]
SMALL += [word for value in ("network.channels=[8,16]", "train.warmup_images=32", "train.ema_halflife_images=32",
                             "evaluate.downstream=false", 'evaluate.metrics=["fid"]') for word in ("--set", value)]


@pytest.fixture
def small(tiny_run):
    """Configurations of ddpm and cfg under two seeds, without downstream classifiers."""
    def of(method, omega, seeds=(0, 1)):
        return [tiny_run(**{"method.name": method, "sample.omega": omega, "seed": seed, "train.budget_images": 96,
                            "evaluate.downstream": False, "evaluate.metrics": ["fid"]}) for seed in seeds]

    return of


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(name="digits-lt"))


class TestTheGrid:
    def test_every_run_is_made_once_and_then_read(self, small, digits, tmp_path, monkeypatch):
        loads = []
        cells = make_grid({"ddpm": small("ddpm", 0.0), "cfg": small("cfg", 1.0)}, lambda data: loads.append(data) or digits,
                          tmp_path, RunContext())
        assert len(loads) == 1, "the data are read once"
        assert [cell.words for cell in cells] == ["ddpm, seed 0", "ddpm, seed 1", "cfg, seed 0", "cfg, seed 1"]
        made = carry_out_grid(cells, RunContext(command="ltgen-bench grid"))
        assert [(run.record.method, run.record.seed) for cell in made for run in cell.runs] == [
            ("ddpm", 0), ("ddpm", 1), ("cfg", 0), ("cfg", 1)]
        assert not any(cell.known or cell.error for cell in made)
        for name in ("train", "sample", "evaluate"):
            monkeypatch.setattr(f"ltgen_bench.experiments.pipeline.{name}", None)
        again = carry_out_grid(cells, RunContext())
        assert all(cell.known for cell in again)
        assert [cell.runs[0].record for cell in again] == [cell.runs[0].record for cell in made]

    def test_one_that_fails_is_said_and_the_others_go_on(self, small, digits, tmp_path, monkeypatch, told):
        from ltgen_bench.methods.ddpm import DDPM

        def broken(self, net, batch, draws):
            raise KeyError("oops")

        monkeypatch.setattr(DDPM, "loss", broken)
        cells = make_grid({"ddpm": small("ddpm", 0.0, (0,)), "cfg": small("cfg", 1.0, (0,))}, lambda data: digits, tmp_path,
                          RunContext())
        broke, whole = carry_out_grid(cells, RunContext(progress=told), told=lambda error: f"it is {error!r}")
        assert broke.error == "it is KeyError('oops')"
        assert not broke.runs
        assert whole.runs[0].record.method == "cfg"
        assert told.messages[1] == "ddpm, seed 0 failed: it is KeyError('oops')"

    def test_one_that_cannot_run_keeps_its_reason(self, small, digits, tmp_path):
        cells = make_grid({"ddpm": small("ddpm", 1.0, (0,)), "cfg": small("cfg", 1.0, (0,))}, lambda data: digits, tmp_path,
                          RunContext())
        assert "null label, and ddpm trains" in cells[0].error
        assert not cells[1].error
        with pytest.raises(UserError, match=r"seed 0 and 1 more: sample.omega: 1 needs"):
            make_grid({"ddpm": small("ddpm", 1.0)}, lambda data: digits, tmp_path, RunContext())
        assert not list(tmp_path.iterdir()), "a plan writes nothing"

    def test_data_that_are_not_there_are_told_once(self, small, tmp_path):
        asked = []

        def load(data):
            asked.append(data)
            raise UserError("no such data")

        with pytest.raises(UserError) as caught:
            make_grid({"ddpm": small("ddpm", 0.0), "cfg": small("cfg", 1.0)}, load, tmp_path, RunContext())
        assert str(caught.value) == "no such data"
        assert len(asked) == 1

    def test_what_another_command_is_making_is_waited_for(self, small, digits, tmp_path, monkeypatch, told):
        """The other command ends while the grid sleeps; until then the grid made everything else."""
        cells = make_grid({"ddpm": small("ddpm", 0.0)}, lambda data: digits, tmp_path, RunContext())
        other = cells[0].plans[0].folder.lock()
        other.__enter__()
        slept = []

        def wake(seconds):
            slept.append([cell.finished for cell in cells])
            other.__exit__(None, None, None)

        monkeypatch.setattr("ltgen_bench.experiments.grid.time.sleep", wake)
        made = carry_out_grid(cells, RunContext(progress=told), shared=True)
        assert slept == [[False, True]]
        assert all(cell.runs for cell in made)
        starts = [line for line in told.messages if line.startswith("run ")]
        assert [line.partition(",")[0] for line in starts] == ["run 2 of 2: ddpm", "run 1 of 2: ddpm"], "told when it begins"

    def test_an_interruption_stops_all_of_it(self, small, digits, tmp_path):
        def stopped(*args, **kwargs):
            raise Interrupted("stopped at 16 images")

        cells = make_grid({"ddpm": small("ddpm", 0.0)}, lambda data: digits, tmp_path, RunContext())
        with pytest.raises(Interrupted, match="stopped at 16 images"):
            carry_out_grid(cells, RunContext(), make=stopped)


class TestTheCommand:
    def command(self, *arguments):
        return CliRunner().invoke(cli, ["grid", *arguments])

    def test_the_list_of_a_grid_over_methods_values_and_seeds(self, tmp_path):
        done = self.command("--methods", "cbdm,ddpm", "--over", "train.batch_size=8,16", "--seeds", "0,5", "--runs",
                            str(tmp_path), *SMALL, "--dry-run")
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        assert [line[0] for line in lines] == [
            f"{name}, train.batch_size {size}, seed {seed}" for name in ("cbdm", "ddpm") for size in (8, 16) for seed in (0, 5)]
        assert len({line[1] for line in lines}) == 8

    def test_all_methods_are_all_that_are_registered(self, tmp_path):
        from ltgen_bench.methods import METHODS

        done = self.command("--methods", "all", "--runs", str(tmp_path), *SMALL, "--dry-run")
        assert [line.partition(",")[0] for line in done.stdout.splitlines()] == list(METHODS)

    def test_a_failing_run_makes_the_exit_code_1_and_the_table_and_json_say_so(self, tmp_path):
        arguments = ["--methods", "ddpm,cfg", "--omega", "1", "--runs", str(tmp_path), *SMALL]
        done = self.command(*arguments)
        assert "seed 0: sample.omega: 1 needs" in str(done.exception)
        assert done.exception.exit_code == 1
        assert "0 failed" in done.stdout
        assert "next      ltgen-bench report" in done.stdout
        told = json.loads(self.command(*arguments, "--json").stdout)
        assert [record["method"] for record in told["records"]] == ["cfg"]
        assert [(one["run"], one["seed"]) for one in told["failed"]] == [("ddpm", 0)]

    @pytest.mark.parametrize(("arguments", "sentence"), [
        (["--methods", "ddpm,cdbm"], "'cdbm'. Did you mean 'cbdm'?"),
        (["--methods", "ddpm", "--seeds", "0,x"], "--seeds 0,x: whole numbers"),
        (["--seeds", "0,1"], "trained, as in --methods ddpm,cbdm"),
        (["--methods", "ddpm", "--over", "train.batch_size"], "--over train.batch_size: write"),
    ])
    def test_mistakes_are_one_sentence(self, tmp_path, arguments, sentence):
        done = self.command(*arguments, "--runs", str(tmp_path / "runs"))
        assert isinstance(done.exception, UserError)
        assert sentence in str(done.exception)
        assert not (tmp_path / "runs").exists()

    @pytest.mark.slow
    def test_two_jobs_share_the_work_and_a_repetition_makes_nothing(self, tmp_path):
        command = [sys.executable, "-m", "ltgen_bench", "grid", "--methods", "ddpm,cfg", "--seeds", "0", "--jobs", "2", *SMALL]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True)
        assert len(list(tmp_path.glob("runs/digits-lt/*/record.json"))) == 2
        assert done.stderr.count("run 1 of 2: ddpm, seed 0, runs/digits-lt/ddpm-") == 1, "each run is made by one of them"
        assert done.stderr.count("run 2 of 2: cfg, seed 0, runs/digits-lt/cfg-") == 1
        records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/digits-lt/*/record.json")]
        assert len({record["command"] for record in records}) == 1
        assert "--jobs 2" in records[0]["command"]
