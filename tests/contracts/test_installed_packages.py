"""Metrics, extractors, data sets and samplers that installed packages bring: they run, and their names stand everywhere."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from support.orchard_package import CODE, POINTS, install, write_project

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.catalog import DATASETS
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS, default_metrics
from ltgen_bench.methods import METHODS
from ltgen_bench.report import plots
from ltgen_bench.sampling.samplers import SAMPLERS

REGISTRIES = (METHODS, METRICS, EXTRACTORS, DATASETS, SAMPLERS)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """`installed(code, points)`: the package installed with these, until the end of the test."""
    def put(code=CODE, points=POINTS):
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        install(folder, code, points)
        monkeypatch.delitem(sys.modules, "orchard", raising=False)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        for registry in REGISTRIES:
            registry._all()
        monkeypatch.syspath_prepend(folder)
        for registry in REGISTRIES:
            for name in ("_entries", "_others", "_refused"):
                monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
            monkeypatch.setattr(registry, "_searched", False)

    yield put
    sys.modules.pop("orchard", None)


def values_of(runs):
    """Scores of `gap` over all classes by protocol id, of every run under `runs`."""
    found = {}
    for path in runs.rglob("scores/*/scores.csv"):
        table = pd.read_csv(path, dtype={"protocol": str})
        row = table[(table["metric"] == "gap") & (table["scope"] == "all")].iloc[0]
        found[row["protocol"]] = row["value"]
    return found


RUN = ("run", "--method", "cfg", "--dataset", "bars", "--sampler", "even", "--steps", "3", "--images-per-class", "12",
       "--budget-images", "96", "--extractor", "rows", "--threads", "1", "--set", "train.warmup_images=16",
       "--set", "train.batch_size=16", "--set", "network.channels=[8,16]", "--set", "evaluate.metrics=['gap','kid']")


def test_a_package_brings_one_of_each_and_its_names_stand_everywhere(installed, program, tmp_path, monkeypatch):
    installed()
    for listing, name in (("metrics", "gap"), ("metrics", "rows"), ("datasets", "bars"), ("samplers", "even")):
        assert f"\n{name}\t" in program("list", listing).stdout
    assert "gap" in default_metrics(), "a metric that is not on request is measured where none is named"

    ran = program(*RUN)
    assert ran.returncode == 0, ran.stderr
    assert "orchard gap" in ran.stdout
    set_otherwise = program(*RUN, "--set", "evaluate.settings.gap.power=1.0")
    assert set_otherwise.returncode == 0, set_otherwise.stderr
    found = values_of(tmp_path / "runs")
    assert len(found) == 2, "the setting is part of the protocol, so that its id is another"
    same = program(*RUN, "--set", "evaluate.settings.gap.power=2.0")
    assert "finished on" in same.stdout, "the default, spelled out, is the same measurement"

    one, other = found
    shown = program("protocol", "show", one).stdout
    assert "orchard gap" in shown
    assert "power of the gap" in shown
    assert "no resize" in shown
    assert "power of the gap: " in program("protocol", "diff", one, other).stdout

    panels, draw = set(), plots.draw_groups
    monkeypatch.setattr(plots, "draw_groups", lambda data, *more, **colors: panels.update(data["panel"]) or draw(
        data, *more, **colors))
    reported = program("report", "--out", "report")
    assert reported.returncode == 0, reported.stderr
    texts = "\n".join(path.read_text() for path in (tmp_path / "report").rglob("*.md"))
    for name in ("orchard gap", "bars-lt", "rows", one, other):
        assert name in texts
    assert list((tmp_path / "report").rglob("*groups*.png"))
    assert any("orchard gap" in panel for panel in panels), "the metric has values of groups, which are plotted"


def test_an_unknown_setting_of_it_is_a_sentence(installed, program):
    installed()
    refused = program(*RUN, "--set", "evaluate.settings.gap.powr=1")
    assert refused.returncode == 2
    assert "evaluate.settings.gap.powr: unknown setting. Did you mean 'power'" in refused.stderr


@pytest.mark.parametrize(("code", "points", "words"), [
    ("import no_such_module\n", POINTS, "cannot be imported: ModuleNotFoundError"),
    (CODE, {"ltgen_bench.metrics": {"other": "orchard:GAP"}}, "has the name 'gap'"),
    (CODE, {"ltgen_bench.metrics": {"gap": "orchard:ROWS"}}, "is no ltgen_bench.evaluation.metrics.metric.Metric"),
    (CODE.replace("power: float", "labels: float"), {"ltgen_bench.metrics": {"gap": "orchard:GAP"}},
     "its setting 'labels' has the name of another field")])
def test_a_broken_entry_is_told_with_its_package(installed, code, points, words):
    installed(code, points)
    [name] = points["ltgen_bench.metrics"]
    with pytest.raises(UserError, match=r"orchard-package 1\.0") as refused:
        METRICS[name]
    assert words in str(refused.value)


@pytest.mark.parametrize(("group", "registry", "attribute", "words"), [
    ("ltgen_bench.datasets", DATASETS, "EVEN", "is no ltgen_bench.data.catalog.DataSource"),
    ("ltgen_bench.samplers", SAMPLERS, "BARS", "is no ltgen_bench.sampling.samplers.Sampler"),
    ("ltgen_bench.extractors", EXTRACTORS, "GAP", "is no ltgen_bench.evaluation.extractors.ExtractorKind")])
def test_another_kind_of_thing_is_refused(installed, group, registry, attribute, words):
    installed(CODE, {group: {"mine": f"orchard:{attribute}"}})
    with pytest.raises(UserError, match=r"orchard-package 1\.0") as refused:
        registry["mine"]
    assert words in str(refused.value)


@pytest.mark.parametrize(("group", "registry", "name"), [
    ("ltgen_bench.metrics", METRICS, "fid"), ("ltgen_bench.extractors", EXTRACTORS, "classifier"),
    ("ltgen_bench.datasets", DATASETS, "digits"), ("ltgen_bench.samplers", SAMPLERS, "ddim"),
    ("ltgen_bench.methods", METHODS, "cbdm")])
def test_none_replaces_one_of_ours(installed, group, registry, name):
    ours = registry[name]
    installed(CODE, {group: {name: "orchard:GAP"}})
    assert registry[name] is ours
    with pytest.raises(UserError, match=rf"'{name}': several are called so.*orchard-package 1\.0"):
        registry.check(name)


def test_an_error_in_its_code_is_told_with_its_package_and_line(installed, program):
    installed(CODE.replace("    return {\"gap\"", "    settings.power / 0\n    return {\"gap\""))
    failed = program(*RUN)
    assert failed.returncode == 2
    assert "orchard-package 1.0" in failed.stderr
    assert "ZeroDivisionError" in failed.stderr
    assert "orchard.py, line" in failed.stderr


@pytest.mark.slow
def test_pip_installs_such_a_package(tmp_path):
    """With the program itself in an interpreter that sees the package as pip leaves it."""
    project, site = tmp_path / "project", tmp_path / "site"
    project.mkdir()
    write_project(project)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                    "--target", str(site), str(project)], check=True)
    script = (f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = ['ltgen-bench', 'list', sys.argv[1]]\n"
              "from ltgen_bench.cli import main; main()")
    for listing, name in (("metrics", "gap"), ("metrics", "rows"), ("datasets", "bars"), ("samplers", "even")):
        shown = subprocess.run([sys.executable, "-c", script, listing], capture_output=True, text=True, check=True).stdout
        assert f"\n{name}\t" in shown
    run = (f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = ['ltgen-bench', *{list(RUN)!r}, '--json']\n"
           "from ltgen_bench.cli import main; main()")
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["gap"] == 1
