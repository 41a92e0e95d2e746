"""Speed: rows and targets, the references against their definitions, and jobs in processes of their own."""

import csv
import io
import math
import os
import stat
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.core.errors import MachineError
from ltgen_bench.experiments.speed import STAGES, process
from ltgen_bench.experiments.speed import evaluator_rates as evaluate
from ltgen_bench.experiments.speed.conditions import FULL, Conditions, Sizes
from ltgen_bench.experiments.speed.evaluator_rates import evaluate_stage
from ltgen_bench.experiments.speed.jobs import JOBS, plain_prdc
from ltgen_bench.experiments.speed.process import Measured, measured
from ltgen_bench.experiments.speed.rows import SpeedRow, Target, comma_separated


def row(unit="s", value=2.0, reference=6.0, target=None, **more):
    return SpeedRow("evaluate", "a thing", "10 x 10", unit, value, target, "theirs", reference, **more)


class TestRows:
    def test_the_ratio_is_how_many_times_as_good(self):
        assert row().ratio == 3
        assert row("MB").ratio == 3
        assert row("images/s").ratio == pytest.approx(1 / 3)
        assert math.isnan(row(reference=math.nan).ratio)

    @pytest.mark.parametrize(("target", "met"), [
        (Target("ratio", ">=", 3.0), True), (Target("ratio", ">=", 3.1), False), (Target("value", "<=", 2.0), True),
        (Target("value", "<=", 1.9), False), (Target("ratio", ">=", 1.0, "100 x 100"), None), (None, None)])
    def test_a_target_is_met_or_not_or_of_another_size(self, target, met):
        assert row(target=target).met is met

    def test_without_the_same_result_no_speed_counts(self):
        fast = Target("ratio", ">=", 1.0)
        assert row(target=fast, difference=1e-7, tolerance=1e-6).met
        assert row(target=fast, difference=1e-5, tolerance=1e-6).met is False
        assert row(target=Target("ratio", ">=", 1.0, "100 x 100"), difference=1e-5, tolerance=1e-6).met is False

    def test_the_csv_has_raw_numbers_and_the_machine_in_every_line(self):
        rows = [row(target=Target("ratio", ">=", 3.0), memory_mb=12.5), row(reference=math.nan)]
        first, second = csv.DictReader(io.StringIO(comma_separated(rows, {"cpu": "a, b", "threads": 2})))
        assert (first["value"], first["ratio"], first["target"], first["met"], first["memory_mb"]) == (
            "2", "3", ">= 3 x", "yes", "12.5")
        assert (second["reference"], second["ratio"], second["target"], second["met"]) == ("", "", "", "")
        assert (second["cpu"], second["threads"]) == ("a, b", "2")


def by_loops(generated, real, k):
    """prdc's four numbers, point by point; a ball is open."""
    def reach(points):
        return [sorted(np.linalg.norm(points - point, axis=1))[k] for point in points]

    around_real, around_generated = reach(real), reach(generated)
    distance = np.array([[np.linalg.norm(g - r) for g in generated] for r in real])
    inside = [[distance[i, j] < around_real[i] for j in range(len(generated))] for i in range(len(real))]
    return (np.mean([any(inside[i][j] for i in range(len(real))) for j in range(len(generated))]),
            np.mean([any(distance[i, j] < around_generated[j] for j in range(len(generated))) for i in range(len(real))]),
            np.sum(inside) / k / len(generated),
            np.mean([min(distance[i]) < around_real[i] for i in range(len(real))]))


class TestJobs:
    def test_the_plain_reference_is_prdcs_definition(self):
        rng = np.random.default_rng(0)
        generated, real = rng.standard_normal((40, 6)) + 0.3, rng.standard_normal((50, 6))
        assert plain_prdc(generated, real, 3) == pytest.approx(by_loops(generated, real, 3))

    def test_ours_and_the_references_agree(self):
        ours = JOBS["neighbours"](images=200, features=16)()
        assert list(JOBS["neighbours_prdc"](images=200, features=16)()) == pytest.approx(list(ours))
        assert list(JOBS["neighbours_fidelity"](images=200, features=16)()) == pytest.approx(list(ours)[:2])
        (ours,), (theirs,) = JOBS["frechet"](images=200, features=80)(), JOBS["frechet_fidelity"](images=200, features=80)()
        assert theirs == pytest.approx(ours, rel=1e-6)

    def test_every_metric_of_every_class_has_a_value(self):
        values = JOBS["classes"](classes=3, per_class=20, features=32)()
        assert len(values) >= 3 * 4
        assert len(values) % 3 == 0
        assert np.isfinite(values).all()

    @pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*multi-threaded:DeprecationWarning")
    def test_inception_sees_what_torch_fidelitys_loop_sees(self):
        ours, theirs = (JOBS[job](images=2, device="cpu")() for job in ("inception", "inception_fidelity"))
        assert len(ours) == 2 * 2048
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * max(theirs))
        assert np.std(ours) > 0.1 * np.mean(ours) > 0, "weights that let something through"


class TestProcesses:
    def test_a_job_tells_its_time_its_values_and_the_memory_beyond_its_input(self):
        images = 2500
        plain = measured("neighbours_prdc", {"images": images, "features": 64}, threads=1)
        assert plain.seconds > 0
        assert plain.memory_mb > images**2 * 8 * 2 / 1e6, "whole matrices in float64"
        assert plain.memory_mb < images**2 * 8 * 10 / 1e6
        assert len(plain.values) == 4
        assert plain.values == pytest.approx(JOBS["neighbours_prdc"](images=images, features=64)(), abs=1e-3)

    @pytest.fixture
    def program(self, monkeypatch, tmp_path):
        """`program(text)`: a shell script in the place of Python."""
        def put(text):
            path = tmp_path / "program"
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            monkeypatch.setattr(sys, "executable", str(path))

        return put

    def test_a_job_that_is_killed_says_what_to_do(self, program):
        program("kill -9 $$")
        with pytest.raises(MachineError, match=r"'neighbours' was killed by signal 9, as where memory is short; take fewer"):
            measured("neighbours", {}, 1)

    def test_a_job_that_fails_says_why(self, program):
        program("echo trace >&2; echo 'ValueError: no such thing' >&2; exit 1")
        with pytest.raises(MachineError, match="'neighbours' failed: ValueError: no such thing"):
            measured("neighbours", {}, 1)

    def test_an_interruption_ends_the_job_too(self, program, monkeypatch, tmp_path):
        program(f"echo $$ > {tmp_path}/pid; exec sleep 60")

        def interrupted(self):
            while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text().strip():
                time.sleep(0.01)
            raise KeyboardInterrupt

        monkeypatch.setattr(process.subprocess.Popen, "communicate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measured("neighbours", {}, 1)
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)

    def test_threads_reach_the_job(self, program, tmp_path):
        program(f"echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS > {tmp_path}/threads; exit 1")
        with pytest.raises(MachineError):
            measured("neighbours", {}, 3)
        assert (tmp_path / "threads").read_text() == "3 3\n"


TOOK = {"neighbours": (2.0, 300.0, [0.5, 0.4, 3.0, 0.9]), "neighbours_prdc": (8.0, 2400.0, [0.5, 0.4, 3.0, 0.9]),
        "neighbours_fidelity": (2.4, 1200.0, [0.5, 0.4]), "frechet": (2.0, 100.0, [100.0]),
        "frechet_fidelity": (20.0, 200.0, [100.0 + 1e-6]), "classes": (11.0, 50.0, [1.0]),
        "inception": (10.0, 900.0, [1.0, 2.0]), "inception_fidelity": (20.0, 900.0, [1.0, 2.001])}


@pytest.fixture
def took(monkeypatch):
    """Every job takes what TOOK says, and is noted."""
    asked = []

    def pretend(job, inputs, threads):
        asked.append((job, dict(inputs), threads))
        return Measured(*TOOK[job])

    monkeypatch.setattr(evaluate, "measured", pretend)
    return asked


class TestStage:
    def test_each_figure_stands_beside_its_reference_and_target(self, took, told):
        rows = evaluate_stage(Conditions(Sizes(), 2, "cpu"), told)
        assert [(row.what, round(row.ratio, 2), row.target_words, row.met) for row in rows if row.reference == row.reference] == [
            ("k-NN", 4.0, ">= 3 x", True), ("k-NN", 1.2, ">= 1.3 x", False),
            ("k-NN memory", 8.0, "<= 2,500 MB", None), ("FID", 10.0, ">= 1 x", True), ("Inception", 2.0, ">= 1.4 x", False)]
        (classes,) = (row for row in rows if row.what == "class metrics")
        assert (classes.value, classes.target_words, classes.met) == (11.0, "<= 12 s", True)
        assert told.stages[0]["done"] == told.stages[0]["total"] == 8

    def test_what_differs_from_its_reference_is_not_met(self, took, told):
        (inception,) = (row for row in evaluate_stage(Conditions(Sizes(), 2, "cpu"), told) if row.what == "Inception")
        assert inception.difference == pytest.approx(5e-4, rel=1e-2)
        assert not inception.agrees

    def test_the_full_sizes_are_those_of_the_targets(self, took, told):
        rows = evaluate_stage(Conditions(FULL, 2, "cpu"), told)
        assert ("neighbours", {"images": 50_000, "features": 2048}, 2) in took
        assert ("neighbours_prdc", {"images": 10_000, "features": 2048}, 2) in took
        assert ("classes", {"classes": 100, "per_class": 500, "features": 2048}, 2) in took
        (memory,) = (row for row in rows if row.size.startswith("50,000") and row.unit == "MB")
        assert (memory.value, memory.met) == (300.0, True)
        assert told.stages[0]["done"] == told.stages[0]["total"] == 9

    def test_narrow_features_are_measured_but_not_judged(self, took, told):
        rows = evaluate_stage(Conditions(Sizes(features=64), 2, "cpu"), told)
        assert [row.met for row in rows if row.what.startswith("k-NN")] == [None, None, None]


class TestCommand:
    def call(self, *arguments):
        return CliRunner().invoke(cli, ["speed", "--stage", "evaluate", *arguments], env={"COLUMNS": "86"})

    def test_the_table_and_the_csv(self, took, tmp_path):
        answer = self.call("--csv", str(tmp_path / "speed.csv"), "--threads", "1", "--images", "500", "--device", "cpu")
        assert answer.exit_code == 0, answer.output
        assert "k-NN / prdc" in answer.output
        assert "4.00 x" in answer.output
        assert "NO" in answer.output
        assert answer.output.splitlines()[0].split() == ["ours", "reference", "ratio", "met", "target", "memory"]
        words = " ".join(answer.output.split())
        assert "Inception: the result differs by 0.0005 from that of torch-fidelity; 0.0001 is allowed." in words
        assert "the target is for 50,000 x 50,000 x 2,048" in words
        assert "torch 2" in answer.output
        lines = list(csv.DictReader(io.StringIO((tmp_path / "speed.csv").read_text())))
        assert len(lines) == 6
        assert {line["threads"] for line in lines} == {"1"}
        assert took[0] == ("neighbours", {"images": 500, "features": 2048}, 1)

    @pytest.mark.parametrize(("load", "said"), [(0.0, False), (1.5 * (os.cpu_count() or 1), True)])
    def test_a_busy_machine_is_said(self, took, monkeypatch, load, said):
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
        assert ("The machine was busy with other things" in " ".join(self.call().output.split())) is said

    def test_full_changes_the_sizes_and_an_option_still_wins(self, took):
        assert self.call("--full", "--images", "700").exit_code == 0
        assert ("neighbours_prdc", {"images": 700, "features": 2048}, took[0][2]) in took
        assert ("neighbours", {"images": 50_000, "features": 2048}, took[0][2]) in took

    def test_an_unknown_stage_gets_a_sentence(self, took):
        answer = self.call("--stage", "training")
        assert str(answer.exception) == ("unknown stage 'training'. Did you mean 'train'? Known: all, evaluate, methods, sample, "
                                         "train.")
        assert took == []
        assert list(STAGES) == ["train", "sample", "evaluate", "methods"]
