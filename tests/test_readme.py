"""README says what is true: its method runs, its recipe lines parse, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language=""):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_two_lines_stand_first():
    assert [block.strip() for block in blocks()[:2]] == ["pip install -e . && ltgen-bench run",
                                                         'pip install -e ".[test]" && pytest']


def test_the_method_of_the_readme_trains(tmp_path, make_config, tiny_dataset):
    from ltgen_bench.methods import METHODS, add_method_file
    from ltgen_bench.training.loop import train

    code = next(block for block in blocks("python") if block.startswith("# my_method.py"))
    assert len(code.splitlines()) <= 32
    (tmp_path / "my_method.py").write_text(code)
    name = add_method_file(tmp_path / "my_method.py")
    try:
        assert name == "tail-weight"
        assert train(make_config({"method.name": name}), tiny_dataset, tmp_path / "train").images_seen == 60
    finally:
        METHODS.remove(name)


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
