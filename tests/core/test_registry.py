"""Registries: names in order, near matches, duplicates refused, entries imported when they are asked for."""

import sys

import pytest

from ltgen_bench.core.errors import BenchError, Interrupted, MachineError, UserError, did_you_mean, unknown_name
from ltgen_bench.core.registry import Later, Registry, check_name, for_folder

NO_NAMES = ["../../../evil", "a/b", "..", "", " ", "a\nb", "a\x1b[2J", "a\x00b", "x" * 300, "é" * 60, "a\udcff", ".hidden",
            "-o", " a", "a\u202eb", "a\\b"]


@pytest.fixture
def fruit():
    registry = Registry("fruit", "fruits")
    registry.add("pear", 1)
    registry.add("apple", 2)
    return registry


def test_names_keep_the_order_in_which_they_were_added(fruit):
    assert list(fruit) == ["pear", "apple"]
    assert len(fruit) == 2
    assert "apple" in fruit
    assert "plum" not in fruit


def test_an_entry_is_given_by_its_name(fruit):
    assert fruit["pear"] == 1
    assert fruit.check("apple") == "apple"


@pytest.mark.parametrize("look_up", [lambda r: r["aple"], lambda r: r.check("aple")])
def test_an_unknown_name_is_answered_with_the_near_match_all_names_and_the_command(fruit, look_up):
    with pytest.raises(UserError) as caught:
        look_up(fruit)
    assert str(caught.value) == ("unknown fruit 'aple'. Did you mean 'apple'? Known: apple, pear."
                                 "   (ltgen-bench list fruits)")


def test_a_name_like_nothing_known_gets_no_near_match(fruit):
    with pytest.raises(UserError, match=r"^unknown fruit 'xyz'\."):
        fruit["xyz"]


def test_a_second_entry_of_one_name_is_refused_with_both_owners(fruit):
    with pytest.raises(ValueError, match="'pear' is registered twice: 1"):
        fruit.add("pear", 3)
    assert fruit["pear"] == 1


def test_an_entry_given_as_a_place_is_imported_only_when_asked_for(tmp_path, monkeypatch):
    (tmp_path / "late_fruit.py").write_text("plum = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("fruit", "fruits")
    registry.add("plum", "late_fruit:plum")
    assert list(registry) == ["plum"]
    assert registry.check("plum") == "plum"
    assert "late_fruit" not in sys.modules
    plum = registry["plum"]
    assert plum is sys.modules["late_fruit"].plum
    assert registry["plum"] is plum
    del sys.modules["late_fruit"]


class TestInstalled:
    """What other packages bring: nothing of theirs stops the program, but nothing is asked for that may be two things."""

    def test_a_name_of_its_own_is_an_entry_that_is_made_when_it_is_asked_for(self, fruit):
        made = []
        fruit.add_installed("plum", Later("orchard:Plum", lambda: made.append(1) or 4))
        assert fruit.check("plum") == "plum"
        assert not made
        assert (fruit["plum"], fruit["plum"], made) == (4, 4, [1])

    def test_a_taken_name_is_listed_once_and_refused_where_it_is_asked_for(self, fruit):
        fruit.add_installed("pear", Later("orchard:Pear (orchard 1.0)", lambda: 5))
        fruit.add_installed("pear", Later("garden:Pear (garden 2.0)", lambda: 6))
        assert (list(fruit), fruit["pear"]) == (["pear", "apple"], 1)
        with pytest.raises(UserError) as caught:
            fruit.check("pear")
        assert "'pear'" in str(caught.value)
        assert "1 and orchard:Pear (orchard 1.0) and garden:Pear (garden 2.0)" in str(caught.value)
        assert fruit.check("apple") == "apple"


def test_exit_codes_tell_whose_mistake_it_was():
    assert (BenchError("a").exit_code, UserError("a").exit_code, MachineError("a").exit_code) == (1, 2, 1)
    assert Interrupted("a").exit_code == 130
    assert Interrupted("a", 143).exit_code == 143


def test_a_user_error_lists_every_problem_on_its_own_line():
    error = UserError("mine.toml has 2 problems", ["a: one", "b: two"])
    assert str(error) == "mine.toml has 2 problems\n  a: one\n  b: two"
    assert error.problems == ("a: one", "b: two")


def test_near_matches_are_only_given_when_near():
    assert did_you_mean("cdbm", ["cbdm", "cfg"]) == " Did you mean 'cbdm'?"
    assert did_you_mean("zzzz", ["cbdm", "cfg"]) == ""
    assert did_you_mean("FID", ["fid", "kid"]) == " Did you mean 'fid'?"
    assert did_you_mean("Label Accuracy", ["label_accuracy", "density"]) == " Did you mean 'label_accuracy'?"
    assert str(unknown_name("thing", "x", ["b", "a"])) == "unknown thing 'x'. Known: a, b."


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_for_a_folder_is_refused_in_one_printable_line(fruit, name):
    with pytest.raises(UserError, match=r"^fruit .*a name is of letters") as caught:
        fruit.add(name, 3)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_package_with_such_a_name_stops_nobody_and_says_why_when_it_is_asked_for(fruit):
    fruit.add_installed("../evil", Later("evil:Evil", lambda: 4))
    assert list(fruit) == ["pear", "apple"]
    for look_up in (fruit.check, fruit.__getitem__):
        with pytest.raises(UserError, match=r"evil:Evil .*slash"):
            look_up("../evil")


def test_labels_of_tables_may_have_more_signs_than_folders():
    check_name("--name", "OC $\\bm{\\tau}$", folders=False)
    check_name("--name", ".5 τ, 日本語", folders=False)
    for name in ("a/b", "a\nb", "x" * 300, ""):
        with pytest.raises(UserError, match=r"^--name "):
            check_name("--name", name, folders=False)


def test_names_that_others_chose_become_fit_for_a_folder_and_stay_apart():
    names = ["photos", "日本語", "a\nb", "a\tb", "x" * 254, "x" * 253, "日" * 84, "bad\udcffname", "  ", "a\\b"]
    short = [for_folder(name) for name in names]
    assert short[:2] == names[:2]
    assert len(set(short)) == len(short)
    assert all(name.isprintable() and len(name.encode()) <= 100 for name in short)
