import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltgen_bench.core.plain_text import csv_plain, csv_safe, printable


@pytest.mark.parametrize(("text", "shown"), [
    ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"), ("\x1b]0;title\x07", r"\x1b]0;title\x07"), ("\x9b2J", r"\x9b2J"),
    ("two\nlines\r\n\tand tab", "two lines   and tab"), ("a\u202egnp.exe", r"a\u202egnp.exe"), ("\udcff", r"\udcff"),
    ("null\0", r"null\x00"), ("\ufeffid", r"\ufeffid"), ("a\u2028b", "a b")])
def test_what_acts_on_a_terminal_is_written_out(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["", "cbdm (τ=1)", "学习 长尾", "👩‍👧 é", "می‌خواهم", r"C:\new\x1b", "±0.5 \u00d7 10⁻³",
                                  "a\u00a0b"])
def test_text_of_any_script_stays(text):
    assert printable(text) == text


@given(st.text())
def test_printable_text_is_printable(text):
    once = printable(text)
    assert printable(once) == once
    assert "\x1b" not in once
    assert len(once.splitlines()) <= 1
    once.encode("utf-8")


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=1", " =1", "\uff1d1+1",
                                  "'=1", "|x", "-", "+", "--5", "-1e", "-1_000"])
def test_no_cell_begins_a_formula(cell):
    assert csv_safe(cell).startswith("'")
    assert csv_plain(csv_safe(cell)) == cell


@pytest.mark.parametrize("cell", ["", "-0.3", "+4", "-1e-05", "-inf", "-.5", "5.", "ddpm", "a=b", "'quoted'", "'-3", "it's"])
def test_numbers_and_plain_text_are_kept(cell):
    assert csv_safe(cell) == cell
    assert csv_plain(cell) == cell


@given(st.text(alphabet="=+-@'\t 1ae."))
def test_the_cell_gives_the_text_back(text):
    out = io.StringIO()
    csv.writer(out).writerow([csv_safe(text)])
    assert csv_plain(next(csv.reader(io.StringIO(out.getvalue(), newline="")))[0] if text else "") == text
