import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltgen_bench.report.latex_table import latex, tex
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.report.table_formats import comma_separated, markdown, terminal

HOSTILE = ["[x] first", "*star", "OC τ=1, Ω", "学习 长尾", "👩‍👧 🎉", "\x1b[31mred\x07", "naïve Çà ñ ř ő ß Ł ð",
           "\\b{c}$d^e_f~g#h%i&", "½ ² ₂ ‰ €",
           "\udcff", "\u202ertl", "שלום", "]", "{", "\\", "x\u0302", "\ue000", "\uffff", "ϕ ς ά", "-1", "=cmd|' /C calc'!A0",
           "+1+1", "@SUM(A1)", "a\nb", "$\\bm{\\tau}$", "[0.3pt]", "\u2028"]


@pytest.mark.parametrize(("text", "written"), [
    ("[x]", "{[}x{]}"), ("*", "{*}"), ("τ Ω \u0391 ς λ", r"$\tau$ $\Omega$ A $\varsigma$ $\lambda$"),
    ("é Ç ř", r"\'{e} \c{C} \v{r}"),
    ("学习", r"{\ifdefined\Umathchar\char23398 \char20064 \else\texttt{U+5B66 U+4E60}\fi}"), ("10⁻³ x₂", "10$^-$$^3$ x$_2$"),
    ("a\nb\t c", "a b c"), ("50 % & $x$", r"50 \% \& \$x\$"), ("\x1b[0m", r"\textbackslash{}x1b{[}0m"),
    ("\uffff", r"\texttt{U+FFFF}")])
def test_each_letter_is_something_that_latex_has(text, written):
    assert tex(text) == written


@given(st.text())
def test_any_text_becomes_ascii_on_one_line(text):
    written = tex(text)
    assert written.isascii()
    assert written.isprintable()
    assert not written.startswith(("[", "*"))


def hostile_table():
    rows = [Row((Cell(name), Cell("1.5", 1.5, best=place % 3 == 0), Cell(name)), kind)
            for kind in ("entry", "reference", "paper") for place, name in enumerate(HOSTILE)]
    return Table("t", f"title {' '.join(HOSTILE)}", (Head(HOSTILE[0], "a", number=False), Head("FID ↓", "fid", HOSTILE[3]),
                                                     Head("p", "=p", number=False)), tuple(rows), tuple(HOSTILE))


@pytest.mark.parametrize("form", [markdown, comma_separated, latex, lambda table: terminal(table, 100)])
def test_no_form_lets_text_act(form):
    text = form(hostile_table())
    text.encode("utf-8")
    assert not set(text) & {"\x1b", "\x07", "\u202e", "\u2028", "\r"}


def test_no_cell_of_a_csv_is_a_formula():
    lines = comma_separated(hostile_table())
    assert ",'=cmd|" in lines
    assert ",'=p" in lines
    for line in lines.splitlines():
        for cell in line.split(","):
            assert not cell.lstrip('"').startswith(("=", "+", "@"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_hostile_names_compile(tmp_path):
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}\listoftables "
    (tmp_path / "t.tex").write_text(head + latex(hostile_table()) + r"\end{document}")
    for _ in range(2):
        subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True,
                       capture_output=True)
