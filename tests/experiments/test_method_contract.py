"""The contract of methods finds what is broken on purpose, and only that; `method check` says it in words."""

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.experiments.check import contract
from ltgen_bench.experiments.check.contract import ADVISORY, REFUSABLE, REQUIREMENTS, check_method, examine, title
from ltgen_bench.experiments.check.trial import Trial
from ltgen_bench.methods import METHODS, add_method_file

WHOLE = '''
import torch
from pydantic import Field
from torch import nn

from ltgen_bench.diffusion.draws import generator
from ltgen_bench.core.errors import UserError
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


class MineSettings(LabelDropSettings):
    power: float = Field(0.5, ge=0, description="weight of the second term")


class Mine(Method):
    """The squared error, and the same again of a linear map of the middle block that guesses the mean of the noise."""

    name = "mine"
    summary = "two terms"
    source = "nobody"
    cites = ("ho2020ddpm",)
    variants = {"paper": {"power": 1.0}}
    Settings = MineSettings

    def __init__(self, settings, problem):
        super().__init__(settings, problem)
        self.head = nn.Linear(16, 1)
        with torch.no_grad():
            self.head.weight.normal_(generator=generator(0))
            self.head.bias.zero_()

    def extra_modules(self):
        return nn.ModuleDict({"head": self.head})

    def loss(self, net, batch, draws):
        x_t, t, noise = self.noised(batch, draws)
        labels, _ = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        eps, middle = net(x_t, t, labels, batch.augment, middle=True)
        mse = (eps - noise).square().mean()
        guess = self.head(middle.float().mean(dim=(2, 3)))[:, 0]
        extra = self.settings.power * (guess - noise.mean(dim=(1, 2, 3))).square().mean()
        total = mse + extra
        return Loss(total, {"mse": mse.detach(), "extra": extra.detach()})
'''
# `nn.Linear` draws its first weights from the global generator
WHOLE = WHOLE.replace("self.head = nn.Linear(16, 1)", "self.head = nn.utils.skip_init(nn.Linear, 16, 1)")

SEES = "        eps, middle = net(x_t, t, labels, batch.augment, middle=True)\n"
RETURN = "        total = mse + extra\n"
TERMS = '{"mse": mse.detach(), "extra": extra.detach()}'

BROKEN = [
    ("it says what it is", 'summary = "two terms"', 'summary = "two\\nterms"', "it must be a text of one line"),
    ("it says what it is", '    """The squared', '    not_a_docstring = """The squared', "class Mine has no docstring"),
    ("its settings are strict frozen and described", ', description="weight of the second term"', "",
     "the settings power have no description"),
    ("its settings are strict frozen and described", "class MineSettings(LabelDropSettings):\n",
     "class MineSettings(LabelDropSettings):\n    model_config = {'extra': 'ignore'}\n", "the settings accept unknown names"),
    ("its settings are strict frozen and described", "class MineSettings(LabelDropSettings):\n",
     "class MineSettings(LabelDropSettings):\n    model_config = {'frozen': False}\n", "can be changed after they were checked"),
    ("its evidence and references are known", '    source = "nobody"\n', '    source = "nobody"\n    evidence = "hearsay"\n',
     "evidence is 'hearsay'; it is one of 'code', 'copy', 'standard', 'ours'"),
    ("its evidence and references are known", "ho2020ddpm", "ho2021ddpm", "cites has 'ho2021ddpm', which is neither shipped"),
    ("its loss is finite in bf16", RETURN, "        mse = mse / (eps.sum() * 0 + (middle.dtype == torch.float32))\n" + RETURN,
     "total is inf at step 0"),
    ("the terms add up to the loss", TERMS, '{"mse": mse.detach()}', r"the terms \(mse\) sum to"),
    ("its variants are valid", '"power": 1.0', '"power": -1.0',
     "variant paper has 1 problem\n  method.power: -1.0 is not a number"),
    ("its variants are valid", '"power": 1.0', '"power": 0.5', "variant paper: power does not differ from the defaults"),
    ("equal draws give equal losses", "x_t, t, noise = self.noised(batch, draws)",
     "import random; x_t, t, noise = self.noised(Batch(batch.x_0 + random.random(), batch.labels), draws)",
     "the same network, batch and draws give two different losses"),
    ("every random number comes from the draws", RETURN, "        mse = mse + 0 * torch.rand(()) + 0 * mse\n" + RETURN,
     "it draws from the global generator of torch"),
    ("its draws have names of their own", RETURN, '        mse = mse + 0 * draws.normal("noise").mean()\n' + RETURN,
     "'noise' is drawn more than once in a step"),
    ("its weights depend on the seed alone", ".normal_(generator=generator(0))", ".normal_()",
     "global generator of torch"),
    ("a step moves everything that is trained", "return nn.ModuleDict({", 'return nn.ModuleDict({"idle": nn.Identity(), "left": '
     "nn.utils.skip_init(nn.Linear, 2, 2).requires_grad_(), ", r"2 of \d+ parameters never have a gradient \(extra.left.weight"),
    ("guidance is taught where it is offered", '    source = "nobody"\n', '    source = "nobody"\n    has_null_label = False\n',
     "has_null_label is False and the loss shows the network the null label"),
    ("guidance is taught where it is offered", "t, labels, batch.augment", "t, batch.labels, batch.augment",
     "60 steps never show the network the null label"),
    ("guidance is taught where it is offered", "t, labels, batch.augment", "t, labels.clamp(min=1), batch.augment",
     r"of the labels 0 to 2 the network never sees \[0\]"),
    ("the augmentation vector reaches the network", "t, labels, batch.augment", "t, labels",
     "a pass of the network lacks the augmentation vector"),
    ("the augmentation vector reaches the network", SEES, SEES + "        if batch.augment is not None:\n"
     "            net(x_t, t, labels, batch.augment.flip(0))\n", "the augmentation vectors of several"),
    ("a batch in parts has the loss of the whole", "mse = (eps - noise).square().mean()", "mse = (eps - noise).square().sum()",
     r"the loss of a batch is [\d.]+, and the mean of its parts [\d.]+; let it be a mean over images"),
    ("a batch in parts has the loss of the whole", RETURN, "        mse = mse * (1 + middle.mean())\n" + RETURN,
     "or return True from `whole_batch`"),
    ("it works with a hundred classes", RETURN, "        mse = mse / (self.problem.num_classes < 50)\n" + RETURN,
     "100 classes: total is inf"),
    ("it works with a class of one image", RETURN, "        mse = mse / (min(self.problem.class_counts) - 1)\n" + RETURN,
     "a class of one image: total is inf"),
    ("it works with a batch of one image", RETURN, "        mse = mse / (len(labels) - 1)\n" + RETURN,
     "a batch of one image: total is inf"),
    ("its samples have the right shape", "    def extra_modules", "    def denoiser(self, net, guidance):\n"
     "        return lambda x_t, t, labels: net(x_t, t, labels)[:, 0]\n\n    def extra_modules",
     r"the denoiser gives \(3, 8, 8\)"),
    ("training teaches it the target", "mse = (eps - noise).square().mean()", "mse = (eps - batch.x_0).square().mean()",
     "let the loss teach the network the target"),
    ("it goes on bit for bit", RETURN, "        self.steps = getattr(self, 'steps', 0) + 1\n        extra = extra / self.steps\n"
     + RETURN, "must be in `extra_modules"),
    ("it works under the other processes", RETURN, "        mse = mse * (1 + self.problem.schedule.betas[0].float())\n" + RETURN,
     "the method asks for the schedule of process ddpm.* `needs_process`"),
    ("it works under the other processes", RETURN, "        mse = mse / (t.dtype == torch.int64)\n" + RETURN,
     r"under process flow: total is inf .* state needs_process = \(\"ddpm\", REASON\)"),
    ("it works under the other processes", '    source = "nobody"\n', '    source = "nobody"\n    needs_process = ("x", "?")\n',
     "it is a process \\(ddpm, flow\\) and the reason"),
    ("a step waits for no device", RETURN, "        mse = mse * (2 if t[0].item() > 2000 else 1)\n" + RETURN,
     r"every step would wait for a number read from a tensor \(mine.py, line \d+\)"),
    ("a step waits for no device", RETURN, "        mse = mse + 0 * noise[t > 5].sum()\n" + RETURN,
     r"wait for a selection by a mask \(mine.py, line \d+\)"),
]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """`written(text)`: the name of the method in a file of that content; the registry is put back afterwards."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    def write(text):
        (tmp_path / "mine.py").write_text(text)
        return add_method_file(tmp_path / "mine.py")

    return write


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run("method", "check", ...)` in a folder of its own; the registry is put back afterwards."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(cli, list(words))


def test_a_whole_method_keeps_it(written, tmp_path):
    found = list(check_method(Trial(written(WHOLE), tmp_path)))
    assert [finding.name for finding in found] == [title(requirement) for requirement in REQUIREMENTS]
    assert [(finding.name, finding.figure) for finding in found if finding.state != "ok"] == []


@pytest.mark.parametrize(("requirement", "old", "new", "words"), BROKEN, ids=[f"{row[0]} {n}" for n, row in enumerate(BROKEN)])
def test_each_fault_is_found_and_said_in_words(written, tmp_path, requirement, old, new, words):
    assert WHOLE.count(old) == 1
    trial = Trial(written(WHOLE.replace(old, new)), tmp_path)
    found = next(examine(one, trial) for one in REQUIREMENTS if title(one) == requirement)
    advice = requirement in map(title, ADVISORY)
    assert found.state == ("note" if advice else "FAILED")
    assert re.search(words, found.figure), found.figure


def test_every_requirement_is_among_those_that_are_broken_here():
    tried = {row[0] for row in BROKEN}
    same_code = {"its loss is finite in float32", "it works with two classes"}  # as in bf16, and with a hundred classes
    assert {title(requirement) for requirement in REQUIREMENTS} == tried | same_code


@pytest.mark.parametrize(("old", "new", "words"), [
    (RETURN, RETURN + "        total = total.detach()\n", "does not depend on the network"),
    (TERMS, "{}", "terms is empty"),
    (TERMS, TERMS.replace("mse.detach()", "mse"), "the terms mse carry a gradient; write term.detach()"),
    ("total = mse + extra\n", "total = mse + extar\n", r"NameError: name 'extar' is not defined \(mine.py, line \d+\)"),
])
def test_where_the_loss_does_not_work_the_rest_is_not_tried(written, tmp_path, old, new, words):
    assert WHOLE.count(old) == 1
    *before, last = check_method(Trial(written(WHOLE.replace(old, new)), tmp_path))
    assert last.name == title(contract.FOUNDATION)
    assert last.state == "FAILED"
    assert {finding.state for finding in before} == {"ok"}
    assert re.search(words, last.figure), last.figure


@pytest.mark.slow
def test_values_of_a_wrong_type_are_said_in_words(tmp_path):
    """In a program of its own, without the type checks of the tests, which would speak first."""
    faults = [(TERMS, '{"mse": 1.0}', "the loss of mine0 gives the term 'mse', which is no tensor"),
              (f"return Loss(total, {TERMS})", "return total", "the loss of mine1 gives a Tensor where a Loss is needed"),
              (RETURN, "        total = (eps - noise).square()\n", "the loss of mine2 gives a Loss whose total has the shape"),
              ("self.noised(batch, draws)", "self.noised(batch)", "TypeError: Method.noised() missing 1 required")]
    for number, (old, new, _) in enumerate(faults):
        assert WHOLE.count(old) == 1
        (tmp_path / f"mine{number}.py").write_text(WHOLE.replace(old, new).replace('"mine"', f'"mine{number}"'))
    program = f"""
from pathlib import Path
from ltgen_bench.experiments.check.contract import check_method
from ltgen_bench.experiments.check.trial import Trial
from ltgen_bench.methods import add_method_file
folder = Path({str(tmp_path)!r})
for number in range({len(faults)}):
    *_, last = check_method(Trial(add_method_file(folder / f"mine{{number}}.py"), folder))
    print(last.figure)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = done.stdout.splitlines()
    assert [line[:len(words)] for line, (*_, words) in zip(found, faults, strict=True)] == [words for *_, words in faults]
    assert re.search(r"\(mine3.py, line \d+\)", found[3]) or "base.py" in found[3]


@pytest.mark.parametrize(("requirement", "condition"), [
    ("it works with two classes", "self.problem.num_classes == 2"),
    ("it works with a batch of one image", "len(batch.labels) == 1"),
    ("it works with a hundred classes", "self.problem.num_classes == 100"),
    ("it works with a class of one image", "min(self.problem.class_counts) == 1 and self.problem.num_classes < 100")])
def test_a_refusal_in_words_is_a_note_where_it_is_allowed(written, tmp_path, requirement, condition):
    refusing = f"        if {condition}:\n            raise UserError('mine: not this.')\n" + SEES
    trial = Trial(written(WHOLE.replace(SEES, refusing)), tmp_path)
    found = {finding.name: finding for finding in (examine(one, trial) for one in REFUSABLE)}
    assert (found[requirement].state, found[requirement].figure) == ("note", "it refuses: mine: not this.")


class TestCommand:
    def test_a_file_that_keeps_it_ends_with_0(self, run, tmp_path):
        (tmp_path / "mine.py").write_text(WHOLE)
        done = run("method", "check", "mine.py")
        assert done.exit_code == 0, done.output
        assert done.output.count("ok     ") == len(REQUIREMENTS)
        assert f"mine keeps the contract ({len(REQUIREMENTS)} requirements), in" in done.output

    def test_a_broken_one_ends_with_2_and_says_what_fails(self, run, tmp_path):
        (tmp_path / "mine.py").write_text(WHOLE.replace(TERMS, "{}"))
        done = run("method", "check", "mine.py")
        assert done.exit_code == 2
        assert "FAILED its loss is finite in float32\n       terms is empty; name at least one part" in done.output
        assert "1 of 4 requirements FAILED" in done.output
        assert "the other 20 need a loss" in done.output

    def test_as_json_and_with_another_setting(self, run, tmp_path):
        broken = WHOLE.replace(RETURN, "        mse = mse / (self.settings.power < 3)\n" + RETURN)
        (tmp_path / "mine.py").write_text(broken)
        done = run("method", "check", "mine.py", "--json", "--set", "method.power=4")
        found = json.loads(done.stdout)
        assert (done.exit_code, found["method"], found["failed"]) == (2, "mine", 1)
        assert found["findings"][-1]["words"].startswith("total is inf at step 0")

    @pytest.mark.parametrize(("words", "sentence"), [
        (["absent.py"], "there is no file absent.py"), (["cbmd"], "'cbmd'. Did you mean 'cbdm'?"),
        (["ddpm", "--set", "power=2"], "only method.* can be set"),
        (["ddpm", "--set", "method.power=2"], "method.power: unknown setting")])
    def test_mistakes_are_sentences(self, run, words, sentence):
        error = run("method", "check", *words).exception
        assert error.exit_code == 2
        assert str(error).replace("--method-file", "") == str(error)
        assert sentence in str(error)
