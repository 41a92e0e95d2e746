"""Index lists: which images they mean, what the classes are called, and every fault in one message."""

import hashlib

import numpy as np
import pytest
from standins import write_image, write_lists

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import load_dataset
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.source_kinds import find_folder


@pytest.fixture
def photos(tmp_path):
    """Images of three classes in folders whose order is not that of the labels, and two lists beside them."""
    root = tmp_path / "photos"
    train = [(f"all/{name}/{number} x.png", label) for label, name in enumerate(("owl", "bee", "ant"))
             for number in range(6 - label)]
    test = [(f"held out/{label}{number}.png", label) for label in range(3) for number in range(2)]
    for path, label in train + test:
        write_image(root / path, (4, 4), 50 * label)
    write_lists(tmp_path, train, test, ("train.txt", "test.txt"))
    return root


def config_of(root, test=True, **options):
    lists = {"index_list": str(root.parent / "train.txt"), **({"test_list": str(root.parent / "test.txt")} if test else {})}
    return DataConfig(name=f"folder:{root}", **{**lists, **options})


def listing(root, **options):
    return find_folder(root, config_of(root, **options))


def refused(root, **options):
    with pytest.raises(UserError) as caught:
        listing(root, **options)
    return caught.value


class TestWhatIsMeant:
    def test_images_stand_in_the_order_of_the_lists_with_their_labels(self, photos):
        dataset = load_dataset(config_of(photos))
        assert dataset.class_counts == [6, 5, 4]
        assert dataset.class_names == ("owl", "bee", "ant")
        assert np.array_equal(dataset.train.images[:, 0, 0, 0], 50 * dataset.train.labels)
        assert dataset.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert listing(photos).train.files[0] == "all/owl/0 x.png"

    def test_tabs_blank_lines_and_other_line_ends_are_taken(self, photos, tmp_path):
        text = (tmp_path / "train.txt").read_text()
        lines = [line.rpartition(" ") for line in text.splitlines()]
        (tmp_path / "train.txt").write_text("\r\n".join([f"{path}\t{label}" for path, _, label in lines] + ["", ""]))
        assert len(listing(photos).train) == len(lines)

    def test_the_lists_are_part_of_the_checksum_and_the_name_of_the_command(self, photos, tmp_path):
        config = config_of(photos)
        before = find_source(config.name).load(config, tmp_path, SILENT).checksum
        path = tmp_path / "test.txt"
        path.write_text(path.read_text() + "\n")
        assert find_source(config.name).load(config, tmp_path, SILENT).checksum != before
        assert listing(photos).lists[1] == hashlib.sha256(path.read_bytes()).hexdigest()
        (photos / "all/owl/0 x.png").write_bytes(b"other")
        with pytest.raises(UserError, match=r"folder:.*photos --index-list .*train\.txt --test-list .*test\.txt"):
            find_source(config.name).load(config, tmp_path, SILENT)

    @pytest.mark.parametrize("folders", [("a", "a", "b"), ("a", "b", "b"), ("x/../a", "b", "a")])
    def test_folders_that_are_not_one_to_one_give_numbers(self, tmp_path, folders):
        pairs = [(f"{folder}/{label}{number}.png", label) for label, folder in enumerate(folders) for number in range(4)]
        for path, label in pairs:
            write_image(tmp_path / "photos" / path, (4, 4), label)
        write_lists(tmp_path, pairs[::2], pairs[1::2], ("train.txt", "test.txt"))
        assert listing(tmp_path / "photos").class_names == ("0", "1", "2")

    def test_without_a_test_list_the_folders_own_test_part_is_taken(self, photos):
        for label, name in enumerate(("owl", "bee", "ant")):
            write_image(photos / "test" / name / "t.png", (4, 4), 50 * label)
        found = listing(photos, test=False)
        assert [file.split("/")[1] for file in found.test.files] == ["owl", "bee", "ant"]
        assert found.test.labels.tolist() == [0, 1, 2]
        write_image(photos / "test" / "cow" / "t.png", (4, 4))
        with pytest.raises(UserError, match="classes that train lacks: cow"):
            listing(photos, test=False)

    def test_without_any_test_part_a_quarter_is_held_out(self, photos):
        found = listing(photos, test=False)
        assert (len(found.train), len(found.test)) == (11, 4)
        assert set(found.test.labels.tolist()) == {0, 1, 2}
        assert not set(found.train.files) & set(found.test.files)


class TestTables:
    @pytest.mark.parametrize("text", [
        "path,label\n{}", "\ufeffLabel;n;File\r\n{}", "{}", "label\tpath\n{}"])
    def test_a_list_may_be_a_table(self, photos, tmp_path, text):
        """Its paths hold spaces, and a comma or semicolon in quotes."""
        expected = listing(photos)
        for name in ("train", "test"):
            pairs = [line.rsplit(" ", 1) for line in (tmp_path / f"{name}.txt").read_text().splitlines()]
            row = '{1};7;"{0}"' if ";" in text else "{1}\t{0}" if "\t" in text else '"{0}",{1}'
            (tmp_path / f"{name}.csv").write_text(text.format("\n".join(row.format(*pair) for pair in pairs)), "utf-8")
        found = listing(photos, index_list=str(tmp_path / "train.csv"), test_list=str(tmp_path / "test.csv"))
        for part in ("train", "test"):
            assert found.parts[part].files == expected.parts[part].files
            assert found.parts[part].labels.tolist() == expected.parts[part].labels.tolist()

    def test_rows_and_columns_that_do_not_fit_are_named(self, photos, tmp_path):
        lists = {"index_list": str(tmp_path / "train.csv")}
        (tmp_path / "train.csv").write_text("path,label\na.png,0\nb.png,\nc.png,x\n,1\n")
        problem = refused(photos, **lists).problems[0]
        assert "3 lines not PATH LABEL" in problem
        assert "row 3: 'b.png '" in problem
        (tmp_path / "train.csv").write_text("place,class\na.png,0\n")
        assert "columns place, class" in str(refused(photos, **lists))
        (tmp_path / "train.csv").write_text("path,label\na.png,0\nb,c.png,0\n")
        assert "row 3 has 3" in str(refused(photos, **lists))


class TestFaults:
    def test_all_faults_of_both_lists_come_at_once(self, photos, tmp_path):
        train, test = tmp_path / "train.txt", tmp_path / "test.txt"
        lines = train.read_text().splitlines()
        lines[1:1] = ["all/owl/0.png", "all/owl/1.png minus", "all/owl/2.png -1", "all/owl/3.png 70000"]
        lines = [line for line in lines if not line.endswith(" 1")]
        train.write_text("\n".join([*lines, "all/none.png 0", lines[0]]))
        test.write_text(f"{test.read_text()}all/gone.png 2\nheld out/00.png 7\n{lines[0]}\n")
        error = refused(photos)
        assert str(error).startswith(f"folder:{photos}: the index lists are not usable (")
        problems = error.problems
        assert problems[0].startswith(f"{train}: 4 lines")
        assert "line 2: 'all/owl/0.png', line 3: 'all/owl/1.png minus', line 4: 'all/owl/2.png -1'" in problems[0]
        for problem, (file, about, which) in zip(error.problems[1:], [
                (train, "1 of 12 files", "all/none.png"), (test, "1 of 9 files", "all/gone.png"),
                (train, "more than once", "all/owl/0 x.png"), (test, "more than once", "held out/00.png"),
                (test, f"also in {train}", "all/owl/0 x.png"), (train, "no image", "1"), (test, "labels", "1, 7")], strict=True):
            assert problem.startswith(f"{file}: ")
            assert about in problem
            assert problem.endswith(f": {which}")

    def test_five_of_many_missing_files_are_named(self, photos):
        for path in photos.glob("all/*/*.png"):
            path.unlink()
        problem = refused(photos).problems[0]
        assert "15 of 15 files" in problem
        assert problem.endswith(f": {', '.join(f'all/owl/{number} x.png' for number in range(5))} and 10 more")

    def test_an_empty_a_missing_and_an_unreadable_list(self, photos, tmp_path):
        (tmp_path / "train.txt").write_text("\n\n")
        assert "train.txt is empty" in refused(photos).problems[0]
        (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
        assert f"the index list {tmp_path / 'train.txt'} could not be read" in str(refused(photos))
        (tmp_path / "train.txt").unlink()
        assert str(refused(photos)) == f"there is no index list {tmp_path / 'train.txt'}."
        (tmp_path / "train.txt").mkdir()
        assert "could not be read" in str(refused(photos))

    def test_a_test_list_alone_and_columns_are_refused(self, photos):
        assert "--test-list is given without --index-list" in str(refused(photos, index_list=None))
        config = config_of(photos, columns=("a", "b"))
        with pytest.raises(UserError, match="--columns; it is for hub:NAME"):
            find_source(config.name).load(config, photos, SILENT)

    def test_a_class_without_test_images_is_named(self, photos, tmp_path):
        test = tmp_path / "test.txt"
        test.write_text("\n".join(line for line in test.read_text().splitlines() if not line.endswith("1")))
        with pytest.raises(UserError, match="no test images of class bee"):
            load_dataset(config_of(photos))
