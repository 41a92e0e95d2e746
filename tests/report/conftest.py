"""Made-up runs for the tests of the report."""

import pytest


@pytest.fixture(scope="session")
def three_seeds(tmp_path_factory):
    """A runs folder with ddpm, cfg and cbdm on three seeds, Inception included."""
    from synthetic_runs import write_run

    folder = tmp_path_factory.mktemp("three") / "runs"
    for method in ("ddpm", "cfg", "cbdm"):
        for seed in range(3):
            write_run(folder, method, seed, omega=0.0 if method == "ddpm" else 1.0, inception=True)
    return folder


@pytest.fixture(scope="session")
def three_report(three_seeds, tmp_path_factory):
    """The report of `three_seeds`; no test changes its files."""
    from ltgen_bench.report.write_report import report

    return report(three_seeds, tmp_path_factory.mktemp("report"))


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes most of the time of a report; tests of other things go without."""
    monkeypatch.setattr("ltgen_bench.report.write_report._drawings", lambda *_: {})


@pytest.fixture(scope="session")
def one_seed(tmp_path_factory):
    """A runs folder with ddpm and cbdm on one seed each, the classifier's scores only."""
    from synthetic_runs import write_run

    folder = tmp_path_factory.mktemp("one") / "runs"
    for method in ("ddpm", "cbdm"):
        write_run(folder, method, 0)
    return folder


@pytest.fixture(scope="session")
def block_of():
    """`block_of(runs_dir)`: the one block of comparable runs in a folder."""
    from ltgen_bench.records.store import find_runs, rows
    from ltgen_bench.report.entries import blocks

    def make(runs_dir):
        (block,) = blocks(rows(find_runs(runs_dir), runs_dir))
        return block

    return make


@pytest.fixture(scope="session")
def three_block(three_seeds, block_of):
    return block_of(three_seeds)


@pytest.fixture(scope="session")
def one_block(one_seed, block_of):
    return block_of(one_seed)
