"""Methods that installed packages bring: their code is part of the training, and their mistakes stop nobody else."""

import hashlib
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.registry import Later
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.methods import METHODS, add_method_file
from ltgen_bench.methods.ddpm import DDPM
from ltgen_bench.runtime.context import RunContext

ROOT = Path(__file__).resolve().parents[2]
CODE = '''
from ltgen_bench.methods.ddpm import DDPM


class Orchard(DDPM):
    """Mine."""

    name = "orchard"
    weight = {weight}
'''


@pytest.fixture
def named(tmp_path, monkeypatch):
    """`named(text, attribute)`: what the entry point `orchard` of a module with this text gives."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(text, attribute="Orchard"):
        (tmp_path / "orchard_module.py").write_text(text)
        monkeypatch.delitem(sys.modules, "orchard_module", raising=False)
        sys.path_importer_cache.clear()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two texts of one second and length
        return METHODS.load_installed(EntryPoint("orchard", f"orchard_module:{attribute}", "ltgen_bench.methods"))

    yield load
    sys.modules.pop("orchard_module", None)


def test_its_code_is_part_of_the_training_as_with_a_file(named, make_config, tiny_dataset, tmp_path, monkeypatch):
    config = make_config({"method.name": "orchard", "sample.omega": 0.0})
    folders = []
    for weight in (1, 2):
        kind = named(CODE.format(weight=weight))
        assert kind.code_digest == hashlib.sha256(CODE.format(weight=weight).encode()).hexdigest()[:8]
        with monkeypatch.context() as patched:
            patched.setattr(METHODS, "_entries", dict(METHODS._entries))
            METHODS.add_installed("orchard", Later("orchard_module:Orchard", lambda kind=kind: kind))
            folders.append(make_plan(config, tiny_dataset, tmp_path, RunContext()).folder)
    assert folders[0] != folders[1]
    with monkeypatch.context() as patched:
        patched.setattr(METHODS, "_entries", dict(METHODS._entries))
        add_method_file(tmp_path / "orchard_module.py")
        assert make_plan(config, tiny_dataset, tmp_path,
                         RunContext()).folder == folders[1], "the same file by --method-file is the same run"


def test_another_name_for_one_of_ours_leaves_ours_as_it_is(named):
    assert named("from ltgen_bench.methods.ddpm import DDPM\n", "DDPM") is DDPM
    assert DDPM.code_digest == ""


@pytest.mark.parametrize(("text", "sentence"), [
    ("import no_such_module\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'; mend "),
    ("x = 1\n", "cannot be imported: AttributeError: .*has no attribute 'Orchard'"),
    ("class Orchard: pass\n", "is not a class derived from ltgen_bench.methods.base.Method"),
    (CODE.replace("(DDPM)", "(Method)").replace("DDPM", "Method").replace(".ddpm", ".base").replace("{weight}", "1"),
     "class Orchard lacks summary, source, Settings, loss")])
def test_a_broken_one_is_a_sentence(named, text, sentence):
    with pytest.raises(UserError, match=rf"method 'orchard' of orchard_module:Orchard:? {sentence}"):
        named(text)


@pytest.mark.slow
def test_a_name_that_is_taken_stops_no_command_but_those_that_ask_for_it(tmp_path):
    about = tmp_path / "their_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ltgen_bench.methods]\ncbdm = their_module:CBDM\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

    def answer(*words):
        return subprocess.run([sys.executable, "-m", "ltgen_bench", *words], capture_output=True, text=True, check=False,
                              cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})

    shown = answer("list", "methods")
    assert shown.returncode == 0
    assert shown.stdout.count("\ncbdm\t") == 1
    refused = answer("run", "--method", "cbdm", "--dry-run")
    assert refused.returncode == 2
    for words in ("'cbdm'", "ltgen_bench.methods.cbdm:CBDM", "their_module:CBDM (their-package 1.0)"):
        assert words in refused.stderr
