"""What papers' rows state of their protocols: the reading of every distinct text in the published files."""

import pandas as pd
import pytest

from ltgen_bench.records.published import published
from ltgen_bench.records.published_fields import extractor, group_rule, reference_set, sampler

REFERENCES = {
    "": "",
    "balanced train split": "train",
    "balanced train split, 50000 real images": "train",
    "cifar10.train.npz statistics": "train",
    "cifar100.train.npz statistics": "train",
    "distribution of the largest available training set (before artificial imbalance)": "train",
    "train": "train",
    "val": "test",
    "entire dataset": "",
    "equal number of real images per tail class": "",
    "tail classes, equal number of real images per class": "",
}
SAMPLERS = {
    "": ("", None),
    "ddim-50": ("ddim", 50),
    "deis": ("deis", None),
    "deterministic, 35 NFE": ("deterministic", 35),
}
NOTES = {
    "": "",
    "CLIP backbone": "clip",
    "FID(T2H) minus FID(CBDM) within that paper": "",
    "FID-FS / KID-FS (tail classes only, equal number of real images per tail class)": "",
    "Inception backbone": "inception",
    "TensorFlow-InceptionV3 features": "inception",
    "TensorFlow-InceptionV3 features; mean intra-class FID": "inception",
    "class-conditional model": "",
    "fraction": "",
    "mean intra-class FID, CLIP backbone": "clip",
    "percent": "",
    "raw KID (not x1e-3)": "",
    "tail classes only, equal number of real images per tail class": "",
    "unconditional model": "",
    "x1e-3": "",
    "x1e-3; FID-FS / KID-FS (tail classes only, equal number of real images per tail class)": "",
    "x1e-3; tail classes only, equal number of real images per tail class": "",
}


@pytest.fixture(scope="module")
def rows():
    return published()


def plain(value):
    return None if pd.isna(value) else value


def test_every_text_on_the_reference_is_read_as_written_here(rows):
    assert dict(zip(rows["reference"], rows["reference_set"], strict=True)) == REFERENCES


def test_every_sampler_is_read_as_written_here(rows):
    steps = [plain(value) for value in rows["sampler_steps"]]
    assert dict(zip(rows["sampler"], zip(rows["sampler_name"], steps, strict=True), strict=True)) == SAMPLERS


def test_every_note_on_the_features_is_read_as_written_here(rows):
    others = rows[~rows["metric"].str.endswith("_clip")]
    assert set(rows["unit_note"]) == set(NOTES)
    assert {note: NOTES[note] for note in others["unit_note"]} == dict(zip(others["unit_note"], others["extractor"], strict=True))
    on_clip = rows[rows["metric"].str.endswith("_clip")]
    assert set(on_clip["extractor"]) == {"clip"}


def test_only_the_rows_that_state_a_rule_of_groups_have_one(rows):
    ruled = rows[rows["group_rule"] != ""]
    assert set(ruled["group_rule"]) == {"thirds"}
    assert set(ruled["paper_id"]) == {"cm"}
    assert ruled["notes"].str.startswith("splits are thirds of the classes by training count").all()
    assert set(ruled["split"]) == {"many", "medium", "few"}
    assert len(ruled) == rows["notes"].str.contains("thirds").sum() == 8


def test_images_omega_and_training_steps_are_the_files_own_numbers(rows):
    for ours, theirs in (("images", "n_samples"), ("omega", "guidance")):
        assert [plain(value) for value in rows[ours]] == [plain(value) for value in rows[theirs]]
    assert {plain(value) for value in rows["images"]} == {None, 5_000, 20_000, 50_000}
    assert {plain(value) for value in rows["omega"]} == {None, 1.5, 1.6}
    assert {plain(value) for value in rows["train_steps"]} == {None, 60_000, 100_000, 150_000, 200_000, 300_000}


def test_ddpm_with_guidance_has_the_alias_cfg_and_without_it_has_not(rows):
    ddpm = rows[rows["method"] == "DDPM"]
    assert set(ddpm.loc[ddpm["omega"] > 0, "method_key"]) == {"cfg"}
    assert set(ddpm.loc[ddpm["omega"].isna(), "method_key"]) == {"ddpm"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("DDIM 100", ("ddim", 100)),
        ("dpm-solver++ 20", ("dpm-solver++", 20)),
        ("dpm-solver++-25", ("dpm-solver++", 25)),
        ("ddpm, 1000 steps", ("ddpm", 1000)),
        ("ddpm", ("ddpm", None)),
    ],
)
def test_samplers_of_other_files_are_read_too(text, read):
    assert sampler(text) == read


def test_words_of_this_program_name_its_own_sets_and_rules():
    assert [reference_set(text) for text in ("train", "test", "longtail", "Test")] == ["train", "test", "longtail", "test"]
    assert group_rule("few", "splits are by count (> 100, 20 to 100, < 20)") == "count"
    assert group_rule("all", "splits are thirds") == ""
    assert extractor("fid", "inception features") == "inception"
    assert extractor("ifid_clip", "") == "clip"
