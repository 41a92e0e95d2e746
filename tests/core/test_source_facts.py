"""What registered things state is read from their source as an import would give it, and lists import no torch."""

import subprocess
import sys

import pytest

from ltgen_bench.core.registry import Registry
from ltgen_bench.core.source_facts import source_facts
from ltgen_bench.methods import METHODS
from ltgen_bench.training.augmentation import AUGMENTATIONS

PLACES = {
    **{f"methods.{name}": (METHODS, name, ("summary", "source", "evidence", "cites", "extra_forwards", "has_null_label"))
       for name in METHODS},
    **{f"augmentation.{name}": (AUGMENTATIONS, name, ("summary", "source", "evidence", "cites")) for name in AUGMENTATIONS}}


@pytest.mark.parametrize(("registry", "name", "names"), PLACES.values(), ids=list(PLACES))
def test_they_are_what_the_imported_thing_has(registry, name, names):
    module = {"method": "ltgen_bench.methods", "augmentation": "ltgen_bench.training.augmentation"}[registry.kind]
    file = {"flip": "augmentation", "none": "augmentation"}.get(name, name.replace("-", "_"))
    thing = registry[name]
    place = f"{module}.{file}:{name.upper() if registry.kind == 'augmentation' else thing.__name__}"
    assert source_facts(place, names) == {attribute: getattr(thing, attribute) for attribute in names}


def test_inherited_facts_are_followed_and_others_are_left_to_an_import(tmp_path, monkeypatch):
    (tmp_path / "orchard_base.py").write_text('raise RuntimeError\nclass Tree:\n    kind: str = "tree"\n    height = 3\n')
    (tmp_path / "orchard.py").write_text(
        'from orchard_base import Tree as Plant\nraise RuntimeError\n'
        'class Fruit(Plant):\n    colour = "r" "ed"\n    height = make()\n'
        'class Apple(Fruit):\n    taste = ("sweet",)\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert source_facts("orchard:Apple", ("colour", "kind", "taste", "height", "__module__")) == {
        "colour": "red", "kind": "tree", "taste": ("sweet",), "__module__": "orchard"}
    assert source_facts("orchard:Pear", ("colour",)) == {}
    assert source_facts("no_orchard.here:Apple", ("colour",)) == {}
    assert source_facts("math:pi", ("colour",)) == {}


def test_what_the_source_does_not_say_is_asked_of_the_thing(tmp_path, monkeypatch):
    (tmp_path / "meadow.py").write_text('class Grass:\n    colour = "".join(["gr", "een"])\n')
    monkeypatch.syspath_prepend(tmp_path)
    plants = Registry("plant", "plants")
    plants.add("grass", "meadow:Grass")
    assert plants.facts("grass", "colour", "__module__") == ("green", "meadow")


LIGHT = ["list methods", "list augmentations", "list datasets", "list metrics", "list samplers", "list recipes",
         "cite cbdm ada", "runs list"]


def test_lists_need_no_torch(tmp_path):
    code = ("import sys\nsys.modules['torch'] = None\nfrom click.testing import CliRunner\nfrom ltgen_bench.cli import cli\n"
            f"for words in {LIGHT!r}:\n    done = CliRunner().invoke(cli, words.split())\n"
            "    assert done.exit_code == 0, (words, done.output, done.exception)\n    print(words, len(done.output))\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == len(LIGHT)
