import json
import random

import pytest
from synthetic_runs import make_record, score_rows

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.score_files import ScoreFiles

FILES = ("scores.csv", "record.json", "scores.protocols.json")


@pytest.fixture
def folder(tmp_path):
    record = make_record()
    confusions = {"classifier": [[0.5, 0.5], [0.25, 0.75]]}
    ScoreFiles(tmp_path).write(record, Scores.from_rows(score_rows(), record.protocols, confusions=confusions))
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_was_kept_is_read(folder):
    record, scores = ScoreFiles(folder).read()
    assert record.vouched is not None
    assert record.model_copy(update={"vouched": None}) == make_record()
    assert scores.table["value"].tolist() == Scores.from_rows(score_rows(), {}).table["value"].tolist()
    assert ScoreFiles(folder).are_current({}, pytest.fail)


def test_an_edited_value_is_named_with_the_command_that_measures_it(folder):
    path = folder / "scores.csv"
    row = next(line for line in path.read_text().splitlines() if line.startswith("fid,classifier"))
    cells = row.split(",")
    edit(path, row, ",".join([*cells[:7], "0.01", *cells[8:]]))
    with pytest.raises(DamagedError, match=r"0\.01 \(classifier, all\)(?s:.*)ltgen-bench run --method"):
        ScoreFiles(folder).read()


def test_a_table_that_was_cut_says_how_many_rows_are_gone(folder):
    lines = (folder / "scores.csv").read_text().splitlines(keepends=True)
    (folder / "scores.csv").write_text("".join(lines[:-7]))
    with pytest.raises(DamagedError, match=f"7 of {len(lines) - 1} rows are gone"):
        ScoreFiles(folder).read()


def test_a_row_that_is_there_twice_is_no_measurement(folder):
    path = folder / "scores.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(DamagedError, match="fid"):
        ScoreFiles(folder).read()


@pytest.mark.parametrize("name", FILES)
def test_no_bit_and_no_cut_passes(folder, name):
    """What is read at all is what was written: a flipped bit may make a space a tab between two values."""
    rng, path = random.Random(3), folder / name
    good, (record, scores) = path.read_bytes(), ScoreFiles(folder).read()
    caught = 0
    for place in rng.sample(range(len(good) - 2), 40):
        for bad in (good[:place], bytes([*good[:place], good[place] ^ 1 << rng.randrange(8), *good[place + 1:]])):
            path.write_bytes(bad)
            try:
                again = ScoreFiles(folder).read()
            except (DamagedError, UserError) as error:
                caught += str(folder) in str(error)
            else:
                assert again[0] == record
                assert again[1].table.equals(scores.table)
    assert caught > 60


def test_what_is_damaged_is_said_and_set_aside(folder):
    edit(folder / "record.json", '"seed": 0', '"seed": 1')
    said = []
    assert not ScoreFiles(folder).are_current({}, said.append)
    assert "record.json" in said[0]
    assert {path.name for path in folder.iterdir()} == {f"{name}.damaged" for name in FILES}
    assert not ScoreFiles(folder).are_current({}, pytest.fail)


def test_a_record_of_a_newer_version_is_left_alone(folder):
    edit(folder / "record.json", '"schema_version": 1', '"schema_version": 2')
    with pytest.raises(UserError, match="newer"):
        ScoreFiles(folder).are_current({}, pytest.fail)
    assert (folder / "record.json").is_file()


def test_older_files_without_a_checksum_are_read_unless_they_contradict(folder):
    record, scores = ScoreFiles(folder).read()
    record.model_copy(update={"vouched": None}).save(folder)
    assert "sha256" not in json.loads((folder / "record.json").read_text())
    assert ScoreFiles(folder).read()[1].table.equals(scores.table)
    edit(folder / "scores.csv", scores.table["protocol"][0], "00c0ffee")
    with pytest.raises(DamagedError, match="of protocol 00c0ffee"):
        ScoreFiles(folder).read()
