import time

import pytest
from synthetic_runs import FEW_METRICS, make_record, score_rows, write_run

from ltgen_bench.core.words import distinct_name
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.published import read_leaderboard
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.report.papers import papers_tables
from ltgen_bench.report.write_report import report

HEADER = "paper_id,method,dataset,imbalance_factor,split,metric,value,unit_note,value_std\n"


def leaderboard(folder, *lines):
    path = folder / "theirs.csv"
    path.write_text(HEADER + "\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(("line", "text"), [
    ("p,CBDM,d,100,all,kid,2.1,x1e3,0.3", "0.0021 ± 0.0003"), ("p,CBDM,d,100,all,kid,0.0021,raw,0.0003", "0.0021 ± 0.0003"),
    ("p,CBDM,d,100,all,kid,0,raw,0.0003", "0 ± 0.0003"), ("p,CBDM,d,100,all,kid,2.1,\u00d710³,", "0.0021"),
    ("p,CBDM,d,100,all,recall,57.4,%,0.6", "0.574 ± 0.006"), ("p,CBDM,d,100,all,accuracy,57.4,%,", "57.4")])
def test_a_value_is_printed_in_the_unit_of_its_head(tmp_path, line, text):
    (table,) = papers_tables(read_leaderboard(leaderboard(tmp_path, line)))
    assert table.rows[0].cells[3].text == text


def test_data_sets_of_alike_names_have_tables_of_their_own(tmp_path):
    names = ["a/b", "a-b", "x" * 5000, "学", "习"]
    path = leaderboard(tmp_path, *(f"p,A,{name},1,all,fid,{place}.25,," for place, name in enumerate(names, 1)))
    made = report(tmp_path / "runs", tmp_path / "out", leaderboards=[path])
    assert len({table.name for table in made.papers}) == 5
    texts = [file.read_text() for file in made.files if file.suffix == ".csv"]
    assert [sum(f"{place}.25" in text for text in texts) for place in range(1, 6)] == [1] * 5
    assert distinct_name("a-b") == "a-b"


def test_the_terminal_shows_the_first_rows_and_the_files_have_all(tmp_path):
    path = leaderboard(tmp_path, *(f"p,m{place},d,100,all,fid,{place + 1},," for place in range(1200)))
    start = time.process_time()
    made = report(tmp_path / "runs", tmp_path / "out", leaderboards=[path])
    lines = made.terminal(100).splitlines()
    assert time.process_time() - start < 20
    assert len(lines) < 70
    assert any("The first 40 of 1,200 rows" in line for line in lines)
    for suffix in (".csv", ".md", ".tex"):
        assert "m1199" in (tmp_path / "out" / "tables" / "papers" / f"leaderboard-1-d-images{suffix}").read_text()
    assert "m999<" in made.index.read_text()
    assert "m1199<" not in made.index.read_text()


def test_all_papers_are_named_in_the_terminal_and_written_out(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, dataset="cifar100-lt", **FEW_METRICS)
    made = report(tmp_path / "runs", tmp_path / "out", all_papers=True)
    text = made.terminal(100)
    assert len(text.splitlines()) < 160
    assert "cifar100-lt, generated images" in text
    assert "papers-cifar10-lt-images" in text
    assert len(made.papers) > 15


def test_no_file_and_no_terminal_gets_an_escape_sequence(tmp_path):
    path = leaderboard(tmp_path, '"\x1b[31mred","=cmd|\' /C calc\'!A0","\x1b]0;x\x07",100,all,fid,1,,',
                       "@SUM(A1),+1+1,[d],100,few,fid,2,,")
    made = report(tmp_path / "runs", tmp_path / "out", leaderboards=[path])
    assert "\x1b" not in made.terminal(100)
    for file in made.files:
        assert not {b"\x1b", b"\x07"} & {bytes([byte]) for byte in set(file.read_bytes())}
    cells = [file.read_text() for file in made.files if file.suffix == ".csv"]
    assert any(",'=cmd|" in text for text in cells)
    assert any(",'+1+1,'@SUM(A1)" in text for text in cells)


def test_damaged_scores_are_left_out_and_named_and_the_rest_is_reported(tmp_path, no_plots):
    write_run(tmp_path / "runs", "ddpm", 0, **FEW_METRICS)
    record = make_record("cbdm")
    place = tmp_path / "runs" / "digits-lt" / "cbdm-1-s0" / "scores" / record.score_digest
    ScoreFiles(place).write(record, Scores.from_rows(score_rows("cbdm"), record.protocols))
    path = place / "scores.csv"
    row = next(line for line in path.read_text().splitlines() if line.startswith("fid,classifier"))
    path.write_text(path.read_text().replace(row, ",".join([*row.split(",")[:7], "0.01", *row.split(",")[8:]])))
    write_run(tmp_path / "runs", "cfg", 0, **FEW_METRICS)
    broken = next((tmp_path / "runs").glob("digits-lt/cfg-*/scores/*/record.json"))
    broken.write_text("{")
    made = report(tmp_path / "runs", tmp_path / "out")
    assert set(made.rows["method"]) == {"ddpm"}
    for text in (made.terminal(100), made.index.read_text()):
        assert "fid 0.01 (classifier, all)" in text
        assert str(broken) in text
        assert "ltgen-bench run --method cbdm" in text
