"""Floors beside scores of their own n, marks of few images, what is best, and the one unit of KID."""

import csv
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import make_record, score_rows

from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.scores import LATER, Scores
from ltgen_bench.records.published import published
from ltgen_bench.report import plots
from ltgen_bench.report.baselines import REAL_TEST, better_than_real, distance_from_best
from ltgen_bench.report.columns import score_cells
from ltgen_bench.report.latex_table import latex
from ltgen_bench.report.numbers import MISSING, facts, show
from ltgen_bench.report.papers import papers_tables
from ltgen_bench.report.ranking import rank
from ltgen_bench.report.run_table import score_table
from ltgen_bench.report.table_formats import comma_separated, markdown
from ltgen_bench.report.tables import class_table, comparison_table, group_table


def key_of(block, metric, extractor="classifier"):
    return next(key for key in block.keys if key[:2] == (metric, extractor))


def changed(block, name, **values):
    """The block with other values in the rows of a metric."""
    frame = block.rows.copy()
    of_metric = frame["metric"] == name
    for column, value in values.items():
        frame.loc[of_metric, column] = value
    return replace(block, rows=frame)


def column(table, key, kinds):
    place = next(at for at, head in enumerate(table.heads) if head.key.startswith(f"{key[0]}:{key[1]}"))
    return [(row.kind, row.cells[0].text, row.cells[place].text) for row in table.rows if row.kind in kinds]


class TestFloors:
    def test_a_floor_of_another_n_stands_beside_scores_of_that_n_alone(self, one_block):
        block = changed(one_block, "fid", half_n=671, at_half=33.0)
        key = key_of(block, "fid")
        table = comparison_table(block)
        rows = column(table, key, ("baseline", "baseline-n", "score-at-n"))
        assert rows[0] == ("baseline", "baseline: real halves", MISSING)
        assert ("baseline-n", "n of real halves", "671") in rows
        assert [text for kind, _, text in rows if kind == "score-at-n"] == ["33.00", "33.00"]
        real = show("fid", block.part(key, "all")["floor_half"].iloc[0])
        assert rows[-2] == ("baseline", "baseline: real halves, at that n", real)
        assert any("another number of images" in note for note in table.notes)
        lines = list(csv.DictReader(io.StringIO(comma_separated(table))))
        assert [line["row"] for line in lines].count("score-at-n") == 2
        groups = group_table(block, key)
        assert next(row.kind for row in groups.rows if row.footer) != "score-at-n"

    def test_floors_of_unknown_n_are_left_out_unless_it_does_not_matter(self, one_block):
        frame = one_block.rows.assign(half_n=pd.NA, test_n=pd.NA)
        block = replace(one_block, rows=frame)
        table = comparison_table(block)
        assert [text for _, _, text in column(table, key_of(block, "fid"), ("baseline",))] == [MISSING, MISSING]
        assert all(text not in ("", MISSING) for _, _, text in column(table, key_of(block, "kid"), ("baseline",)))
        assert any("earlier version" in note for note in table.notes)

    def test_the_terminal_prints_the_score_at_the_floors_n_in_brackets(self):
        rows = [{**row, "half_n": 671, "at_half": 33.0} if row["metric"] == "fid" else row for row in score_rows()]
        text = score_table(make_record(), Scores.from_rows(rows, {}), 120, color=False)
        line = next(line for line in text.splitlines() if line.startswith(" FID"))
        assert "2.00 (33.00)" in line
        assert "671 for real halves" in " ".join(text.split())

    def test_group_plots_have_a_ring_of_the_floors_n_in_each_row(self, one_block):
        data = plots.group_data(changed(one_block, "fid", half_n=100, at_half=40.0))
        assert set(data.loc[data["metric"] == "fid", "at_n"]) == {40.0}
        assert data.loc[data["metric"] == "recall", "at_n"].isna().all()
        _, (ax,) = plots.canvas(4.0, 3.0)
        panel = data[data["panel"] == "FID ↓ (classifier)"]
        plots.draw_groups(panel, ax, entries=one_block.entries)
        dots = np.concatenate([one.get_offsets() for one in ax.collections if len(one.get_offsets())])
        assert 40.0 in dots[:, 0]

    def test_a_table_of_an_earlier_version_is_read_without_the_columns(self, tmp_path):
        path = tmp_path / "scores.csv"
        Scores.from_rows(score_rows(), {}).save(path)
        whole = pd.read_csv(path, dtype=str, keep_default_na=False)
        whole.drop(columns="half_sd").to_csv(path, index=False)
        assert Scores.load(path).table["half_sd"].isna().all()
        whole.drop(columns=list(LATER)).to_csv(path, index=False)
        table = Scores.load(path).table
        assert table["half_n"].isna().all()
        assert set(table["few"]) == {""}


class TestMarks:
    def test_a_marked_score_is_marked_in_every_form_with_one_sentence(self, one_block):
        block = one_block
        for metric in ("is", "precision", "recall"):
            block = changed(block, metric, few="10 generated", wanted=100)
        recall = key_of(block, "recall")
        for table in (comparison_table(block), group_table(block, recall), class_table(block, recall)):
            marked = [cell for row in table.rows for cell in row.cells if cell.few]
            assert marked
            assert all(cell.text.endswith("°") for cell in marked)
            assert sum("say much" in note for note in table.notes) == 1
            assert "°" in markdown(table)
            assert r"$^\circ$" in latex(table)
            assert "10 generated" in comma_separated(table)
        assert "°" not in comma_separated(comparison_table(one_block))

    def test_the_run_table_marks_them_and_says_what_is_lacking_once(self):
        rows = [{**row, "few": "10 generated", "wanted": 100} if row["metric"] == "precision" else row for row in score_rows()]
        for row in rows:
            if row["metric"] in ("recall", "coverage") and row["scope"] == "all":
                row |= {"value": float("nan"), "note": "not available: needs n >= 6 images, has 4 generated"}
        text = " ".join(score_table(make_record(), Scores.from_rows(rows, {}), 200, color=False).split())
        assert "° " in text
        assert text.count("too few images") == 1
        assert "coverage need n >= 6" in text

    def test_a_floor_of_few_images_is_marked_too(self, one_block):
        block = changed(one_block, "recall", test_n=45, wanted=100)
        texts = [text for _, _, text in column(comparison_table(block), key_of(block, "recall"), ("baseline",))]
        assert [text.endswith("°") for text in texts] == [False, True]


def frame_of(metric, values, floor, at=np.nan, n=100):
    rows = pd.DataFrame({"value": values, "floor_test": floor, "test_n": n, "at_test": at})
    return distance_from_best(rows, metric).tolist()


class TestBest:
    @pytest.mark.parametrize(("metric", "target"), [
        ("diversity", None), ("vendi", None), ("density", 1.0), ("memorised", 0.0), ("near_copies", 0.05)])
    def test_what_noise_or_a_collapse_would_win_is_best_nearest_to_real_images(self, metric, target):
        assert facts(metric).direction == "nearest"
        assert facts(metric).target == target
        assert facts(metric).arrow == ("≈ real" if target is None else f"≈ {target:g}")

    def test_distances_are_from_the_target_or_from_real_images_of_the_same_n(self):
        assert frame_of("diversity", [0.34, 0.08, 0.01], 0.09) == pytest.approx([0.25, 0.01, 0.08])
        assert frame_of("vendi", [9.0], 1.6, at=1.5) == pytest.approx([0.1])
        assert np.isnan(frame_of("vendi", [9.0], 1.6, n=None)[0])
        assert frame_of("density", [1.3, 0.9], np.nan) == pytest.approx([0.3, 0.1])
        assert frame_of("is", [7.0], 8.0) == [-7.0]

    def test_a_ranking_and_a_best_mark_go_by_them(self, three_block):
        block = changed(three_block, "precision", metric="diversity", floor_test=0.75)
        frame = block.rows
        for entry, value, spread in (("ddpm", 0.95, 0.001), ("cfg", 0.74, 0.002), ("cbdm", 0.3, 0.003)):
            own = (frame["metric"] == "diversity") & (frame["entry"] == entry)
            frame.loc[own, "value"] = value + spread * frame.loc[own, "seed"] ** 2
        assert rank(frame, "diversity", "classifier")["entry"].tolist() == ["cfg", "ddpm", "cbdm"]
        cells = score_cells(block, key_of(block, "diversity"), "all")
        assert [entry for entry, cell in cells.items() if cell.best] == ["cfg"]
        with pytest.raises(UserError, match="nearest"):
            rank(frame.assign(floor_test=np.nan), "diversity", "classifier")

    def test_better_than_real_images_is_no_gain(self, three_block):
        rows = pd.DataFrame({"value": [9.0, 8.0], "floor_test": 8.5, "test_n": 100, "at_test": np.nan})
        assert better_than_real(rows, "is").tolist() == [True, False]
        assert not better_than_real(rows.assign(test_n=None), "is").any(), "another n"
        key = key_of(three_block, "fid")
        best = [entry for entry, cell in score_cells(three_block, key, "all").items() if cell.best]
        assert best == ["cbdm"]
        below = changed(three_block, "fid", floor_test=1000.0)
        assert not any(cell.best for cell in score_cells(below, key, "all").values())
        assert any("no gain" in note for note in comparison_table(below).notes)
        assert REAL_TEST.score == "floor_test"


def test_kid_has_one_unit(three_block):
    key = key_of(three_block, "kid")
    raw = three_block.part(key, "all").groupby("entry")["value"].mean()
    table = comparison_table(three_block)
    shown = dict(line[1:] for line in column(table, key, ("entry",)))
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(comma_separated(table)))}
    data = plots.group_data(three_block)
    group = three_block.part(key, "few@thirds").groupby("entry")["value"].mean()
    for entry, value in raw.items():
        assert float(shown[entry].split()[0]) == pytest.approx(value, abs=1e-5)
        assert float(next(cell for name, cell in lines[entry].items() if name == f"kid:classifier:{key[3]}")) == value
        panel = data[(data["metric"] == "kid") & (data["entry"] == entry) & (data["group"] == "few")]
        assert group[entry] in panel["value"].tolist()
    papers = published()
    kid = papers[(papers["metric"] == "kid") & papers["value"].notna()]
    for paper in papers_tables(kid):
        for row in paper.rows:
            for head, cell in zip(paper.heads, row.cells, strict=True):
                if head.title == "KID ↓" and cell.n == 1:
                    assert float(cell.text.split()[0]) == pytest.approx(cell.value, rel=1e-6)
