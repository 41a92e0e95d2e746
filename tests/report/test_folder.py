"""The folder of a report: nobody else's files are touched, and an earlier report leaves nothing behind."""

import pytest
from synthetic_runs import FEW_METRICS, write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.report.report_folder import MANIFEST, TITLE
from ltgen_bench.report.write_report import report


@pytest.fixture
def runs(tmp_path, no_plots):
    write_run(tmp_path / "runs", "cbdm", 0, **FEW_METRICS)
    return tmp_path / "runs"


@pytest.mark.parametrize("name", ["index.html", "notes.txt", "tables/x/comparison.csv", ".hidden"])
def test_a_folder_of_the_users_own_is_refused_and_stays_as_it_is(runs, tmp_path, name):
    file = tmp_path / "site" / name
    file.parent.mkdir(parents=True)
    file.write_text("<title>my site</title>")
    with pytest.raises(UserError, match="is no report of ltgen-bench"):
        report(runs, tmp_path / "site")
    assert [path for path in (tmp_path / "site").rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "<title>my site</title>"


def test_the_folder_of_the_runs_is_refused(runs):
    with pytest.raises(UserError, match="no report"):
        report(runs, runs)


def test_a_page_of_the_users_own_in_place_of_ours_is_kept(runs, tmp_path):
    report(runs, tmp_path / "out")
    (tmp_path / "out" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="no report"):
        report(runs, tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_text() == "mine"


@pytest.mark.parametrize("marked", [True, False])
def test_a_report_of_ours_is_replaced_also_one_of_the_version_before(runs, tmp_path, marked):
    out = tmp_path / "out"
    write_run(runs, "ddpm", 0, dataset="other", **FEW_METRICS)
    old = report(runs, out)
    (out / "notes.txt").write_text("mine")
    (out / "tables" / "other" / "mine.csv").write_text("mine")
    if not marked:
        (out / MANIFEST).unlink()
        assert TITLE in old.index.read_text()
    made = report(runs, out, dataset="digits-lt")
    left = {path for path in out.rglob("*") if path.is_file()}
    assert left == {*made.files, out / "notes.txt", out / "tables" / "other" / "mine.csv"}


def test_a_report_that_was_killed_is_gone_on_with(runs, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ltgen_bench.report.write_report.page", killed)
        with pytest.raises(KeyboardInterrupt):
            report(runs, tmp_path / "out")
    assert report(runs, tmp_path / "out").index.is_file()


def test_a_mark_that_names_other_files_deletes_none_of_them(runs, tmp_path):
    out = tmp_path / "out"
    report(runs, out)
    (tmp_path / "x.csv").write_text("mine")
    (out / MANIFEST).write_text('{"files": ["../x.csv", "/elsewhere/x", 3, "tables/../../x.csv"]}')
    report(runs, out)
    assert (tmp_path / "x.csv").read_text() == "mine"
