"""The stages train and sample: every ratio and target from measurements that are known, and both for real on a small network."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ltgen_bench.core.errors import UserError
from ltgen_bench.experiments.speed import STAGES, profile
from ltgen_bench.experiments.speed import sampler_rates as sample
from ltgen_bench.experiments.speed import training_rates as train
from ltgen_bench.experiments.speed.conditions import Conditions, Sizes
from ltgen_bench.experiments.speed.jobs import JOBS
from ltgen_bench.experiments.speed.loops import fast_loop, plain_loop
from ltgen_bench.experiments.speed.peak import matrix_rate
from ltgen_bench.experiments.speed.process import Measured
from ltgen_bench.experiments.speed.profile import kernels_csv, profiled
from ltgen_bench.experiments.speed.rows import SpeedRow, Target
from ltgen_bench.experiments.speed.setting import COUNTS, loop_config, random_images
from ltgen_bench.experiments.speed.side_by_side import Beside, Rounds, beside
from ltgen_bench.training.cost import in_turn

CPU = torch.device("cpu")
HERE = Conditions(Sizes(), 2, "cpu")
CUDA = replace(HERE, device="cuda")
SMALL = Conditions(Sizes(), 1, "cpu", ("ddpm",), "digits", 2)
ONCE = Rounds(least=1, most=1)


class TestTargets:
    def test_a_cost_is_held_against_its_limit(self):
        row = SpeedRow("train", "cbdm cost", "", "x", 1.8, Target("value", "<=", 1.9), "ddpm", 1.0)
        assert (row.ratio, row.met, row.target_words) == (pytest.approx(1 / 1.8), True, "<= 1.9 x")
        assert replace(row, value=1.95).met is False
        assert replace(row, target=Target("value", "<=", 12_000.0)).target_words == "<= 12,000 x"

    def test_more_is_better_for_rates_and_shares_and_less_for_time_memory_and_operations(self):
        ratios = {unit: SpeedRow("train", "", "", unit, 2.0, reference=1.0).ratio
                  for unit in ("images/s", "TFLOP/s", "%", "s", "ms", "MB", "GFLOP", "x")}
        assert ratios == {"images/s": 2, "TFLOP/s": 2, "%": 2, "s": 0.5, "ms": 0.5, "MB": 0.5, "GFLOP": 0.5, "x": 0.5}

    def test_a_target_of_another_size_is_named_and_not_judged(self):
        assert Target.at("there", "there", "ratio", ">=", 2.0).elsewhere == ""
        assert Target.at("there", "here", "ratio", ">=", 2.0).elsewhere == "there"

    def test_where_the_targets_hold(self):
        assert (HERE.placed, CUDA.placed) == (train.ON_CPU, train.ON_CUDA)
        assert replace(HERE, threads=4).placed == "the ddpm network at batch 16 on 4 CPU cores"
        assert replace(CUDA, batch=64).sized == "the ddpm network at batch 64"


class TestTurns:
    def test_calls_alternate_and_each_keeps_its_own_time(self, monkeypatch):
        clock, order = [0.0], []
        monkeypatch.setattr("ltgen_bench.training.cost.time.perf_counter", lambda: clock[0])

        def call(name, seconds):
            order.append(name)
            clock[0] += seconds

        found = in_turn([lambda: call("a", 1.0), lambda: call("b", 2.5)], CPU, warm_up=2, least=3, most=3, seconds=100.0)
        assert "".join(order) == "ab" * 5
        assert found.rounds.tolist() == [[1.0, 2.5]] * 3
        assert found.warming.shape == (2, 2)

    @pytest.mark.parametrize(("each", "rounds"), [(0.1, 10), (1.0, 3), (3.0, 2), (9.0, 1)])
    def test_slow_calls_are_made_less_often(self, each, rounds, monkeypatch):
        clock = [0.0]
        monkeypatch.setattr("ltgen_bench.training.cost.time.perf_counter", lambda: clock[0])

        def call():
            clock[0] += each

        assert len(in_turn([call], CPU, seconds=4.0).rounds) == rounds

    def test_compiling_while_warming_up_leaves_the_later_rounds_their_time(self, monkeypatch):
        clock, calls = [0.0], []
        monkeypatch.setattr("ltgen_bench.training.cost.time.perf_counter", lambda: clock[0])

        def call():
            clock[0] += 0.1 if calls else 60.0
            calls.append(1)

        found = in_turn([call], CPU, seconds=4.0)
        assert found.warming.tolist() == [[60.0]]
        assert found.rounds[:, 0].tolist() == pytest.approx([0.1] * 10)

    def test_costs_are_ratios_of_the_same_rounds(self, monkeypatch):
        """Steps of 2, 4 and 10 s, of the last two a second less where the label goes; every second round takes twice that."""
        clock, slow = [0.0], [1]
        monkeypatch.setattr("ltgen_bench.training.cost.time.perf_counter", lambda: clock[0])
        base, ours, plain = (loop_config(name, "digits", 2) for name in ("ddpm", "cbdm", "cbdm"))
        loops = fast_loop(base, CPU), fast_loop(ours, CPU), plain_loop(plain, CPU)

        def take(loop, seconds):
            def step():
                dropped = loop is not loops[0] and loop.draws(0, 0, 2, CPU).coin("label-drop", 0.1)
                clock[0] += slow[0] * (seconds if not dropped else seconds - 1)
                slow[0] = 3 - slow[0] if loop is loops[2] else slow[0]

            monkeypatch.setattr(loop, "step", step)

        for loop, seconds in zip(loops, (2.0, 4.0, 10.0), strict=True):
            take(loop, seconds)
        found = beside(loops[0], loops[1], Rounds(least=4, most=4, seconds=1e9), [loops[2]])
        assert found.cost == pytest.approx(0.9 * 2.0 + 0.1 * 1.5)
        assert found.plain_costs == (pytest.approx(0.9 * 5.0 + 0.1 * 4.5),)
        assert found.base == pytest.approx(2 / 3), "images a second of batches of 2, in the median of 2 and 4 s"


@pytest.fixture
def in_this_process(monkeypatch):
    """Jobs without a process of their own, whose start takes longer than they; the processes have tests of their own."""
    for place in (train, sample):
        monkeypatch.setattr(place, "measured", lambda job, inputs, threads: Measured(1.0, 1.0, list(JOBS[job](**inputs)())))


@pytest.fixture
def known(monkeypatch):
    """Measurements that are known: ddpm at 100 images/s, cbdm at 1.8 of its cost; plain at 4 and 9 of it. Losses can be changed.

    The loops are names, with a precision that can be changed too.
    """
    times = {"ddpm": Beside(100.0, 1.0, (4.0,), 5.0), "cbdm": Beside(100.0, 1.8, (9.0,), 0.0),
             "oc": Beside(100.0, 1.25, (), 0.0), "ccua": Beside(100.0, 2.0, (), 0.0)}
    said = {"train_ours": [1.0, 2.0], "train_plain": [1.0, 2.001], "precision": "bf16"}
    flops = {"ddpm": 30e9, "cbdm": 57e9, "oc": 30e9, "ccua": 57e9}
    monkeypatch.setattr(train, "resolve_precision", lambda setting, device: "bf16")
    monkeypatch.setattr(train, "fast_loop", lambda config, device: SimpleNamespace(
        name=config.method.name, precision=said["precision"]))
    monkeypatch.setattr(train, "PlainLoop", lambda config, data, device, tf32: SimpleNamespace(name=config.method.name))
    monkeypatch.setattr(train, "beside", lambda base, trainer, rounds, plain: replace(
        times[trainer.name], plain_costs=times[trainer.name].plain_costs * len(plain)))
    monkeypatch.setattr(train, "matrix_rate", lambda precision, device: {"bf16": 6e12, "float32": 2e12}[precision])
    monkeypatch.setattr(train, "flops_per_image", lambda config, data, device: flops[config.method.name])
    monkeypatch.setattr(train, "measured", lambda job, inputs, threads: Measured(
        9.0, {"train_ours": 6_000.0, "train_plain": 12_600.0}[job], said[job]))
    return said


def rows_of(conditions, told):
    return {(row.what, row.against.partition(" (")[0]): row for row in train.train_stage(conditions, told)}


class TestTrain:
    def test_each_figure_of_a_method_and_its_targets(self, known, told):
        rows = rows_of(replace(HERE, methods=("cbdm",)), told)
        shown = {key: (row.unit, pytest.approx(row.value), pytest.approx(row.reference, nan_ok=True), row.target_words, row.met)
                 for key, row in rows.items()}
        nan = math.nan
        ours, plain, ms = 100 / 1.8, 100 / 9, 1000 * 16
        assert shown == {
            ("bf16 products", "float32"): ("TFLOP/s", 6.0, 2.0, "", None),
            ("float32 products", "float32"): ("TFLOP/s", 2.0, 2.0, "", None),
            ("cbdm", "plain loop"): ("images/s", ours, plain, ">= 1.7 x", True),
            ("cbdm", "seed code"): ("images/s", ours, 1.8, ">= 2.5 x", True),
            ("cbdm cost", "ddpm"): ("x", 1.8, 1.0, "<= 1.9 x", True),
            ("cbdm step", "plain loop"): ("ms", ms / ours, ms / plain, "", None),
            ("cbdm first steps", ""): ("s", 0.0, nan, "", None),
            ("cbdm memory", "plain loop"): ("MB", 6_000.0, 12_600.0, "<= 12,000 MB", None),
            ("cbdm operations", "ddpm"): ("GFLOP", 57.0, 30.0, "", None),
            ("cbdm of peak", "plain loop"): ("%", 100 * ours * 57 / 6_000, 100 * plain * 57 / 6_000, "", None)}
        assert rows["cbdm", "plain loop"].ratio == pytest.approx(5)
        assert rows["cbdm memory", "plain loop"].target.elsewhere == "the ddpm network at batch 128"
        assert told.stages[0]["done"] == told.stages[0]["total"] == 5

    def test_the_share_is_of_the_matrix_rate_in_the_precision_of_the_step(self, known, told):
        known["precision"] = "float32"
        rows = rows_of(replace(HERE, methods=("ddpm",)), told)
        assert rows["ddpm of peak", "plain loop"].value == pytest.approx(100 * 100 * 30 / 2_000)

    def test_targets_are_not_judged_elsewhere(self, known, told):
        for other in (replace(HERE, threads=1), replace(HERE, batch=8), replace(HERE, preset="digits")):
            rows = rows_of(replace(other, methods=("cbdm",)), told)
            assert rows["cbdm", "plain loop"].met is None
            assert rows["cbdm", "plain loop"].target.elsewhere == train.ON_CPU
        assert rows["cbdm cost", "ddpm"].target.elsewhere == "the ddpm network"
        assert ("cbdm", "seed code") not in rows, "it had the ddpm network"

    def test_on_cuda_the_targets_are_others_and_the_plain_loop_stands_there_twice(self, known, told, monkeypatch):
        monkeypatch.setattr(train, "torch", type("torch", (), {"device": lambda name: CPU}))
        rows = rows_of(replace(CUDA, methods=("ddpm",)), told)
        assert rows["ddpm", "plain loop"].target_words == ">= 8 x"
        assert rows["ddpm", "plain loop"].met is False
        assert rows["ddpm", "plain loop in TF32"].target is None
        assert rows["ddpm of peak", "plain loop"].target_words == ">= 35 %"
        assert rows["ddpm memory", "plain loop"].met is True

    def test_other_methods_stand_beside_ddpm_within_what_their_operations_explain(self, known, told):
        rows = rows_of(replace(HERE, methods=("oc", "ccua")), told)
        assert [(rows[f"{name} cost", "ddpm"].target_words, rows[f"{name} cost", "ddpm"].met) for name in ("oc", "ccua")] == [
            ("<= 1.1 x", False), ("<= 2.09 x", True)]
        assert rows["oc", ""].ratio != rows["oc", ""].ratio
        assert rows["oc", ""].target is None

    def test_ddpm_has_no_target_beside_itself(self, known, told):
        assert rows_of(replace(HERE, methods=("ddpm",)), told)["ddpm cost", "ddpm"].target is None

    def test_losses_that_differ_spoil_the_figure(self, known, told):
        found = rows_of(replace(HERE, methods=("ddpm",)), told)["ddpm", "plain loop"]
        assert found.difference == pytest.approx(0.001 / 2.001)
        assert found.met is True
        known["train_ours"] = [1.0, 2.1]
        assert rows_of(replace(HERE, methods=("ddpm",)), told)["ddpm", "plain loop"].met is False

    def test_what_cannot_train_is_told_and_left_out(self, known, told, monkeypatch):
        def refuse(name, *more):
            raise UserError(f"{name}: not here.")

        monkeypatch.setattr(train, "_measured", refuse)
        assert len(train.train_stage(replace(HERE, methods=("oc",)), told)) == 2
        assert told.messages == ["oc is left out: oc: not here."]
        assert told.stages[0]["done"] == told.stages[0]["total"]

    def test_for_real_on_a_small_network(self, told, in_this_process, monkeypatch):
        monkeypatch.setattr(train, "ROUNDS", ONCE)
        monkeypatch.setattr(train, "matrix_rate", lambda precision, device: matrix_rate(precision, device, 64))
        rows = {(row.what, row.against.partition(" (")[0]): row for row in STAGES["train"](SMALL, told)}
        ours = rows["ddpm", "plain loop"]
        assert ours.agrees
        assert min(ours.value, ours.reference) > 0
        assert rows["ddpm step", "plain loop"].value == pytest.approx(2000 / ours.value)


DREW = {"draw_plain": Measured(1.0, 900.0, [10.0, -10.0]), "draw_ours": Measured(1.0, 500.0, [10.0, -9.7])}


class TestSample:
    @pytest.fixture
    def took(self, monkeypatch):
        monkeypatch.setattr(sample, "measured", lambda job, inputs, threads: DREW[job])
        monkeypatch.setattr(sample, "resolve_precision", lambda setting, device: "bf16")
        monkeypatch.setattr(sample, "_seconds", lambda omega, precisions, preset, batch, steps, device: (
            np.array([8.0, 1.0, 4.0]) * (2 if omega else 1)))

    def test_seconds_of_three_steps_become_images_of_twenty_five(self, took, told):
        rows = {row.what: row for row in sample.sample_stage(HERE, told)}
        assert list(rows) == [f"{what} {precision}{of}" for what in ("guided", "unguided") for precision in ("bf16", "float32")
                              for of in ("", ", 50,000")]
        guided = rows["guided bf16"]
        assert guided.value == pytest.approx(16 / (2.0 / 3 * 25))
        assert (guided.ratio, guided.memory_mb, guided.reference_memory_mb) == (pytest.approx(8), 500.0, 900.0)
        assert rows["unguided float32"].ratio == pytest.approx(2)
        whole = rows["guided bf16, 50,000"]
        assert whole.value == pytest.approx(50_000 / guided.value)
        assert (whole.target_words, whole.met, whole.target.elsewhere) == ("<= 180 s", None, "the ddpm network on CUDA")
        assert rows["unguided bf16, 50,000"].target is None
        assert told.stages[0]["done"] == told.stages[0]["total"] == 8

    def test_on_cuda_all_steps_are_drawn_and_judged(self, took, told, monkeypatch):
        monkeypatch.setattr(sample, "torch", type("torch", (), {"device": lambda name: CPU}))
        rows = {row.what: row for row in sample.sample_stage(CUDA, told)}
        assert rows["guided bf16"].value == pytest.approx(500 / 2.0)
        assert rows["guided bf16, 50,000"].met is False, "200 s"
        assert "chunks of 500" in rows["guided bf16"].size

    def test_images_that_differ_are_said(self, took, told):
        rows = {row.what: row for row in sample.sample_stage(HERE, told)}
        assert rows["guided bf16"].difference == pytest.approx(0.03)
        assert (rows["guided bf16"].agrees, rows["guided float32"].agrees) == (True, False)

    def test_for_real_on_a_small_network(self, told, in_this_process, monkeypatch):
        monkeypatch.setattr(sample, "ROUNDS", ONCE)
        monkeypatch.setattr(sample, "CPU_STEPS", 2)
        rows = STAGES["sample"](SMALL, told)
        assert all(row.agrees for row in rows)
        assert all(row.value > 0 and row.reference > 0 for row in rows)


class TestProbes:
    def test_the_matrix_rate_counts_a_product_as_twice_the_cube(self, monkeypatch):
        clock, products = [0.0], []
        monkeypatch.setattr("ltgen_bench.experiments.speed.peak.time.perf_counter", lambda: clock[0])

        def mm(first, second):
            products.append(first.dtype)
            clock[0] += 0.5 if len(products) == 2 else 1.0
            return first

        monkeypatch.setattr("ltgen_bench.experiments.speed.peak.torch.mm", mm)
        assert matrix_rate("bf16", CPU, 10) == pytest.approx(2 * 10**3 / 0.5), "the best"
        assert set(products) == {torch.bfloat16}

    def test_a_profile_names_the_kernels_that_take_the_time(self, told, monkeypatch):
        monkeypatch.setattr(profile, "WARM_UP", 1)
        monkeypatch.setattr(profile, "STEPS", 1)
        kernels = profiled(replace(SMALL, methods=("ddpm", "cfg")), told)
        ours = [kernel for kernel in kernels if (kernel.method, kernel.loop) == ("ddpm", "ours")]
        assert {(kernel.method, kernel.loop) for kernel in kernels} == {("ddpm", "ours"), ("ddpm", "plain"), ("cfg", "ours")}
        assert len(ours) == profile.TOP
        assert [kernel.ms for kernel in ours] == sorted((kernel.ms for kernel in ours), reverse=True)
        assert any("convolution" in kernel.kernel for kernel in ours)
        assert 50 < sum(kernel.percent for kernel in ours) <= 100.0001
        (backward,) = (kernel for kernel in kernels if (kernel.loop, kernel.kernel) == ("plain", "aten::convolution_backward"))
        assert backward.calls == sum(isinstance(module, torch.nn.Conv2d)
                                     for module in plain_loop(loop_config("ddpm", "digits", 2), CPU).net.modules())
        lines = kernels_csv(kernels).splitlines()
        assert lines[0] == "method,loop,kernel,calls,ms,percent"
        assert len(lines) == 1 + len(kernels)


def test_the_images_are_of_a_long_tail_and_the_recipe_is_the_methods_own():
    assert random_images().class_counts == list(COUNTS)
    assert random_images().image_shape == (3, 32, 32)
    config = loop_config("oc", "cpu", 8)
    assert config.method.settings["transfer"] == "t2h"
    assert (config.network.preset, config.train.batch_size, config.train.warmup_images) == ("cpu", 8, 0)
