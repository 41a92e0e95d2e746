"""`ltgen-bench cache`: what it prints, what it asks, what it removes."""

import os
import time

import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli

HEX = "0123456789abcdef"
NAMES = (f"features/classifier-01234567-{HEX}.safetensors", f"features/{4 * HEX}.safetensors",
         "features/weights-inception-2015-12-05-6726825d.pth")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of a classifier (40 days old), features of an earlier version, weights, an image set, and a file of the user's."""
    folder = tmp_path / "cache"
    (folder / "features").mkdir(parents=True)
    (folder / "images" / HEX).mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(b"x" * 20_000)
    (folder / "images" / HEX / "train.npy").write_bytes(b"x" * 20_000)
    (folder / "mine.txt").write_text("dear to me")
    os.utime(folder / NAMES[0], (time.time() - 40 * 86_400,) * 2)
    monkeypatch.setenv("LTGEN_BENCH_CACHE", str(folder))
    return folder


def call(*arguments, answer=""):
    return CliRunner().invoke(cli, ["cache", *arguments], input=answer)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_show_lists_everything_where_it_lies_and_how_to_move_it(cache):
    answer = call("show")
    assert answer.exit_code == 0
    rows = [line.split("\t") for line in answer.stdout.splitlines()]
    assert [row[0] for row in rows] == ["features", "images", "classifiers", "weights", "unknown"]
    assert [row[4] for row in rows] == [str(cache / name) for name in (
        NAMES[1], f"images/{HEX}", NAMES[0], NAMES[2], "mine.txt")]
    assert all(int(row[2]) >= 20_000 for row in rows[:4])
    assert str(cache) in answer.stderr
    assert "in all" in answer.stderr
    assert "LTGEN_BENCH_CACHE" in answer.stderr


def test_an_empty_cache_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path / "none"))
    shown = call("show")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "the cache is empty" in shown.stderr
    assert "nothing to remove" in call("prune").stdout
    assert not (tmp_path / "none").exists()


def test_prune_asks_and_no_is_no(cache):
    before = files(cache)
    answer = call("prune", answer="n\n")
    assert "remove features: 1 (" in answer.stdout
    assert "nothing removed" in answer.stdout
    assert files(cache) == before
    assert call("prune", answer="y\n").exit_code == 0
    assert files(cache) == ["mine.txt"]


@pytest.mark.parametrize(("arguments", "gone"), [
    (["--kind", "features"], [NAMES[1]]), (["--kind", "classifiers"], [NAMES[0]]), (["--kind", "weights"], [NAMES[2]]),
    (["--kind", "images"], [f"images/{HEX}/train.npy"]), (["--older-than", "30"], [NAMES[0]]),
    (["--older-than", "50"], []), (["--older-than", "30", "--kind", "features"], []),
    (["--kind", "all"], [*NAMES, f"images/{HEX}/train.npy"])])
def test_only_what_is_meant_is_removed(cache, arguments, gone):
    before = files(cache)
    dry = call("prune", "--dry-run", *arguments)
    assert files(cache) == before
    listed = [line.split("\t")[4] for line in dry.stdout.splitlines() if "\t" in line]
    assert sorted(listed) == sorted(str(cache / name.removesuffix("/train.npy")) for name in gone)
    answer = call("prune", "--yes", *arguments)
    assert answer.exit_code == 0
    assert files(cache) == sorted(set(before) - set(gone))


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["prune", "--kind", "photos"], "'photos' is not one of"), (["prune", "--older-than", "-1"], "-1.0 is not in the range"),
    (["shwo"], "'shwo'. Did you mean 'show'?")])
def test_a_mistake_gets_a_sentence_and_removes_nothing(cache, program, arguments, sentence):
    before = files(cache)
    done = program("cache", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert files(cache) == before
