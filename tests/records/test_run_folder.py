"""The folder of a run: its paths have one owner, its configuration one writer, and its state follows from its files."""

import ast
from pathlib import Path

import pytest

import ltgen_bench
from ltgen_bench.core.errors import BusyError, UserError
from ltgen_bench.records.run_folder import RunFolder

PACKAGE = Path(ltgen_bench.__file__).parent
OWNERS = {"records/run_folder.py", "records/score_files.py", "records/run_record.py"}
# file of a run -> the module that spells its name for those who write and read it
FORMATS = {
    "samples.npz": "core/file_names.py", "log.jsonl": "core/file_names.py", "checkpoint-": "core/file_names.py",
    "config.toml": "", "record.json": "", "scores.csv": "", "curve.csv": "", "cost.json": "", "flops.json": "", "loss.png": "",
    "weights.safetensors": "", "samples.png": ""}
# the file of a user in a command that is shown, and the picture of a report
OTHERS = {("cli/export_command.py", "samples.npz"), ("export/model_card.py", "samples.npz"),
          ("report/write_report.py", "samples.png"), ("cli/evaluate_command.py", "samples.npz"),
          ("cli/evaluate_command.py", "scores.csv")}
FOLDERS = {"train", "samples", "scores", "curve", "downstream"}
DATA = "data"  # whose sources have folders called train, too


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            yield node.body[0].value


def texts(tree):
    """Every string constant but docstrings, with its line."""
    told = set(map(id, docstrings(tree)))
    return [(node.value, node.lineno) for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told]


def joined_paths(tree):
    """Every string constant that is joined to a path by `/`, with its line."""
    return [(node.right.value, node.lineno) for node in ast.walk(tree)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant)]


def test_no_other_module_spells_the_names_of_a_run():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name, tree = path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
        if name in OWNERS:
            continue
        found += [f"{name}:{line} {file}" for text, line in texts(tree) for file, writer in FORMATS.items()
                  if file in text and name != writer and (name, file) not in OTHERS]
        found += [f"{name}:{line} {part}/" for part, line in joined_paths(tree)
                  if part in FOLDERS and not name.startswith(DATA)]
    assert found == []


@pytest.fixture
def folder(tmp_path):
    return RunFolder.of_run(tmp_path, "digits-lt", "cbdm", "1a2b3c4d", 0)


def test_a_snapshot_has_samples_and_scores_of_its_own_in_the_folder_of_its_run(folder):
    at = folder.at(512)
    assert (at.path, at.train, at.config) == (folder.path, folder.train, folder.config)
    assert at.samples("aa").images.is_relative_to(at.weights.parent)
    assert at.scores("aa").record != folder.scores("aa").record
    at.weights.parent.mkdir(parents=True)
    at.weights.touch()
    assert folder.snapshots() == [512]


def test_a_folder_is_claimed_by_one_configuration(folder):
    said = []
    folder.claim({"seed": 0, "train": {"batch_size": 16}, "fingerprint": "ab"}, said.append)
    folder.claim({"seed": 0, "train": {"batch_size": 16}, "fingerprint": "ab"}, said.append)
    with pytest.raises(UserError, match=r"batch_size: 16 there, 32 now"):
        folder.claim({"seed": 0, "train": {"batch_size": 32}, "fingerprint": "ab"}, said.append)
    assert folder.read_config()["fingerprint"] == "ab"
    assert said == []


def test_operations_are_counted_once_and_again_where_what_was_stored_is_damaged(folder):
    assert folder.flops_per_image(lambda: 3.0) == 3.0
    assert folder.flops_per_image(lambda: 4.0) == 3.0
    (folder.train / "flops.json").write_text("{")
    assert folder.flops_per_image(lambda: 5.0) == 5.0


def test_one_command_at_a_time_writes(folder):
    with folder.lock(), pytest.raises(BusyError), folder.lock():
        pass


def test_an_interrupted_evaluation_of_external_samples_is_no_run(tmp_path):
    folder = RunFolder.of_external(tmp_path, "digits-lt", "Some GAN", "12345678")
    folder.samples("aa").downstream.mkdir(parents=True)
    assert folder.name == "Some-GAN-12345678"
    assert folder.state() is None
    assert not folder.exists
