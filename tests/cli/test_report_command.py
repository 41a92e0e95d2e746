"""`report` and `protocol` at the command line: what they print, exit codes, and that a mistake writes nothing."""

import json
import sys
from types import SimpleNamespace

import pytest
from synthetic_runs import HALF, protocol_id, write_run

from ltgen_bench.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with runs/: CBDM and DDPM measured unlike."""
    place = tmp_path_factory.mktemp("cli")
    write_run(place / "runs", "cbdm", 0, samples=False)
    write_run(place / "runs", "ddpm", 0, variant="b", samples=False)
    return place


@pytest.fixture
def program(folder, monkeypatch, capsys):
    """`program("report", ...)`: the program in `folder`, 60 columns wide, with what it printed and its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "60")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ltgen-bench", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code, stdout=printed.out, stderr=printed.err)

    return call


def test_a_forced_ranking_of_unlike_rows_is_exit_code_2_with_the_difference(program, folder):
    answer = program("report", "--rank", "recall:classifier")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: recall (classifier) cannot be ranked across 2 protocols: ")
    assert "; k: " in answer.stderr
    one = protocol_id("recall", "classifier")
    answer = program("report", "--rank", f"recall:classifier:{one}", "--scope", "few@thirds")
    assert answer.returncode == 0
    assert " ".join(answer.stdout.split()).startswith("digits-lt: recall ↑ (classifier), few classes (thirds), ranked")
    assert max(map(len, answer.stdout.splitlines())) <= 60
    assert {path.name for path in folder.iterdir()} == {"runs"}, "nothing was written"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["report", "--equal", "omega,bugdet"], "unknown word of --equal 'bugdet'."),
        (["report", "--methods", "cdbm", "--scope", "fwe"], "--methods: there is no row 'cdbm'. Did you mean 'cbdm'?"),
        (["report", "--rank", "fid", "--baseline", "ddmp"], "--baseline ddmp: no row has this name. Did you mean 'ddpm'?"),
        (["report", "--methods", ","], "--methods names nothing"),
        (["report", "--methods", "cbdm", "--update-benchmark"], "leave out --methods"),
        (["report", "--rank", "fid", "--sort"], "leave out --sort, or --rank"),
        (["report", "--rank", "fid", "--update-benchmark"], "leave out --update-benchmark, or --rank"),
        (["report", "--rank", "fid", "--compare-published"], "leave out --compare-published, or --rank"),
        (["protocol", "show", "standrad"], "'standrad'. Did you mean 'standard'"),
        (["protocol", "diff", "standard", "nothing"], "id, run or preset 'nothing'."),
        (["protocol", "shwo"], "'shwo'. Did you mean 'show'?"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(refused, folder, arguments, sentence):
    assert sentence in refused(*arguments)
    assert {path.name for path in folder.iterdir()} == {"runs"}


def test_protocols_are_shown_and_compared_within_the_width_of_the_terminal(program):
    ids = [protocol_id("recall", "classifier", variant) for variant in "ab"]
    shown = program("protocol", "show", ids[0]).stdout
    assert shown.startswith(f"protocol  {ids[0]}\nfound in  digits-lt/cbdm-")
    assert max(map(len, shown.splitlines())) <= 60
    differ = program("protocol", "diff", *ids).stdout
    assert differ.splitlines()[-1] == "  k: 5 against 3"
    assert program("protocol", "diff", ids[0], ids[0]).stdout.splitlines()[-1] == "  the same measurement"


def test_json_is_all_that_is_printed_when_asked_for(program):
    one = protocol_id("recall", "classifier")
    shown = json.loads(program("protocol", "show", one, "--json").stdout)
    assert shown["protocol"] == one
    assert shown["measurements"]["recall:classifier"]["k"] == 5
    differ = json.loads(program("protocol", "diff", one, protocol_id("recall", "classifier", "b"), "--json").stdout)
    assert differ["differ"]["recall:classifier"][-1] == "k: 5 against 3"


def test_scores_of_a_half_are_announced_and_never_shown_in_place_of_those_of_all(program, tmp_path):
    _, whole = write_run(tmp_path, "cbdm", 0, samples=False)
    write_run(tmp_path, "cbdm", 0, variant=HALF, finished="2026-02-02T00:00:00+00:00", samples=False)
    write_run(tmp_path, "cfg", 0, variant=HALF, samples=False)
    shown = program("runs", "show", "cbdm", "--runs", str(tmp_path)).stdout
    assert whole.score_digest in shown
    assert "against the report half" not in shown.replace("\n", " ")
    assert "(finished (report half))" in shown
    assert "against the report half" in program("runs", "show", "cfg", "--runs", str(tmp_path)).stdout.replace("\n", " ")
