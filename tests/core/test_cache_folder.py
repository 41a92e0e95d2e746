"""What lies in the cache folder is named, and only what the program made is ever removed."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from filelock import FileLock

import ltgen_bench.data.image_cache
import ltgen_bench.evaluation.cached_evaluation  # noqa: F401
from ltgen_bench.core.cache_folder import CacheKind, cache_items, remove
from ltgen_bench.core.errors import MachineError
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.runtime.context import RunContext

DAY = 86_400
HEX = "0123456789abcdef"


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def cache(tmp_path):
    """A cache with one of each kind, as their writers do."""
    features, images = tmp_path / "cache" / "features", tmp_path / "cache" / "images"
    (images / HEX).mkdir(parents=True)
    features.mkdir()
    np.save(images / HEX / "train.npy", np.zeros((6, 3, 8, 8), np.uint8))
    np.save(images / HEX / "test.npy", np.zeros((2, 3, 8, 8), np.uint8))
    (images / HEX / "listing.json").write_text(json.dumps({
        "root": "/data/photos", "parts": {"train": {"shape": [6, 3, 8, 8]}, "test": {"shape": [2, 3, 8, 8]}}}))
    (images / f"{HEX}.lock").touch()
    for name in (f"classifier-01234567-{HEX}.safetensors", f"downstream-{HEX}.safetensors", f"{4 * HEX}.safetensors",
                 "weights-inception-2015-12-05-6726825d.pth"):
        (features / name).write_bytes(b"x" * 5000)
    return tmp_path / "cache"


@pytest.fixture
def stored_features(cache, make_images, counting_extractor, told):
    images = make_images((10, 10, 10)).images
    with told.stage("features", 30, "images") as stage:
        cached_features(images, counting_extractor, RunContext(progress=told, cache=cache), stage)
    (folder,) = (cache / "features").glob("counting-*")
    return folder


def test_everything_is_named_with_its_size_by_kind(cache, stored_features):
    found = [(item.group, item.words) for item in cache_items(cache)]
    assert sorted(found) == sorted([
        ("features", "features of counting, 30 images of 1 x 8 x 8"),
        ("features", "features of an earlier version, not read any more"),
        ("images", "/data/photos, 6 images of 3 x 8 x 8 and 2 images of 3 x 8 x 8"),
        ("classifiers", "domain classifier"), ("classifiers", "downstream predictions"),
        ("weights", "weights-inception-2015-12-05-6726825d.pth")])
    sizes = {item.path.name: item.size for item in cache_items(cache)}
    assert 5000 <= sizes[f"downstream-{HEX}.safetensors"] < 20_000
    assert sizes[HEX] >= 8 * 192


def test_what_was_never_finished_says_how_far_it_got(cache, stored_features):
    note = json.loads((stored_features / "note.json").read_text())
    note |= {"block": 12, "checksums": ["a", None, "c"]}
    (stored_features / "note.json").write_text(json.dumps(note))
    words = {item.path: item.words for item in cache_items(cache)}
    assert words[stored_features] == "features of counting, 18 of 30 images of 1 x 8 x 8"
    (stored_features / "note.json").write_text("{")
    assert "its note cannot be read" in {item.path: item.words for item in cache_items(cache)}[stored_features]
    (stored_features / "note.json").unlink()
    assert "no images yet" in {item.path: item.words for item in cache_items(cache)}[stored_features]
    (cache / "images" / HEX / "listing.json").unlink()
    assert "a reading that was killed, no images yet" in {item.words for item in cache_items(cache)}


def test_removing_everything_leaves_the_two_folders_and_nothing_in_them(cache, stored_features, told):
    items = cache_items(cache)
    assert remove(items, told.say) == items
    assert everything_below(cache) == ["features", "images"]
    assert cache_items(cache) == []
    assert told.messages == []


def test_removed_features_are_made_again(cache, stored_features, make_images, counting_extractor, told):
    remove(cache_items(cache), told.say)
    with told.stage("features", 30, "images") as stage:
        cached_features(make_images((10, 10, 10)).images, counting_extractor, RunContext(progress=told, cache=cache), stage)
    assert counting_extractor.seen == 60


def test_only_what_is_given_is_removed(cache, stored_features, told):
    before = everything_below(cache)
    remove([item for item in cache_items(cache) if item.group == "images"], told.say)
    assert everything_below(cache) == [name for name in before if HEX + "/" not in name and name not in (
        f"images/{HEX}", f"images/{HEX}.lock")]


FOREIGN = ["mine.txt", "other/deep/model.pth", "features/model.pth", "features/notes", f"features/classifier-{2 * HEX}x/a.npy",
           "images/photo.png", f"images/{HEX}/holiday.jpg", "features/classifier-mine.safetensors",
           f"downstream-{HEX}.safetensors"]


def test_files_that_are_not_the_programs_are_shown_and_stay(cache, stored_features, told):
    for name in FOREIGN:
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text("dear to me")
    (stored_features / "thesis.tex").write_text("dear to me")
    unknown = [item for item in cache_items(cache) if item.group == "unknown"]
    assert len(unknown) == len(FOREIGN) + 1
    assert all("not of this program" in item.words and item.size > 0 for item in unknown)
    remove(cache_items(cache), told.say)
    for name in FOREIGN:
        assert (cache / name).read_text() == "dear to me"
    assert everything_below(stored_features) == ["thesis.tex"]
    assert [item.group for item in cache_items(cache) if item.group not in ("unknown", "images")] == ["features"]


@pytest.mark.parametrize("name", ["features", "images", f"features/classifier-{2 * HEX}", f"images/{HEX[::-1]}",
                                  f"features/downstream-{HEX[::-1]}.safetensors", f"images/{HEX}/other.npy"])
def test_links_are_shown_but_not_followed(cache, tmp_path, told, name):
    outside = tmp_path / "outside"
    (outside / f"classifier-{2 * HEX}").mkdir(parents=True)
    for file in (f"downstream-{HEX}.safetensors", f"classifier-{2 * HEX}/features.npy", "features.npy"):
        (outside / file).write_text("dear to me")
    before = everything_below(outside)
    link = cache / name
    if link.is_dir():
        link.rename(tmp_path / "moved")
    link.symlink_to(outside if "." not in name else outside / "features.npy")
    assert [item.words for item in cache_items(cache) if item.path == link] == [f"{link.name} (a link, not followed)"]
    remove(cache_items(cache), told.say)
    assert link.is_symlink()
    assert everything_below(outside) == before


def test_the_cache_folder_itself_may_be_a_link(cache, tmp_path, told):
    (tmp_path / "link").symlink_to(cache)
    assert len(cache_items(tmp_path / "link")) == len(cache_items(cache)) == 5
    remove(cache_items(tmp_path / "link"), told.say)
    assert everything_below(cache) == ["features", "images"]


def test_what_another_command_writes_stays(cache, stored_features, told):
    with FileLock(stored_features / ".lock"), FileLock(cache / "images" / f"{HEX}.lock"):
        removed = remove(cache_items(cache), told.say)
    assert len(removed) == 4
    assert len(told.messages) == 2
    assert all("being written by another command" in message for message in told.messages)
    assert (stored_features / "features.npy").is_file()
    assert (cache / "images" / HEX / "train.npy").is_file()


def test_a_file_that_is_being_written_stays_for_a_day(cache, told):
    part = cache / "features" / f".downstream-{HEX}-a1b2c3_d.safetensors"
    partial = cache / "features" / "weights-inception-2015-12-05-6726825d.pth.00ff.partial"
    for path in (part, partial):
        path.write_bytes(b"half")
    assert sorted(item.path for item in cache_items(cache) if item.group == "unknown") == [part, partial]
    for path in (part, partial):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    found = {item.path: item for item in cache_items(cache)}
    assert [found[path].group for path in (part, partial)] == ["classifiers", "weights"]
    assert found[part].words == "a file that was never finished"
    remove([found[part], found[partial]], told.say)
    assert not part.exists()
    assert not partial.exists()


def test_last_use_is_the_last_hit_of_features(cache, stored_features, make_images, counting_extractor, told):
    for path in (stored_features, *stored_features.iterdir()):
        os.utime(path, (time.time() - 40 * DAY,) * 2)
    (item,) = (item for item in cache_items(cache) if item.path == stored_features)
    assert item.older_than(39.0)
    assert not item.older_than(41.0)
    with told.stage("features", 30, "images") as stage:
        cached_features(make_images((10, 10, 10)).images, counting_extractor, RunContext(progress=told, cache=cache), stage)
    assert counting_extractor.seen == 30
    (item,) = (item for item in cache_items(cache) if item.path == stored_features)
    assert not item.older_than(0.01)


def test_where_nothing_was_stored_there_is_nothing(tmp_path, told):
    assert cache_items(tmp_path / "none") == []
    assert remove([], told.say) == []


def test_a_file_that_the_system_does_not_let_go_is_named(cache, told, monkeypatch):
    def refused(self, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(cache), "unlink", refused)
    with pytest.raises(MachineError, match=r"removed: Permission denied\."):
        remove(cache_items(cache), told.say)


def test_listing_the_cache_imports_nothing_heavy():
    program = ("import sys\nfrom pathlib import Path\nimport ltgen_bench.evaluation.cached_evaluation\n"
               "from ltgen_bench.core.cache_folder import cache_items\n"
               "cache_items(Path('none'))\n"
               "print([name for name in ('torch', 'diffusers', 'pandas') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_damaged_classifier_and_the_lock_of_one_are_known(cache, told):
    features = cache / "features"
    name = f"classifier-01234567-{HEX}.safetensors"
    for left in (f"{name}.damaged", f"{name}.damaged1", f"{name}.lock"):
        (features / left).write_bytes(b"x")
    found = {item.path.name: item for item in cache_items(cache)}
    assert {found[f"{name}.{left}"].group for left in ("damaged", "damaged1", "lock")} == {"classifiers"}
    assert "set aside" in found[f"{name}.damaged"].words
    with FileLock(features / f"{name}.lock"):
        assert remove([found[name], found[f"{name}.lock"]], told.messages.append) == []
    assert len(told.messages) == 2
    remove(list(found.values()), told.messages.append)
    assert not list(features.glob("classifier*"))


def test_a_kind_names_its_files_and_knows_them_again(tmp_path):
    kind = CacheKind("features", "features", "{name}-of-{hex8}.npy", "an example", lock="beside")
    path = kind.path(tmp_path, "a.b", 3 * "01234567")
    assert path == tmp_path / "a.b-of-01234567.npy"
    assert kind.gives(path.name)
    assert not any(map(kind.gives, ("-of-01234567.npy", "a-of-0123456.npy", "a-of-0123456g.npy", "a-of-01234567xnpy")))
    assert kind.lock_of(path) == tmp_path / "a.b-of-01234567.npy.lock"
