"""`ltgen-bench suite`: list, show, run and status."""

import json

import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.core.errors import UserError

TINY = """
version = 1
methods = ["ddpm", "cfg"]
seeds = [0]
metrics = ["fid"]
baseline = "cfg"
settings.network = { preset = "digits", channels = [8, 16] }
settings.train = { budget_images = 48, batch_size = 16, warmup_images = 32, ema_halflife_images = 32 }
settings.sample = { images_per_class = 12, steps = 3 }
settings.evaluate = { metrics = ["fid"], classifier_steps = 20 }

[[tasks]]
name = "only"
data.name = "digits-lt-5"
"""


def typed(*words):
    return CliRunner().invoke(cli, ["suite", *map(str, words)], catch_exceptions=False)


def test_list_and_show_say_what_a_suite_is():
    assert any(line.startswith("digits\t") and "390 runs" in line for line in typed("list").output.splitlines())
    shown = typed("show", "digits").output
    assert "version 1, digest" in shown
    assert "digits-lt-50, class order 1" in shown


def test_run_tells_the_time_and_status_the_state(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(TINY, encoding="utf-8")
    own = (file, "--runs", tmp_path / "runs", "--methods", "ddpm")
    dry = typed("run", *own, "--threads", 1, "--dry-run")
    assert "0 of 1 runs done; about 0:00:" in dry.output
    assert "by measured steps" in dry.output
    assert not (tmp_path / "runs").exists()
    done = typed("run", *own, "--threads", 1)
    assert done.exit_code == 0
    assert "1 of 1 runs done" in done.output
    told = json.loads(typed("status", file, "--runs", tmp_path / "runs", "--json").output)
    assert [(run["task"], run["method"], run["seed"], run["state"]) for run in told["runs"]] == [
        ("only", "ddpm", 0, "done"), ("only", "cfg", 0, "missing")]
    assert told["digest"] in typed("status", *own).output


@pytest.mark.parametrize(("words", "told"), [
    (("run", "digts"), "Did you mean 'digits'"),
    (("run", "digits", "--methods", "cdbm"), "Did you mean 'cbdm'"),
    (("run", "digits", "--seeds", "one"), "--seeds one"),
    (("rnu", "digits"), "Did you mean 'run'"),
])
def test_mistakes_are_told(words, told):
    with pytest.raises(UserError, match=told):
        typed(*words)
