"""One table in three formats: Markdown, CSV and the terminal."""

import csv
import io
import math
import re
import textwrap
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from ltgen_bench.core.plain_text import csv_safe
from ltgen_bench.report.table import Cell, Head, Row, Table

STYLES = {"baseline": "dim", "baseline-n": "dim", "reference": "dim italic", "paper": "dim", "section": "bold"}
MARKDOWN = re.compile(r"([\\`*_\[\]|~])")


def markdown(table: Table) -> str:
    """GitHub's Markdown: title, table, notes. Best values are bold, rows below the entries in italics; all text is escaped."""
    table = table.shown
    heads = [_md(head.title) + (f"<br><sub>{_md(head.subtitle)}</sub>" if head.subtitle else "") for head in table.heads]
    lines = [f"### {_md(table.title)}", ""]
    if table.rows:
        lines += [_md_row(heads), _md_row(["---:" if head.number else "---" for head in table.heads])]
    lines += [_md_row([_md_cell(cell, row) for cell in row.cells]) for row in table.rows]
    notes = [f"- {_md(note)}" for note in table.notes]
    return "\n".join([*lines, *([""] if table.rows else []), *notes]).rstrip() + "\n"


def _md_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md_cell(cell: Cell, row: Row) -> str:
    text = _md(cell.text)
    if not text:
        return ""
    return f"**{text}**" if cell.best else f"*{text}*" if row.footer else text


def _md(text: str) -> str:
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKDOWN.sub(r"\\\1", plain)


def comma_separated(table: Table) -> str:
    """CSV with raw values: for a score its mean, ` sd` and ` n` (seeds) in three columns, unrounded and unscaled.

    A column in which some score is of too few images has a fourth, ` few`, that says on which side. The first column is the kind
    of the row. Empty cell: not available.
    """
    columns: list[list[str]] = [["row", *(row.kind for row in table.rows)]]
    for place, head in enumerate(table.heads):
        cells, name = [row.cells[place] for row in table.rows], head.key
        if head.number and head.score:
            columns += [[name, *(_raw(cell.value) for cell in cells)], [f"{name} sd", *(_raw(cell.spread) for cell in cells)],
                        [f"{name} n", *(str(cell.n) for cell in cells)]]
            columns += [[f"{name} few", *(cell.few for cell in cells)]] if any(cell.few for cell in cells) else []
        else:
            columns.append([name, *(csv_safe(cell.text) for cell in cells)])
    columns = [[csv_safe(name), *cells] for name, *cells in columns]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(zip(*columns, strict=True))
    return out.getvalue()


def _raw(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def terminal(table: Table, width: int, color: bool = False) -> str:
    """Text of at most `width` columns. Columns that do not fit are left out from the right and named below; no cell wraps.

    Prose is printed below its row, over the whole width.
    """
    table = table.shown
    shown, dropped = fold(table.take([place for place, head in enumerate(table.heads) if not head.prose]), width)
    shown = replace(shown, rows=tuple(row for row in shown.rows if row.kind != "baseline" or any(cell.n for cell in row.cells)))
    notes = list(table.notes)
    if dropped and table.rows:
        groups = [[f", {word}" for word in head.subtitle.split(" · ") if word in ("few", "all")] for head in dropped]
        names = dict.fromkeys("".join([re.sub(r" ([↑↓]|≈ \S+)", "", head.title), *group])
                              for head, group in zip(dropped, groups, strict=True))
        notes.insert(0, f"Columns left out, too wide for {width} characters: {'; '.join(names)}.")
    title = _wrapped(table.title, width, "")
    lines = _drawn(Text("\n".join(title), style="bold"), width, color) if title else []
    lines += _with_prose(table, _drawn(_rich(shown), width, color), width) if table.rows else []
    return "\n".join([*lines, *(line for note in notes for line in _wrapped(note, width, " "))]) + "\n"


def _drawn(text: Text | RichTable, width: int, color: bool) -> list[str]:
    out = io.StringIO()
    _console(out, width, color).print(text, soft_wrap=isinstance(text, Text))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _with_prose(table: Table, drawn: list[str], width: int) -> list[str]:
    """The drawn lines with the prose of each row below it. A table with prose has no rules, so its last lines are its rows."""
    prose = [(place, head.title) for place, head in enumerate(table.heads) if head.prose]
    if not prose:
        return drawn
    lines = drawn[: -len(table.rows)]
    for row, line in zip(table.rows, drawn[-len(table.rows) :], strict=True):
        lines += [line, *(text for place, title in prose if row.cells[place].text
                          for text in _wrapped(f"{title}: {row.cells[place].text}", width, "    "))]
    return lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, max(20, width - 1), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def fold(table: Table, width: int) -> tuple[Table, list[Head]]:
    """The table with the columns that fit into `width`, and the heads of those that were left out.

    Columns are left out from the right, those with a larger `keep` later. The first column and the first number always stay; if
    need be the names in the first column are cut short, never a number.
    """
    kept = list(range(len(table.heads)))
    score = next((place for place, head in enumerate(table.heads) if head.number), 0)
    while _excess(table.take(kept), width) > 0 and set(kept) != {0, score}:
        others = [place for place in kept if place not in (0, score)]
        kept.remove(max(others, key=lambda place: (-table.heads[place].keep, place)))
    folded = table.take(kept)
    excess = _excess(folded, width)
    return _shorten(folded, excess) if excess > 0 else folded, [
        head for place, head in enumerate(table.heads) if place not in kept
    ]


def _excess(table: Table, width: int) -> int:
    console = _console(io.StringIO(), 10_000, False)
    return Measurement.get(console, console.options, _rich(table)).maximum - width


def _shorten(table: Table, excess: int) -> Table:
    """The names in the first column cut so that the table is `excess` narrower, down to four letters."""
    longest = max((len(row.cells[0].text) for row in table.rows), default=0)
    length = max(4, longest - excess)
    rows = [
        replace(row, cells=(replace(row.cells[0], text=_cut(row.cells[0].text, length)), *row.cells[1:]))
        for row in table.rows
    ]
    return replace(table, rows=tuple(rows))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _console(out: io.StringIO, width: int, color: bool) -> Console:
    return Console(file=out, width=width, color_system="standard" if color else None, force_terminal=color, no_color=not color,
                   highlight=False, markup=False, emoji=False, legacy_windows=False)


def _rich(table: Table) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
    two_lines = any(head.subtitle for head in table.heads)
    for head in table.heads:
        title = Text(head.title, style="bold")
        if two_lines:
            title.append("\n" + head.subtitle.replace(" · ", "\n"), style="not bold dim")
        drawn.add_column(
            title, justify="right" if head.number else "left", no_wrap=True, overflow="ellipsis", vertical="bottom"
        )
    breaks = table.breaks
    for place, row in enumerate(table.rows):
        if place in breaks:
            drawn.add_section()
        style = STYLES.get(row.kind, "")
        texts = [_mark(cell) for cell in row.cells]
        if row.kind == "paper":
            texts[0] = f"  {texts[0]}"  # below ours
        cells = zip(row.cells, texts, strict=True)
        drawn.add_row(*(Text(text, style="bold green" if cell.best else style) for cell, text in cells))
    return drawn


def _mark(cell: Cell) -> str:
    """The best value carries a star, so that it is seen without colours too."""
    return f"{cell.text} *" if cell.best else cell.text
