"""One ranking of all runs: places that tests carry, and refusals."""

import shutil

import pytest
from synthetic_runs import CIFAR, HALF, protocol_id, write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.report.comparisons import FEW_SEEDS, METHOD, ONE_SEED
from ltgen_bench.report.numbers import MISSING
from ltgen_bench.report.ranking import ORDER, RANKS, ranking


def places(table):
    return {row.cells[1].text: row.cells[0].text for row in table.rows if row.kind == "entry"}


def test_ranks_verdicts_and_differences_from_the_first(three_seeds):
    (table,) = ranking(three_seeds, "fid:inception")
    assert places(table) == {"cbdm": "1", "cfg": "2", "ddpm": "3"}
    assert [row.cells[3].text for row in table.rows[:3]] == ["2 / 0 / 0 / 0", "1 / 1 / 0 / 0", "0 / 2 / 0 / 0"]
    assert [row.cells[4].text.rpartition(" ")[2] for row in table.rows[:3]] == ["", "worse", "worse"]
    assert "%" in table.rows[1].cells[4].text
    assert table.title == "digits-lt: FID ↓ (inception), all classes, ranked"
    assert {RANKS, METHOD} <= set(table.notes)
    assert any("margin" in note.lower() and "%" in note for note in table.notes)
    assert "omega (0 and 1)" in " ".join(table.notes)
    assert next(head for head in table.heads if head.title == "FID ↓").subtitle.endswith(protocol_id("fid", "inception"))
    assert [cell.best for row in table.rows[:3] for cell in row.cells[2:3]] == [True, False, False]


def test_one_seed_or_two_give_an_order_and_no_place(one_seed, tmp_path):
    (table,) = ranking(one_seed, "fid")
    assert set(places(table).values()) == {MISSING}
    assert list(places(table)) == ["cbdm", "ddpm"]
    assert {ORDER, ONE_SEED} <= set(table.notes)
    for method in ("ddpm", "cbdm"):
        for seed in (0, 1):
            write_run(tmp_path, method, seed, samples=False)
    (table,) = ranking(tmp_path, "fid")
    assert set(places(table).values()) == {MISSING}
    assert FEW_SEEDS in table.notes


def test_results_of_a_search_stand_apart_from_scores_against_all_real_images(tmp_path):
    write_run(tmp_path, "ddpm", 0, variant=HALF, samples=False)
    (alone,) = ranking(tmp_path, "fid")
    assert list(places(alone)) == ["ddpm"]
    assert "report half" in alone.title
    for method in ("cfg", "cbdm"):
        write_run(tmp_path, method, 0, samples=False)
    one = protocol_id("fid", "classifier", HALF)
    (table,) = ranking(tmp_path, "fid")
    assert set(places(table)) == {"cfg", "cbdm"}
    assert "Left out: 1 result" in table.notes[0]
    assert one in table.notes[0]
    assert list(places(ranking(tmp_path, f"fid:classifier:{one}")[0])) == ["ddpm"]
    assert list(places(ranking(tmp_path, "is")[0])) == ["cbdm", "cfg"], "which has no reference, but was searched for"


def test_a_baseline_is_compared_with_each_other_row_alone(three_seeds):
    (table,) = ranking(three_seeds, "fid:inception", baseline="cfg")
    assert {row.cells[1].text: row.cells[3].text for row in table.rows[:3]} == {
        "cbdm": "1 / 0 / 0 / 0", "cfg": "1 / 1 / 0 / 0", "ddpm": "0 / 1 / 0 / 0"}
    assert any("2 differences" in note and "Dunnett" in note for note in table.notes)
    with pytest.raises(UserError, match=r"--baseline cgf.*Known: "):
        ranking(three_seeds, "fid:inception", baseline="cgf")


def test_a_row_with_one_seed_takes_nothing_from_the_others(three_seeds, tmp_path):
    shutil.copytree(three_seeds, tmp_path / "runs")
    write_run(tmp_path / "runs", "oc", 0, samples=False)
    (table,) = ranking(tmp_path / "runs", "fid:classifier")
    assert [name for name in places(table) if name != "oc"] == ["cbdm", "cfg", "ddpm"]
    assert MISSING not in places(table).values()
    assert any("oc: one seed" in note for note in table.notes)


def test_a_group_is_ranked_by_its_scope(three_seeds):
    (table,) = ranking(three_seeds, "recall", scope="few@thirds")
    assert table.title == "digits-lt: recall ↑ (classifier), few classes (thirds), ranked"
    assert list(places(table)) == ["cbdm", "cfg", "ddpm"]


def test_rows_kept_apart_get_a_ranking_each(three_seeds):
    tables = ranking(three_seeds, "recall", equal=["omega"])
    assert [(table.title.split(":")[0], list(places(table))) for table in tables] == [
        ("digits-lt, omega 0", ["ddpm"]),
        ("digits-lt, omega 1", ["cbdm", "cfg"]),
    ]
    assert any("no other row" in note for note in tables[0].notes)
    assert not any("also differ" in note for table in tables for note in table.notes)


@pytest.fixture(scope="module")
def unlike(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlike") / "runs"
    write_run(folder, "cbdm", 0, samples=False)
    write_run(folder, "ddpm", 0, variant="b", samples=False)
    return folder


def test_rows_measured_unlike_are_refused_with_the_difference_in_words(unlike):
    with pytest.raises(UserError, match="ranked across 2 protocols:") as caught:
        ranking(unlike, "recall")
    ids = sorted(protocol_id("recall", "classifier", variant) for variant in "ab")
    first, second = ("5", "3") if ids[0] == protocol_id("recall", "classifier") else ("3", "5")
    assert f"; k: {first} against {second}. Rank the rows of one of them at a time.   (--rank recall:classifier:{ids[0]})" in str(
        caught.value
    )
    (table,) = ranking(unlike, f"recall:classifier:{protocol_id('recall', 'classifier')}")
    assert list(places(table)) == ["cbdm"]


def test_data_sets_are_not_ranked_together(unlike, tmp_path):
    write_run(tmp_path, "cbdm", 0, samples=False)
    write_run(tmp_path, "cbdm", 0, **CIFAR)
    with pytest.raises(UserError, match=r"2 data sets: cifar10-lt, digits-lt\..*\(--dataset"):
        ranking(tmp_path, "fid:classifier")
    (table,) = ranking(tmp_path, "fid:classifier", dataset="digits-lt")
    assert list(places(table)) == ["cbdm"]


@pytest.mark.parametrize(
    ("wanted", "settings", "sentence"),
    [
        ("fdi", {}, r"'fdi'\. Did you mean 'fid'\?"),
        ("fid", {}, "Name one: --rank fid:inception"),
        ("fid:inceptoin", {}, r"Did you mean 'inception'\? Known:"),
        ("downstream_accuracy", {}, r"training sets: real-lt, both, synthetic\."),
        ("downstream_recall:both", {}, "downstream_recall is measured by class"),
        ("recall", {"scope": "fw@thirds"}, r"'fw@thirds'\. Did you mean 'few@thirds'\?"),
        ("recall", {"dataset": "digit-lt"}, r"'digit-lt'\. Did you mean 'digits-lt'\?"),
        ("recall", {"equal": ["size"]}, r"unknown word of --equal 'size'\."),
    ],
)
def test_each_mistake_gets_its_sentence(three_seeds, wanted, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        ranking(three_seeds, wanted, **settings)


def test_no_runs_say_what_to_type(tmp_path):
    with pytest.raises(UserError, match=r"finished runs under .*ltgen-bench run"):
        ranking(tmp_path, "fid")
