"""What every table must say: ids over scores, what the entries are, whose rules were followed."""

import csv
import io
import re

from synthetic_runs import protocol_id, write_run

from ltgen_bench.records.store import find_runs, protocols, rows
from ltgen_bench.report.entries import blocks, measurements
from ltgen_bench.report.framing import footer
from ltgen_bench.report.latex_table import latex
from ltgen_bench.report.plots import group_data, pair_data
from ltgen_bench.report.table_formats import comma_separated, markdown, terminal
from ltgen_bench.report.tables import class_table, comparison_table, downstream_table, group_table, verdict_table


def key_of(block, metric, extractor="classifier", train_data="", scope="all"):
    return next(key for key in measurements(block.rows, scope) if key[:3] == (metric, extractor, train_data))


def every_table(block):
    found = [comparison_table(block), downstream_table(block), verdict_table(block)]
    found += [group_table(block, key_of(block, "fid"), rule) for rule in ("thirds", "count")]
    return [*found, class_table(block, key_of(block, "recall", scope="class"))]


def test_the_protocol_id_stands_over_every_score_in_every_form(three_block):
    for table in every_table(three_block):
        scores = [head for head in table.heads if head.number and head.key != "training_images"]
        assert scores
        csv_heads = next(csv.reader(io.StringIO(comma_separated(table))))
        wide_text = terminal(table, 800)
        for head in scores:
            one = head.subtitle[-8:]
            assert re.fullmatch(r"[0-9a-f]{8}", one)
            assert head.key.endswith(f":{one}")
            assert head.key in csv_heads
            tex_line = next(line for line in latex(table).splitlines() if r"{\scriptsize" in line)
            assert tex_line.count(one) == sum(other.subtitle.endswith(one) for other in scores)
            assert f"{one}</sub>" in markdown(table).splitlines()[2]
            assert one in wide_text


def test_the_csv_has_what_each_entry_is_even_where_all_are_alike(three_block):
    for table in every_table(three_block)[:-1]:
        lines = [line for line in csv.DictReader(io.StringIO(comma_separated(table))) if line["row"] == "entry"]
        told = [(line["sampler"], line["omega"], line["images_seen"], line["seed"]) for line in lines]
        assert told == [("dpm-solver++ 20", omega, "44.8k", "0, 1, 2") for omega in ("1", "1", "0")]
        assert "All rows: sampler dpm-solver++ 20, images seen 44.8k, seed 0, 1, 2." in table.notes
        assert "44.8k" not in markdown(table).split("\n\n")[1]


def test_verdicts_stand_in_their_csv_and_every_table_that_ranks_says_what_else_differs(three_block):
    fid = key_of(three_block, "fid")
    lines = list(csv.DictReader(io.StringIO(comma_separated(verdict_table(three_block)))))
    assert [line[f"fid:classifier:{fid[3]}"] for line in lines] == ["2 / 0 / 0 / 0", "1 / 1 / 0 / 0", "0 / 2 / 0 / 0"]
    said = "also differ in omega (0 and 1): a difference"
    assert all(any(said in note for note in table.notes) for table in every_table(three_block))


def test_networks_and_batches_that_differ_are_named_in_rows_and_notes(tmp_path):
    write_run(tmp_path, "cbdm", 0, train_digest="aaaa0000")
    write_run(tmp_path, "cbdm", 0, train_digest="bbbb0000", network="cpu", batch_size=128)
    (block,) = blocks(rows(find_runs(tmp_path)))
    assert block.entries == ["cbdm, network digits, batch 64", "cbdm, network cpu, batch 128"]
    said = "The rows also differ in network (cpu and digits) and batch size (64 and 128)"
    assert any(said in note for note in comparison_table(block).notes)


def test_two_references_are_two_columns_and_a_note_tells_them_apart(tmp_path):
    write_run(tmp_path, "cbdm", 0, also_test=True)
    runs = find_runs(tmp_path)
    (block,) = blocks(rows(runs), (), protocols(runs))
    table = comparison_table(block)
    train, test = (protocol_id("fid", "classifier", variant) for variant in ("a", "test"))
    assert {head.subtitle for head in table.heads if head.title == "FID ↓"} == {
        f"{scope} · classifier · {one}" for scope in ("few", "all") for one in (train, test)}
    sets = {train: "the balanced training set", test: "the held-out test set"}
    first, second = sorted(sets)
    assert f"FID ↓ (classifier): protocols {first} and {second} differ in reference: {sets[first]} against {sets[second]}." in (
        table.notes
    )
    names = {group_table(block, key).name for key in measurements(block.rows, "few@thirds") if key[0] == "fid"}
    assert names == {f"groups-fid-classifier-{one}-thirds" for one in sets}


def test_two_references_share_neither_a_panel_nor_a_dot(tmp_path):
    write_run(tmp_path, "cbdm", 0, also_test=True)
    (block,) = blocks(rows(find_runs(tmp_path)))
    keys = [key for key in measurements(block.rows) if key[0] == "fid"]
    panels = [panel for panel in group_data(block)["panel"].unique() if panel.startswith("FID")]
    assert panels == [f"FID ↓ (classifier) {key[3]}" for key in keys]
    recall = key_of(block, "recall")
    values = [pair_data(block, key, recall)["fid"].item() for key in keys]
    assert values == [block.part(key, "all")["value"].item() for key in keys]
    assert values[0] != values[1]


ASKED = "1,000 images where cbdm-paper asks for 50,000"


def block_with(tmp_path, **settings):
    for method in ("cbdm", "ddpm"):
        write_run(tmp_path, method, 0, **settings)
    (block,) = blocks(rows(find_runs(tmp_path)))
    return block


def test_a_preset_whose_rules_were_kept_stands_in_every_title_and_footer(tmp_path):
    block = block_with(tmp_path, preset="standard")
    tables = [comparison_table(block), downstream_table(block), group_table(block, key_of(block, "fid"))]
    assert [table.title.split(":")[0] for table in tables] == ["digits-lt, standard"] * 3
    assert footer(block, []).startswith("digits-lt, standard · ")
    assert not any(note.startswith("Not ") for table in tables for note in table.notes)


def test_a_preset_that_was_departed_from_is_not_that_protocol_and_says_why(tmp_path):
    block = block_with(tmp_path, preset="cbdm-paper", departures=[ASKED, "prd_f8 not measured by this version"])
    for table in (comparison_table(block), downstream_table(block), class_table(block, key_of(block, "recall", scope="class"))):
        assert table.title.startswith("digits-lt (after cbdm-paper, not that protocol): ")
        said = f"Not cbdm-paper: {ASKED}; prd_f8 not measured by this version."
        assert said in table.notes
        assert f"- {said}".replace("_", r"\_") in markdown(table)
        assert said.replace("_", r"\_") in latex(table)


def test_a_preset_of_some_rows_only_names_no_table(tmp_path):
    write_run(tmp_path, "cbdm", 0, preset="standard")
    write_run(tmp_path, "ddpm", 0)
    (block,) = blocks(rows(find_runs(tmp_path)))
    assert (block.entries, block.preset, block.title) == (["cbdm", "ddpm"], "", "digits-lt")
