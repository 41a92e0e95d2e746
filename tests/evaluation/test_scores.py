import math

import pandas as pd
import pytest

from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.scores import COLUMNS, Scores

ROWS = [
    {"metric": "fid", "extractor": "classifier", "protocol": "0a1b2c3d", "scope": "all", "value": 0.1 + 0.2,
     "floor_half": 1 / 3, "floor_test": 5e-324, "n_real": 10, "n_generated": 9},
    {"metric": "recall", "extractor": "classifier", "protocol": "00000001", "scope": "class", "label": 0,
     "class_name": 'NA, or "nothing"', "value": 1.0},
    {"metric": "is", "extractor": "inception", "protocol": "12345678", "scope": "few@count",
     "note": "no classes in this group"},
]


@pytest.fixture
def scores():
    return Scores.from_rows(ROWS, {"0a1b2c3d": {"metric": "fid", "k": 5}}, {"classifier": "ab" * 32})


def test_a_row_leaves_empty_what_it_does_not_know(scores):
    assert tuple(scores.table.columns) == COLUMNS
    row = scores.table.iloc[2]
    assert math.isnan(row["value"])
    assert row["label"] is pd.NA
    assert row["class_name"] == row["train_data"] == ""


def test_saved_and_loaded_scores_are_equal_to_the_last_digit(scores, tmp_path):
    scores.save(tmp_path / "scores.csv")
    again = Scores.load(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(again.table, scores.table, check_exact=True)
    assert again.protocols == scores.protocols
    assert again.extractor_weights == scores.extractor_weights


def test_protocol_ids_that_look_like_numbers_stay_text(scores, tmp_path):
    scores.save(tmp_path / "scores.csv")
    assert Scores.load(tmp_path / "scores.csv").table["protocol"].tolist() == ["0a1b2c3d", "00000001", "12345678"]


def test_a_table_without_rows_survives_too(tmp_path):
    empty = Scores.from_rows([], {})
    empty.save(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(Scores.load(tmp_path / "scores.csv").table, empty.table)


def test_a_copied_csv_without_its_protocols_can_be_read(scores, tmp_path):
    scores.save(tmp_path / "scores.csv")
    copy = tmp_path / "copy.csv"
    copy.write_bytes((tmp_path / "scores.csv").read_bytes())
    assert Scores.load(copy).protocols == {}
    assert len(Scores.load(copy).table) == 3


@pytest.mark.parametrize(("text", "complaint"), [("a,b\n1,2\n", "its columns are a, b"), ("", "No columns")])
def test_another_file_is_refused_by_name(tmp_path, text, complaint):
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"(?s)other\.csv is not a table of scores.*{complaint}"):
        Scores.load(path)


def test_a_text_in_the_place_of_a_number_is_refused(scores, tmp_path):
    scores.save(tmp_path / "scores.csv")
    text = (tmp_path / "scores.csv").read_text().replace("0.30000000000000004", "much")
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(UserError, match="much"):
        Scores.load(tmp_path / "scores.csv")


def test_missing_scores_are_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match="there are no scores"):
        Scores.load(tmp_path / "none.csv")


def test_an_unknown_column_is_our_own_mistake():
    with pytest.raises(AssertionError, match="vlaue"):
        Scores.from_rows([{"vlaue": 1.0}], {})
