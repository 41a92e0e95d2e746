from click.testing import CliRunner
from synthetic_runs import write_run

from ltgen_bench.cli import cli


def test_runs_list_shows_the_whole_runs_and_names_the_broken_record(tmp_path):
    write_run(tmp_path, "cbdm", 0)
    folder, record = write_run(tmp_path, "ddpm", 0)
    file = folder / "scores" / record.score_digest / "record.json"
    file.write_text(file.read_text()[:-40])
    told = CliRunner().invoke(cli, ["runs", "list", "--runs", str(tmp_path)])
    assert told.exit_code == 0
    assert "finished" in told.stdout
    assert "damaged" in told.stdout
    assert str(file) in told.stderr
