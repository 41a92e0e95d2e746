"""Protocols in words: what a name stands for, and what differs between two."""

import json
import re

import pytest
from synthetic_runs import CIFAR, protocol_id, write_run

from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.presets import PRESETS
from ltgen_bench.evaluation.protocol import Protocol
from ltgen_bench.records.store import find_runs
from ltgen_bench.report.lookup import find
from ltgen_bench.report.protocol_text import compared, diff_text, only, show_text
from ltgen_bench.report.protocols import FIELDS, differences, fields_in_words, in_all, measurement_keys

FULL = {
    "metric": "recall",
    "revision": 1,
    "data": "0123456789abcdef",
    "images_per_class": 5_000,
    "labels": "exactly balanced",
    "groups": ["thirds", "count"],
    "sample_dtype": "uint8",
    "selection": "recipe",
    "reference": "train",
    "extractor": "inception",
    "weights": "6726825d",
    "resize": "none",
    "seed": 2020,
    "counts": "equal, drawn by class",
    "k": 5,
    "edge": "<=",
}


def test_every_field_of_a_protocol_has_words():
    assert set(Protocol.model_fields) <= set(FIELDS)
    assert len({title for title, _ in FIELDS.values()}) == len(FIELDS) - 1  # images have one name, however counted


def test_a_protocol_is_told_in_words():
    words = fields_in_words(FULL)
    assert words["reference"] == "the balanced training set"
    assert words["generated images"] == "5,000 a class"
    assert words["groups of classes"] == "by thirds and count"
    assert words["guidance"] == "omega of the recipe"
    assert len(words) == len(FULL)
    assert fields_in_words({**FULL, "newer_field": 3})["newer_field"] == "3"


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"k": 3}, "k: 5 against 3"),
        ({"reference": "test"}, "reference: the balanced training set against the held-out test set"),
        ({"reference": "longtail"}, "reference: the balanced training set against the long-tailed training set"),
        ({"reference_half": "report"}, "half of the reference: all of it against the report half"),
        ({"reference_per_class": 500}, "real images: all against 500 a class"),
        ({"images_per_class": 100}, "generated images: 5,000 a class against 100 a class"),
        ({"images_per_class": None, "images": 50_000}, "generated images: 5,000 a class against 50,000 in all"),
        ({"k": None}, "k: 5 against not stated"),
        ({"edge": "<"}, "edge of a nearest-neighbour ball: inside it (<=) against outside it (<)"),
        ({"selection": "fixed"}, "guidance: omega of the recipe against omega fixed for all methods"),
        ({"metric": "fid"}, "metric: recall against FID"),
    ],
)
def test_what_differs_is_said_in_words(change, phrase):
    assert differences([FULL, {**FULL, **change}]) == [phrase]


def test_nothing_differs_between_equals_and_every_field_that_does_is_named():
    assert differences([FULL, dict(FULL)]) == []
    assert [phrase.split(":")[0] for phrase in differences([FULL, {**FULL, "k": 3, "reference": "test"}])] == ["reference", "k"]
    assert differences([FULL, {**FULL, "k": 3}, {**FULL, "k": 10}]) == ["k: 5 against 3 against 10"]


def test_a_preset_states_no_data_and_leaves_nothing_out_silently():
    partial = {name: value for name, value in FULL.items() if name != "data"}
    half = {**FULL, "reference_half": "report"}
    assert "half of the reference: not stated against the report half" in differences([partial, half])
    assert "fingerprint of the data: not stated against 0123456789abcdef" in differences([partial, FULL])


def test_images_by_class_become_images_in_all_where_the_classes_are_known():
    assert in_all(FULL, 10)["images"] == 50_000
    assert "images_per_class" not in in_all(FULL, 10)
    assert in_all(FULL, None) == FULL


def test_of_two_measurements_of_one_name_the_second_has_its_reference_behind_it():
    described = {"aaaa0000": FULL, "bbbb0000": {**FULL, "reference": "test"}, "cccc0000": {"metric": "downstream_accuracy"}}
    assert list(measurement_keys(described).values()) == ["recall:inception", "recall:inception@test", "downstream_accuracy"]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocols") / "runs"
    write_run(folder, "cbdm", 0, samples=False)
    write_run(folder, "cbdm", 0, variant="b", preset="standard", departures=["k 3 where standard asks for k 5"],
              finished="2027-01-01T00:00:00+00:00", samples=False)
    write_run(folder, "ddpm", 0, samples=False)
    write_run(folder, "cfg", 0, **{**CIFAR, "images_per_class": 5_000})
    return folder


def name_of(runs_dir, method):
    return next(runs_dir.glob(f"*/{method}-*")).name


def test_an_id_its_beginning_a_run_a_set_of_scores_and_a_preset_are_found(runs_dir):
    one = protocol_id("recall", "classifier")
    for name in (one, one[:6]):
        found = find(name, runs_dir)
        assert (found.kind, found.name, found.ids) == ("protocol", one, {"recall:classifier": one})
        assert found.measurements["recall:classifier"]["k"] == 5
    run = find(name_of(runs_dir, "ddpm"), runs_dir)
    assert run.kind == "run"
    assert run.measurements["recall:classifier"]["k"] == 5
    newest = find(name_of(runs_dir, "cbdm"), runs_dir)
    assert newest.measurements["recall:classifier"]["k"] == 3
    digests = {run.record.preset: run.record.score_digest for run in find_runs(runs_dir) if run.record.method == "cbdm"}
    assert find(digests[""], runs_dir).measurements["recall:classifier"]["k"] == 5
    assert find("standard", runs_dir).kind == "preset"


def test_a_shipped_id_is_found_without_any_run(tmp_path):
    found = find("cc23c17c", tmp_path / "runs")
    assert found.measurements["fid:classifier"]["images_per_class"] == 100
    assert dict(found.about)["found in"] == "results/digits-lt.protocols.json"


def test_an_unknown_name_gets_near_ones_and_where_was_looked(runs_dir, tmp_path):
    with pytest.raises(UserError) as caught:
        find("standrad", runs_dir)
    text = str(caught.value)
    assert text.startswith("there is no protocol id, run or preset 'standrad'. Did you mean 'standard'")
    looked = f"the records of 4 finished runs under {runs_dir}, results/digits-lt.protocols.json and the presets (standard, "
    assert looked in text
    assert "\n" not in text
    with pytest.raises(UserError, match=r"\(no finished runs there\)"):
        find("ffffffff", tmp_path)


def test_an_unclear_name_is_refused_with_what_it_could_be(runs_dir):
    ids = [one for run in find_runs(runs_dir) for one in run.record.protocols]
    letter = next(letter for letter in "0123456789abcdef" if sum(one.startswith(letter) for one in set(ids)) > 1)
    with pytest.raises(UserError, match=rf"'{letter}' could be any of \d+: protocol {letter}"):
        find(letter, runs_dir)
    with pytest.raises(UserError, match=r"'c' could be any of .*run "):
        find("c", runs_dir)


def test_an_id_is_shown_as_aligned_lines_of_field_and_value(runs_dir):
    text = show_text(find(protocol_id("recall", "classifier"), runs_dir), 80)
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines() if line)
    assert lines["k"] == "5"
    assert lines["metric"] == "recall"
    assert lines["generated images"] == "100 a class"
    fields = [line for line in text.split("\n\n")[1].splitlines() if line]
    assert len({re.search(r"  +", line).end() for line in fields}) == 1


def test_a_run_says_shared_fields_once_and_then_what_is_special(runs_dir):
    found = find(name_of(runs_dir, "cbdm"), runs_dir)
    text = show_text(found, 100)
    assert text.count("0123456789abcdef") == text.count("omega fixed for all methods") == 1
    assert len(re.findall(r"k +3$", text, re.MULTILINE)) == 4
    assert all(one in text for one in found.ids.values())
    assert "k 3 where standard" in text
    assert re.search(r"^also here +[0-9a-f]{8} of 2026-01-02$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_wider_than_the_terminal(runs_dir, width):
    for name in (name_of(runs_dir, "cfg"), "cbdm-paper", protocol_id("fid", "classifier")):
        assert max(map(len, show_text(find(name, runs_dir), width).splitlines())) <= width
    text = diff_text(find("standard", runs_dir), find(name_of(runs_dir, "cfg"), runs_dir), width)
    assert max(map(len, text.splitlines()[1:])) <= width


def test_two_ids_are_compared_whatever_they_measure(runs_dir):
    a, b = (find(protocol_id("recall", "classifier", variant), runs_dir) for variant in "ab")
    assert compared(a, b) == {
        "recall:classifier": ["guidance: omega of the recipe against omega fixed for all methods", "k: 5 against 3"]
    }
    assert diff_text(a, b, 80).splitlines()[1:] == [
        "  guidance: omega of the recipe against omega fixed for all methods", "  k: 5 against 3"
    ]
    assert diff_text(a, a, 80).splitlines()[-1].strip() == "the same measurement"
    fid = find(protocol_id("fid", "classifier"), runs_dir)
    assert "metric: recall against FID" in compared(a, fid)["recall:classifier"]


def test_runs_are_paired_by_metric_and_extractor_and_lone_measurements_listed(runs_dir):
    a, b = find(name_of(runs_dir, "cfg"), runs_dir), find(name_of(runs_dir, "ddpm"), runs_dir)
    assert only(a, b) == ["fid:inception", "is:inception", "kid:inception"]
    assert only(b, a) == []
    text = diff_text(a, b, 100)
    shared = text.split("\n\n")[1]
    assert "in all 10 that differ" in shared
    assert "5,000 a class against 100" in shared
    assert text.count("fingerprint of the data") == 1
    assert re.search(rf"only in run {re.escape(a.name)}\n  FID \(inception\)", text)


def test_the_same_run_is_the_same_measurement_throughout(runs_dir):
    ddpm = find(name_of(runs_dir, "ddpm"), runs_dir)
    text = diff_text(ddpm, ddpm, 80)
    assert text.splitlines()[2] == "the same measurement"
    assert " against " not in text.split("\n\n")[1]


def test_a_preset_and_a_run_agree_on_images_counted_in_either_way(runs_dir):
    phrases = compared(find("standard", runs_dir), find(name_of(runs_dir, "cfg"), runs_dir))["fid:inception"]
    assert not any(phrase.startswith("generated images") for phrase in phrases)
    assert any("not stated" in phrase for phrase in phrases)  # a preset states no fingerprint of data


def test_an_id_against_a_run_is_compared_with_its_measurement_alone(runs_dir):
    one, run = find(protocol_id("recall", "classifier"), runs_dir), find(name_of(runs_dir, "cbdm"), runs_dir)
    assert list(compared(one, run)) == ["recall:classifier"]
    assert only(run, one) == []


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_can_be_shown_and_compared(name, tmp_path):
    found = find(name, tmp_path)
    text = show_text(found, 80)
    assert PRESETS[name].source.split(",")[0] in text
    assert compared(found, find("standard", tmp_path)) or only(found, find("standard", tmp_path))
    json.dumps(found.measurements)


def test_recall_of_two_papers_is_compared_although_it_is_on_other_features(tmp_path):
    text = diff_text(find("cbdm-paper", tmp_path), find("coral-paper", tmp_path), 80)
    assert "\nrecall\n  features: inception against vgg16\n  k: 5 against 3\n" in text
    assert "only in preset cbdm-paper\n  precision (inception)\n" in text
    assert "only in preset coral-paper" not in text
