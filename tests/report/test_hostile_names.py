"""Text of users in pictures: it is drawn as it stands, whatever it is, and a picture that fails takes nothing else down."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from synthetic_runs import add_curve, write_run

from ltgen_bench.core.errors import Interrupted, MachineError, UserError
from ltgen_bench.report import class_plots, pictures, plots, sheets
from ltgen_bench.report.class_counts import class_count_plot
from ltgen_bench.report.pictures import attempt, picture_names, picture_text, plain_style
from ltgen_bench.report.write_report import report

HOSTILE = [r"$\bm{\tau}$", "$a_{$", "}{_^", "_leading", "__", "caf\udce9", "\x1b[31mred\x00", "x" * 300, "猫と犬", "a\nb\tc"]
DRAWN = ("fid", "recall", "label_accuracy", "downstream_accuracy", "downstream_recall")  # metrics with a plot
SHOWN = [r"$\bm{\tau}$", "$a_{$", "}{_^", " _leading", " __", "caf\\udce9", "\\x1b[31mred\\x00"]


def test_names_are_one_line_of_letters_that_the_font_has_and_stay_apart():
    shown = picture_names(HOSTILE)
    assert shown[: len(SHOWN)] == SHOWN
    assert max(map(len, shown)) <= 60
    assert shown[-1] == "a b c"
    assert shown[-2] in ("猫と犬", r"\u732b\u3068\u72ac")  # as far as a font with the letters is installed
    assert picture_names(shown) == shown
    alike = picture_names([f"{'x' * 200}{n}{'y' * 200}" for n in range(12)], 20)
    assert len(set(alike)) == 12
    assert max(map(len, alike)) <= 20
    assert picture_text("") == ""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A runs folder with labels and classes of hostile names, every kind of picture possible."""
    folder = tmp_path_factory.mktemp("hostile") / "runs"
    names = [name.encode("utf-8", "replace").decode() for name in HOSTILE]  # as tables can hold them
    for number, label in enumerate(names[:8]):
        for seed in (0, 1)[: 2 if number == 0 else 1]:
            made, record = write_run(folder, f"m{number}", seed, label=label, names=names, train_digest=f"{number:08x}",
                                     inception=number == 0, metrics=DRAWN)
            for file in made.rglob("scores.protocols.json"):
                table = np.random.default_rng(number).dirichlet(np.ones(10), 10).round(6).tolist()
                file.write_text(json.dumps({**json.loads(file.read_text()), "confusions": {"classifier": table}}))
            add_curve(made, record)
    return folder


def test_a_report_draws_everything_under_hostile_names(hostile, tmp_path, told):
    made = report(hostile, tmp_path, progress=told)
    assert told.messages == []
    drawn = {path.name.split("-")[0] for section in made.sections for path in section.plots.values()}
    assert drawn == {"samples", "recall", "downstream", "downstream.png", "groups.png", "fid", "confusion", "curve",
                     "samples.png"} - {"samples"}
    for section in made.sections:
        assert all(path.is_file() for path in section.plots.values())


def test_a_name_with_an_underscore_in_front_stands_in_the_picture(hostile, block_of):
    block = plots.for_pictures(block_of(hostile))
    key = next(key for key in block.keys if key[0] == "recall")
    texts = {ax.get_title() for ax in class_plots.class_figure(block, key).axes}
    assert {" _leading", r"$\bm{\tau}$", "}{_^"} <= texts
    assert len(texts) == len(block.entries) == 8
    few = replace(block, rows=block.rows[block.rows["entry"].isin(block.entries[:7])])
    (legend,) = class_plots.class_figure(few, key).legends
    assert [text.get_text() for text in legend.get_texts()] == few.entries


def test_pictures_of_one_run_are_drawn_under_hostile_names(tmp_path):
    images, labels = np.zeros((20, 1, 8, 8), np.uint8), np.arange(20) % 10
    counts = [100 - 9 * n for n in range(10)]
    groups = {"many@thirds": [0, 1, 2], "medium@thirds": [3, 4, 5], "few@thirds": [6, 7, 8, 9]}
    class_count_plot(counts, HOSTILE, groups, "$x_{$" * 50, tmp_path / "counts.png")
    sheets.sample_sheet(images, labels, HOSTILE, counts, tmp_path / "samples.png")
    log = [json.dumps({"images": n, "loss": 10.0 / n**2, **dict.fromkeys(HOSTILE[:7], 1.0)}) for n in range(1, 30)]
    (tmp_path / "log.jsonl").write_text("\n".join(log))
    sheets.loss_curve(tmp_path / "log.jsonl", tmp_path / "loss.png")
    for name in ("counts", "samples", "loss"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            picture.load()


def test_a_logarithmic_axis_has_plain_numbers(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(pictures, "write_atomically", lambda path, write: kept.append(path))
    monkeypatch.setattr(sheets, "save", lambda figure, path: kept.append(figure) or path)
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps({"images": n, "loss": 10.0 / n**2}) for n in range(1, 30)))
    sheets.loss_curve(tmp_path / "log.jsonl", tmp_path / "loss.png")
    with plain_style():
        kept[0].draw_without_rendering()
        (ax,) = kept[0].axes
        assert {"0.1", "1"} <= {label.get_text() for label in ax.get_yticklabels()}


def test_a_users_matplotlibrc_with_tex_changes_nothing(tmp_path, monkeypatch):
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True}):
        sheets.sample_sheet(np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1]), ["$a$", "_"], [2, 1], tmp_path / "x.png")
    assert (tmp_path / "x.png").is_file()


def test_large_images_of_many_classes_make_a_sheet_that_can_be_drawn(tmp_path):
    images, labels = np.zeros((100, 1, 320, 320), np.uint8), np.arange(100)
    sheets.sample_sheet(images, labels, [f"c{n}" for n in range(100)], [100] * 100, tmp_path / "x.png", per_class=1)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.height <= 31_000


@pytest.mark.parametrize("error", [ValueError("bad $"), MemoryError(), UserError("no"), RuntimeError("\x1b[31m")])
def test_a_picture_that_fails_is_told(error):
    def draw():
        raise error

    told = []
    assert attempt("the picture", draw, told.append) is None
    assert "the picture could not be drawn" in told[0]
    assert "\x1b" not in told[0]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), MachineError("the disk is full"), Interrupted("stopped"),
                                   KeyboardInterrupt()])
def test_a_full_disk_and_an_interruption_are_raised(error):
    def draw():
        raise error

    with pytest.raises(type(error)):
        attempt("the picture", draw, pytest.fail)


def test_a_report_goes_on_without_a_plot_that_fails(tmp_path, told, monkeypatch):
    write_run(tmp_path / "runs", "cbdm", 0, metrics=("fid", "downstream_accuracy"))
    def broken(*_):
        raise ValueError("no")

    monkeypatch.setattr(plots, "group_figure", broken)
    made = report(tmp_path / "runs", tmp_path / "out", progress=told)
    (section,) = made.sections
    assert "metrics by group of classes" not in section.plots
    assert "downstream accuracy by training set" in section.plots
    assert len(told.messages) == 1
    assert made.index.is_file()


def test_axes_of_figures_are_made_in_the_style():
    with plain_style():
        assert not Figure().subplots().set_title("$a$").get_parse_math()
