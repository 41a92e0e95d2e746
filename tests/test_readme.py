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


def starting(language, comment):
    """The block of `language` whose first line is `# comment`."""
    return next(block for block in blocks(language) if block.startswith(f"# {comment}\n"))


@pytest.fixture
def my_things(tmp_path, monkeypatch):
    """The package of the section Developing, as if it were installed; the registries are put back afterwards."""
    from functools import partial
    from importlib.metadata import EntryPoint

    from ltgen_bench.core.registry import Later
    from ltgen_bench.data import DATASETS
    from ltgen_bench.evaluation.extractors import EXTRACTORS
    from ltgen_bench.evaluation.metrics import METRICS
    from ltgen_bench.sampling.samplers import SAMPLERS

    (tmp_path / "my_things.py").write_text(starting("python", "my_things.py"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    groups = tomllib.loads(next(block for block in blocks("toml") if '"my_things:' in block))["project"]["entry-points"]
    registries = {registry.group: registry for registry in (DATASETS, EXTRACTORS, METRICS, SAMPLERS)}
    assert groups.keys() == registries.keys()
    for group, registry in registries.items():
        monkeypatch.setattr(registry, "_entries", dict(registry._all()))
        for name, place in groups[group].items():
            registry.add_installed(name, Later(place, partial(registry.load_installed, EntryPoint(name, place, group))))
    yield
    sys.modules.pop("my_things", None)


def test_a_recipe_with_the_metric_extractor_data_and_sampler_of_the_readme_runs(my_things, program, tmp_path):
    from ltgen_bench.records.run_record import RunRecord

    (tmp_path / "cfg.toml").write_text(starting("toml", "baselines/bars-lt/cfg.toml"), encoding="utf-8")
    done = program("run", "--recipe", "cfg.toml", "--budget-images", "160", "--images-per-class", "10", "--threads", "1",
                   "--set", "evaluate.downstream=false", "--set", "network.channels=[8,16]")
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "runs" / "bars-lt").iterdir()
    record = RunRecord.load(folder)
    assert (record.dataset, record.entry.sampler, record.entry.omega) == ("bars-lt", "ddim-trailing", 1.0)
    assert {described["extractor"] for described in record.protocols.values()} == {"rows"}
    [described] = [described for described in record.protocols.values() if described["metric"] == "gap"]
    assert described["power"] == 1.0


def test_the_preset_of_the_readme_is_one(monkeypatch):
    from ltgen_bench.config.schema import EvaluateConfig
    from ltgen_bench.evaluation.preset import Preset
    from ltgen_bench.evaluation.presets import PRESETS

    monkeypatch.setattr(PRESETS, "_entries", dict(PRESETS._entries))
    line = starting("python", "a line of ltgen_bench/evaluation/presets.py")
    exec(line, {"PRESETS": PRESETS, "Preset": Preset, "EvaluateConfig": EvaluateConfig})
    assert PRESETS["quick"].measurements().keys() == {"fid:classifier"}


def test_the_section_on_developing_names_files_that_are_there():
    table = README[README.index("## Developing"):]
    for path in re.findall(r"`((?:evaluation|methods|data|sampling)/\w[\w/]*\.py)`", table):
        assert (ROOT / "ltgen_bench" / path.replace("NAME", "images" if path.startswith("data") else "__init__")).is_file(), path


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
