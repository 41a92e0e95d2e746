"""Tables that a user gives: quotes, separators, line ends and encodings, and rows that do not fit."""

import pytest

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.user_tables import read_table


def table(tmp_path, text, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, **options)


@pytest.mark.parametrize("text", [
    'file,label\n0.png,"a, b"\n1.png,2\n', "file;label\r\n0.png;a, b\r\n1.png;2\r\n", "file\tlabel\r0.png\ta, b\r1.png\t2\r",
    '\ufefffile, label\n0.png, "a, b"\n\n1.png, 2\n,\n,\n', "sep=;\r\nfile;label\r\n0.png;a, b\r\n1.png;2",
    ' file ;"label"\n0.png;"a, b";\n1.png;2;\n;\n',
    'file\tlabel\n0.png\ta, b\n1.png\t2\n'.encode("utf-16")])
def test_every_way_to_write_it_is_the_same_table(tmp_path, text):
    found = table(tmp_path, text)
    assert list(found.columns) == ["file", "label"]
    assert found.to_numpy().tolist() == [["0.png", "a, b"], ["1.png", "2"]]


def test_cells_stay_the_text_that_stands_there(tmp_path):
    found = table(tmp_path, 'a,b\nNA,nan\nnull,\n01,1e3\n"x\ny","say ""no"""\n')
    assert found.to_numpy().tolist() == [["NA", "nan"], ["null", ""], ["01", "1e3"], ["x\ny", 'say "no"']]
    assert list(found.index) == [2, 3, 4, 5]


def test_rows_are_numbered_as_a_spreadsheet_does_and_blank_lines_are_none(tmp_path):
    assert list(table(tmp_path, '\nlabel\n\n"1\n"\n\n3\n  \n').index) == [4, 6]


def test_without_a_header_every_row_counts(tmp_path):
    assert table(tmp_path, '0\n""\n"a, b"\n', header=False)[0].tolist() == ["0", "", "a, b"]


@pytest.mark.parametrize(("text", "words"), [
    ("a,b\n1,2\n1\n1,2,3\n", "row 3 has 1, row 4 has 3"), ('a,b\n1,2\n"1,2\n', "row 3 cannot be read"), ("", "is empty"),
    ('a;b\n"1"x;2\n', "row 2 cannot be read"), (b"a\n\xff\n", "byte 3"), (b"a\x00b", "NUL"), ("a,a\n1,2\n", "called 'a'")])
def test_what_is_no_table_is_told_with_its_place(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        table(tmp_path, text)


def test_a_missing_file_is_told_as_the_caller_calls_it(tmp_path):
    with pytest.raises(UserError, match="x: there is no such"):
        read_table(tmp_path / "none.csv", "--labels x")
