"""Tables in every form: Markdown, LaTeX, CSV and the terminal print the same, and no cell is cut or wrapped."""

import csv
import io
import math
import re

import pytest
from rich.cells import cell_len
from synthetic_runs import NO_LOGITS, make_record, score_rows

from ltgen_bench.core.words import count, listed
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.report.comparisons import ONE_SEED
from ltgen_bench.report.latex_table import latex
from ltgen_bench.report.numbers import MISSING, facts, show
from ltgen_bench.report.run_table import score_table
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.report.table_formats import comma_separated, fold, markdown, terminal
from ltgen_bench.report.tables import comparison_table, downstream_table, verdict_table

NASTY = Table(
    "nasty",
    "100 % <b>_x_ & $y$ | #1~^\\{}",
    (Head("a|b", "a", number=False), Head("FID ↓", "fid", "c_1 · ff")),
    (
        Row((Cell("<script>*x*</script> _|_"), Cell("1.50 ± 0.10", 1.5, 0.1, 3, best=True))),
        Row((Cell("R&D 50%"), Cell(MISSING))),
        Row((Cell("baseline"), Cell("0.1", 0.1, n=1)), "baseline"),
    ),
    ("n < 5 & more_so",),
)


def test_markdown_escapes_what_would_format_or_break_a_cell():
    text = markdown(NASTY)
    body = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in body} == {3}
    assert "<script>" not in text
    assert r"&lt;script&gt;\*x\*&lt;/script&gt; \_\|\_" in text
    assert "**1.50 ± 0.10**" in text
    assert "*baseline*" in text


def test_latex_escapes_everything_special_and_balances_its_braces():
    text = latex(NASTY)
    assert r"100 \% \textless{}b\textgreater{}\_x\_ \& \$y\$" in text
    assert r"\#1\textasciitilde{}\textasciicircum{}\textbackslash{}\{\}" in text
    assert r"\textbf{1.50 $\pm$ 0.10}" in text
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    for line in text.splitlines():
        if line.endswith(r"\\"):
            assert len(re.findall(r"(?<!\\)&", line)) == 1
    assert not re.search(r"[↓↑±·]", text)


def test_csv_keeps_raw_values_and_tells_floors_apart():
    lines = list(csv.DictReader(io.StringIO(comma_separated(NASTY))))
    assert [line["row"] for line in lines] == ["entry", "entry", "baseline"]
    assert lines[0]["a"] == "<script>*x*</script> _|_"
    assert (lines[0]["fid"], lines[0]["fid sd"], lines[0]["fid n"]) == ("1.5", "0.1", "3")
    assert (lines[1]["fid"], lines[1]["fid n"]) == ("", "0")


@pytest.mark.parametrize("form", [markdown, latex])
def test_all_forms_print_the_same_numbers(three_block, form):
    table = comparison_table(three_block)
    text = form(table).replace(r"$\pm$", "±")
    raw = list(csv.DictReader(io.StringIO(comma_separated(table))))
    for row, line in zip(table.rows, raw, strict=True):
        for head, cell in zip(table.heads, row.cells, strict=True):
            if head.number and not math.isnan(cell.value):
                assert cell.text in text
                assert float(line[head.key]) == cell.value
                metric = head.key.partition(":")[0]
                assert cell.text.startswith(show(metric, float(line[head.key])))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("color", [False, True])
def test_no_cell_wraps_at_any_width(three_block, width, color):
    for table in (comparison_table(three_block), downstream_table(three_block), verdict_table(three_block)):
        text = re.sub(r"\x1b\[[0-9;]*m", "", terminal(table, width, color))
        lines = text.splitlines()
        assert all(cell_len(line) <= width for line in lines if not line.startswith(table.title))
        rule = next(i for i, line in enumerate(lines) if set(line.strip()) == {"─"})
        body = [line for line in lines[rule + 1 : rule + 5] if line.strip()]
        names = [row.cells[0].text for row in table.rows if row.kind == "entry"]
        assert [line.split("  ")[0].strip() for line in body[:3]] == names


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_columns_are_dropped_from_the_right_and_named(three_block, width):
    table = comparison_table(three_block).shown
    shown, dropped = fold(table, width)
    score = next(i for i, head in enumerate(table.heads) if head.number)
    kept = [head.key for head in shown.heads]
    assert table.heads[0].key in kept
    assert table.heads[score].key in kept
    others = [head for place, head in enumerate(table.heads) if place not in (0, score)]
    others = [head.key for head in sorted(others, key=lambda head: -head.keep)]  # a larger one is given up later
    assert {key for key in kept if key in others} == set(others[: len(kept) - 2])
    assert len(shown.heads) + len(dropped) == len(table.heads)
    if dropped:
        said = " ".join(terminal(table, width).split())
        assert re.sub(r" [↑↓]", "", dropped[-1].title) in said.split("Columns left out, too wide for")[1]


def test_a_number_is_never_cut_short_but_a_long_name_is():
    table = Table(
        "x",
        "x",
        (Head("method", "m", number=False), Head("FID ↓", "fid")),
        (
            Row(
                (
                    Cell("a method with a very long name indeed, longer than the terminal"),
                    Cell("123.45 ± 0.67", 123.45, 0.67, 3),
                )
            ),
        ),
    )
    text = terminal(table, 30)
    assert "123.45 ± 0.67" in text
    assert "…" in text
    assert max(len(line) for line in text.splitlines()) <= 30


def test_plain_text_has_no_escape_codes_and_coloured_text_has(three_block):
    table = comparison_table(three_block)
    assert "\x1b" not in terminal(table, 100)
    assert "\x1b[" in terminal(table, 100, color=True)
    assert "20.06 ± 0.13 *" in terminal(table, 100) or " *" in terminal(table, 100)


def run_table_text(width, **more):
    record = make_record("cbdm", 0, inception=True, **more)
    scores = Scores.from_rows(score_rows("cbdm", 0, inception=True), record.protocols)
    return score_table(record, scores, width, False)


def test_the_table_of_a_run_has_every_metric_group_floor_and_id():
    text = run_table_text(120)
    head = text.splitlines()[0].split()
    assert head == ["few", "medium", "many", "all", "real", "test", "real", "halves", "protocol"]
    for name in ("FID ↓", "IS ↑", "KID ↓", "recall k=5 ↑", "label accuracy ↑", "accuracy, synthetic ↑"):
        (line, *_) = [line for line in text.splitlines() if line.startswith(f" {name}  ")]
        assert re.search(r"[0-9a-f]{8}$", line)
    assert re.search(r"^ KID ↓ .* \d\.\d{5} ± \d\.\d{5} ", text, re.MULTILINE)
    assert "classifier features" in text
    assert "downstream (cnn-8x8)" in text
    assert ONE_SEED in text
    assert f"IS (inception): {NO_LOGITS}." in text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_table_of_a_run_folds_and_keeps_its_protocol_ids(width):
    text = run_table_text(width)
    table = text[: text.index(" next ")]
    assert max(cell_len(line) for line in table.splitlines()) <= width
    said = " ".join(text.split())
    assert "Protocol ids of classifier: FID " in said
    ids = {row["protocol"] for row in score_rows("cbdm", 0, inception=True) if row["scope"] == "all"}
    assert all(one in said for one in ids)


def test_a_run_after_a_preset_says_whose_rules_were_kept():
    assert "preset standard" in run_table_text(100, preset="standard")
    asked = "1,000 images where it asks for 50,000"
    text = run_table_text(100, preset="standard", departures=[asked])
    assert f"Not standard: {asked}." in text
    assert "as the preset" not in text


def test_a_run_says_where_its_files_are_and_what_to_type_next(tmp_path):
    record = make_record("ddpm", 0, dataset="cifar10-lt")
    scores = Scores.from_rows(score_rows("ddpm", 0), record.protocols)
    text = score_table(record, scores, 40, False, folder=RunFolder(tmp_path))
    assert f"samples   {tmp_path / 'samples' / record.sample_digest / 'samples.png'}\n" in text
    assert f"scores    {tmp_path / 'scores' / record.score_digest / 'scores.csv'}\n" in text
    assert "ltgen-bench run --method cbdm --dataset cifar10-lt    then    ltgen-bench report" in text


def test_scores_are_printed_with_the_scale_and_digits_of_their_metric():
    assert show("kid", 0.01234) == "0.01234"
    assert show("kid", 0.01234, 0.001) == "0.01234 ± 0.00100"
    assert show("recall", 0.5) == "0.500"
    assert show("fid", math.nan) == MISSING
    assert facts("ifid").heading == "mean per-class FID ↓"
    assert [count(n) for n in (441, 44_800, 50_000, 14_400_000)] == ["441", "44.8k", "50k", "14.4M"]
    assert listed(["a", "b", "c"]) == "a, b and c"
