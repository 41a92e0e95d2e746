import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from synthetic_runs import COUNTS, NAMES, make_samples, write_run

from ltgen_bench.data.images import SampleSet
from ltgen_bench.records.store import find_runs, rows
from ltgen_bench.report import class_plots, framing, pictures, plots, sheets
from ltgen_bench.report.entries import blocks, measurements


def key_of(block, metric, train_data="", scope="class"):
    return next(key for key in measurements(block.rows, scope) if (key[0], key[2]) == (metric, train_data))


def axes():
    return Figure().subplots()


def test_class_data_are_means_over_seeds_from_head_to_tail(three_block):
    data = class_plots.class_data(three_block, key_of(three_block, "recall"))
    assert list(data.columns) == ["entry", "class_name", "class_count", "value"]
    assert data["entry"].unique().tolist() == ["cbdm", "cfg", "ddpm"]
    cfg = data[data["entry"] == "cfg"]
    assert cfg["class_count"].tolist() == COUNTS
    raw = three_block.rows
    of_class = raw[
        (raw["entry"] == "cfg") & (raw["metric"] == "recall") & (raw["scope"] == "class") & (raw["class_label"] == 4)
    ]
    assert cfg.loc[cfg["class_name"] == "4", "value"].item() == pytest.approx(of_class["value"].mean())


def test_the_class_plot_has_a_line_an_entry_on_a_logarithmic_axis(three_block):
    data = class_plots.class_data(three_block, key_of(three_block, "recall"))
    colors = framing.palette(three_block)
    ax = class_plots.draw_classes(data, axes(), colors=colors, ylabel="recall ↑")
    drawn = [line for line in ax.lines if len(line.get_xdata())]
    assert len(drawn) == 3
    assert ax.get_xscale() == "log"
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("recall ↑", "training images of the class (tail to head)")
    for line, name in zip(drawn, three_block.entries, strict=True):
        own = data[data["entry"] == name].sort_values("class_count")
        assert np.allclose(line.get_xdata(), own["class_count"])
        assert np.allclose(line.get_ydata(), own["value"])
        assert to_rgb(line.get_color()) == pytest.approx(colors[name])
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert {"6", "131"} <= set(labels)


def test_more_than_seven_methods_have_a_panel_each_with_the_others_pale(fifteen_block):
    key = key_of(fifteen_block, "recall")
    figure, data = class_plots.class_figure(fifteen_block, key), class_plots.class_data(fifteen_block, key)
    assert sorted(ax.get_title() for ax in figure.axes) == sorted(fifteen_block.entries)
    for ax in figure.axes:
        *others, own = ax.lines
        assert {line.get_color() for line in others} == {"0.85"}
        assert len(others) == 14
        expected = data[data["entry"] == ax.get_title()].sort_values("class_count")
        assert np.allclose(own.get_ydata(), expected["value"])
        assert ax.xaxis.get_tick_params()["labelbottom"] == (ax in figure.axes[-4:])
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 2


def test_class_sizes_that_lie_close_together_do_not_crowd_the_axis(tmp_path):
    counts = [500 - 4 * n for n in range(100)]
    write_run(tmp_path, "cbdm", 0, counts=counts, names=[f"c{n}" for n in range(100)], samples=False)
    (block,) = blocks(rows(find_runs(tmp_path)))
    ax = class_plots.draw_classes(
        class_plots.class_data(block, key_of(block, "recall")), axes(), colors=framing.palette(block), ylabel=""
    )
    ticks = ax.get_xticks()
    assert len(ticks) < 12
    assert (np.diff(np.log(ticks)) > np.log(1.2)).all()


def test_the_downstream_plot_shows_the_real_training_set_as_a_dashed_line(three_block):
    figure = class_plots.class_figure(three_block, key_of(three_block, "downstream_recall", "synthetic"))
    (ax,) = figure.axes
    (real,) = [line for line in ax.lines if line.get_color() == class_plots.REAL]
    assert (real.get_label(), real.get_linestyle()) == ("trained on real-lt", "--")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["cbdm", "cfg", "ddpm", "trained on real-lt"]


def test_group_data_are_scaled_and_have_their_baseline(three_block):
    data = plots.group_data(three_block)
    kid = data[(data["panel"] == "KID ↓ (classifier)") & (data["entry"] == "ddpm")]
    raw = three_block.rows
    few = raw[
        (raw["metric"] == "kid")
        & (raw["extractor"] == "classifier")
        & (raw["scope"] == "few@thirds")
        & (raw["entry"] == "ddpm")
    ]
    assert kid.loc[kid["group"] == "few", "value"].item() == pytest.approx(few["value"].mean())
    assert kid.loc[kid["group"] == "few", "baseline"].item() == pytest.approx(few["floor_half"].iloc[0])
    assert not data["panel"].str.contains("real-lt").any()


def drawn(ax, name):
    """The points of the markers labelled `name`: x by row."""
    bars = next(bars for bars in ax.containers if bars.get_label() == name)
    return bars.lines[0].get_xdata()


def test_a_row_is_a_method_and_a_marker_a_group(three_seeds, tmp_path):
    write_run(tmp_path, "aaa", 0, inception=False)  # has no panel of Inception's
    for method in ("cbdm", "ddpm"):
        write_run(tmp_path, method, 0, inception=True)
    (block,) = blocks(rows(find_runs(tmp_path)))
    data, entries = plots.group_data(block), plots.row_order(block)
    panel = data[data["panel"] == "FID ↓ (inception)"]
    ax = plots.draw_groups(panel, axes(), entries=entries)
    for group in ("few", "medium", "many"):
        own = panel[panel["group"] == group].set_index("entry")["value"]
        assert drawn(ax, group) == pytest.approx(own.reindex(entries).tolist(), nan_ok=True)
        assert np.isnan(drawn(ax, group)[entries.index("aaa")])
    assert [text.get_text() for text in ax.get_yticklabels()] == entries
    assert ax.get_title() == "FID ↓\n(inception)"


def test_the_best_method_on_the_few_classes_is_on_top_of_all_panels(three_block):
    data, order = plots.group_data(three_block), plots.row_order(three_block)
    assert sorted(order) == sorted(three_block.entries)
    few = data[(data["panel"] == data["panel"].iloc[0]) & (data["group"] == "few")].set_index("entry")["value"]
    assert data["panel"].iloc[0].startswith("FID ↓")
    assert few[order].is_monotonic_increasing
    figure = plots.group_figure(three_block)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == order
    for ax in figure.axes:
        assert drawn(ax, "few")[0] == data.set_index(["entry", "group"]).loc[(order[0], "few")].set_index("panel")["value"].get(
            ax.get_title().replace("\n(", " ("))
        assert ax.get_ylim()[0] > ax.get_ylim()[1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["few", "medium", "many"]


def test_lines_of_groups_are_the_spread_over_seeds_and_the_baselines(three_block):
    data = plots.group_data(three_block)
    panel = data[data["panel"] == "KID ↓ (classifier)"]
    ax = plots.draw_groups(panel, axes(), entries=three_block.entries)
    few = panel[panel["group"] == "few"].set_index("entry").loc[three_block.entries]
    (spread,) = ax.containers[0].lines[2]
    ends = np.array([segment[:, 0] for segment in spread.get_segments()])
    assert np.allclose(np.diff(ends)[:, 0] / 2, few["sd"])
    raw = three_block.part(key_of(three_block, "kid", scope="few@thirds"), "few@thirds")
    assert few["sd"].tolist() == pytest.approx(raw.groupby("entry")["value"].std()[few.index].tolist())
    lines = [line for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert lines[0].get_xdata()[0] == few["baseline"].iloc[0]
    assert len({line.get_linestyle() for line in lines}) == len({line.get_color() for line in lines}) == 3


def test_fid_against_recall_has_a_named_dot_a_method(three_block):
    keys = [key_of(three_block, metric, scope="all") for metric in ("fid", "recall")]
    data = plots.pair_data(three_block, *keys)
    assert list(data.columns) == ["entry", "seed", "fid", "recall"]
    assert len(data) == 9
    ax = plots.draw_pair(data, axes(), metrics=("fid", "recall"), extractor="classifier")
    means = data.groupby("entry", sort=False)[["fid", "recall"]].mean()
    assert np.allclose(ax.lines[0].get_xydata(), means)
    assert {text.get_text(): text.xy for text in ax.texts} == {name: tuple(row) for name, row in means.iterrows()}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("FID ↓ (classifier)", "recall ↑ (classifier)")
    assert [key for key in measurements(three_block.rows) if key[:2] == ("recall", "inception")] == []


def test_downstream_markers_are_means_a_row_a_method(three_block):
    data = plots.downstream_data(three_block)
    assert data["train_data"].unique().tolist() == ["real-lt", "synthetic", "both"]
    ax = plots.draw_downstream(data, axes())
    means = data.groupby(["train_data", "entry"])["value"].mean()
    entries = [text.get_text() for text in ax.get_yticklabels()]
    assert sorted(entries) == sorted(three_block.entries)
    for name in ("real-lt", "synthetic", "both"):
        assert drawn(ax, name) == pytest.approx(means[name][entries].tolist())
    assert means["synthetic"][entries].is_monotonic_decreasing


@pytest.fixture(scope="module")
def fifteen_block(three_block):
    """Fifteen methods: those of `three_block` under five names each."""
    copies = [three_block.rows.assign(entry=three_block.rows["entry"] + f"-method-{n}") for n in range(5)]
    return replace(three_block, rows=pd.concat(copies, ignore_index=True))


def shown_texts(figure):
    """Every text that is drawn; of tick labels those within the limits of their axis."""
    own = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for ax in figure.axes:
        own += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            own += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in own if text.get_text() and text.get_visible()]


def test_no_names_and_numbers_of_fifteen_methods_overlap(fifteen_block):
    fid, recall = (key_of(fifteen_block, metric, scope="all") for metric in ("fid", "recall"))
    for figure in (plots.group_figure(fifteen_block), plots.downstream_figure(fifteen_block),
                   plots.pair_figure(fifteen_block, fid, recall),
                   class_plots.class_figure(fifteen_block, key_of(fifteen_block, "recall"))):
        figure.draw_without_rendering()
        texts = shown_texts(figure)
        assert sum("-method-" in text.get_text() for text in texts) >= 15
        boxes = [Text.get_window_extent(text).shrunk(0.9, 0.9) for text in texts]  # of names, without their leaders
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_every_plot_says_data_set_fingerprint_protocols_and_seeds(three_block):
    fid, recall = (key_of(three_block, metric, scope="all") for metric in ("fid", "recall"))
    figure = plots.pair_figure(three_block, fid, recall)
    text = " ".join(figure.get_supxlabel().split())
    assert text.startswith(f"digits-lt · fingerprint 0123456789abcdef · protocols {fid[3]}, {recall[3]} · seeds 0, 1, 2 · ")
    groups = " ".join(plots.group_figure(three_block).get_supxlabel().split())
    assert all(key[3] in groups for key in measurements(three_block.rows) if key[0] in ("fid", "coverage"))
    by_class = key_of(three_block, "recall")
    assert f"protocol {by_class[3]}" in " ".join(class_plots.class_figure(three_block, by_class).get_supxlabel().split())
    downstream = key_of(three_block, "downstream_accuracy", "synthetic", scope="all")
    assert f"protocol {downstream[3]}" in " ".join(plots.downstream_figure(three_block).get_supxlabel().split())


def test_nothing_is_cut_off_or_overlaps(three_block):
    for figure in (
        plots.group_figure(three_block),
        plots.downstream_figure(three_block),
        class_plots.class_figure(three_block, key_of(three_block, "recall")),
    ):
        figure.draw_without_rendering()
        frame = figure.bbox
        (legend,) = figure.legends
        boxes = [ax.get_tightbbox() for ax in figure.axes]
        for box in [*boxes, legend.get_window_extent()]:
            assert box.x0 >= frame.x0 - 1
            assert box.x1 <= frame.x1 + 1
            assert box.y1 <= frame.y1 + 1
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])
            assert not box.overlaps(legend.get_window_extent())


def test_all_plots_are_written_and_are_pictures(three_block, tmp_path):
    made = pictures.save_drawings(plots.drawings(three_block), tmp_path, pytest.fail)
    assert {path.name for path in made.values()} == {
        "recall-by-class-classifier.png",
        "downstream-recall-by-class-synthetic.png",
        "downstream-recall-by-class-both.png",
        "groups.png",
        "fid-recall-classifier.png",
        "downstream.png",
    }
    for path in made.values():
        with Image.open(path) as picture:
            assert picture.width > 500
    keys = [key_of(three_block, metric, scope="all") for metric in ("fid", "recall")]
    again = pictures.save(plots.pair_figure(three_block, *keys), tmp_path / "again.png")
    assert again.read_bytes() == made["FID against recall (classifier)"].read_bytes()


def test_a_grid_shows_the_first_images_of_each_class_enlarged_without_smoothing():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1).repeat(8, axis=2).repeat(8, axis=3)
    labels = np.array([0, 1, 0, 1, 1, 0])
    canvas = sheets.grid(images, labels, [1, 0], 2)
    tile, gap = 40, sheets.GAP
    assert canvas.shape == (2 * tile + gap, 2 * tile + gap, 3)
    assert (canvas[:tile, :tile] == 1).all()
    assert (canvas[:tile, tile + gap :] == 3).all()
    assert (canvas[tile + gap :, tile + gap :] == 2).all()
    assert (canvas[tile : tile + gap] == 255).all()


def test_a_class_with_too_few_images_leaves_white_tiles():
    canvas = sheets.grid(np.zeros((1, 3, 32, 32), np.uint8), np.array([0]), [0, 1], 2)
    assert (canvas[:64, :64] == 0).all()
    assert (canvas[:, 66:] == 255).all()
    assert (canvas[66:] == 255).all()


def test_the_sheet_of_a_run_is_pixel_for_pixel(tmp_path):
    samples = make_samples()
    path = sheets.sample_sheet(samples.images, samples.labels, NAMES, COUNTS, tmp_path / "samples.png")
    expected = sheets.grid(samples.images, samples.labels, list(range(10)), 10)
    with Image.open(path) as picture:
        drawn = np.asarray(picture.convert("RGB"))
    left = drawn.shape[1] - expected.shape[1] - 8
    assert np.abs(drawn[8 : 8 + expected.shape[0], left : left + expected.shape[1]].astype(int) - expected).max() <= 1


def test_a_sheet_of_many_classes_picks_a_hundred_from_head_to_tail():
    order = sheets._shown([1000 - n for n in range(365)])
    assert len(order) == 100
    assert (order[0], order[-1]) == (0, 364)
    assert sheets.head_to_tail([5, 9, 9, 1]) == [1, 2, 0, 3]


def test_methods_are_compared_on_the_images_of_the_same_label_and_seed():
    a = make_samples(0)
    order = np.random.default_rng(0).permutation(len(a))
    shuffled = SampleSet(a.images[order] // 2, a.labels[order], a.seeds[order])
    fewer = shuffled.take(np.arange(60))
    b = SampleSet(fewer.images, fewer.labels, shuffled.seeds[:60])
    both = sheets.on_same_seeds({"a": a, "b": b})
    assert len(both["a"]) == len(both["b"]) == 60
    assert (both["a"].labels == both["b"].labels).all()
    assert (both["a"].images // 2 == both["b"].images).all()


def test_the_sheet_of_methods_has_a_titled_block_each(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(sheets, "save", lambda figure, path: kept.append(figure) or path)
    sheets.methods_sheet(
        {"ddpm": make_samples(0), "cbdm": make_samples(1)}, NAMES, COUNTS, tmp_path / "x.png", "digits-lt"
    )
    (figure,) = kept
    assert [ax.get_title() for ax in figure.axes] == ["ddpm", "cbdm"]
    texts = [text.get_text() for text in figure.texts]
    assert texts[:2] == ["0 (131)", "1 (94)"]
    assert texts[-1] == "digits-lt"


def write_log(path, steps, broken=""):
    lines = [
        json.dumps(
            {"images": 64 * n, "loss": 1.0 / n, "diffusion": 0.5 / n, "learning_rate": 1e-3, "images_per_second": 9.0}
        )
        for n in range(1, steps + 1)
    ]
    path.write_text("\n".join(lines) + "\n" + broken)
    return path


def test_the_loss_curve_reads_terms_and_ignores_a_line_cut_short(tmp_path):
    log = sheets.read_log(write_log(tmp_path / "log.jsonl", 100, '{"images": 6464, "lo'))
    assert len(log) == 100
    data = sheets.loss_data(log)
    assert data["term"].unique().tolist() == ["loss", "diffusion"]
    loss = data[data["term"] == "loss"]
    assert loss["value"].tolist() == [1.0 / n for n in range(1, 101)]
    assert loss["smooth"].tolist()[4] == pytest.approx(np.mean([1 / 4, 1 / 5]))


def test_a_term_that_is_the_whole_loss_is_drawn_once(tmp_path):
    log = sheets.read_log(write_log(tmp_path / "log.jsonl", 20))
    assert sheets.loss_data(log.assign(diffusion=log["loss"]))["term"].unique().tolist() == ["loss"]


def test_the_loss_curve_is_a_picture_and_nothing_logged_is_none(tmp_path):
    out = sheets.loss_curve(write_log(tmp_path / "log.jsonl", 50), tmp_path / "loss.png")
    with Image.open(out) as picture:
        assert picture.size == (832, 468)
    (tmp_path / "empty.jsonl").write_text("")
    assert sheets.loss_curve(tmp_path / "empty.jsonl", tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()
    assert sheets.loss_curve(write_log(tmp_path / "one.jsonl", 1), tmp_path / "one.png") is not None
