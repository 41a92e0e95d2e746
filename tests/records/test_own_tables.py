import pandas as pd
import pytest
from synthetic_runs import make_record, score_rows, write_run

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.published import read_leaderboard
from ltgen_bench.records.results_csv import measured_csv, read_measured, runs_path
from ltgen_bench.records.score_files import ScoreFiles
from ltgen_bench.records.store import find_runs, rows


def one(frame, **wanted):
    for column, value in wanted.items():
        frame = frame[frame[column].eq(value)]
    (row,) = frame.itertuples()
    return row


def test_the_shipped_results_are_read_as_means_over_seeds():
    path = shipped_folder("results") / "digits-lt.csv"
    cbdm = one(read_leaderboard(path), method="cbdm", metric="fid", split="all")
    raw = read_measured(path)
    own = raw[raw["label"].eq("cbdm") & raw["metric"].eq("fid") & raw["scope"].eq("all") & raw["extractor"].eq("classifier")]
    assert cbdm.canonical == pytest.approx(own["value"].mean())
    assert cbdm.value_std == pytest.approx(own["value"].std())
    assert (cbdm.dataset, cbdm.imbalance_factor, cbdm.images, cbdm.sampler_steps) == ("digits-lt", 20.0, 1000, 20)
    assert (cbdm.extractor, cbdm.reference_set) == ("classifier", "train")


def test_a_table_of_scores_is_read_with_its_record(tmp_path):
    record = make_record("ddpm")
    scores = Scores.from_rows(score_rows("ddpm"), record.protocols)
    ScoreFiles(tmp_path).write(record, scores)
    frame = read_leaderboard(tmp_path / "scores.csv")
    fid = one(frame, metric="fid", split="few")
    assert (fid.method, fid.dataset) == ("ddpm", "digits-lt")
    value = scores.table.query("metric == 'fid' and scope == 'few@thirds'")["value"].item()
    assert fid.canonical == value
    kid = one(frame, metric="kid", split="all")
    assert kid.canonical == scores.table.query("metric == 'kid' and scope == 'all'")["value"].item(), "KID is raw in our tables"
    text = (tmp_path / "scores.csv").read_text()
    (tmp_path / "scores.csv").write_text(text.replace(repr(value), "0.01"))
    with pytest.raises(DamagedError, match=r"fid 0\.01"):
        read_leaderboard(tmp_path / "scores.csv")


def test_a_table_of_scores_without_a_record_is_of_a_method_called_like_it(tmp_path):
    Scores.from_rows(score_rows("ddpm"), {}).save(tmp_path / "theirs.csv")
    assert set(read_leaderboard(tmp_path / "theirs.csv")["method"]) == {"theirs"}


def test_a_measured_value_that_cannot_be_is_named_with_its_row(tmp_path):
    write_run(tmp_path / "runs", "cbdm", 0)
    path = measured_csv(rows(find_runs(tmp_path / "runs")), tmp_path / "x.csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[3, "value"] = "-4"
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match="row 5, value: -4 is outside"):
        read_leaderboard(path)


def test_active_text_is_none_in_our_csv_and_comes_back(tmp_path):
    write_run(tmp_path / "runs", "cbdm", 0, label="=cmd|'x'!A1", names=["+1+1", "@SUM(A1)", "-3", *"3456789"])
    table = rows(find_runs(tmp_path / "runs"))
    path = measured_csv(table, tmp_path / "x.csv")
    text = path.read_text() + runs_path(path).read_text()
    assert ",'=cmd|" in text
    assert ",'+1+1," in text
    assert ",=cmd" not in text
    back = read_measured(path)
    assert set(back["label"]) == {"=cmd|'x'!A1"}
    assert back["class_name"].tolist() == table["class_name"].tolist()
