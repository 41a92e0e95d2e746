"""The confusion of classes in a report: from head to tail, mean over seeds, and a picture of it."""

import json

import numpy as np
import pytest
from PIL import Image
from synthetic_runs import write_run

from ltgen_bench.records.store import find_runs
from ltgen_bench.report.confusion import confusion_data, confusion_figure, drawings
from ltgen_bench.report.pictures import save, save_drawings
from ltgen_bench.report.sheets import head_to_tail

RISING = [6, 9, 13, 18, 25, 35, 48, 67, 94, 131]  # so that head to tail is the labels backwards


@pytest.fixture
def confused(tmp_path):
    """A runs folder with two seeds of cfg and one of ddpm, and the table that each kept."""
    kept = {}
    for number, (method, seed) in enumerate((("cfg", 0), ("cfg", 1), ("ddpm", 0))):
        folder, _ = write_run(tmp_path / "runs", method, seed)
        table = np.random.default_rng(number).dirichlet(np.ones(10), 10).round(6)
        if number == 0:
            table[1] = -1  # no images of that class
        for file in folder.rglob("scores.protocols.json"):
            file.write_text(json.dumps({**json.loads(file.read_text()), "confusions": {"classifier": table.tolist()}}))
        for file in folder.rglob("record.json"):
            file.write_text(json.dumps({**json.loads(file.read_text()), "class_counts": RISING}))
        kept[method, seed] = np.where(table < 0, np.nan, table)[::-1, ::-1]
    return tmp_path / "runs", kept


def test_shares_are_sorted_from_head_to_tail_and_averaged_over_the_seeds_that_have_them(confused, block_of):
    folder, kept = confused
    found = confusion_data(block_of(folder), find_runs(folder), "classifier")
    assert set(found) == {"cfg", "ddpm"}
    assert found["ddpm"] == pytest.approx(kept["ddpm", 0])
    assert found["cfg"] == pytest.approx(np.nanmean([kept["cfg", 0], kept["cfg", 1]], axis=0))
    assert np.isfinite(found["cfg"]).all(), "the other seed has images of that class"


def test_runs_that_kept_none_are_left_out_and_without_any_nothing_is_drawn(one_seed, block_of):
    assert confusion_data(block_of(one_seed), find_runs(one_seed), "classifier") == {}
    assert drawings(block_of(one_seed), find_runs(one_seed)) == {}


def test_it_is_a_picture_of_panels_beside_each_other(confused, block_of, tmp_path):
    runs = find_runs(confused[0])
    made = save_drawings(drawings(block_of(confused[0]), runs), tmp_path, pytest.fail)
    file = made["confusion matrix of the classifier"]
    assert file.name == "confusion-classifier.png"
    with Image.open(file) as image:
        assert image.width > image.height > 300  # two panels


def test_classes_of_one_size_stand_in_the_order_of_their_labels(confused):
    record = find_runs(confused[0])[0].record
    assert head_to_tail(record.class_counts) == list(range(9, -1, -1))
    assert head_to_tail([5, 9, 5, 9]) == [1, 3, 0, 2]


@pytest.mark.parametrize(("classes", "entries"), [(2, 1), (10, 4), (100, 2)])
def test_it_can_be_drawn_for_any_number_of_classes(classes, entries, tmp_path):
    shares = np.full((classes, classes), 1 / classes)
    shares[0] = np.nan
    figure = confusion_figure({f"method {n}": shares for n in range(entries)}, [f"class {c}" for c in range(classes)], "note")
    assert len(figure.axes) == entries
    named = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert named == ([f"class {c}" for c in range(classes)] if classes <= 30 else [])
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert len(numbers) == (classes ** 2 - classes if classes <= 12 else 0)
    assert save(figure, tmp_path / "confusion.png").stat().st_size > 2000
