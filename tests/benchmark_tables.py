"""Writes the tables of BENCHMARK.md anew from results/: python tests/benchmark_tables.py"""

from pathlib import Path

from ltgen_bench.report.benchmark_page import write_results

if __name__ == "__main__":
    root = Path(__file__).parents[1]
    write_results(root / "BENCHMARK.md", root / "results")
