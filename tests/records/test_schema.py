import json

import pytest
from pydantic import ValidationError
from synthetic_runs import make_record

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.records.run_record import RunRecord


def test_a_record_comes_back_as_it_was_saved(tmp_path):
    record = make_record()
    path = record.save(tmp_path)
    assert path == tmp_path / "record.json"
    assert RunRecord.load(path) == record
    assert RunRecord.load(tmp_path) == record


def test_a_record_is_frozen_and_knows_its_fields():
    record = make_record()
    with pytest.raises(ValidationError):
        record.seed = 3
    with pytest.raises(ValidationError, match="extra"):
        RunRecord(**{**record.model_dump(), "fid": 3.0})


def change(tmp_path, **values):
    path = make_record().save(tmp_path)
    changed = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))
    return path


def test_all_broken_keys_are_named_with_the_file(tmp_path):
    path = change(tmp_path, seed="three", methodd="cbdm", entry={**make_record().entry.model_dump(), "steps": 0})
    with pytest.raises(UserError) as caught:
        RunRecord.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path} has 3 problems")
    assert "seed: 'three'" in text
    assert "entry.steps: 0" in text
    assert "setting. Did you mean 'method'?" in text


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(UserError, match="fingerprint: is needed"):
        RunRecord.load(change(tmp_path, fingerprint=None))


def test_a_record_of_a_newer_version_asks_for_an_update(tmp_path):
    with pytest.raises(UserError, match=r"newer ltgen-bench \(schema_version 2.*update ltgen-bench"):
        RunRecord.load(change(tmp_path, schema_version=2, something_new=1))


@pytest.mark.parametrize(("text", "reason"), [("{", "Expecting property name"), ("[1]", "it holds no JSON object")])
def test_a_file_that_is_no_record_says_so(tmp_path, text, reason):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(DamagedError, match=f"is damaged .{reason}.*repeat the command that made it"):
        RunRecord.load(tmp_path / "record.json")


def test_a_missing_record_points_to_the_list_of_runs(tmp_path):
    with pytest.raises(UserError, match=r"\(ltgen-bench runs list\)"):
        RunRecord.load(tmp_path / "record.json")
