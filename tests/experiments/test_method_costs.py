"""The cost of methods relative to ddpm: measured, read back with its provenance, and never a figure without one."""

import csv
from dataclasses import replace

import pytest

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.experiments.speed import STAGES
from ltgen_bench.experiments.speed import training_rates as rates
from ltgen_bench.experiments.speed.speed_rows import Conditions, Sizes, SpeedRow, comma_separated, costs_of, shipped_costs
from ltgen_bench.methods import METHODS
from ltgen_bench.training.cost import probing

HERE = Conditions(Sizes(), "cpu")
MACHINE = {"device": "cpu", "device_name": "a processor", "cpu": "a processor", "threads": 2, "torch": "2.99"}


def row(name, value, reference):
    return SpeedRow("methods", name, "digits-lt, batch 16", "images/s", value, against="ddpm", reference=reference)


class TestCosts:
    ROWS = (row("ddpm", 98.0, 100.0), row("cbdm", 50.0, 101.0))
    RATIOS = {row.what: row.ratio for row in ROWS}  # noqa: RUF012

    def test_the_cost_is_time_over_that_of_ddpm_whose_own_is_1(self):
        found = costs_of(self.RATIOS, self.ROWS[0].size, MACHINE)
        assert found.relative == {"ddpm": 1.0, "cbdm": pytest.approx(2.02)}
        assert found.where.startswith("digits-lt, batch 16; a processor, 2 threads, torch 2.99; ")
        assert "ddpm timed against itself gave 1.02" in found.where

    def test_the_file_says_what_was_measured(self, tmp_path):
        (tmp_path / "cost.csv").write_text(comma_separated(self.ROWS, MACHINE))
        read, known = shipped_costs(tmp_path / "cost.csv"), costs_of(self.RATIOS, self.ROWS[0].size, MACHINE)
        assert read.relative == pytest.approx(known.relative, rel=1e-5)
        assert read.where == known.where

    def test_the_shipped_file_states_machine_and_versions_and_is_of_known_methods(self):
        with (shipped_folder("results") / "method-cost.csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        stated = ("cpu", "threads", "torch", "diffusers", "python", "system", "size", "load")
        assert all(line[key] for line in lines for key in stated)
        assert {line["what"] for line in lines} <= set(METHODS)
        for line in lines:
            assert float(line["ratio"]) == pytest.approx(float(line["value"]) / float(line["reference"]), rel=1e-4)
        assert shipped_costs().relative["cbdm"] > 1.2, "a second pass on nine steps of ten costs something"


class TestStage:
    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr(rates, "SMALL_ROUNDS", {"least": 3, "most": 3})

    def test_it_measures_each_method_beside_ddpm(self, told):
        rows = STAGES["methods"](replace(HERE, methods=("cfg", "cbdm")), told)
        assert [(found.what, found.against, found.unit) for found in rows] == [
            (name, "ddpm", "images/s") for name in ("cfg", "cbdm")]
        assert all(found.value > 0 and found.reference > 0 for found in rows)
        assert told.stages[0]["done"] == told.stages[0]["total"] == 2

    def test_it_takes_the_time_of_the_method(self, told, monkeypatch):
        """A clock that ticks once an image in the network: a second pass on nine steps of ten makes 1.9 of one."""
        from ltgen_bench.diffusion.network import ConditionalUNet

        images, inner = [0], ConditionalUNet.forward

        def counted(self, x_t, *more, **named):
            images[0] += len(x_t)
            return inner(self, x_t, *more, **named)

        monkeypatch.setattr(ConditionalUNet, "forward", counted)
        monkeypatch.setattr("ltgen_bench.training.cost.time.perf_counter", lambda: float(images[0]))
        [found] = rates.methods_stage(replace(HERE, methods=("cbdm",)), told)
        assert 1 / found.ratio == pytest.approx(1.9)

    def test_what_cannot_train_is_told_and_left_out(self, told, monkeypatch):
        def refuse(config, *more):
            if config.method.name == "cfg":
                raise UserError("cfg: not here.")
            return probing(config, *more)

        monkeypatch.setattr(rates, "probing", refuse)
        assert [found.what for found in rates.methods_stage(replace(HERE, methods=("ddpm", "cfg")), told)] == ["ddpm"]
        assert told.messages == ["cfg is left out: cfg: not here."]
        assert told.stages[0]["done"] == told.stages[0]["total"]
