"""What no command foresaw: signals at any moment, terminals of few characters, endless numbers, a machine that is too small."""

import io
import json
import signal
import subprocess
import sys

import pytest

from ltgen_bench import cli as program
from ltgen_bench.cli.common import unforeseen
from ltgen_bench.cli.terminal_encoding import any_text
from ltgen_bench.config.recipe_files import parse_setting
from ltgen_bench.config.schema import NetworkConfig, RunConfig, SampleConfig
from ltgen_bench.core.errors import UserError

LONG = ["9" * 5000, "0x" + "f" * 5000, "[" * 3000, "[" * 3000 + "]" * 3000, "{a=" * 3000, "[1, [2, 99999999999999999999]]",
        str(2**63)]
FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"


@pytest.mark.parametrize("value", LONG)
def test_endless_numbers_and_brackets_are_one_short_sentence(tmp_path, value):
    with pytest.raises(UserError, match=r"64 bits|nested too deeply") as caught:
        parse_setting(f"train.budget_images={value}")
    assert len(str(caught.value)) < 300
    (tmp_path / "recipe.toml").write_text(f"[train]\nbudget_images = {value}\n")
    with pytest.raises(UserError, match=r"recipe\.toml .*(64 bits|nested too deeply)") as caught:
        RunConfig.from_recipe(tmp_path / "recipe.toml")
    assert len(str(caught.value)) < 500


def test_keys_of_a_thousand_parts_and_long_texts_are_one_short_sentence(tmp_path):
    key = ".".join("a" * 3000)
    (tmp_path / "recipe.toml").write_text(f"{key} = 1\n")
    for wrong in (lambda: RunConfig.from_values({}, overrides={key: 1}), lambda: RunConfig.from_recipe(tmp_path / "recipe.toml"),
                  lambda: RunConfig.from_values({"train": {"precision": "x" * 5000}})):
        with pytest.raises(UserError) as caught:
            wrong()
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("channels", [[100_000], [32, 40_000, 80_000]])
def test_a_network_that_no_memory_holds_is_refused(channels):
    from ltgen_bench.diffusion.network import build_network

    with pytest.raises(UserError, match=r"network\.channels: .* GB in training"):
        build_network(NetworkConfig(preset="digits", channels=tuple(channels)), (1, 8, 8), 3, seed=0)


def test_more_images_than_memory_holds_are_refused():
    from ltgen_bench.sampling.draw import check_sampling

    with pytest.raises(UserError, match=r"sample\.images_per_class: .* GB"):
        check_sampling(SampleConfig(images_per_class=10**13), (1, 8, 8), 3)
    check_sampling(SampleConfig(), (1, 8, 8), 3)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii", "koi8-r", "shift_jis"])
def test_a_terminal_of_few_characters_takes_every_text(monkeypatch, encoding):
    text = "FID \u2193 0.5 \u00b1 0.1 \u2264 \u65e5\u672c \U0001f600 \udcff"
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    any_text()
    print(json.dumps({"text": text}, ensure_ascii=False))
    stream.flush()
    found = json.loads(stream.buffer.getvalue().decode(encoding))["text"]
    assert found.replace(" v ", " \u2193 ") == text


@pytest.fixture
def outcome(monkeypatch, capsys):
    """`outcome(what happens in a command)`: (exit code, what is told)."""
    monkeypatch.setattr(sys, "argv", ["ltgen-bench", "run"])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(happening):
        monkeypatch.setattr(program.cli, "main", lambda **more: happening())
        with pytest.raises(SystemExit) as left:
            program.main()
        return left.value.code, capsys.readouterr().err

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def raising(error):
    def happening():
        raise error

    return happening


def after_a_signal(number, error=None):
    """An import that a signal breaks raises what it likes."""
    def happening():
        try:
            signal.raise_signal(number)
        except BaseException:
            if error is None:
                raise
            raise error from None

    return happening


@pytest.mark.parametrize(("happening", "code", "told"), [
    (raising(ZeroDivisionError("division\nby zero")), 1,
     "ltgen-bench: ZeroDivisionError: division by zero."),
    (raising(SystemExit(0)), 1, "sys.exit(0), so nothing is finished"),
    (raising(RuntimeError(FULL)), 1, "error: out of memory"),
    (raising(PermissionError(13, "Permission denied", "/x/y")), 1, "/x/y could not be used:"),
    (after_a_signal(signal.SIGTERM), 143, "stopped"),
    (after_a_signal(signal.SIGINT), 130, "interrupted"),
    (after_a_signal(signal.SIGINT, ImportError("numpy failed to import")), 130, "interrupted"),
])
def test_each_has_its_sentence_and_exit_code(outcome, happening, code, told):
    import torch  # noqa: F401  (of whose memory a sentence speaks)

    found, message = outcome(happening)
    assert found == code
    assert told in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_program_is_imported_is_one_word(number):
    script = ("import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # whatever a shell left
              "sys.argv = ['ltgen-bench', 'run']\n"
              "class Sends:\n    def find_spec(self, name, *more):\n"
              f"        if name == 'click': os.kill(os.getpid(), {int(number)})\n"
              "sys.meta_path.insert(0, Sends())\nimport ltgen_bench.cli\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (128 + number, 1)


def test_a_program_that_imports_us_keeps_its_signals():
    script = ("import signal\nbefore = signal.getsignal(signal.SIGINT)\nimport ltgen_bench.cli\n"
              "assert signal.getsignal(signal.SIGINT) is before\n")
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_is_left_is_told_in_one_line():
    assert unforeseen(KeyError("x" * 5000))[0].count("\n") == 0
    assert len(unforeseen(KeyError("x" * 5000))[0]) < 900


def test_a_profile_of_endless_digits_makes_no_name_for_a_folder():
    with pytest.raises(UserError, match=r"data\.profile"):
        RunConfig.from_values({"data": {"profile": "pareto:" + "9" * 5000}})
    assert RunConfig.from_values({"data": {"profile": "pareto:1.125"}}).data.profile == "pareto:1.125"
