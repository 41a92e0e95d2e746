import csv
import io
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.records.published import REQUIRED, method_key, published, read_leaderboard, read_papers

PUBLISHED = shipped_folder("results") / "published"
ROW = dict(zip(REQUIRED, ("mine", "CBDM", "cifar100-lt", "100", "all", "fid", "5.81"), strict=True))


def leaderboard(path, *rows, header=None):
    names = header or list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8")
    return path


def problems(path):
    with pytest.raises(UserError) as caught:
        read_leaderboard(path)
    return str(caught.value)


@pytest.mark.parametrize(("name", "count"), [("generation.csv", 562), ("downstream.csv", 222)])
def test_every_published_row_loads(name, count):
    frame = read_leaderboard(PUBLISHED / name)
    raw = pd.read_csv(PUBLISHED / name, dtype="str", keep_default_na=False)
    assert len(frame) == count == len(raw)
    assert frame["printed"].tolist() == raw["value"].tolist()
    assert frame["value"].tolist() == [float(text) for text in raw["value"]]
    assert frame["row"].tolist() == list(range(2, count + 2))
    assert frame["second_hand"].tolist() == (raw["secondary"] == "yes").tolist()
    steps = [None if not text else int(text) for text in raw["steps"]]
    assert [None if pd.isna(value) else value for value in frame["train_steps"]] == steps
    assert "steps" not in frame


def test_published_numbers_are_those_of_both_files_and_every_paper_is_known():
    frame = published()
    assert len(frame) == 562 + 222
    assert set(frame["paper_id"]) <= set(read_papers().index)
    counted = read_papers()[["rows_generation", "rows_downstream"]].astype(int).sum(axis=1)
    assert frame["paper_id"].value_counts().to_dict() == {name: n for name, n in counted.items() if n}


def test_units_of_papers_become_ours():
    frame = published()
    kid = frame[frame["metric"] == "kid"]
    ratio = kid["canonical"] / kid["value"]
    assert np.allclose(ratio[kid["unit_note"].str.startswith("x1e-3")], 1e-3)
    assert np.allclose(ratio[~kid["unit_note"].str.startswith("x1e-3")], 1)
    assert frame.loc[frame["metric"] == "accuracy", "canonical"].between(0, 1).all()
    assert frame.loc[frame["metric"] == "recall", "canonical"].between(0, 1).all()


@pytest.mark.parametrize(
    ("method", "guidance", "key"),
    [
        ("DDPM", 1.5, "cfg"),
        ("DDPM", float("nan"), "ddpm"),
        ("DDPM", 0.0, "ddpm"),
        ("CBDM", 1.6, "cbdm"),
        ("CBDM (tau=1)", 1.0, "cbdm"),
        ("T2H", 1.5, "oc"),
        ("OCLT", 1.5, "oc"),
        ("CM", 1.5, "cm"),
        ("StyleGAN2-ADA + gSR", float("nan"), "stylegan2-ada-gsr"),
        (
            "DDPM (unconditional, PyTorch re-implementation)",
            float("nan"),
            "ddpm-unconditional-pytorch-re-implementation",
        ),
    ],
)
def test_papers_names_become_keys_like_the_registrys(method, guidance, key):
    assert method_key(method, guidance) == key


def test_a_small_leaderboard_of_the_needed_columns_is_enough(tmp_path):
    frame = read_leaderboard(leaderboard(tmp_path / "mine.csv", ROW, {**ROW, "metric": "is", "value": ""}))
    assert frame["value"].tolist()[0] == 5.81
    assert np.isnan(frame["value"].tolist()[1])
    assert frame["leaderboard"].tolist() == ["mine.csv"] * 2
    assert frame["notes"].tolist() == ["", ""]


def test_a_mark_of_byte_order_and_blank_rows_do_no_harm(tmp_path):
    path = leaderboard(tmp_path / "mine.csv", ROW)
    path.write_text("\ufeff" + path.read_text() + ",,,,,,\n\n", encoding="utf-8")
    assert len(read_leaderboard(path)) == 1


def test_all_problems_of_a_file_come_at_once_with_row_column_and_cure(tmp_path):
    path = leaderboard(
        tmp_path / "theirs.csv", ROW, {**ROW, "split": "few", "value": "n/a"}, {**ROW, "metric": "fidd"}, ROW
    )
    text = problems(path)
    assert text.splitlines()[0] == f"{path} has 3 problems"
    assert "row 3, value: 'n/a'" in text
    assert "4, metric: unknown metric 'fidd'." in text
    assert "rows 2 and 5" in text


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("value", "inf", "row 2, value: 'inf' is not a number"),
        ("value", "1_0", "row 2, value: '1_0' is not a number"),
        ("value", "5,81", "row 2, value: '5,81' is not a number"),
        ("n_samples", "50k", "row 2, n_samples: '50k' is not a number"),
        ("n_samples", "10.5", "row 2, n_samples: '10.5' is not a whole number"),
        ("steps", "0", "row 2, steps: '0' is below 1"),
        ("guidance", "-1", "row 2, guidance: '-1' is below 0"),
        ("imbalance_factor", "0.01", "row 2, imbalance_factor: '0.01' is below 1"),
        ("value_std", "-0.1", "row 2, value_std: '-0.1' is below 0"),
        ("secondary", "maybe", "row 2, secondary: 'maybe' is neither yes nor no"),
        ("method", "", "row 2, method: the cell is empty, and is needed"),
    ],
)
def test_each_bad_cell_is_named(tmp_path, column, value, message):
    assert message in problems(leaderboard(tmp_path / "x.csv", {**ROW, column: value}))


def test_a_missing_an_unknown_and_a_doubled_column_are_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("paper_id,method,dataset,imbalance_factor,split,metric,valu\n")
    text = problems(path)
    assert "row 1: the column 'value'" in text
    assert "row 1: unknown column 'valu'." in text
    path.write_text("paper_id,method,dataset,imbalance_factor,split,metric,value,method\n")
    assert "two columns are called 'method'" in problems(path)


def test_a_row_of_another_length_is_named(tmp_path):
    path = leaderboard(tmp_path / "x.csv", ROW)
    path.write_text(path.read_text() + "mine,CBDM, with ADA,cifar100-lt,100,all,fid,5.46\n")
    assert "row 3 has 8" in problems(path)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_are_read(tmp_path, mark):
    (tmp_path / "x.csv").write_text("\n".join(mark.join(cells) for cells in (ROW, ROW.values())))
    assert read_leaderboard(tmp_path / "x.csv")["value"].tolist() == [5.81]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xe9,a", "UTF-8"),
        (b"a,b\0c\n", "NUL"),
        (b'paper_id,"method\nx', "quotes"),
    ],
)
def test_a_file_that_is_no_csv_says_what_it_is(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    assert message in problems(tmp_path / "x.csv")


def test_a_missing_file_is_named(tmp_path):
    assert "there is no leaderboard file" in problems(tmp_path / "x.csv")


def test_rows_that_differ_only_in_how_a_number_is_written_are_one_result(tmp_path):
    path = leaderboard(tmp_path / "x.csv", {**ROW, "guidance": "1.50"}, {**ROW, "guidance": "1.5", "value": "6"})
    assert "rows 2 and 3 are the same result twice" in problems(path)


def test_another_training_set_or_classifier_is_another_result(tmp_path):
    one = {**ROW, "metric": "accuracy", "value": "0.5", "train_data": "synthetic", "classifier": "ResNet-32"}
    path = leaderboard(tmp_path / "x.csv", one, {**one, "train_data": "real-lt"}, {**one, "classifier": "ResNet-10"})
    assert len(read_leaderboard(path)) == 3


def test_the_values_of_the_shipped_files_are_in_our_units():
    frame = published()
    shown = frame.groupby("metric")["canonical"].agg(["min", "max"]).round(4)
    assert shown.loc["kid"].tolist() == [0.0017, 0.0580]
    assert shown.loc["accuracy"].tolist() == [0.0440, 0.9258]
    assert shown.loc["recall"].tolist() == [0.02, 0.69]
    assert frame["canonical"].sum() == pytest.approx(7204.9373, abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "value", "note", "canonical"),
    [
        ("kid", "2.1", "x1e3", 0.0021),
        ("kid", "2.1", "x 10^-3", 0.0021),
        ("kid", "2.1", "\u00d710³", 0.0021),
        ("kid", "0.0021", "", 0.0021),
        ("kid", "-0.3", "x1e-3; tail classes only", -0.0003),
        ("recall", "57.4", "%", 0.574),
        ("recall", "57.4", "in per cent", 0.574),
        ("recall", "0.574", "fraction", 0.574),
        ("recall", "0.574", "TensorFlow-InceptionV3 features", 0.574),
        ("coverage", "574", "‰", 0.574),
        ("accuracy", "100", "percent", 1.0),
        ("density", "1.04", "", 1.04),
        ("fid", "5.81", "raw", 5.81),
    ],
)
def test_a_value_stands_in_our_units(tmp_path, metric, value, note, canonical):
    frame = read_leaderboard(leaderboard(tmp_path / "x.csv", {**ROW, "metric": metric, "value": value, "unit_note": note}))
    assert frame["canonical"].tolist() == pytest.approx([canonical], rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "value", "note", "words"),
    [
        ("recall", "57.4", "", r"value: '57\.4' is above 1.*write 0\.574, or percent"),
        ("precision", "1.01", "", "value: .*above 1"),
        ("accuracy", "84.7", "TensorFlow features", "value: .*percent"),
        ("recall", "157.4", "percent", "value: .*above 1"),
        ("recall", "-0.3", "", "value: '-0.3' is below 0"),
        ("recall", "-3", "%", "value: '-3' is below 0"),
        ("fid", "-4", "", "value: '-4' is below 0"),
        ("ifid", "-4", "", "value: '-4' is below 0"),
        ("is", "0.2", "", "value: '0.2' is below 1"),
        ("kid", "2.1", "", "value: '2.1' is too large .*x1000, or raw"),
        ("kid", "2.1", "x1k", "unit_note: 'x1k' is no unit"),
        ("recall", "0.5", "furlongs", "unit_note: 'furlongs' is no unit"),
        ("recall", "0.5", "percent; x1e3", "unit_note: .*two units"),
        ("fid", "5.81", "%", "unit_note: fid has no unit"),
        ("recall", "٣", "", "value: '٣' is not a number"),
        ("recall", "\uff10.5", "", "value: .* is not a number"),
    ],
)
def test_an_unknown_unit_and_an_impossible_value_are_errors_with_row_and_column(tmp_path, metric, value, note, words):
    path = leaderboard(tmp_path / "x.csv", {**ROW, "metric": metric, "value": value, "unit_note": note})
    with pytest.raises(UserError, match=f"row 2, {words}"):
        read_leaderboard(path)


def test_a_spread_is_in_the_unit_of_its_value(tmp_path):
    one = {**ROW, "metric": "recall", "value": "57.4", "unit_note": "%", "value_std": "0.6"}
    frame = read_leaderboard(leaderboard(tmp_path / "x.csv", one))
    assert (frame["value_std"] * frame["unit"]).tolist() == pytest.approx([0.006])
    assert "row 2, value_std" in problems(leaderboard(tmp_path / "x.csv", {**one, "value": "0.574", "unit_note": ""} | {
        "value_std": "6"}))


def test_numbers_beyond_all_counts_are_refused(tmp_path):
    assert "row 2, n_samples: '1e30' is above 1e+12" in problems(leaderboard(tmp_path / "x.csv", {**ROW, "n_samples": "1e30"}))


def test_of_many_problems_the_first_are_shown(tmp_path):
    path = leaderboard(tmp_path / "x.csv", *({**ROW, "method": f"m{place}", "value": "x" * 500} for place in range(300)))
    assert "and 280 more" in problems(path)
    assert len(problems(path)) < 5000


@pytest.mark.parametrize("method", ["(" + "=" * 60_000, " " * 60_000 + "x", "CBDM" + " " * 60_000 + "(tau=1)", "(=" * 30_000])
@pytest.mark.parametrize("column", ["method", "sampler", "unit_note", "notes", "dataset"])
def test_hostile_text_takes_no_time(tmp_path, method, column):
    path = leaderboard(tmp_path / "x.csv", {**ROW, column: method})
    start = time.process_time()
    with suppress(UserError):
        read_leaderboard(path)
    assert time.process_time() - start < 2


def test_many_rows_take_no_more_than_their_number(tmp_path):
    cells = [",".join({**ROW, "method": f"m{place}"}.values()) for place in range(5_000)]
    (tmp_path / "x.csv").write_text("\n".join([",".join(ROW), *cells]))
    start = time.process_time()
    assert len(read_leaderboard(tmp_path / "x.csv")) == 5_000
    assert time.process_time() - start < 10


def test_escape_sequences_of_a_cell_are_written_out(tmp_path):
    frame = read_leaderboard(leaderboard(tmp_path / "x.csv", {**ROW, "method": "\x1b[2Jevil\x07", "dataset": "a\nb"}))
    assert frame["method"].tolist() == [r"\x1b[2Jevil\x07"]
    assert frame["dataset"].tolist() == ["a b"]


def test_a_name_in_another_script_keeps_a_key():
    assert method_key("学习", 0.0) == "学习"
    assert method_key("CBDM (τ=1)", 0.0) == "cbdm"
