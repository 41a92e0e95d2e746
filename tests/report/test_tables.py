import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import COUNTS, NO_LOGITS, write_run

from ltgen_bench.records.published import published
from ltgen_bench.records.store import find_runs, rows
from ltgen_bench.report.comparisons import BEST, FEW_SEEDS, ONE_SEED
from ltgen_bench.report.entries import blocks, measurements
from ltgen_bench.report.numbers import MISSING
from ltgen_bench.report.papers import papers_tables
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.report.table_formats import comma_separated, fold
from ltgen_bench.report.tables import class_table, comparison_table, downstream_table, group_table, verdict_table


def column(table, start, under=""):
    """The cells of the first column whose head begins so, floors left out, by the row's first cell."""
    place = next(i for i, head in enumerate(table.heads) if head.title.startswith(start) and under in head.subtitle)
    return {row.cells[0].text: row.cells[place] for row in table.rows if row.kind == "entry"}


def key_of(block, metric, extractor="classifier", train_data="", scope="all"):
    return next(key for key in measurements(block.rows, scope) if key[:3] == (metric, extractor, train_data))


def test_a_cell_is_the_mean_and_sd_over_seeds(three_block):
    rows_of = three_block.rows
    values = rows_of[
        (rows_of["metric"] == "fid")
        & (rows_of["extractor"] == "classifier")
        & (rows_of["scope"] == "all")
        & (rows_of["entry"] == "cfg")
    ]["value"]
    cell = column(comparison_table(three_block), "FID", "all · classifier")["cfg"]
    assert cell.value == pytest.approx(np.mean(values))
    assert cell.spread == pytest.approx(np.std(values, ddof=1))
    assert cell.text == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
    assert cell.n == 3


def test_heads_carry_arrow_extractor_and_protocol_id(three_block):
    table = comparison_table(three_block)
    fid = key_of(three_block, "fid")
    head = next(head for head in table.heads if head.title == "FID ↓")
    assert head.subtitle == f"few · classifier · {fid[3]}"
    assert head.key == f"fid:classifier:few@thirds:{fid[3]}"
    alone = next(head for head in table.heads if head.title == "KID ↓")
    assert alone.subtitle.startswith("classifier · "), "what has one column is of all classes"
    scores = [head for head in table.heads if head.number]
    assert all(re.search(r"[↑↓≈]", head.title) for head in scores)
    assert all(re.search(r"[0-9a-f]{8}$", head.subtitle) for head in scores)


def test_the_few_classes_stand_before_all_in_tables_and_at_every_width(three_block):
    (main, verdicts, downstream) = comparison_table(three_block), verdict_table(three_block), downstream_table(three_block)
    for table in (main, verdicts, downstream):
        scopes = {head.key.replace(":few@thirds", ""): [] for head in table.heads if head.number}
        for head in table.heads:
            if head.number:
                scopes[head.key.replace(":few@thirds", "")].append("few" if ":few@thirds" in head.key else "all")
        assert set(map(tuple, scopes.values())) <= {("few", "all"), ("all",)}
        assert ["few", "all"] in list(scopes.values())
    for width, least in ((80, 1), (100, 2), (120, 3)):
        shown, _ = fold(main.shown, width)
        scopes = [set(head.subtitle.split(" · ")) for head in shown.heads if head.number]
        assert "few" in scopes[0]
        assert sum("few" in words for words in scopes) >= least
        assert width < 100 or "all" in scopes[1]


def test_one_seed_marks_nothing_and_says_so(one_block):
    table = comparison_table(one_block)
    assert not any(cell.best for row in table.rows for cell in row.cells)
    assert ONE_SEED in table.notes
    assert all("±" not in cell.text for row in table.rows for cell in row.cells)
    assert verdict_table(one_block) is None


def test_two_seeds_give_a_spread_and_still_no_verdict(tmp_path):
    for method in ("ddpm", "cbdm"):
        for seed in (0, 1):
            write_run(tmp_path, method, seed)
    (block,) = blocks(rows(find_runs(tmp_path)))
    table = comparison_table(block)
    assert FEW_SEEDS in table.notes
    assert not any(cell.best for row in table.rows for cell in row.cells)
    assert "±" in column(table, "FID")["cbdm"].text


def test_three_seeds_mark_what_may_be_the_best(three_block):
    table = comparison_table(three_block)
    fid = column(table, "FID", "classifier")
    assert (fid["cbdm"].best, fid["cfg"].best, fid["ddpm"].best) == (True, False, False)
    assert not any(cell.best for cell in column(table, "downstream accuracy ↑, real-lt").values())
    assert BEST in table.notes


def test_what_all_rows_share_is_a_note_and_what_differs_a_column_and_a_warning(three_block):
    table = comparison_table(three_block)
    assert [head.title for head in table.shown.heads[:2]] == ["method", "omega"]
    assert table.notes[0] == "All rows: sampler dpm-solver++ 20, images seen 44.8k, seed 0, 1, 2."
    assert any("omega (0 and 1)" in note for note in table.notes)


def test_budgets_and_samplers_that_differ_are_named(tmp_path):
    write_run(tmp_path, "cbdm", 0, budget=44_800)
    write_run(tmp_path, "ddpm", 0, budget=14_400_000, steps=50)
    (block,) = blocks(rows(find_runs(tmp_path)))
    notes = " ".join(comparison_table(block).notes)
    assert (
        "The rows also differ in images seen (44.8k and 14.4M) and sampler (dpm-solver++ 20 and dpm-solver++ 50)"
        in notes
    )


def test_baseline_scores_stand_below_with_their_kind(three_block):
    floors = [row for row in comparison_table(three_block).rows if row.kind == "baseline"]
    assert [row.cells[0].text for row in floors] == ["baseline: real halves", "baseline: real test"]
    fid = next(i for i, head in enumerate(comparison_table(three_block).heads) if head.title == "FID ↓")
    assert [row.cells[fid].text for row in floors] == ["2.00", "2.40"]


def test_a_value_that_is_not_available_is_no_number_and_its_reason_is_told(three_block):
    table = comparison_table(three_block)
    assert {cell.text for cell in column(table, "IS", "inception").values()} == {MISSING}
    assert f"IS (inception): {NO_LOGITS}." in table.notes
    assert any("FID (inception)" in note and "2,048" in note for note in table.notes)
    csv_rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    name = key_of(three_block, "is", "inception")
    assert {row[f"is:inception:{name[3]}"] for row in csv_rows} == {""}


def test_a_note_with_a_number_of_its_run_is_told_once_without_it(one_block):
    marked = one_block.rows.copy()
    fid = (marked["metric"] == "fid") & (marked["scope"] == "all")
    marked.loc[fid, "note"] = [f"partly small-sample bias: fewer than 2,048 images ({entry} with 671)"
                               for entry in marked.loc[fid, "entry"]]
    notes = comparison_table(replace(one_block, rows=marked)).notes
    assert [note for note in notes if "bias" in note] == ["FID (classifier): partly small-sample bias: fewer than 2,048 images."]


def test_groups_have_a_column_each_and_empty_ones_are_named(tmp_path):
    write_run(tmp_path, "cbdm", 0, counts=[131 - n for n in range(10)])
    (block,) = blocks(rows(find_runs(tmp_path)))
    thirds = group_table(block, key_of(block, "fid"))
    assert [head.title for head in thirds.shown.heads] == ["method", "few ↓", "medium ↓", "many ↓", "all ↓"]
    by_count = group_table(block, key_of(block, "fid"), "count")
    assert column(by_count, "few")["cbdm"].text == MISSING
    assert by_count.notes[0] == "No classes in few@count and medium@count."


def test_classes_stand_from_head_to_tail_with_their_images(three_block):
    table = class_table(three_block, key_of(three_block, "recall", scope="class"))
    assert [row.cells[1].text for row in table.rows] == [str(n) for n in sorted(COUNTS, reverse=True)]
    assert [head.title for head in table.heads] == ["class", "training images", "cbdm", "cfg", "ddpm"]
    recall = [row.cells[2].value for row in table.rows]
    assert recall[0] > recall[-1]


def test_downstream_has_a_column_for_each_training_set(three_block):
    table = downstream_table(three_block).shown
    assert [head.title for head in table.heads] == [
        "method",
        *(["real-lt ↑"] * 2),
        *(["synthetic ↑"] * 2),
        *(["both ↑"] * 2),
    ]
    assert [head.subtitle.split(" · ")[0] for head in table.heads[1:3]] == ["few", "all"]


def test_verdicts_count_better_worse_equivalent_and_open(three_block):
    fid = column(verdict_table(three_block), "FID", "classifier")
    assert {name: cell.text for name, cell in fid.items()} == {
        "cbdm": "2 / 0 / 0 / 0",
        "cfg": "1 / 1 / 0 / 0",
        "ddpm": "0 / 2 / 0 / 0",
    }


@pytest.fixture(scope="module")
def papers():
    frame = published()
    return {table.name: table for table in papers_tables(frame[frame["dataset"] == "cifar100-lt"])}


def test_papers_numbers_stand_as_printed_with_source_and_second_hand_mark(papers):
    table = papers["papers-cifar100-lt-images"]
    found = [row for row in table.rows if row.cells[0].text == "CBDM" and row.cells[1].text == "coral †"]
    assert [row.cells[3].text for row in found] == ["6.02"]
    assert "second-hand (third-party-note)" in found[0].cells[-1].text
    assert "arXiv:2506.15933" in found[0].cells[-1].text
    own = next(row for row in table.rows if row.cells[1].text == "contentstyle")
    assert "second-hand" not in own.cells[-1].text
    assert any("†" in note for note in table.notes)


def test_ddpm_with_guidance_is_shown_as_our_cfg(papers):
    names = {row.cells[0].text for row in papers["papers-cifar100-lt-images"].rows if row.cells[1].text == "cm †"}
    assert "DDPM (here: cfg)" in names
    assert "DDPM" not in names


def test_every_published_number_is_in_the_tables_once():
    frame = published()
    cells = [
        text
        for table in papers_tables(frame)
        for row in table.rows
        for head, cell in zip(table.heads, row.cells, strict=True)
        if head.number
        for text in cell.text.split(" / ")
        if text
    ]
    assert len(cells) == len(frame)


def test_kid_of_papers_is_moved_to_one_unit(papers):
    table = papers["papers-cifar100-lt-images"]
    place = next(i for i, head in enumerate(table.heads) if head.key == "kid")
    texts = {
        (row.cells[0].text, row.cells[1].text): row.cells[place].text for row in table.rows if row.cells[place].text
    }
    assert texts[("CBDM", "cm †")] == "0.0036"  # as it is printed
    assert texts[("StyleGAN2-ADA", "contentstyle")] == "0.0053"  # printed in units of 1e-3


def test_a_table_of_the_wrong_shape_cannot_be_made():
    with pytest.raises(ValueError, match="1 cells under 2 heads"):
        Table("x", "x", (Head("a", "a"), Head("b", "b")), (Row((Cell("1"),)),))


def test_the_accuracy_of_real_images_alone_is_said_once_and_what_sees_labels_stays(three_block):
    table = comparison_table(three_block)
    alone = [place for place, head in enumerate(table.heads) if ":real-lt:" in head.key]
    assert alone
    for place in alone:
        shown = {row.cells[place].text for row in table.rows if row.kind in ("entry", "reference")}
        assert table.heads[place].csv_only == (len(shown) == 1)
    kept = [head.key for head in table.heads if head.keep]
    assert {key.partition(":")[0] for key in kept} == {"fid", "label_accuracy", "downstream_accuracy"}
    assert all(":few@thirds:" in key for key in kept if not key.startswith("fid"))
    assert not any(":real-lt" in key for key in kept)
