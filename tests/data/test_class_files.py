"""What lies in class folders of a data set: all images are read, and what is left out is said or refused."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image
from standins import write_image

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.load import load_dataset
from ltgen_bench.experiments.recipes import image_size


def load(root, **options):
    return load_dataset(DataConfig(name=f"folder:{root}"), **options)


@pytest.fixture
def root(tmp_path):
    for part in ("train", "test"):
        for value, name in ((10, "ant"), (200, "bee")):
            for number in range(4):
                write_image(tmp_path / "photos" / part / name / f"{number}.png", (6, 4), value + number)
    return tmp_path / "photos"


@pytest.mark.parametrize("suffix", [".jfif", ".GIF", ".jpe", "", ".bin", ".TIFF", ".pgm"])
@pytest.mark.parametrize("number", [0, 2])
def test_half_a_class_under_another_suffix_is_read(root, suffix, number):
    folder = root / "train" / "ant"
    for place in (number, number + 1):
        with Image.open(folder / f"{place}.png") as image:
            image.save(folder / f"{place}{suffix}", {".jfif": "JPEG", ".jpe": "JPEG", ".GIF": "GIF"}.get(suffix, "PNG"))
        (folder / f"{place}.png").unlink()
    dataset = load(root)
    assert dataset.class_counts == [4, 4]
    write_image(root / "train" / ".cache" / "0.png", (9, 9))
    assert np.abs(dataset.train.images[:4, 0, 0, 0].astype(int) - [10, 11, 12, 13]).max() <= 1
    assert image_size(f"folder:{root}") == 6


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(("to", "words"), [
    ("ant/more/0.png", "2 images deeper than CLASS/FILE"),
    ("{}.png", "2 images beside the class"),
    ("ant/{}.heic", "2 files of no format")])
def test_a_mixture_that_would_change_the_counts_is_refused_with_the_way_out(root, part, to, words):
    (root / part / "ant" / "more").mkdir()
    for number in range(2):
        path = root / part / to.replace("0", str(number)).format(number)
        (root / part / "ant" / f"{number}.png").rename(path)
        if path.suffix == ".heic":
            path.write_bytes(b"\0\0\0\x18ftypheic\xff")
    with pytest.raises(UserError, match=rf"{part} has files that are not CLASS/FILE") as caught:
        load(root)
    assert words in caught.value.problems[0]


def test_what_is_left_out_is_listed_with_its_number_and_the_first_five(root, told):
    for number in range(7):
        (root / "train" / "ant" / f"{number}.txt").write_text("a caption")
    (root / "train" / "bee" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (root / "train" / "bee" / "LICENCE").write_text("caf\u00e9")
    (root / "train" / "bee" / ".cache").mkdir()
    (root / "train" / "bee" / ".cache" / "0.png").write_bytes(b"x")
    (root / "train" / "weights.pt").write_bytes(b"\0\xff")
    assert load(root, progress=told).class_counts == [4, 4]
    (message,) = told.messages
    for words in (str(root / "train"), "2 hidden or system files (bee/.cache, bee/Thumbs.db)", "1 unread file (weights.pt)",
                  "8 texts (ant/0.txt, ant/1.txt, ant/2.txt, ant/3.txt, ant/4.txt and 3 more)"):
        assert words in message


def test_a_pipe_among_images_is_refused_and_not_waited_for(root):
    os.mkfifo(root / "train" / "ant" / "9.png")
    with pytest.raises(UserError, match=r"ant/9.png"):
        load(root)


def test_the_reference_and_the_fingerprint_do_not_hang_on_suffixes(root, tmp_path):
    """With three of four images of a class gone the reference would not be balanced."""
    other = tmp_path / "other"
    shutil.copytree(root, other)
    for number in range(3):
        (other / "train" / "ant" / f"{number}.png").rename(other / "train" / "ant" / f"{number}.jfif")
    before, now = load(root), load(other)
    assert now.reference_is_balanced
    assert now.fingerprint == before.fingerprint
