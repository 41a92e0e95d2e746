"""README says what is true: its method runs, its recipe lines parse, its links lead somewhere."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language=""):
    """What stands between fences of that language, those without one by default."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def test_the_two_lines_stand_first():
    assert [block.strip() for block in blocks()[:2]] == ["pip install -e . && ltgen-bench run",
                                                         'pip install -e ".[test]" && pytest']


@pytest.fixture
def my_method(tmp_path, monkeypatch):
    """The method of the README as a file in an empty working directory; the registry is put back afterwards."""
    from ltgen_bench.methods import METHODS

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.chdir(tmp_path)
    code = next(block for block in blocks("python") if block.startswith("# my_method.py"))
    assert len(code.splitlines()) <= 32
    Path("my_method.py").write_text(code, encoding="utf-8")


def test_the_method_of_the_readme_keeps_the_contract(my_method):
    from click.testing import CliRunner

    from ltgen_bench.cli import cli

    done = CliRunner().invoke(cli, ["method", "check", "my_method.py"])
    assert done.exit_code == 0, done.output
    assert "tail-weight keeps the contract" in done.output


@pytest.mark.slow
def test_the_method_of_the_readme_runs_as_printed(my_method):
    """The printed command, in a program of its own, with less of everything."""
    from ltgen_bench.records.run_record import RunRecord

    command = next(line for line in commands() if "--method-file" in line)
    less = ["--budget-images", "320", "--steps", "5", "--images-per-class", "4", "--threads", "1",
            "--set", "evaluate.downstream=false"]
    done = subprocess.run([sys.executable, "-m", "ltgen_bench", *shlex.split(command)[1:], *less], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [folder] = Path("runs/digits-lt").iterdir()
    record = RunRecord.load(folder)
    assert (record.method, record.settings, record.entry.omega) == ("tail-weight", {"power": 1.0}, 0.0)
    assert record.entry.budget_images == 320
    lines = (folder / "train" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines
    assert all(line["weighted_mse"] == pytest.approx(line["loss"]) for line in map(json.loads, lines))


@pytest.mark.slow
def test_the_entry_point_of_the_readme_makes_a_method_of_every_command(my_method, tmp_path):
    """What an installed package leaves: its module, and beside it the entry points that the README prints."""
    printed = next(block for block in blocks("toml") if "entry-points" in block)
    [(group, points)] = tomllib.loads(printed)["project"]["entry-points"].items()
    about = tmp_path / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in points.items()))
    path = os.pathsep.join([str(tmp_path), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-m", "ltgen_bench", "list", "methods"], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": path})
    assert [line.split("\t")[1:4] for line in done.stdout.splitlines() if line.startswith("tail-weight\t")] == [
        ["DDPM with a loss weight that grows for rare classes", "mine", "0"]]


def commands():
    text = "\n".join(blocks()).replace("\\\n", " ")
    return sorted({line.split("   ")[0].strip() for line in text.splitlines() if line.startswith("ltgen-bench ")})


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_has_options_that_exist(command):
    import click

    from ltgen_bench.cli import cli

    words = shlex.split(command)[1:]
    group = cli
    while isinstance(group, click.Group):
        group = group.commands[words.pop(0)]
    known = {name for option in group.params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
