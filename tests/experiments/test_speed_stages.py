"""The stages of `speed`: rows from measurements that are known, each stage for real on a small network, and what a call takes."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ltgen_bench.core.errors import UserError
from ltgen_bench.experiments.speed import STAGES, kernel_profile
from ltgen_bench.experiments.speed import evaluator_rates as evaluate
from ltgen_bench.experiments.speed import sampler_rates as sample
from ltgen_bench.experiments.speed import training_rates as train
from ltgen_bench.experiments.speed.kernel_profile import profiled
from ltgen_bench.experiments.speed.speed_rows import FULL, Conditions, Measured, Sizes, SpeedRow, comma_separated, measured
from ltgen_bench.experiments.speed.training_rates import (
    COUNTS,
    RelativeCost,
    TrainingSpeed,
    loop_config,
    matrix_rate,
    random_images,
    relative_cost,
)
from ltgen_bench.training.cost import Turns, in_turn, probing

CPU = torch.device("cpu")
HERE = Conditions(Sizes(), "cpu")
SMALL = Conditions(Sizes(images=100, features=16, classes=2, per_class=20, inception=2), "cpu", ("ddpm",), "digits", 2)


class TestRows:
    def test_more_is_better_for_rates_and_shares_and_less_for_time_memory_and_operations(self):
        ratios = {unit: SpeedRow("train", "", "", unit, 2.0, reference=1.0).ratio
                  for unit in ("images/s", "TFLOP/s", "%", "s", "ms", "MB", "GFLOP", "x")}
        assert ratios == {"images/s": 2, "TFLOP/s": 2, "%": 2, "s": 0.5, "ms": 0.5, "MB": 0.5, "GFLOP": 0.5, "x": 0.5}
        assert math.isnan(SpeedRow("train", "", "", "s", 2.0).ratio)

    def test_the_csv_has_raw_numbers_and_the_machine_in_every_line(self):
        rows = [SpeedRow("evaluate", "a", "10", "s", 2.0, "x", 6.0, memory_mb=12.5), SpeedRow("evaluate", "b", "10", "s", 2.0)]
        first, second = csv.DictReader(io.StringIO(comma_separated(rows, {"cpu": "a, b", "threads": 2})))
        assert (first["value"], first["ratio"], first["memory_mb"]) == ("2", "3", "12.5")
        assert (second["reference"], second["ratio"], second["memory_mb"]) == ("", "", "")
        assert (second["cpu"], second["threads"]) == ("a, b", "2")


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
        """Steps of 2 and 4 s, the latter a second less where the label goes; every second round takes twice that."""
        clock, slow = [0.0], [1]
        monkeypatch.setattr("ltgen_bench.training.cost.time.perf_counter", lambda: clock[0])
        base, ours = (probing(loop_config(name, "digits", 2), random_images(), CPU, 2) for name in ("ddpm", "cbdm"))

        def take(loop, seconds):
            def step():
                dropped = loop is ours and loop.draws(0, 0, 2, CPU).coin("label-drop", 0.1)
                clock[0] += slow[0] * (seconds if not dropped else seconds - 1)
                slow[0] = 3 - slow[0] if loop is ours else slow[0]

            monkeypatch.setattr(loop, "step", step)

        take(base, 2.0)
        take(ours, 4.0)
        found = relative_cost(base, ours, {"least": 4, "most": 4, "seconds": 1e9})
        assert found.cost == pytest.approx(0.9 * 2.0 + 0.1 * 1.5)
        assert found.base == pytest.approx(2 / 3), "images a second of batches of 2, in the median of 2 and 4 s"
        assert found.rate == pytest.approx(found.base / found.cost)


class TestTrain:
    @pytest.fixture
    def known(self, monkeypatch):
        """ddpm at 100 images/s, cbdm at 1.8 of its cost; bf16 products at 6, float32 at 2 TFLOP/s."""
        found = {"ddpm": TrainingSpeed("bf16", 30e9, RelativeCost(100.0, 1.0, 5.0), 5_000.0),
                 "cbdm": TrainingSpeed("bf16", 57e9, RelativeCost(100.0, 1.8, 0.0), 6_000.0)}
        monkeypatch.setattr(train, "resolve_precision", lambda setting, device: "bf16")
        monkeypatch.setattr(train, "matrix_rate", lambda precision, device: {"bf16": 6e12, "float32": 2e12}[precision])
        monkeypatch.setattr(train, "flops_per_image", lambda config, data, device: 30e9)
        monkeypatch.setattr(train, "training_speed", lambda name, *inputs: found[name])
        return found

    def test_each_figure_of_a_method(self, known, told):
        rows = train.train_stage(replace(HERE, methods=("cbdm",)), told)
        ours = 100 / 1.8
        assert {row.what: (row.unit, row.value) for row in rows} == {
            "bf16 products": ("TFLOP/s", 6.0), "float32 products": ("TFLOP/s", 2.0),
            "cbdm": ("images/s", pytest.approx(ours)), "cbdm cost": ("x", 1.8),
            "cbdm step": ("ms", pytest.approx(16_000 / ours)), "cbdm first steps": ("s", 0.0), "cbdm memory": ("MB", 6_000.0),
            "cbdm operations": ("GFLOP", 57.0), "cbdm of peak": ("%", pytest.approx(100 * ours * 57 / 6_000))}
        assert {row.size for row in rows[2:]} == {"ddpm, batch 16, bf16 on cpu"}
        assert told.stages[0]["done"] == told.stages[0]["total"] == 1

    def test_the_share_is_of_the_matrix_rate_in_the_precision_of_the_step(self, known, told):
        known["ddpm"] = replace(known["ddpm"], precision="float32")
        (share,) = (row for row in train.train_stage(replace(HERE, methods=("ddpm",)), told) if row.unit == "%")
        assert share.value == pytest.approx(100 * 100 * 30 / 2_000)

    def test_what_cannot_train_is_told_and_left_out(self, known, told, monkeypatch):
        def refuse(name, *more):
            raise UserError(f"{name}: not here.")

        monkeypatch.setattr(train, "training_speed", refuse)
        assert len(train.train_stage(replace(HERE, methods=("oc",)), told)) == 2
        assert told.messages == ["oc is left out: oc: not here."]
        assert told.stages[0]["done"] == told.stages[0]["total"]

    def test_for_real_on_a_small_network(self, told, monkeypatch):
        monkeypatch.setattr(train, "ROUNDS", {"least": 1, "most": 1})
        monkeypatch.setattr(train, "matrix_rate", lambda precision, device: matrix_rate(precision, device, 64))
        rows = {row.what: row for row in STAGES["train"](SMALL, told)}
        assert rows["ddpm"].value > 0
        assert rows["ddpm step"].value == pytest.approx(2000 / rows["ddpm"].value)
        assert rows["ddpm operations"].ratio == 1


class TestSample:
    def test_seconds_of_three_steps_become_images_of_twenty_five(self, told, monkeypatch):
        monkeypatch.setattr(sample, "resolve_precision", lambda setting, device: "bf16")
        # what draws a chunk: (with guidance or not, precision)
        monkeypatch.setattr(sample, "sampled_network", lambda preset, device: None)
        monkeypatch.setattr(sample, "drawing", lambda net, sampling, device: (sampling.config.omega, sampling.config.precision))
        monkeypatch.setattr(sample, "measured", lambda draw, device: Measured(0.0, 500.0 if draw[1] == "bf16" else 900.0))
        monkeypatch.setattr(sample, "in_turn", lambda draws, device, **rounds: Turns(np.zeros((0, 1)), np.array(
            [[2.0 if draws[0][0] else 1.0]])))
        rows = {row.what: row for row in sample.sample_stage(HERE, told)}
        assert list(rows) == [f"{what} {precision}{of}" for what in ("guided", "unguided") for precision in ("bf16", "float32")
                              for of in ("", ", 50,000")]
        guided = rows["guided bf16"]
        assert guided.value == pytest.approx(16 / (2.0 / 3 * 25))
        assert (guided.memory_mb, rows["guided float32"].memory_mb) == (500.0, 900.0)
        assert rows["unguided bf16"].value == pytest.approx(2 * guided.value)
        assert rows["guided bf16, 50,000"].value == pytest.approx(50_000 / guided.value)
        assert told.stages[0]["done"] == told.stages[0]["total"] == 4
        on_cuda = {row.what: row for row in sample.sample_stage(replace(HERE, device="cuda"), told)}["guided bf16"]
        assert on_cuda.value == pytest.approx(500 / 2.0), "all steps are drawn there"
        assert "chunks of 500" in on_cuda.size

    def test_for_real_on_a_small_network(self, told, monkeypatch):
        monkeypatch.setattr(sample, "ROUNDS", {"least": 1, "most": 1})
        monkeypatch.setattr(sample, "CPU_STEPS", 2)
        assert all(row.value > 0 for row in STAGES["sample"](SMALL, told))


class TestEvaluate:
    def test_sizes_reach_the_measurements(self, told, monkeypatch):
        asked = []

        def pretend(name):
            return lambda *inputs: asked.append((name, inputs)) or Measured(2.0, 300.0)

        for name in ("neighbours", "frechet", "class_metrics", "inception"):
            monkeypatch.setattr(evaluate, name, pretend(name))
        rows = evaluate.evaluate_stage(Conditions(FULL, "cpu"), told)
        assert asked == [
            ("neighbours", (10_000, 2048)), ("frechet", (10_000, 2048)), ("class_metrics", (100, 500, 2048)),
            ("inception", (256, "cpu")), ("neighbours", (50_000, 2048))]
        assert [(row.what, row.unit, row.value, row.memory_mb) for row in rows] == [
            ("k-NN", "s", 2.0, 300.0), ("FID", "s", 2.0, 300.0), ("class metrics", "s", 2.0, 300.0),
            ("Inception", "images/s", 128.0, 300.0), ("k-NN", "s", 2.0, 300.0)]
        assert told.stages[0]["done"] == told.stages[0]["total"] == 5
        assert len(evaluate.evaluate_stage(HERE, told)) == 4

    def test_for_real_at_small_sizes(self, told):
        assert all(row.value > 0 for row in STAGES["evaluate"](SMALL, told))


def test_a_measurement_tells_its_time_and_its_memory():
    for _ in range(2):  # also where memory was taken and given back before
        found = measured(lambda: torch.ones(300 * 250_000).sum(), CPU)
        assert found.seconds > 0
        assert 250 < found.memory_mb < 700


class TestProbes:
    def test_the_matrix_rate_counts_a_product_as_twice_the_cube(self, monkeypatch):
        clock, products = [0.0], []
        monkeypatch.setattr("ltgen_bench.training.cost.time.perf_counter", lambda: clock[0])

        def mm(first, second):
            products.append(first.dtype)
            clock[0] += 0.5 if len(products) == 2 else 1.0
            return first

        monkeypatch.setattr(train.torch, "mm", mm)
        assert matrix_rate("bf16", CPU, 10) == pytest.approx(2 * 10**3 / 0.5), "the best"
        assert set(products) == {torch.bfloat16}

    def test_a_profile_names_the_kernels_that_take_the_time(self, told, monkeypatch):
        monkeypatch.setattr(kernel_profile, "WARM_UP", 1)
        monkeypatch.setattr(kernel_profile, "STEPS", 1)
        kernels = profiled(replace(SMALL, methods=("ddpm", "cfg")), told)
        ours = kernels[kernels["method"] == "ddpm"]
        assert set(kernels["method"]) == {"ddpm", "cfg"}
        assert len(ours) == kernel_profile.TOP
        assert ours["ms"].is_monotonic_decreasing
        assert 50 < ours["percent"].sum() <= 100.0001
        net = probing(loop_config("ddpm", "digits", 2), random_images(), CPU, 2).net
        convolutions = sum(isinstance(module, torch.nn.Conv2d) for module in net.modules())
        assert ours.set_index("kernel").loc["aten::convolution_backward", "calls"] == convolutions
        assert list(kernels.columns) == ["method", "kernel", "calls", "ms", "percent"]


def test_the_images_are_of_a_long_tail_and_the_recipe_is_the_methods_own():
    assert random_images().class_counts == list(COUNTS)
    assert random_images().image_shape == (3, 32, 32)
    config = loop_config("oc", "cpu", 8)
    assert config.method.settings["transfer"] == "t2h"
    assert (config.network.preset, config.train.batch_size, config.train.warmup_images) == ("cpu", 8, 0)
