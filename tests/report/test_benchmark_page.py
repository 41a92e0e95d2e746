"""BENCHMARK.md: what stands between its markers follows from results/, and README's table from the same rows."""

import re
from pathlib import Path

import pytest
from benchmark_tables import with_tables

from ltgen_bench.core.errors import UserError
from ltgen_bench.records.results_csv import read_measured
from ltgen_bench.report.benchmark_page import BEGIN, END, results_markdown, update_benchmark

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made(three_report):
    return three_report


@pytest.fixture(scope="module")
def tables():
    return results_markdown(ROOT / "results", "results/figures")


def test_the_results_of_the_benchmark_are_those_of_the_measured_files(tables):
    text = (ROOT / "BENCHMARK.md").read_text(encoding="utf-8")
    shown = text[text.index(BEGIN) + len(BEGIN):text.index(END)].strip()
    assert shown == tables.strip(), "BENCHMARK.md is not what results/ says; write it anew: python tests/benchmark_tables.py"


def test_the_other_tables_of_the_benchmark_are_those_of_results():
    text = (ROOT / "BENCHMARK.md").read_text(encoding="utf-8")
    assert with_tables(text, ROOT / "results") == text, "write them anew: python tests/benchmark_tables.py"


def test_every_score_of_the_readme_stands_in_the_benchmark_too(tables):
    readme = re.findall(r"^\| `([\w-]+)` \|(.* ± .*)\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    rows = [line.strip("| ").split(" | ") for line in tables.splitlines()]
    known = {(row[0].strip(), cell.strip(" *")) for row in rows for cell in row}
    assert len(readme) == 13
    assert {(method, cell.strip()) for method, cells in readme for cell in cells.split("|") if "±" in cell} <= known


BENCHMARK = f"# Benchmark\n\nRules.\n\n{BEGIN}\nold numbers\n{END}\n\nMore.\n"


@pytest.fixture(scope="module")
def benchmark(three_report, tmp_path_factory):
    """(BENCHMARK.md as the report of three seeds wrote it, the files that were written)."""
    page = tmp_path_factory.mktemp("benchmark") / "BENCHMARK.md"
    page.write_text(BENCHMARK)
    return page, update_benchmark(three_report, page)


def test_only_what_stands_between_the_markers_changes_and_twice_is_as_once(made, benchmark):
    page, written = benchmark
    text = page.read_text()
    assert text.startswith(f"# Benchmark\n\nRules.\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nMore.\n")
    assert "old numbers" not in text
    assert all(path.is_file() for path in written)
    update_benchmark(made, page)
    assert page.read_text() == text


def test_the_benchmark_tells_commands_costs_machine_and_ids(made, benchmark):
    text = benchmark[0].read_text()
    for method in ("ddpm", "cfg", "cbdm"):
        for seed in range(3):
            assert re.search(rf"- `ltgen-bench run --method {method} --seed {seed}`.*: {method} .*80 to 80 s", text)
    assert re.search(r"- Hardware: .*Some CPU", text)
    assert re.search(r"- Versions: ltgen-bench 0.1.0, torch 2.14.0", text)
    assert f"protocol show {made.sections[0].block.protocols[0]}" not in text
    assert made.sections[0].block.protocols[0] in text


def test_every_picture_of_the_benchmark_lies_where_it_points(made, benchmark):
    page, _ = benchmark
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", page.read_text())
    assert len(pictures) == len(made.sections[0].plots)
    assert all(link.startswith("results/figures/digits-lt-") for link in pictures)
    assert all((page.parent / link).is_file() for link in pictures)


def test_the_measured_rows_are_kept_beside_the_benchmark(made, benchmark):
    folder = benchmark[0].parent / "results"
    back = read_measured(folder / "digits-lt.csv")
    assert back["value"].tolist() == pytest.approx(made.rows["value"].tolist(), nan_ok=True, rel=0)
    assert (folder / "digits-lt.protocols.json").is_file()


@pytest.mark.parametrize("text", ["no markers", f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_missing_markers_are_an_error_before_anything_is_written(made, tmp_path, text):
    path = tmp_path / "BENCHMARK.md"
    path.write_text(text)
    with pytest.raises(UserError, match="no markers for the results"):
        update_benchmark(made, path)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_benchmark_file_that_is_not_there_is_named(made, tmp_path):
    with pytest.raises(UserError, match=r"BENCHMARK\.md could not be read"):
        update_benchmark(made, tmp_path / "BENCHMARK.md")
