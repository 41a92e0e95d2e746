"""Planned comparisons: which rows and columns are shown, and which differences are told together."""

import pytest
from synthetic_runs import write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.report.comparisons import BEST, BETTER, comparison
from ltgen_bench.report.planned import Planned, faults, narrowed
from ltgen_bench.report.tables import section_tables
from ltgen_bench.report.write_report import report

FID, FEW = ("fid", "classifier"), "few@thirds"


@pytest.fixture(scope="module")
def tables(three_block):
    """`tables(**planned)`: name -> table of the narrowed block."""
    return lambda **planned: {table.name: table for table in section_tables(narrowed(three_block, Planned(**planned)))}


def names(table):
    return [row.cells[0].text for row in table.rows if row.kind == "entry"]


def keys(table):
    return [head.key for head in table.heads if head.number]


def test_only_rows_and_columns_that_are_asked_for_are_shown(tables):
    found = tables(methods=("ddpm", "cbdm"), metrics=("recall", "fid:inception"), scope="few")
    assert set(found) == {"comparison", "verdicts"}
    for table in found.values():
        assert names(table) == ["cbdm", "ddpm"]
        assert [key.split(":")[:3] for key in keys(table)] == [
            ["recall", "classifier", FEW], ["fid", "inception", FEW]]
    assert "few classes (thirds)" in found["comparison"].title


def test_the_family_is_that_of_the_rows_shown_and_the_variance_that_of_all(three_block):
    key = next(key for key in three_block.keys if key[:2] == FID)
    every = comparison(three_block, key)
    pair = comparison(narrowed(three_block, Planned(methods=("ddpm", "cbdm"))), key)
    assert (every.family, pair.family) == (3, 1)
    assert pair.model.df == every.model.df
    one, same = pair.of("ddpm", "cbdm"), every.of("ddpm", "cbdm")
    assert one.estimate == same.estimate
    assert one.high - one.low < same.high - same.low


def test_a_baseline_is_shown_too_and_what_is_better_than_it_is_marked(tables, three_block):
    found = tables(methods=("ddpm", "cbdm"), metrics=("fid:classifier",), baseline="cfg")
    main, verdicts = found["comparison"], found["verdicts"]
    assert names(main) == ["cbdm", "cfg", "ddpm"]
    assert [row.cells[-2].best for row in main.rows[:3]] == [True, False, False]
    assert names(verdicts) == ["cbdm", "ddpm"]
    assert [row.cells[-1].text.split()[-1] for row in verdicts.rows] == ["better", "worse"]
    assert BETTER.format("cfg") in main.notes
    assert BEST not in main.notes
    assert any("Dunnett" in note and note.endswith(": 2.") for note in main.notes)


def test_notes_say_how_many_differences_are_told_together_and_what_else_counts(tables):
    together = [note for note in tables(methods=("ddpm", "cbdm"))["comparison"].notes if "together" in note]
    assert together == ["Differences between two rows (Tukey) that are told together, in each column: 1. Rows not shown, whose "
                        "scores count in the variance alone: 1."]
    assert any("in each column: 3." in note for note in tables()["comparison"].notes)


@pytest.mark.parametrize(("scope", "order"), [("all", ["cbdm", "cfg", "ddpm"]), ("few", ["cbdm", "cfg", "ddpm"])])
def test_rows_are_sorted_by_the_first_column(tables, scope, order):
    found = tables(metrics=("fid:classifier",), scope=scope, sort=True)
    assert names(found["comparison"]) == names(found["verdicts"]) == order


def test_the_order_is_that_of_the_first_column_asked_for(tmp_path, block_of):
    for method, _quality in (("ddpm", "cbdm"), ("cbdm", "ddpm"), ("oc", "cfg")):
        write_run(tmp_path, method, 0, samples=False)
    block = block_of(tmp_path)
    by_fid = narrowed(block, Planned(metrics=("fid", "recall"), sort=True))
    values = by_fid.part(by_fid.keys[0], "all").set_index("entry")["value"]
    assert by_fid.keys[0][0] == "fid"
    assert list(values[by_fid.entries]) == sorted(values)
    by_recall = narrowed(block, Planned(metrics=("recall", "fid"), sort=True))
    values = by_recall.part(by_recall.keys[0], "all").set_index("entry")["value"]
    assert list(values[by_recall.entries]) == sorted(values, reverse=True)


def test_all_unknown_names_are_told_at_once_with_near_ones(three_seeds, three_block, tmp_path):
    planned = Planned(("dppm", "cfg"), ("fdi", "recall:clasifier"), "fwe", "cbmd")
    found = faults(planned, [three_block])
    for sentence, near in zip(found, ("'ddpm'", "'fid'", "'classifier'", "'few", "'cbdm'"), strict=True):
        assert f"Did you mean {near}" in sentence
        assert "Known: " in sentence
    with pytest.raises(UserError) as error:
        report(three_seeds, tmp_path / "out", planned=planned)
    assert len(error.value.problems) == 5
    assert not (tmp_path / "out").exists()


def test_names_of_rows_may_have_commas_and_an_ambiguous_baseline_is_refused(tmp_path, block_of):
    for omega in (0.5, 1.0):
        write_run(tmp_path, "cfg", 0, omega=omega, samples=False)
    write_run(tmp_path, "ddpm", 0, samples=False)
    block = block_of(tmp_path)
    first, second = (name for name in block.entries if name.startswith("cfg"))
    parts = tuple(f"{second},ddpm".replace(", ", ",").split(","))
    assert narrowed(block, Planned(methods=parts)).entries == [second, "ddpm"]
    assert narrowed(block, Planned(methods=("cfg",))).entries == [first, second]
    (sentence,) = faults(Planned(baseline="cfg"), [block])
    assert first in sentence
    assert "several" in sentence
    assert faults(Planned(baseline=first), [block]) == []


def test_a_block_without_the_baseline_has_no_verdicts_and_says_why(three_block):
    found = narrowed(three_block, Planned(baseline="oc"))
    main, *others = section_tables(found)
    assert "verdicts" not in [table.name for table in others]
    assert any("called oc" in note for note in main.notes)
    assert not any(cell.best for row in main.rows for cell in row.cells)
