"""`ltgen-bench speed` as it is typed: which stages are measured on what, what is written, and what a recipe will take."""

import csv
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.core.errors import UserError
from ltgen_bench.experiments.speed import STAGES, kernel_profile
from ltgen_bench.experiments.speed.speed_rows import COLUMNS, FULL, Sizes, SpeedRow


@pytest.fixture
def asked(monkeypatch):
    """Stages that only note what they were asked for, and give one row each."""
    noted = []

    def stage(name):
        def measure(conditions, progress):
            noted.append((name, conditions))
            return [SpeedRow(name, f"{name} of it", "here", "images/s", 30.0, "ddpm", 10.0)]

        return measure

    for name in STAGES:
        monkeypatch.setitem(STAGES._entries, name, stage(name))
    return noted


def call(*arguments, columns="100"):
    return CliRunner().invoke(cli, ["speed", *arguments], env={"COLUMNS": columns})


class TestAsking:
    def test_without_a_stage_all_are_measured(self, asked):
        answer = call("--device", "cpu")
        assert answer.exit_code == 0, answer.output
        assert [name for name, _ in asked] == ["train", "sample", "evaluate", "methods"]
        _, conditions = asked[0]
        assert (conditions.methods, conditions.preset, conditions.batch, conditions.device) == ((), "ddpm", None, "cpu")
        assert conditions.sizes == Sizes()

    def test_options_reach_the_stage(self, asked):
        before = torch.get_num_threads()
        try:
            assert call("--stage", "train", "--method", "oc", "--method", "cbdm", "--method", "oc", "--preset", "cpu",
                        "--batch", "3", "--threads", "2", "--device", "cpu", "--full").exit_code == 0
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)
        [(name, conditions)] = asked
        assert (name, conditions.methods, conditions.preset, conditions.batch, conditions.sizes) == (
            "train", ("oc", "cbdm"), "cpu", 3, FULL)

    @pytest.mark.parametrize(("arguments", "sentence"), [
        (["--method", "cbdn"], "unknown method 'cbdn'. Did you mean 'cbdm'? Known: "),
        (["--preset", "dppm"], "unknown network 'dppm'. Did you mean 'ddpm'? Known: cpu, ddpm, digits."),
        (["--stage", "sample", "--method", "oc"], "--method: the stage sample measures no methods; it is for train and methods."),
        (["--recipe", "cbdm"], "--recipe cbdm: write it as DATASET/METHOD, for example cifar10-lt/cbdm, or name a file."),
        (["--recipe", "digits-lt/cbmd"], "unknown method 'cbmd'. Did you mean 'cbdm'? Known: "),
        (["--recipe", "digit-lt/cbdm"], "unknown data set 'digit-lt'. Did you mean 'digits-lt'? Known: "),
        (["--recipe", "mine.toml"], "there is no recipe mine.toml."),
        (["--device", "tpu"], "--device tpu: it is cpu, cuda, or cuda:N.")])
    def test_what_is_unknown_gets_a_sentence_before_anything_is_measured(self, asked, arguments, sentence):
        answer = call(*arguments)
        assert isinstance(answer.exception, UserError)
        assert str(answer.exception).startswith(sentence)
        assert asked == []

    def test_a_batch_of_nothing_is_refused(self, asked):
        assert call("--batch", "0").exit_code == 2
        assert asked == []


class TestAnswer:
    def test_the_table_has_the_figure_and_what_it_is_compared_with(self, asked):
        out = call("--stage", "train", "--device", "cpu").output
        (line,) = (line for line in out.splitlines() if "train of it" in line)
        assert line.split()[3:8] == ["30", "img/s", "3.00", "x", "ddpm"]
        assert "torch 2" in out

    @pytest.mark.parametrize(("load", "said"), [(0.0, False), (1.5 * (os.cpu_count() or 1), True)])
    def test_a_busy_machine_is_said(self, asked, monkeypatch, load, said):
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
        assert ("The machine was busy with other things" in " ".join(call("--device", "cpu").output.split())) is said

    @pytest.mark.parametrize("columns", ["40", "60", "140"])
    def test_no_line_is_wider_than_the_terminal(self, asked, columns):
        assert max(map(len, call("--device", "cpu", columns=columns).output.splitlines())) <= int(columns)

    def test_the_csv_has_every_column_and_the_machine(self, asked, tmp_path):
        assert call("--device", "cpu", "--csv", str(tmp_path / "speed.csv")).exit_code == 0
        with (tmp_path / "speed.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert list(lines[0])[:len(COLUMNS)] == list(COLUMNS)
        assert {"cpu", "threads", "load", "torch", "device_name"} <= set(lines[0])
        assert [(line["stage"], line["ratio"], line["against"]) for line in lines] == [(name, "3", "ddpm") for name in STAGES]

    def test_the_kernels_are_shown_and_written_beside_the_csv(self, asked, tmp_path, monkeypatch):
        kernels = pd.DataFrame([("ddpm", "aten::mkldnn_convolution" + "x" * 90, 57.0, 1234.5, 61.234),
                                ("cbdm", "aten::mul", 6.0, 0.25, 1.0)], columns=["method", "kernel", "calls", "ms", "percent"])
        monkeypatch.setattr(kernel_profile, "profiled", lambda conditions, progress: kernels)
        answer = call("--stage", "train", "--device", "cpu", "--profile", "--csv", str(tmp_path / "speed.csv"), columns="120")
        assert answer.exit_code == 0, answer.output
        assert "aten::mkldnn_convolutionxxx" in answer.output
        (line,) = (line for line in answer.output.splitlines() if "mkldnn" in line)
        assert line.split()[:4] == ["ddpm", "1,234.5", "61.2", "57"]
        narrow = call("--stage", "train", "--device", "cpu", "--profile", columns="80").output
        assert "kernel" in narrow.partition("step of")[2].splitlines()[0]
        assert (tmp_path / "speed-profile.csv").read_text().splitlines()[1:] == [
            f"ddpm,aten::mkldnn_convolution{'x' * 90},57,1234,61.23", "cbdm,aten::mul,6,0.25,1"]
        assert answer.output.count("speed-profile.csv") == 1

    def test_a_recipe_is_estimated_as_a_dry_run_estimates_it(self, asked, monkeypatch, tmp_path):
        from ltgen_bench.experiments import speed_probe as probe

        monkeypatch.setattr("ltgen_bench.training.cost.seconds_each", lambda call, device: (0.5, 3))
        monkeypatch.setattr(probe, "seconds_each", lambda call, device: (0.25, 3))
        monkeypatch.chdir(tmp_path)
        answer = call("--stage", "train", "--device", "cpu", "--recipe", "digits-lt/ddpm")
        assert answer.exit_code == 0, answer.output
        assert "digits-lt/ddpm" in answer.output
        dry = CliRunner().invoke(cli, ["run", "--method", "ddpm", "--device", "cpu", "--dry-run"]).output
        told = dict(line.split("about", 1) for line in answer.output.splitlines() if "about" in line)
        said = {line.split()[1]: line.partition("about")[2] for line in dry.splitlines() if " about " in line}
        for what in ("training", "sampling"):
            ours = next(text for key, text in told.items() if what in key)
            assert ours.split()[0] == said[what].split()[0]
        assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_the_way_of_compiling_reaches_the_loops(asked):
    assert call("--stage", "train", "--device", "cpu", "--compile", "graphs").exit_code == 0
    assert call("--stage", "train", "--device", "cpu").exit_code == 0
    assert [conditions.compile for _, conditions in asked] == ["graphs", "auto"]
    assert call("--compile", "fast").exit_code == 2


def test_the_help_and_unknown_names_need_no_torch():
    program = ("import sys\nfrom ltgen_bench.cli.speed_command import speed\n"
               "try: speed(['--method', 'nope'], standalone_mode=False)\nexcept Exception as error: print(error)\n"
               "print('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("unknown method 'nope'.")
    assert done.stdout.endswith("False\n")
