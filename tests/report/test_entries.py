import pandas as pd
import pytest
from synthetic_runs import write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.records.store import find_runs, protocols, rows
from ltgen_bench.report.entries import blocks, difference, measurements
from ltgen_bench.report.ranking import rank


def blocks_of(folder):
    return blocks(rows(find_runs(folder), folder))


def test_runs_with_one_set_of_ids_form_one_block(three_block):
    assert three_block.entries == ["cbdm", "cfg", "ddpm"]
    assert three_block.seeds == [0, 1, 2]
    assert len(three_block.protocols) == len(set(three_block.rows["protocol"]))


def test_another_protocol_data_set_or_content_is_another_block(tmp_path):
    write_run(tmp_path, "cbdm", 0)
    write_run(tmp_path, "ddpm", 0, variant="b")
    write_run(tmp_path, "cfg", 0, fingerprint="f" * 16)
    write_run(tmp_path, "cfg", 0, dataset="other-lt")
    found = blocks_of(tmp_path)
    assert len(found) == 4
    assert {(block.dataset, block.fingerprint, *block.entries) for block in found} == {
        ("digits-lt", "0123456789abcdef", "cbdm"),
        ("digits-lt", "0123456789abcdef", "ddpm"),
        ("digits-lt", "f" * 16, "cfg"),
        ("other-lt", "0123456789abcdef", "cfg"),
    }
    assert all(len(set(block.rows["protocol"])) == len(block.protocols) for block in found)


def test_a_run_that_lacks_measurements_joins_the_larger_set(tmp_path):
    write_run(tmp_path, "cbdm", 0, inception=True)
    write_run(tmp_path, "ddpm", 0)
    (block,) = blocks_of(tmp_path)
    assert block.entries == ["cbdm", "ddpm"]
    inception = block.part(next(key for key in measurements(block.rows) if key[:2] == ("fid", "inception")), "all")
    assert inception["entry"].tolist() == ["cbdm"]


def test_of_two_measurements_of_one_entry_and_seed_the_newest_counts(tmp_path):
    write_run(tmp_path, "cbdm", 0, inception=True, finished="2026-01-02T00:00:00+00:00")
    write_run(tmp_path, "cbdm", 0, finished="2026-03-02T00:00:00+00:00")
    (block,) = blocks_of(tmp_path)
    newest = block.rows[(block.rows["extractor"] == "classifier")]
    assert set(newest["finished"]) == {"2026-03-02T00:00:00+00:00"}
    assert not block.rows.duplicated(
        ["entry", "seed", "metric", "extractor", "train_data", "scope", "class_label"]
    ).any()


def test_entries_of_one_label_are_told_apart_by_what_differs(tmp_path):
    write_run(tmp_path, "cbdm", 0, omega=1.0)
    write_run(tmp_path, "cbdm", 0, omega=1.5)
    write_run(tmp_path, "cbdm", 0, omega=1.5, steps=50)
    write_run(tmp_path, "ddpm", 0, train_digest="aaaa0000")
    write_run(tmp_path, "ddpm", 0, train_digest="bbbb0000")
    (block,) = blocks_of(tmp_path)
    assert block.entries == [
        "cbdm, dpm-solver++ 20, omega 1",
        "cbdm, dpm-solver++ 20, omega 1.5",
        "cbdm, dpm-solver++ 50, omega 1.5",
        "ddpm #aaaa0000",
        "ddpm #bbbb0000",
    ]
    assert list(dict.fromkeys(block.rows["row_name"])) == ["cbdm", "ddpm #aaaa0000", "ddpm #bbbb0000"]


def test_seeds_do_not_split_an_entry(three_block):
    assert three_block.rows.groupby("entry")["seed"].nunique().tolist() == [3, 3, 3]


def test_columns_come_in_the_registrys_order_with_inception_last(three_block):
    keys = measurements(three_block.rows)
    assert [key[0] for key in keys if key[1] == "classifier"] == [
        "fid",
        "is",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "label_accuracy",
    ]
    assert [key[2] for key in keys if key[0] == "downstream_accuracy"] == ["real-lt", "synthetic", "real-lt+synthetic"]
    assert [key[:2] for key in keys[-3:]] == [("fid", "inception"), ("is", "inception"), ("kid", "inception")]


def test_rank_orders_by_direction(three_block):
    fid = rank(three_block.rows, "fid", "classifier")
    assert fid["entry"].tolist() == ["cbdm", "cfg", "ddpm"]
    assert fid["n"].tolist() == [3, 3, 3]
    assert fid["mean"].is_monotonic_increasing
    recall = rank(three_block.rows, "recall", "classifier")
    assert recall["entry"].tolist() == ["cbdm", "cfg", "ddpm"]
    assert recall["mean"].is_monotonic_decreasing


def test_ranking_across_protocols_is_refused_and_the_difference_named(tmp_path):
    write_run(tmp_path, "cbdm", 0)
    write_run(tmp_path, "ddpm", 0, variant="b")
    runs = find_runs(tmp_path)
    with pytest.raises(
        UserError,
        match=r"recall \(classifier\) cannot be ranked across 2 protocols: .* They differ in guidance: omega .* against "
        r"omega .*; k: (3 against 5|5 against 3)\. Rank the rows of one of them at a time\.   \(--rank recall:classifier:",
    ):
        rank(rows(runs), "recall", "classifier", protocols=protocols(runs))
    with pytest.raises(UserError, match="Rank the rows"):
        rank(rows(runs), "recall", "classifier")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "other-lt"}, "2 data sets: digits-lt, other-lt"),
        ({"fingerprint": "f" * 16}, "2 contents of the data set"),
    ],
)
def test_ranking_across_data_is_refused(tmp_path, change, words):
    write_run(tmp_path, "cbdm", 0)
    write_run(tmp_path, "ddpm", 0, **change)
    with pytest.raises(UserError, match=f"cannot be ranked across {words}"):
        rank(rows(find_runs(tmp_path)), "fid", "classifier")


def test_there_is_nothing_to_rank_in_an_unknown_column(three_block):
    with pytest.raises(UserError, match=r"row has fid \(dinov2\)"):
        rank(three_block.rows, "fid", "dinov2")


def test_a_difference_of_unknown_protocols_is_left_unsaid():
    assert difference(["a", "b"], {"a": {"k": 5}}) == ""
    assert difference(["a", "b"], {"a": {"k": 5}, "b": {"k": 5}}) == ""
    assert difference(["a", "b"], {"a": {"k": 5}, "b": {}}) == "k: 5 against not stated"


def test_no_rows_make_no_blocks():
    assert blocks(rows([])) == []
    assert isinstance(rows([]), pd.DataFrame)


def test_rows_alike_in_what_was_asked_for_get_a_block_each_and_lone_ones_their_own(tmp_path):
    write_run(tmp_path, "cbdm", 0, omega=1.0)
    write_run(tmp_path, "cfg", 0, omega=1.0)
    write_run(tmp_path, "cfg", 0, omega=1.5, budget=14_400_000)
    write_run(tmp_path, "ddpm", 0, omega=0.0)
    table = rows(find_runs(tmp_path))
    together = ["cbdm", "cfg, omega 1.5, 14.4M seen", "cfg, omega 1, 44.8k seen", "ddpm"]
    assert [block.entries for block in blocks(table)] == [together]
    found = [(block.title, block.entries) for block in blocks(table, ["omega"])]
    assert found == [
        ("digits-lt, omega 0", ["ddpm"]),
        ("digits-lt, omega 1", ["cbdm", "cfg"]),
        ("digits-lt, omega 1.5", ["cfg"]),
    ]
    both = [block.title for block in blocks(table, ["budget", "omega"])]
    assert both == [
        "digits-lt, 44.8k images seen, omega 0",
        "digits-lt, 44.8k images seen, omega 1",
        "digits-lt, 14.4M images seen, omega 1.5",
    ]


@pytest.mark.parametrize(
    ("word", "first", "second", "titles"),
    [
        ("sampler", {"sampler": "ddim"}, {}, ["sampler ddim", "sampler dpm-solver++"]),
        ("steps", {"steps": 20}, {"steps": 100}, ["20 steps", "100 steps"]),
        ("images", {"images_per_class": 100}, {"images_per_class": 1000}, ["100 images a class", "1000 images a class"]),
        ("network", {"network": "cpu"}, {}, ["network cpu", "network digits"]),
        ("batch", {"batch_size": 8}, {}, ["batch 8", "batch 64"]),
    ],
)
def test_every_word_of_equal_keeps_apart_what_it_names(tmp_path, word, first, second, titles):
    write_run(tmp_path, "cbdm", 0, **first)
    write_run(tmp_path, "ddpm", 0, **second)
    table = rows(find_runs(tmp_path))
    assert len(blocks(table)) == 1
    assert [block.title for block in blocks(table, [word])] == [f"digits-lt, {title}" for title in titles]


def test_an_unknown_word_of_equal_is_answered_with_the_allowed_ones(three_block):
    with pytest.raises(UserError, match=r"unknown word of --equal 'bugdet'\."):
        blocks(three_block.rows, ["bugdet"])


def test_a_run_under_a_preset_keeps_a_table_of_its_own_beside_a_larger_set(tmp_path):
    write_run(tmp_path, "cbdm", 0, inception=True, preset="cbdm-paper")
    write_run(tmp_path, "cbdm", 0, preset="oc-paper")  # all of its ids occur in the other set
    write_run(tmp_path, "ddpm", 0)  # follows no preset and joins the larger set
    found = {block.title: block.entries for block in blocks_of(tmp_path)}
    assert found == {"digits-lt": ["cbdm", "ddpm"], "digits-lt, oc-paper": ["cbdm"]}
