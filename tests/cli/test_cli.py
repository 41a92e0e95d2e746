"""The command line: exit codes, sentences, what goes to stdout, and that listings know everything."""

import json
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from ltgen_bench.core.errors import UserError

PROGRAM = [sys.executable, "-m", "ltgen_bench"]


@pytest.fixture
def tiny_recipe(tiny_run, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_run(**{"evaluate.metrics": ["fid"], "evaluate.downstream": False}).to_toml())
    return path


def test_help_imports_nothing_heavy():
    code = ("import sys; sys.argv = ['ltgen-bench', '--help']\nfrom ltgen_bench.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            "print(sorted({'torch', 'pandas', 'numpy', 'matplotlib', 'diffusers', 'pydantic'} & sys.modules.keys()))")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("Usage: ")
    assert shown.rstrip().endswith("[]")


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["run", "--method", "cdbm"], "'cdbm'. Did you mean 'cbdm'?"),
    (["rnu"], "'rnu'. Did you mean 'run'?"),
    (["list", "methds"], "'methds'. Did you mean 'methods'?"),
    (["run", "--omga", "1"], "'--omga'. Did you mean '--omega'?"),
    (["run", "--seed", "one"], "'one' is not a valid int"),
    (["run", "--dataset", "cifar10lt"], "'cifar10lt'. Did you mean 'cifar10-lt'?"),
    (["run", "--dataset", "folder:nowhere"], "folder:nowhere has no readable training image"),
    (["run", "--sampler", "ddpn"], "'ddpn'. Did you mean 'ddpm'?"),
    (["run", "--extractor", "inceptoin"], "'inceptoin'. Did you mean 'inception'?"),
    (["run", "--imbalance-factor", "lots"], "--imbalance-factor lots:"),
    (["run", "--set", "train.budget_images=many"], "train.budget_images: 'many'"),
    (["run", "--set", "tau"], "--set tau: write"),
    (["run", "--recipe", "mine.toml"], "there is no recipe mine.toml"),
    (["run", "--extractor-weights", "inception=none.pth"], "there is no file none.pth"),
    (["run", "--device", "cuda:7"], "torch sees"),
    (["run", "--method", "ddpm", "--omega", "1"], "omega: 1 needs a null"),
    (["report"], "ltgen-bench run"),
    (["runs", "show", "cbdm"], "make one with: ltgen-bench run"),
])
def test_a_mistake_gets_one_sentence_and_exit_code_2(refused, tmp_path, arguments, sentence):
    assert sentence in refused(*arguments)
    assert list(tmp_path.iterdir()) == [], "nothing was written"


def test_a_broken_recipe_names_its_line_and_a_wrong_one_all_its_keys(program, tmp_path):
    (tmp_path / "broken.toml").write_text("[train]\nbudget_images = = 3\n")
    assert "line 2" in program("run", "--recipe", "broken.toml").stderr
    (tmp_path / "wrong.toml").write_text('[train]\nbudget_images = "many"\n[method]\nname = "cbdm"\n[sample]\nomgea = 1.0\n')
    answer = program("run", "--recipe", "wrong.toml")
    assert answer.returncode == 2
    assert "wrong.toml has 2 problems" in answer.stderr
    assert "train.budget_images: 'many'" in answer.stderr
    assert "setting. Did you mean 'omega'?" in answer.stderr


def test_debug_shows_the_traceback(program):
    answer = program("run", "--method", "cdbm", "--debug")
    assert answer.returncode == 2
    assert "Traceback" in answer.stderr
    assert "UserError" in answer.stderr


def test_a_dry_run_prints_a_recipe_that_can_be_run_and_writes_nothing(program, tiny_recipe, tmp_path):
    answer = program("run", "--recipe", "tiny.toml", "--dry-run", "--seed", "4")
    assert answer.returncode == 0, answer.stderr
    recipe = tomllib.loads(answer.stdout)  # the other lines are comments
    assert recipe["seed"] == 4
    assert recipe["method"]["name"] == "cbdm"
    comments = [line for line in answer.stdout.splitlines() if line.startswith("#")]
    assert any("131, 93, 67, 48, 34, 24, 17, 12, 9, 6" in line for line in comments)
    assert any(line.startswith("# training     about ") and "images/s" in line for line in comments)
    assert any(line.startswith("# parameters   ") for line in comments)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


def test_json_is_the_record_and_nothing_else(program, tiny_recipe):
    answer = program("run", "--recipe", "tiny.toml", "--json", "--threads", "1")
    assert answer.returncode == 0, answer.stderr
    record = json.loads(answer.stdout)
    assert record["method"] == "cbdm"
    assert record["command"].startswith("ltgen-bench run --recipe tiny.toml")
    shown = program("run", "--recipe", "tiny.toml", COLUMNS="50")
    assert shown.stdout.startswith("finished on ")
    assert "FID" in shown.stdout
    table = [line for line in shown.stdout.splitlines() if "↑" in line or "↓" in line]
    assert table
    assert max(map(len, table)) <= 50
    listed = program("runs", "list")
    assert record["train_digest"] in listed.stdout
    kept = program("runs", "rm", "cbdm", "--yes")
    assert kept.returncode == 0
    assert "no runs" in program("runs", "list").stdout


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on(tmp_path, tiny_run, number, code):
    recipe = tmp_path / "long.toml"
    recipe.write_text(tiny_run(**{"train.budget_images": 10_000_000}).to_toml())
    command = [*PROGRAM, "run", "--recipe", "long.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        log = tmp_path / "runs" / "digits-lt"
        while not list(log.glob("*/train/*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "continue: ltgen-bench run --recipe long.toml" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("what", ["methods", "processes", "augmentations", "datasets", "metrics", "samplers", "recipes"])
def test_a_listing_has_every_entry_with_its_source(program, what):
    from ltgen_bench.data.catalog import DATASETS
    from ltgen_bench.diffusion import PROCESSES
    from ltgen_bench.evaluation.metrics import METRICS
    from ltgen_bench.experiments.recipes import shipped_recipes
    from ltgen_bench.methods import METHODS
    from ltgen_bench.sampling.samplers import SAMPLERS
    from ltgen_bench.training.augmentation import AUGMENTATIONS

    known = {"methods": METHODS, "processes": PROCESSES, "augmentations": AUGMENTATIONS, "datasets": DATASETS,
             "metrics": METRICS, "samplers": SAMPLERS,
             "recipes": [f"{path.parent.name}/{path.stem}" for path in shipped_recipes()]}[what]
    lines = [line.split("\t") for line in program("list", what).stdout.splitlines()]
    assert set(known) <= {line[0] for line in lines}
    assert all(len(line) == (6 if what == "methods" else 3) and all(line[:3]) for line in lines)


def test_every_command_and_option_has_help():
    import click

    from ltgen_bench.cli import cli

    def commands(group, path):
        for name, command in group.commands.items():
            yield f"{path} {name}", command
            if isinstance(command, click.Group):
                yield from commands(command, f"{path} {name}")

    for path, command in commands(cli, "ltgen-bench"):
        assert command.help, path
        for option in command.params:
            assert isinstance(option, click.Argument) or option.hidden or option.help, f"{path} {option.name}"


@pytest.mark.parametrize(("error", "code", "words"), [
    (OSError(28, "No space left on device"), 1, "the disk is full"),
    (MemoryError("7 GB"), 1, "out of memory"),
    (ZeroDivisionError("oh"), 1, "bug in ltgen-bench: ZeroDivisionError: oh"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (UserError("yours"), 2, "error: yours"),
])
def test_whatever_goes_wrong_ends_in_a_sentence(monkeypatch, capsys, error, code, words):
    from ltgen_bench import cli

    def fail(**kwargs):
        raise error

    monkeypatch.setattr(cli, "cli", type("Broken", (), {"main": staticmethod(lambda **kwargs: fail())}))
    monkeypatch.setattr(sys, "argv", ["ltgen-bench"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert words in capsys.readouterr().err
