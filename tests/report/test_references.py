"""Rows of images that were not made here: samples of other models are entries, reference rows are only shown."""

import csv
import io

import pandas as pd
import pytest
from synthetic_runs import write_external, write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.scores import csv_text
from ltgen_bench.records.published import published
from ltgen_bench.records.results_csv import measured_csv, read_measured
from ltgen_bench.records.store import find_run, find_runs, protocols, rows
from ltgen_bench.report.entries import blocks
from ltgen_bench.report.latex_table import latex
from ltgen_bench.report.lookup import find
from ltgen_bench.report.provenance import run_lines
from ltgen_bench.report.published_rows import published_tables
from ltgen_bench.report.ranking import rank, ranking
from ltgen_bench.report.table_formats import comma_separated, markdown, terminal
from ltgen_bench.report.tables import class_table, comparison_table, section_tables, verdict_table
from ltgen_bench.report.write_report import report


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Three seeds of ddpm and of a GAN that scores like cbdm, and two reference rows that score better than both."""
    folder = tmp_path_factory.mktemp("mixed") / "runs"
    for seed in range(3):
        write_run(folder, "ddpm", seed)
        write_external(folder, "StyleGAN2", seed, quality="cbdm")
    write_external(folder, "copy-train", kind="reference", quality="cbdm")
    write_external(folder, "one-per-class", kind="reference", quality="cbdm")
    return folder


@pytest.fixture(scope="module")
def block(mixed, block_of):
    return block_of(mixed)


def test_samples_of_another_model_are_entries_and_references_are_not(block):
    assert block.entries == ["StyleGAN2", "ddpm"]
    assert block.reference_names == ["copy-train", "one-per-class"]
    assert set(block.rows["kind"]) == {"run", "samples"}


def test_references_stand_below_the_entries_and_above_the_floors_and_nothing_of_them_is_best(block):
    table = comparison_table(block)
    assert [(row.cells[0].text, row.kind) for row in table.rows] == [
        ("StyleGAN2", "entry"), ("ddpm", "entry"), ("copy-train", "reference"), ("one-per-class", "reference"),
        ("baseline: real halves", "baseline"), ("baseline: real test", "baseline")]
    best = {row.cells[0].text for row in table.rows for cell in row.cells if cell.best}
    assert best == {"StyleGAN2"}, "the GAN wins against ddpm on three seeds, whatever the references score"
    assert [cell.text for cell in table.rows[0].cells[1:4]] == ["–"] * 3  # noqa: RUF001
    assert [cell.text for cell in table.rows[2].cells[1:5]] == ["–", "–", "–", "0"]  # noqa: RUF001
    assert "reference, never ranked: copy-train: training" in " ".join(
        table.notes)
    assert any("StyleGAN2: external samples" in note for note in table.notes)
    assert not any("also differ" in note for note in table.notes), "what is not known is no difference"


def test_verdicts_places_and_ranks_are_the_same_with_and_without_references(mixed, block, tmp_path):
    for seed in range(3):
        write_run(tmp_path, "ddpm", seed)
        write_external(tmp_path, "StyleGAN2", seed, quality="cbdm")
    (alone,) = blocks(rows(find_runs(tmp_path), tmp_path))
    assert verdict_table(block) == verdict_table(alone)
    assert rank(block.rows, "fid", "classifier").equals(rank(alone.rows, "fid", "classifier"))
    assert set(rank(rows(find_runs(mixed)), "fid", "classifier")["entry"]) == {"StyleGAN2", "ddpm"}
    (with_them,), (without,) = ranking(mixed, "fid:classifier"), ranking(tmp_path, "fid:classifier")
    kinds = [row.kind for row in with_them.rows]
    assert kinds == ["entry", "entry", "reference", "reference", "baseline", "baseline"]
    assert [row for row in with_them.rows if row.kind != "reference"] == list(without.rows)
    assert [row.cells[0].text for row in with_them.rows] == ["1", "2", "", "", "", ""]


def test_every_table_but_the_verdicts_shows_them(block):
    for table in section_tables(block):
        names = [row.cells[0].text for row in table.rows] + [head.title for head in table.heads]
        shown = {"copy-train", "one-per-class", "copy-train (reference)", "one-per-class (reference)"} & set(names)
        assert len(shown) == (0 if table.name == "verdicts" else 2), table.name
    key = next(key for key in block.keys if key[0] == "recall")
    own = block.references[(block.references["metric"] == "recall") & (block.references["scope"] == "class")]
    value = own[(own["entry"] == "copy-train") & (own["class_label"] == 0)]["value"].item()
    table = class_table(block, key)
    place = [head.title for head in table.heads].index("copy-train (reference)")
    assert table.rows[0].cells[place].value == value


def test_all_forms_set_them_apart(block):
    table = comparison_table(block)
    assert "*copy-train*" in markdown(table)
    assert r"\textit{copy-train}" in latex(table)
    kinds = [line[0] for line in csv.reader(io.StringIO(comma_separated(table)))]
    assert kinds == ["row", "entry", "entry", "reference", "reference", "baseline", "baseline"]
    lines = terminal(table, 80).splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("copy-train"))
    assert lines[at - 1].strip() == ""
    assert lines[at + 2].strip() == ""
    assert "\x1b[2;3mcopy-train" in terminal(table, 200, color=True)


def test_a_reference_stands_in_each_table_of_alike_rows_and_unknown_values_in_one_of_their_own(mixed):
    found = {block.title: block for block in blocks(rows(find_runs(mixed), mixed), ["omega"])}
    assert {title: block.entries for title, block in found.items()} == {
        "digits-lt, omega 1": ["ddpm"], "digits-lt, omega unknown": ["StyleGAN2"]}
    assert all(block.reference_names == ["copy-train", "one-per-class"] for block in found.values())


def test_a_reference_that_was_measured_unlike_stands_apart(no_plots, tmp_path):
    write_run(tmp_path / "runs", "ddpm", 0)
    write_external(tmp_path / "runs", "copy-train", kind="reference")
    write_external(tmp_path / "runs", "real-test", kind="reference", variant="b", images_per_class=45)
    made = report(tmp_path / "runs", tmp_path / "out")
    assert [(section.block.entries, section.block.reference_names) for section in made.sections] == [
        (["ddpm"], ["copy-train"]), ([], ["real-test"])]
    assert "cannot be compared" in " ".join(made.sections[1].tables[0].notes)
    assert made.sections[1].plots == {}
    assert all(command in made.index.read_text() for command in ("evaluate copy-train", "evaluate real-test"))
    write_external(tmp_path / "refs", "copy-train", kind="reference")
    with pytest.raises(UserError, match="there are reference rows alone"):
        ranking(tmp_path / "refs", "fid:classifier")


def test_a_report_of_references_alone_is_a_table(tmp_path, no_plots):
    write_external(tmp_path / "runs", "copy-train", kind="reference")
    made = report(tmp_path / "runs", tmp_path / "out", compare_published=True)
    assert "copy-train" in made.terminal(80)


def test_the_page_keeps_them_out_of_what_is_sorted(mixed, tmp_path, no_plots):
    made = report(mixed, tmp_path)
    body, _, foot = made.index.read_text().partition("<tfoot>")
    assert "StyleGAN2" in body
    assert foot.index("copy-train") < foot.index("baseline: real halves")
    assert '<tr class="reference"><td>copy-train</td>' in foot
    assert not any("copy-train" in cell for cell in body.partition("<tbody>")[2:])


def test_the_measured_csv_keeps_what_is_not_known_apart_from_zero(mixed, tmp_path):
    table = rows(find_runs(mixed), mixed)
    back = read_measured(measured_csv(table, tmp_path / "x.csv", protocols(find_runs(mixed))))
    pd.testing.assert_frame_equal(back, table, check_exact=True, check_dtype=False)
    gan = back[back["label"] == "StyleGAN2"]
    assert gan[["steps", "omega", "budget_images", "batch_size"]].isna().all(axis=None)
    assert set(gan["kind"]) == {"samples"}
    assert [one.entries for one in blocks(back)] == [["StyleGAN2", "ddpm"]]


def test_a_csv_and_a_record_from_before_there_were_references_are_of_runs(tmp_path):
    folder, record = write_run(tmp_path / "runs", "ddpm", 0)
    table = rows(find_runs(tmp_path / "runs"))
    path = tmp_path / "x.csv"
    path.write_text(csv_text(table.drop(columns="kind")))
    assert set(read_measured(path)["kind"]) == {"run"}
    file = folder / "scores" / record.score_digest / "record.json"
    text = file.read_text()
    assert '"kind": "run"' in text
    file.write_text(text.replace(' "kind": "run",\n', ""))
    assert find_run(tmp_path / "runs", "ddpm").record == record


def test_where_the_numbers_come_from_claims_no_training(mixed):
    records = [run.record for run in find_runs(mixed)]
    told = {command: costs[0] for command, costs in run_lines(records)}
    assert told["ltgen-bench evaluate copy-train --dataset digits-lt"].startswith("seed 0, not trained here; evaluate 3 s;")
    assert "bit-exact" not in told["ltgen-bench evaluate copy-train --dataset digits-lt"]
    assert find("copy-train", mixed).kind == "run"


def test_papers_rows_of_the_same_model_say_what_is_not_known_of_ours(tmp_path):
    write_external(tmp_path, "CBDM", quality="cbdm", dataset="cifar10-lt", imbalance_factor=100.0)
    (block,) = blocks(rows(find_runs(tmp_path)))
    tables = [table for table in published_tables(block, published()) if table.rows]
    words = " ".join(cell.text for table in tables for row in table.rows for cell in row.cells)
    assert "against an unknown one" in words


def test_two_names_that_a_run_has_too_are_told_apart(tmp_path):
    write_run(tmp_path, "cbdm", 0)
    write_run(tmp_path, "cbdm", 0, omega=1.5)
    write_external(tmp_path, "cbdm", quality="cbdm")
    (block,) = blocks(rows(find_runs(tmp_path)))
    assert "cbdm" in block.entries
    assert len(set(block.entries)) == 3
