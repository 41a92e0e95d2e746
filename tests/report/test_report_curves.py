"""Curves of quality against images and cost in the report: means over seeds, at the positions that all seeds have."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from synthetic_runs import PLACES, add_curve, write_run

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.records.curve import load_curve, save_curve
from ltgen_bench.records.store import find_runs
from ltgen_bench.report.curve_plots import COLUMNS, curve_data, draw_curve, drawings
from ltgen_bench.report.framing import palette
from ltgen_bench.report.write_report import report

METRICS = ("fid", "recall", "label_accuracy", "downstream_accuracy")  # those with a curve among their plots


@pytest.fixture
def curves(tmp_path, block_of):
    """(block, runs, folder): cbdm with curves of two seeds of three, ddpm with one of its three, cfg with none."""
    for method, seed in (("cbdm", 0), ("cbdm", 1), ("cbdm", 2), ("ddpm", 0), ("cfg", 0)):
        made = write_run(tmp_path / "runs", method, seed, samples=False, metrics=METRICS)
        if (method, seed) in (("cbdm", 0), ("cbdm", 1)):
            add_curve(*made, pace=0.01 + 0.01 * seed, places=PLACES if seed else (500, *PLACES))
        if method == "ddpm":
            add_curve(*made, flops=1e6)
    return block_of(tmp_path / "runs"), find_runs(tmp_path / "runs"), tmp_path


def fid(data, entry):
    return data[(data["entry"] == entry) & (data["metric"] == "fid")]


def test_the_data_are_means_and_spreads_over_the_seeds_that_have_a_curve(curves):
    block, runs, _ = curves
    data = curve_data(block, runs)
    assert list(data.columns) == COLUMNS
    assert data["entry"].unique().tolist() == ["cbdm", "ddpm"]
    own = fid(data, "cbdm")
    assert own["images"].tolist() == list(PLACES), "500 is a position of one seed only"
    assert own["seeds"].tolist() == [2, 2, 2]
    values = block.rows[(block.rows["metric"] == "fid") & (block.rows["scope"] == "all") & (block.rows["entry"] == "cbdm")]
    two = values[values["seed"] < 2]["value"]
    assert own["mean"].iloc[-1] == pytest.approx(two.mean())
    assert own["mean"].iloc[0] == pytest.approx(44.8 * two.mean())
    assert own["sd"].iloc[-1] == pytest.approx(np.std(two, ddof=1))
    assert own["flops"].tolist() == [images * 2e6 for images in PLACES]
    assert own["seconds"].tolist() == pytest.approx([images * 0.015 for images in PLACES]), "mean over the seeds"
    assert fid(data, "ddpm")["sd"].isna().all(), "one seed has no spread"


def test_a_curve_of_other_protocols_is_not_drawn(curves):
    block, runs, _ = curves
    for run in runs:
        file = run.files.curve
        if file.is_file():
            frame = load_curve(file)
            save_curve(frame.assign(protocol="00000000"), file)
    assert curve_data(block, runs).empty


def test_a_damaged_curve_is_told_and_left_out(curves, told):
    block, runs, _ = curves
    file = next(run.files.curve for run in runs if (run.files.curve).is_file())
    file.write_text("broken")
    curve_data(block, runs, told)
    assert str(file) in told.messages[0]


def test_each_panel_has_a_line_an_entry_over_its_cost_in_the_colours_of_the_block(curves):
    block, runs, _ = curves
    data = curve_data(block, runs)
    own = data[data["metric"] == "fid"]
    ax = draw_curve(own, Figure().subplots(), cost="flops", colors=palette(block), ylabel="FID", scale=2.0, log=True)
    assert [line.get_label() for line in ax.lines] == ["cbdm", "ddpm"]
    for line, entry in zip(ax.lines, ("cbdm", "ddpm"), strict=True):
        part = fid(data, entry)
        assert np.allclose(line.get_xdata(), part["flops"])
        assert np.allclose(line.get_ydata(), 2 * part["mean"])
        assert to_rgb(line.get_color()) == pytest.approx(palette(block)[entry])
    assert len(ax.collections) == 1, "one seed has no band"
    assert (ax.get_xlabel(), ax.get_yscale()) == ("training FLOPs", "log")


def test_plots_and_table_are_written_and_shown_and_without_a_curve_nothing_is(curves, one_block, one_seed, monkeypatch):
    monkeypatch.setattr("ltgen_bench.report.write_report.drawings", lambda block: {})  # the other plots
    block, runs, folder = curves
    made = report(folder / "runs", folder / "report")
    plots = {title: path for title, path in made.sections[0].plots.items() if path.name.startswith("curve")}
    assert [title for title in plots if "FID" in title] == ["FID (classifier) against images seen and cost"]
    assert sorted(path.name for path in plots.values()) == [
        "curve-downstream_accuracy-cnn-8x8-synthetic.png", "curve-fid-classifier.png",
        "curve-label_accuracy-classifier.png", "curve-recall-classifier.png"]
    assert all(path.stat().st_size > 5_000 for path in plots.values())
    assert "FID (classifier) against images seen" in made.index.read_text()
    table = folder / "report" / "tables" / "digits-lt" / "curves.csv"
    assert table in made.files
    written = pd.read_csv(table)
    assert list(written.columns) == COLUMNS
    assert set(written["metric"]) == set(curve_data(block, runs)["metric"])
    none = curve_data(one_block, find_runs(one_seed))
    assert none.empty
    assert drawings(one_block, none) == {}


def test_a_curve_is_read_back_to_the_last_digit_and_a_foreign_file_refused(curves, tmp_path):
    _, runs, _ = curves
    run = next(run for run in runs if (run.files.curve).is_file())
    frame = load_curve(run.files.curve)
    save_curve(frame, tmp_path / "curve.csv")
    pd.testing.assert_frame_equal(load_curve(tmp_path / "curve.csv"), frame)
    path = tmp_path / "curve.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DamagedError, match=r"1 of .* rows"):
        load_curve(path)
    path.write_text("images,flops\n1,2\n")
    with pytest.raises(UserError, match=re.escape(f"{path} is not the curve of a run")):
        load_curve(path)


def test_commands_that_made_several_runs_are_told_once(tmp_path):
    from ltgen_bench.report.provenance import run_lines

    records = []
    for method, seed in (("cbdm", 1), ("cbdm", 0), ("ddpm", 0)):
        _, record = write_run(tmp_path, method, seed, samples=False)
        command = record.command if method == "ddpm" else "ltgen-bench grid --methods cbdm --seeds 0,1"
        records.append(record.model_copy(update={"command": command}))
    lines = run_lines(records)
    assert [(command, len(costs)) for command, costs in lines] == [
        ("ltgen-bench grid --methods cbdm --seeds 0,1", 2), ("ltgen-bench run --method ddpm --seed 0", 1)]
    assert [cost[:13] for cost in lines[0][1]] == ["cbdm, seed 0,", "cbdm, seed 1,"]
    assert lines[1][1][0].startswith("seed 0, ")
