"""Images that any model hands in: every form that is read, and every fault in words."""

import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.samples import load_samples

NAMES = ("class 0", "class 1", "class 2")


@pytest.fixture
def images(make_images):
    """Four images of each class, by label."""
    made = make_images([4, 4, 4], seed=5)
    return made.take(np.argsort(made.labels, kind="stable"))


@pytest.fixture
def folder(images, tmp_path):
    return write_folder(tmp_path / "theirs", images, NAMES)


def write_folder(root, images, names):
    for place, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        (root / names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(root / names[label] / f"{place:02}.png")
    return root


def zipped(path, folder, top="", every=False):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(path for path in folder.rglob("*" if every else "*.png") if path.is_file()):
            archive.write(file, top + str(file.relative_to(folder)))
    return path


def same(found, images):
    np.testing.assert_array_equal(found.images, images.images)
    np.testing.assert_array_equal(found.labels, images.labels)


def refused(path, dataset, labels=None):
    with pytest.raises(UserError) as caught:
        load_samples(path, dataset, labels)
    assert caught.value.exit_code == 2
    return str(caught.value)


class TestForms:
    @pytest.mark.parametrize("names", [NAMES, ("0", "1", "2")])
    def test_class_folders_are_called_by_class_names_or_labels(self, images, tiny_dataset, tmp_path, names):
        same(load_samples(write_folder(tmp_path / "x", images, names), tiny_dataset), images)

    @pytest.mark.parametrize("top", ["", "samples/"])
    def test_a_zip_of_the_folder_is_read_in_its_place(self, images, folder, tiny_dataset, tmp_path, top):
        path = zipped(tmp_path / "theirs.zip", folder, top)
        before = sorted(tmp_path.rglob("*"))
        same(load_samples(path, tiny_dataset), images)
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("where", [(), ("class 0",)])
    def test_what_systems_and_texts_leave_beside_the_images_is_listed(self, images, folder, tiny_dataset, tmp_path, told, where):
        place = folder.joinpath(*where)
        for name in ("._00.png", "Thumbs.db", "desktop.ini", ".DS_Store", "notes.txt"):
            (place / name).write_bytes(b"x\xff")
        same(load_samples(folder, tiny_dataset, None, told), images)
        same(load_samples(zipped(tmp_path / "x.zip", folder, every=True), tiny_dataset, None, told), images)
        for message in told.messages:
            assert "4 hidden or system files" in message
            assert "1 text " in message

    @pytest.mark.parametrize("name", ["x.jfif", "x.GIF", "x", "x.JPG_large", "x.pnm"])
    def test_no_image_is_lost_for_its_suffix(self, folder, tiny_dataset, tmp_path, name):
        image = Image.open(folder / "class 1" / "04.png")
        image.save(folder / "class 1" / name, {"x.GIF": "GIF", "x.pnm": "PPM"}.get(name, "PNG"))
        for path in (folder, zipped(tmp_path / "x.zip", folder, every=True)):
            assert np.bincount(load_samples(path, tiny_dataset).labels).tolist() == [4, 5, 4]

    def test_turned_and_transparent_images_are_said(self, folder, tiny_dataset, told):
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(folder / "class 1" / "04.png") as image:
            image.save(folder / "class 1" / "04.png", exif=exif)
        clear = Image.new("LA", (8, 8), (9, 255))
        clear.putpixel((0, 0), (9, 0))
        clear.save(folder / "class 0" / "00.png")
        found = load_samples(folder, tiny_dataset, None, told)
        assert found.images[0, 0, 0].tolist() == [255, *[9] * 7]
        assert "1 of 12 images" in told.messages[0]
        assert "orientation" in told.messages[0]
        assert "composed on white" in told.messages[1]

    def test_what_a_mac_packs_beside_the_images_is_passed_over(self, images, folder, tiny_dataset, tmp_path):
        path = zipped(tmp_path / "theirs.zip", folder)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("__MACOSX/class 0/._00.png", b"x")
            archive.writestr("readme.txt", b"x")
        same(load_samples(path, tiny_dataset), images)

    @pytest.mark.parametrize(("name", "text"), [
        ("l.txt", "{}"), ("l.csv", "label\n{}"), ("l.csv", "file,Label\n{files}"), ("names.txt", "{names}")])
    def test_an_npy_takes_its_labels_from_a_text(self, images, tiny_dataset, tmp_path, name, text):
        np.save(tmp_path / "theirs.npy", images.images)
        labels = [str(label) for label in images.labels]
        filled = text.format("\n".join(labels), files="\n".join(f"{n}.png,{label}" for n, label in enumerate(labels)),
                             names="\n".join(NAMES[label] for label in images.labels))
        (tmp_path / name).write_text(filled)
        same(load_samples(tmp_path / "theirs.npy", tiny_dataset, tmp_path / name), images)

    def test_an_npy_takes_its_labels_from_an_npy(self, images, tiny_dataset, tmp_path):
        np.save(tmp_path / "theirs.npy", images.images[:, 0])
        np.save(tmp_path / "l.npy", images.labels.astype(np.uint8))
        same(load_samples(tmp_path / "theirs.npy", tiny_dataset, tmp_path / "l.npy"), images)

    def test_grey_images_saved_in_colour_are_grey_and_the_other_way_round(self, images, make_dataset, tmp_path):
        colour = images.__class__(np.repeat(images.images, 3, axis=1), images.labels)
        same(load_samples(write_folder(tmp_path / "x", colour, NAMES), make_dataset()), images)
        same(load_samples(write_folder(tmp_path / "y", images, NAMES), make_dataset(shape=(3, 8, 8))), colour)

    def test_a_class_folder_that_has_a_class_name_is_that_class_and_it_is_said(self, images, tiny_dataset, tmp_path, told):
        dataset = replace(tiny_dataset, class_names=("1", "2", "3"))
        found = load_samples(write_folder(tmp_path / "x", images, ("1", "2", "3")), dataset, None, told)
        same(found, images)
        assert "read as names" in told.messages[0]


class TestArrays:
    @pytest.mark.parametrize(("change", "words"), [
        (lambda x: x / 255, "float64, from 0 to 1; they must be uint8, from 0 to 255: they seem to have the range 0 to 1"),
        (lambda x: (x / 127.5 - 1).astype(np.float32), "they seem to have the range -1 to 1, so convert them with ((images + 1) "
         "* 127.5)"),
        (lambda x: x.astype(np.float32), "they seem"),
        (lambda x: x.astype(np.int64), "from 0 to 255; they must be uint8, from 0 to 255: they seem to have the range 0 to"),
        (lambda x: x * 9.0, "images that is known here"),
        (lambda x: np.where(x > 250, np.nan, x), "NaN or infinite"),
        (lambda x: x > 100, "bool, false or true"),
        (lambda x: x.astype(complex), "complex128; they must be uint8"),
        (lambda x: x[:, :, :, :, None], "[N, H, W], [N, H"),
        (lambda x: np.repeat(x, 2, axis=1), "with 1 or 3 channels"),
    ])
    def test_other_images_than_uint8_are_told_their_range_and_the_cure(self, images, tiny_dataset, tmp_path, change, words):
        own = images.images.copy()
        own.flat[:2] = 0, 255
        np.savez(tmp_path / "x.npz", images=change(own), labels=images.labels)
        assert words in refused(tmp_path / "x.npz", tiny_dataset)

    @pytest.mark.parametrize("own", [np.linspace(0, 1, 64), np.linspace(-1, 1, 64), np.linspace(0, 255, 64)])
    def test_the_cure_that_is_named_makes_uint8_of_the_whole_range(self, tiny_dataset, tmp_path, own):
        images = own.reshape(1, 8, 8)
        np.savez(tmp_path / "x.npz", images=images, labels=[0])
        cure = refused(tmp_path / "x.npz", tiny_dataset).partition("convert them with ")[2].removesuffix(".")
        made = eval(cure, {"images": images})  # what the user is told to type
        assert made.dtype == np.uint8
        assert (made.min(), made.max()) == (0, 255)

    def test_object_arrays_are_refused_and_nothing_is_run(self, tiny_dataset, tmp_path):
        class Bomb:
            def __reduce__(self):
                return open, (str(tmp_path / "ran"), "w")

        pickle.dumps(Bomb())
        array = np.array([Bomb()], dtype=object)
        np.savez(tmp_path / "x.npz", images=array, labels=[0])
        np.save(tmp_path / "x.npy", array, allow_pickle=True)
        (tmp_path / "l.txt").write_text("0")
        for path, labels in ((tmp_path / "x.npz", None), (tmp_path / "x.npy", tmp_path / "l.txt")):
            assert "holds Python objects, and reading" in refused(path, tiny_dataset, labels)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("keep", [0, 10, 200, 700])
    def test_truncated_files_are_not_readable(self, images, tiny_dataset, tmp_path, keep):
        np.savez(tmp_path / "whole.npz", images=images.images, labels=images.labels)
        np.save(tmp_path / "whole.npy", images.images)
        (tmp_path / "l.txt").write_text("0\n" * 12)
        for suffix in ("npz", "npy"):
            (tmp_path / f"x.{suffix}").write_bytes((tmp_path / f"whole.{suffix}").read_bytes()[:keep])
        assert "is not a readable npz" in refused(tmp_path / "x.npz", tiny_dataset)
        assert "is not a readable npy" in refused(tmp_path / "x.npy", tiny_dataset, tmp_path / "l.txt")

    def test_a_header_that_claims_more_than_there_is_takes_no_memory(self, tiny_dataset, tmp_path):
        with (tmp_path / "x.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 8, 8)})
        (tmp_path / "l.txt").write_text("0")
        assert "is not a readable npy" in refused(tmp_path / "x.npy", tiny_dataset, tmp_path / "l.txt")

    @pytest.mark.parametrize(("name", "text", "words"), [
        ("l.txt", "0\n1\n", "12 images need as many labels"),
        ("l.txt", "0\nx\n", "unknown label 'x'"),
        ("l.txt", "-1\n", "unknown label '-1'"),
        ("l.txt", "3\n" * 12, "unknown label '3'"),
        ("l.csv", "a,b\n1,2\n", "2 columns none is called"),
        ("l.csv", "file,label\nx\n", "row 2 has 1"),
        ("l.csv", "file,label\nx,\ny,0\nz, \n", "2 of 3 rows have no label (row 2, row 4)"),
        ("l.json", "[]", ".npy, .csv, .tsv, .txt"),
    ])
    def test_labels_that_do_not_fit_are_refused(self, images, tiny_dataset, tmp_path, name, text, words):
        np.save(tmp_path / "x.npy", images.images)
        (tmp_path / name).write_text(text)
        assert words in refused(tmp_path / "x.npy", tiny_dataset, tmp_path / name)

    def test_labels_are_given_once(self, images, folder, tiny_dataset, tmp_path):
        np.save(tmp_path / "x.npy", images.images)
        np.savez(tmp_path / "x.npz", images=images.images, labels=images.labels)
        (tmp_path / "l.txt").write_text("0\n" * 12)
        assert "array 'labels'" in refused(
            tmp_path / "x.npy", tiny_dataset)
        assert "has labels of its own" in refused(tmp_path / "x.npz", tiny_dataset, tmp_path / "l.txt")
        assert "class an image" in refused(folder, tiny_dataset, tmp_path / "l.txt")
        assert "there is no such file" in refused(tmp_path / "x.npy", tiny_dataset, tmp_path / "none.txt")

    def test_other_files_are_told_what_is_read(self, tiny_dataset, tmp_path):
        (tmp_path / "x.tar").write_bytes(b"")
        assert ".npz (images, labels), an .npy" in refused(tmp_path / "x.tar", tiny_dataset)
        assert "such file or folder" in refused(tmp_path / "none", tiny_dataset)


class TestFolders:
    def test_unknown_and_missing_classes_are_named(self, folder, tiny_dataset):
        (folder / "class 1").rename(folder / "klass 1")
        assert "unknown class folder 'klass 1'" in refused(folder, tiny_dataset)

    def test_an_empty_class_folder_and_none_at_all(self, folder, tiny_dataset, tmp_path):
        (folder / "class 3").mkdir()
        assert "class folder class 3" in refused(folder, tiny_dataset)
        (tmp_path / "empty").mkdir()
        assert "has no class folders" in refused(tmp_path / "empty", tiny_dataset)

    def test_images_of_another_size_or_in_colour_are_not_resized(self, folder, tiny_dataset):
        Image.new("L", (9, 8)).save(folder / "class 0" / "00.png")
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(folder / "class 0" / "01.png")
        text = refused(folder, tiny_dataset)
        assert "2 of 12 images of" in text
        assert "8 x 8 in grey" in text
        assert "00.png: 9 x 8" in text
        assert "01.png: in colour" in text

    def test_files_that_are_no_images_are_named(self, folder, tiny_dataset):
        (folder / "class 2" / "11.png").write_bytes(b"nothing")
        text = refused(folder, tiny_dataset)
        assert "1 of 12 images of" in text
        assert "11.png: it is corrupt" in text


    @pytest.mark.parametrize(("name", "words"), [
        ("class 0/more/00.png", "1 image deeper than CLASS/FILE"), ("00.png", "1 image beside the class folders"),
        ("class 0/00.heic", "1 file of no format that is read"), ("class 0/00.npy", "of no format"),
        ("class 0/a.svg", "of no format"), ("class 0/00.png.bak", "of no format"), ("class 0/link", "no plain file")])
    def test_files_that_would_be_lost_are_refused(self, folder, tiny_dataset, tmp_path, name, words):
        (folder / "class 0" / "more").mkdir()
        if name.endswith("link"):
            (folder / name).symlink_to(folder)
        elif words.startswith("1 image"):
            (folder / "class 0" / "00.png").rename(folder / name)
        else:
            (folder / name).write_bytes(b"\0\xff")
        assert words in refused(folder, tiny_dataset)
        if not name.endswith("link"):
            assert words in refused(zipped(tmp_path / "x.zip", folder, every=True), tiny_dataset)


class TestZips:
    def test_two_entries_of_one_name_are_refused(self, folder, tiny_dataset, tmp_path):
        path = zipped(tmp_path / "x.zip", folder)
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("class 0/00.png", b"x")
        assert "twice: class 0/00.png" in refused(path, tiny_dataset)

    def test_a_class_folder_without_images_is_named(self, folder, tiny_dataset, tmp_path):
        path = zipped(tmp_path / "x.zip", folder)
        with zipfile.ZipFile(path, "a") as archive:
            archive.mkdir("class 3")
        assert "class folder class 3" in refused(path, tiny_dataset)

    @pytest.mark.parametrize("name", ["../0/a.png", "/0/a.png", "0/../../a.png", "..\\0\\a.png", "C:/0/a.png"])
    def test_paths_outside_the_root_are_refused(self, tiny_dataset, tmp_path, name):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), b"x")
        assert "1 entry with a path" in refused(tmp_path / "x.zip", tiny_dataset)

    def test_links_are_refused(self, tiny_dataset, tmp_path):
        link = zipfile.ZipInfo("0/a.png")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(link, "/etc/passwd")
        assert "or a link: 0/a.png" in refused(tmp_path / "x.zip", tiny_dataset)

    def test_a_file_that_unpacks_to_more_than_an_image_is_refused_unread(self, tiny_dataset, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("0/a.png", bytes(50_000_000))
        assert (tmp_path / "x.zip").stat().st_size < 100_000
        text = refused(tmp_path / "x.zip", tiny_dataset)
        assert "1 image file larger than 1,048,576 bytes unpacked, which no image of 8 x 8 needs: 0/a.png: 50,000,000" in text

    def test_an_image_whose_header_claims_far_more_pixels_is_not_decoded(self, folder, tiny_dataset, tmp_path):
        Image.new("1", (4000, 4000)).save(folder / "class 0" / "00.png")
        assert "00.png: 4000 x 4000" in refused(zipped(tmp_path / "x.zip", folder), tiny_dataset)

    def test_truncated_and_damaged_zips(self, folder, tiny_dataset, tmp_path):
        whole = zipped(tmp_path / "x.zip", folder).read_bytes()
        (tmp_path / "cut.zip").write_bytes(whole[:len(whole) // 2])
        assert "is not a readable zip" in refused(tmp_path / "cut.zip", tiny_dataset)
        at = whole.index(b"IDAT")
        (tmp_path / "bad.zip").write_bytes(whole[:at] + b"XXXX" + whole[at + 4:])
        assert "it cannot be unpacked (Bad CRC-32" in refused(tmp_path / "bad.zip", tiny_dataset)

    def test_another_layout_than_class_folders_is_named(self, folder, tiny_dataset, tmp_path):
        path = zipped(tmp_path / "x.zip", folder, "a/b/")
        assert "CLASS/FILE: b/class 0/00.png" in refused(path, tiny_dataset)
        with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
            archive.writestr("images.npy", b"x")
        assert "has no images as CLASS/FILE" in refused(tmp_path / "y.zip", tiny_dataset)
