"""Pictures of thirteen methods: everything is named, nothing lies over each other, and grey suffices."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Annotation, Text
from PIL import Image

from ltgen_bench.report.pictures import plain_style, save
from ltgen_bench.report.suite_plots import (
    COLORS,
    LINES,
    MARKERS,
    VERDICTS,
    class_count_figure,
    cost_figure,
    difference_figure,
    rank_figure,
    win_figure,
)

METHODS = ("cfg", "ddpm", "cbdm", "cbdm-finetune", "oc", "coral", "ccua", "cm", "resample", "reweight", "classifier-guidance",
           "diffrop-style", "$igd$_ml")
COUNTS = (5, 14, 39, 100)
WIDTHS = (9.0, 4.2)  # panels beside and below each other


def differences(seed):
    rng = np.random.default_rng(seed)
    estimate = rng.normal(size=12)
    half = np.array([0.3] * 11 + [40.0])
    data = pd.DataFrame({"entry": METHODS[1:], "estimate": estimate, "low": estimate - half, "high": estimate + half,
                         "verdict": ["better", "worse", "equivalent", "open"] * 3, "margin": 0.1})
    data.loc[3, ["estimate", "low", "high"]] = np.nan
    return data


def ranks():
    rank = np.arange(1.0, 14)[::-1]
    return pd.DataFrame({"entry": METHODS, "rank": rank, "low": np.maximum(rank - 2, 1), "high": np.minimum(rank + 2, 13)})


def wins():
    shares = np.tril(np.random.default_rng(0).uniform(size=(13, 13)), -1)
    shares = shares + np.triu(1 - shares.T, 1)
    np.fill_diagonal(shares, np.nan)
    return pd.DataFrame(shares, METHODS, METHODS)


def costs():
    """All but one of nearly one quality and cost, so that names have to move."""
    quality = np.linspace(0.1, 0.12, 13)
    quality[0] = -1
    data = pd.DataFrame({"entry": METHODS, "quality": quality, "cost": 1 + np.linspace(0, 0.1, 13)})
    return data.assign(low=quality - 0.1, high=quality + 0.1, front=[True] * 3 + [False] * 10)


def by_count(methods):
    rows = [(name, count, 1 / count + place / 100) for place, name in enumerate(methods) for count in COUNTS]
    data = pd.DataFrame(rows, columns=["entry", "class_count", "value"])
    return data.assign(low=data["value"] * 0.9, high=data["value"] * 1.1)


def two(data):
    return {"few classes": data, "all classes": data}


def pictures(width):
    both = {"few classes": differences(0), "all classes": differences(1)}
    yield difference_figure(both, label="FID to cfg", larger_is_better=False, footer="protocol 01234567", width=width)
    yield rank_figure(two(ranks()), width=width)
    yield win_figure(two(wins()), width=width)
    yield cost_figure(two(costs()), label="skill", cost_label="time", width=width)
    yield class_count_figure(by_count(METHODS), label="KID", baseline="cfg", width=width)
    yield class_count_figure(by_count(METHODS[:7]), label="KID", width=width)


@plain_style()
def texts(figure):
    """(text, box) of every text that is drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    found, beyond = {}, set()
    for axis in [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]:  # ticks beyond the ends exist, but are not drawn
        low, high = sorted(axis.get_view_interval())
        beyond |= {id(tick.label1) for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible() and id(text) not in beyond:
            kind = Text if isinstance(text, Annotation) else type(text)  # without the leader
            found[id(text)] = (text.get_text(), kind.get_window_extent(text, renderer))
    return list(found.values()), figure.bbox


@pytest.mark.parametrize("width", WIDTHS)
def test_all_methods_are_named_within_the_picture_and_no_names_overlap(width):
    for figure in pictures(width):
        found, whole = texts(figure)
        left_out = set(METHODS) - {text.strip() for text, _ in found}
        assert left_out in (set(), {"cfg"}, set(METHODS[7:]))  # the baseline of differences; the picture of seven
        for (first, a), (second, b) in combinations(found, 2):
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
            assert not overlap, (first, second)
        assert [text for text, box in found if box.x0 < -1 or box.x1 > whole.x1 + 1 or box.y0 < -1 or box.y1 > whole.y1 + 1] == []


def test_rows_are_sorted_from_the_best_and_what_is_not_computed_is_last():
    for larger in (True, False):
        data = differences(0)
        figure = difference_figure({"all": data}, label="x", larger_is_better=larger)
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        known = data.dropna().sort_values("estimate", ascending=not larger)["entry"].tolist()
        assert names == [*known, data["entry"][3]]
        assert "not computed" in [text.get_text() for text in figure.axes[0].texts]
        assert figure.axes[0].yaxis_inverted()
    assert [label.get_text() for label in rank_figure({"": ranks()}).axes[0].get_yticklabels()] == list(METHODS)[::-1]


def test_one_wide_interval_is_cut_with_arrows_and_hides_no_other():
    ax = difference_figure({"all": differences(0)}, label="x", larger_is_better=True).axes[0]
    low, high = ax.get_xlim()
    assert high - low < 10
    assert {line.get_marker() for line in ax.get_lines()} >= {"<", ">"}


def test_verdicts_and_lines_differ_in_grey():
    """No two have one marker and fill; seven lines have seven markers and dashes."""
    assert len({(marker, filled) for marker, _, filled in VERDICTS.values()}) == len(VERDICTS)
    assert len(COLORS) == len(set(MARKERS)) == len(set(LINES)) == 7
    assert all(sum(to_rgb(color)) < 2.5 for color in COLORS)


def test_at_most_seven_colours_are_in_a_panel():
    for methods, panels in ((METHODS[:7], 1), (METHODS[:8], 8)):
        axes = class_count_figure(by_count(methods), label="KID", baseline="cfg").axes
        assert len(axes) == panels
        for ax in axes:
            assert len({to_rgb(line.get_color()) for line in ax.get_lines()}) <= 7


def test_pictures_of_little_or_nothing(tmp_path):
    one = differences(0)[:1]
    none = one.assign(estimate=np.nan, low=np.nan, high=np.nan, verdict=None)
    no_cost = costs().assign(cost=np.nan, front=False)
    short = by_count(METHODS[:2])
    unknown = short.assign(value=short["value"].where(short["entry"] == "cfg"))
    for place, figure in enumerate([
        difference_figure({"all": one.assign(low=np.nan, high=np.nan)}, label="x", larger_is_better=True),
        difference_figure({"all": none}, label="x", larger_is_better=True), rank_figure({"all": ranks()[:2]}),
        win_figure({"all": wins().iloc[:2, :2]}), cost_figure({"all": no_cost}, label="q", cost_label="c"),
        cost_figure({"all": costs().assign(cost=np.geomspace(1, 1e4, 13), low=np.nan)}, label="q", cost_label="c"),
        class_count_figure(unknown, label="KID"),
        class_count_figure(by_count(METHODS[:8]).assign(low=np.nan, high=np.nan), label="KID"),
    ]):
        path = save(figure, tmp_path / f"{place}.png")
        assert np.asarray(Image.open(path).convert("L")).std() > 5
