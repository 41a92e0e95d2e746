"""Papers' rows beneath ours: which rows, what is said to differ, and that nothing is ranked."""

import csv
import io
from dataclasses import replace

import pytest
from synthetic_runs import CIFAR, write_run

from ltgen_bench.records.published import published, read_leaderboard
from ltgen_bench.records.store import find_runs, protocols, rows
from ltgen_bench.report.entries import blocks
from ltgen_bench.report.latex_table import latex
from ltgen_bench.report.published_rows import published_tables
from ltgen_bench.report.table_formats import comma_separated, markdown, terminal
from ltgen_bench.report.tables import section_tables
from ltgen_bench.report.write_report import report

FIFTY = {"dataset": "cifar10-lt-50", "imbalance_factor": 50.0, "fingerprint": "d" * 16}
HUNDRED = {**CIFAR, "dataset": "cifar100-lt", "fingerprint": "e" * 16}


def block_in(folder):
    runs = find_runs(folder)
    (block,) = blocks(rows(runs), (), protocols(runs))
    return block


def tables_of(folder, frame=None):
    return tables_of_block(block_in(folder), frame)


def tables_of_block(block, frame=None):
    return {table.name: table for table in published_tables(block, published() if frame is None else frame)}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """CBDM, CFG and DDPM on CIFAR-10-LT at factor 100, three seeds of CBDM."""
    folder = tmp_path_factory.mktemp("cifar") / "runs"
    for seed in range(3):
        write_run(folder, "cbdm", seed, **CIFAR)
    write_run(folder, "cfg", 0, **CIFAR)
    write_run(folder, "ddpm", 0, **{**CIFAR, "omega": 0.0})
    return folder


@pytest.fixture(scope="module")
def made(cifar):
    return tables_of(cifar)


def lines_of(table, method):
    """(paper, factor, value, differences, source) of the rows beneath ours of `method`."""
    found, beneath = [], False
    for row in table.rows:
        if row.kind == "entry":
            beneath = row.cells[0].text.split(",")[0] == method
        elif beneath:
            found.append(tuple(cell.text for cell in row.cells[1:6]))
    return found


def test_beneath_our_cbdm_stand_the_papers_cbdm_rows_of_factor_100_and_no_others(made):
    frame = published()
    wanted = frame[
        (frame["method_key"] == "cbdm")
        & (frame["dataset"] == "cifar10-lt")
        & (frame["metric"] == "fid")
        & (frame["split"] == "all")
        & (frame["imbalance_factor"].isna() | (frame["imbalance_factor"] == 100))
    ]
    lines = lines_of(made["published-fid-inception-all"], "cbdm")
    assert [(paper.removesuffix(" †"), value) for paper, _, value, *_ in lines] == list(
        zip(wanted["paper_id"], wanted["printed"], strict=True)
    )
    assert [(paper, factor, value) for paper, factor, value, *_ in lines] == [
        ("igdml", "100", "15.28"),
        ("coral †", "100", "5.62"),
        ("cm †", "100", "8.233"),
        ("unknown †", "not stated", "9.38"),
    ]
    texts = [row.cells[3].text for table in made.values() for row in table.rows if row.kind == "paper"]
    assert "12.74" not in texts  # CORAL's CBDM at factor 1000
    assert "7.933" not in texts  # CM's at factor 50


def test_the_differences_stand_in_words_papers_value_first(made):
    told = {paper: words for paper, _, _, words, _ in lines_of(made["published-fid-inception-all"], "cbdm")}
    assert told["cm †"] == (
        "50,000 images against 1,000; omega 1.5 against 1; sampler ddim 50 against dpm-solver++ 20; training steps not "
        "comparable: 300k of unstated batch size against 14.4M images seen; features and reference not stated"
    )
    assert told["unknown †"] == (
        'reference "val" against the balanced training set; factor, images, features, omega, sampler and training steps not '
        "stated"
    )
    assert "reference" not in told["igdml"]  # it states ours


def test_that_ours_is_a_flow_is_a_difference(cifar):
    block = block_in(cifar)
    flow = tables_of_block(replace(block, rows=block.rows.assign(process="flow")))
    told = [words for _, _, _, words, _ in lines_of(flow["published-fid-inception-all"], "cbdm")]
    assert told
    assert all("ours under process flow" in words for words in told)


def test_recall_says_that_k_is_not_stated_and_a_classifiers_features_are_named(made):
    (words,) = {words for paper, _, _, words, _ in lines_of(made["published-recall-classifier-all"], "cbdm") if paper == "cm †"}
    assert words.endswith("features (ours: classifier), reference and k not stated")


def test_ddpm_with_guidance_stands_beneath_our_cfg_and_without_it_beneath_ddpm(made):
    table = made["published-fid-inception-all"]
    assert [(row[0], row[2]) for row in lines_of(table, "cfg")] == [("cm †", "10.697")]
    assert [(row[0], row[2]) for row in lines_of(table, "ddpm")] == [("coral †", "6.17")]


def test_a_factor_in_the_name_is_that_of_the_papers(tmp_path):
    write_run(tmp_path, "cbdm", 0, **{**CIFAR, **FIFTY})
    lines = lines_of(tables_of(tmp_path)["published-fid-inception-all"], "cbdm")
    assert [(row[0], row[1], row[2]) for row in lines] == [("cm †", "50", "7.933"), ("unknown †", "not stated", "9.38")]


@pytest.mark.parametrize("name", ["cifar10-lt-100-step", "cifar10-lt-order3", "cifar10-lt-split1", "cifar10"])
def test_another_profile_draw_or_order_is_no_papers_data_set(tmp_path, name):
    write_run(tmp_path, "cbdm", 0, **{**CIFAR, "dataset": name})
    (table,) = tables_of(tmp_path).values()
    assert table.rows == ()


def test_groups_of_papers_stand_beneath_ours_of_the_same_rule(tmp_path):
    write_run(tmp_path, "cbdm", 0, **HUNDRED)
    made = tables_of(tmp_path)
    assert "published-fid-inception-few-count" not in made
    (line,) = lines_of(made["published-fid-inception-few-thirds"], "cbdm")
    assert line[2] == "24.463"
    assert line[3].startswith("20,000 images against 300; omega 1.5 against 1")
    assert "rule of the groups" not in line[3]


def leaderboard(tmp_path, *lines):
    header = "paper_id,method,dataset,imbalance_factor,split,metric,value,unit_note,n_samples,reference,guidance,sampler,notes"
    (tmp_path / "theirs.csv").write_text("\n".join([header, *lines, ""]))
    return read_leaderboard(tmp_path / "theirs.csv")


def test_what_equals_ours_is_not_said_and_what_is_left_out_is(tmp_path):
    write_run(tmp_path / "runs", "cbdm", 0, **CIFAR)
    frame = leaderboard(
        tmp_path,
        "a,CBDM,CIFAR10-LT,100,all,fid,5,Inception backbone,1000,balanced train split,1,dpm-solver++-20,",
        "b,CBDM,cifar10lt,100,all,fid,6,Inception backbone,1000,test,1,dpm-solver++-20,",
        "c,CBDM,cifar10-lt,100,few,fid,7,Inception backbone,300,entire dataset,1,dpm-solver++-20,",
        "d,CBDM,cifar10-lt,100,many,fid,8,Inception backbone,300,longtail,1,dpm-solver++-20,splits are by count",
        "e,CBDM,cifar10-lt,100,all,fid_clip,9,,1000,train,1,dpm-solver++-20,",
    )
    made = tables_of(tmp_path / "runs", frame)
    every = {name: lines_of(table, "cbdm") for name, table in made.items()}
    told = {line[0]: (name, line[3]) for name, lines in every.items() for line in lines if "inception" in name}
    assert told["a"] == ("published-fid-inception-all", "training steps not stated")
    assert told["b"][1] == "reference the held-out test set against the balanced training set; training steps not stated"
    assert told["c"] == (
        "published-fid-inception-few-thirds",
        'reference "entire dataset" against the balanced training set; rule of the groups and training steps not stated',
    )
    assert told["d"][0] == "published-fid-inception-many-count"
    assert told["d"][1].startswith("reference the long-tailed training set against the balanced training set")
    assert told["e"][1].startswith('features clip against inception; reference "train" against the balanced training set')


def test_a_paper_row_stands_only_with_our_measurement_on_its_features(made):
    assert "published-fid-inception-all" in made
    assert "published-fid-classifier-all" not in made
    assert "published-recall-classifier-all" in made  # ours has no recall on Inception's features


def test_papers_rows_are_never_best_never_ranked_and_say_so(made):
    for table in made.values():
        assert not any(cell.best for row in table.rows for cell in row.cells)
        assert "ranked neither with ours nor" in table.notes[0]
        assert "**" not in markdown(table)
        assert r"\textbf" not in latex(table)


def test_every_form_has_the_words_the_source_and_the_second_hand_mark(made):
    table = made["published-kid-inception-all"]
    lines = [line for line in csv.DictReader(io.StringIO(comma_separated(table))) if line["row"] == "paper"]
    assert [line["paper_id"] for line in lines] == ["cm †", "cm †"]
    assert float(lines[0][table.heads[3].key]) == 0.0026
    assert all("omega 1.5 against 1" in line["differences"] for line in lines)
    for text in (markdown(table), latex(table), " ".join(terminal(table, 60).split())):
        assert "50,000 images against 1,000; omega 1.5 against 1" in text
        assert "OpenReview wSGle6ag5I (ICLR 2026), Table" in text
        assert "secondary source" in text
        assert "0.0026" in text
    assert r"cm \dag{}" in latex(table)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_prose_wraps_beneath_its_row_and_nothing_is_wider_than_the_terminal(made, width):
    text = terminal(made["published-fid-inception-all"], width)
    assert max(map(len, text.splitlines())) <= width
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("  CBDM") and "cm †"[: width // 20] in line)
    assert lines[place + 1].startswith("    differs in: ")


def test_a_method_or_a_score_that_no_paper_prints_is_named(tmp_path):
    write_run(tmp_path, "cbdm", 0, **CIFAR)
    write_run(tmp_path, "mine", 0, **CIFAR)
    made = tables_of(tmp_path)
    assert any("published results here have no" in note for note in made['published-fid-inception-all'].notes)
    (last,) = [note for table in made.values() for note in table.notes if "have no values of" in note]
    assert "FID ↓ (classifier)" in last


def test_where_no_paper_has_such_rows_the_report_says_so(one_seed, tmp_path, no_plots):
    made = report(one_seed, tmp_path / "out", compare_published=True)
    (table,) = [table for table in made.sections[0].tables if table.name == "published"]
    said = "The published results here have no score of cbdm and ddpm on digits-lt that is measured above."
    assert said in " ".join(made.terminal(80).split())
    base = tmp_path / "out" / "tables" / "digits-lt" / "published"
    assert all(said in base.with_suffix(suffix).read_text() for suffix in (".md", ".tex"))
    assert said in made.index.read_text()
    assert table.rows == ()


def test_the_page_shows_papers_beneath_ours_and_lets_nobody_sort_them(cifar, tmp_path, no_plots):
    text = report(cifar, tmp_path / "out", compare_published=True).index.read_text()
    part = text[text.index("FID ↓ (inception), all classes, papers&#39; rows below ours"):]
    part = part[: part.index("</table>")]
    assert 'class="sortable"' not in part
    assert "<button" not in part
    assert part.count('<tr class="paper">') == 6
    assert "omega 1.5 against 1" in part
    assert not any(table.name.startswith("published") for table in section_tables(block_in(cifar)))


def test_a_users_leaderboard_is_compared_too(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, **CIFAR)
    leaderboard(tmp_path, "mine2026,CBDM,cifar10-lt,100,all,fid,5.5,,,,,,")
    made = report(tmp_path / "runs", tmp_path / "out", compare_published=True, leaderboards=[tmp_path / "theirs.csv"])
    (table,) = [table for table in made.sections[0].tables if table.name == "published-fid-inception-all"]
    assert ("mine2026", "5.5") in [(row[0], row[2]) for row in lines_of(table, "cbdm")]


def test_a_value_of_ours_that_is_not_available_is_compared_with_nothing(made):
    assert "published-is-inception-all" not in made
