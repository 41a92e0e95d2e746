"""A table as LaTeX, by pandas' `Styler`, and any text as LaTeX that compiles, in ASCII.

`\\usepackage{booktabs}` is all that a document needs for it.
"""

import re
import unicodedata

import pandas as pd

from ltgen_bench.core.plain_text import printable
from ltgen_bench.report.table import Cell, Row, Table

ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row it would be an argument
    "]": "{]}",
    "*": "{*}",  # likewise
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "·": r"$\cdot$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "°": r"$^\circ$",
    "…": r"\ldots{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "“": "``",
    "”": "''",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
SMALL = {"^": ("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-"), "_": ("₀₁₂₃₄₅₆₇₈₉", "0123456789")}
RAISED = {sign: f"${mark}{plain}$" for mark, pair in SMALL.items() for sign, plain in zip(*pair, strict=True)}
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".", "\u0308": '"',
           "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c"}
GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lamda", "mu", "nu", "xi", "pi",
         "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega")
# Greek letters that LaTeX has no command for, since they look like Latin ones
LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))  # noqa: RUF001  (Greek letters are meant)
FOREIGN = re.compile("\0([^\0]+)\0")


def latex(table: Table) -> str:
    """A `tabular` with booktabs rules in a `table`; best values bold, rows below the entries in italics.

    Notes stand below in small print. Columns of prose are paragraphs of 0.3 of the line.
    """
    table, caption = table.shown, tex(table.title)
    notes = rf"{{\footnotesize {' '.join(map(tex, table.notes))}}}"
    if not table.rows:
        return "\n".join([r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", notes, r"\end{table}", ""])
    two_lines = any(head.subtitle for head in table.heads)
    titles = [(tex(head.title), *([_small(head.subtitle)] if two_lines else [])) for head in table.heads]
    frame = pd.DataFrame([[_latex_cell(cell, row) for cell in row.cells] for row in table.rows],
                         columns=pd.MultiIndex.from_tuples(titles))
    align = "".join(r"p{0.3\linewidth}" if head.prose else "r" if head.number else "l" for head in table.heads)
    text = frame.style.hide(axis="index").to_latex(hrules=True, column_format=align, caption=caption, position_float="centering",
                                                   sparse_columns=False)
    lines = text.splitlines()
    first = lines.index(r"\midrule") + 1
    for place in reversed(table.breaks):
        lines.insert(first + place, r"\midrule")
    below = ["", r"\smallskip", notes] if table.notes else []
    return "\n".join([*lines[:-1], *below, lines[-1], ""])


def _small(text: str) -> str:
    return rf"{{\scriptsize {tex(text)}}}" if text else ""


def _latex_cell(cell: Cell, row: Row) -> str:
    text = tex(cell.text)
    if text and (cell.best or row.footer):
        text = rf"\textbf{{{text}}}" if cell.best else rf"\textit{{{text}}}"
    return rf"\quad {text}" if row.kind == "paper" and cell is row.cells[0] else text


def tex(text: str) -> str:
    """`text` on one line, with everything that LaTeX would act upon escaped.

    Accented Latin letters, Greek letters and common signs are commands. Any other letter is printed by XeLaTeX and LuaLaTeX,
    and by pdfLaTeX, which has no such letter, as its number (`U+5B66`).
    """
    plain = "".join(_letter(letter) for letter in unicodedata.normalize("NFC", " ".join(printable(text).split())))
    return FOREIGN.sub(_foreign, plain.replace("\0\0", ""))


def _letter(letter: str) -> str:
    known = ESCAPES.get(letter) or RAISED.get(letter) or LATIN.get(letter)
    if known:
        return known
    if " " <= letter <= "~":
        return letter
    base, *marks = list(unicodedata.normalize("NFD", letter))
    if len(marks) == 1 and marks[0] in ACCENTS and base.isascii() and base.isalpha():
        return rf"\{ACCENTS[marks[0]]}{{{base}}}"
    return _greek(letter) or f"\0{letter}\0"


def _greek(letter: str) -> str:
    found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (FINAL )?([A-Z]+)", unicodedata.name(letter, ""))
    name = found[3].lower() if found else ""
    if found is None or name not in GREEK:
        return ""
    name = "lambda" if name == "lamda" else name
    return rf"$\var{name}$" if found[2] else rf"$\{name if found[1] == 'SMALL' else name.capitalize()}$"


def _foreign(found: re.Match[str]) -> str:
    letters = found[1]
    codes = " ".join(f"U+{ord(letter):04X}" for letter in letters)
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Cn", "Co") for letter in letters):
        return rf"\texttt{{{codes}}}"
    wide = "".join(rf"\char{ord(letter)} " for letter in letters)
    return rf"{{\ifdefined\Umathchar{wide}\else\texttt{{{codes}}}\fi}}"
