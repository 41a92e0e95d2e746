"""Decoding and resizing of image files, against plain loops; and that reading neither stops nor grows at damage."""

import io

import numpy as np
import pytest
from PIL import Image
from standins import write_image

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data.folder_source import list_folder
from ltgen_bench.data.image_files import AHEAD, BLOCK, BadImageError, common_shape, decode, read_images


def encoded(array, suffix="png", **options):
    file = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(file, suffix, **options)
    return file.getvalue()


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class TestResizing:
    @pytest.mark.parametrize(("height", "width", "size"), [(128, 128, 32), (96, 160, 32), (200, 128, 64), (257, 256, 128)])
    def test_shrinking_by_a_whole_number_is_the_mean_over_squares_of_the_centre(self, height, width, size):
        image = random_image(height, width)
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        factor = side // size
        expected = np.zeros((3, size, size))
        for row in range(size):
            for column in range(size):
                square = image[top + row * factor:top + (row + 1) * factor, left + column * factor:left + (column + 1) * factor]
                expected[:, row, column] = square.mean(axis=(0, 1))
        found, *_ = decode(encoded(image), size)
        assert found.dtype == np.uint8
        assert np.abs(found - expected).max() <= 1  # Pillow rounds after each of the two directions

    def test_enlarging_is_bicubic(self):
        image = random_image(20, 16)
        found, *_ = decode(encoded(image), 32)
        expected = Image.fromarray(image[2:18]).resize((32, 32), Image.Resampling.BICUBIC)
        assert np.array_equal(found, np.asarray(expected).transpose(2, 0, 1))

    def test_an_image_of_that_size_already_is_untouched(self):
        image = random_image(32, 32)
        assert np.array_equal(decode(encoded(image), 32)[0], image.transpose(2, 0, 1))

    def test_an_even_grey_stays_even_and_grey(self):
        found, *_ = decode(encoded(np.full((50, 70), 93, np.uint8)), 64)
        assert found.shape == (1, 64, 64)
        assert (found == 93).all()


class TestDecoding:
    @pytest.mark.parametrize(("orientation", "turned"), [(1, False), (2, True), (6, True), (8, True)])
    def test_pixels_stay_as_stored_and_an_orientation_is_told(self, orientation, turned):
        image = random_image(4, 6)
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels, told, _ = decode(encoded(image, exif=exif))
        assert np.array_equal(pixels, image.transpose(2, 0, 1))
        assert told is turned

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of some damage before it raises
    @pytest.mark.parametrize("suffix", ["png", "jpeg", "bmp", "tiff", "webp", "ppm"])
    def test_no_damage_escapes_as_another_error(self, suffix):
        """Bytes are overwritten and cut at random: the file is read, or refused."""
        exif = Image.Exif()
        exif[0x0112] = 6
        whole = encoded(random_image(4, 6), suffix, **({"exif": exif} if suffix in ("png", "jpeg", "webp") else {}))
        rng = np.random.default_rng(1)
        outcomes = set()
        for _ in range(200):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 4):
                damaged[at] = rng.integers(256)
            try:
                pixels, *_ = decode(bytes(damaged[:rng.integers(1, len(whole) + 1)]))
                outcomes.add(pixels.ndim)
            except BadImageError as error:
                outcomes.add(str(error)[:2])
        assert outcomes <= {3, "it"}
        assert "it" in outcomes

    @pytest.mark.parametrize(("mode", "options"), [
        ("RGBA", {}), ("LA", {}), ("RGB", {"transparency": (9, 9, 9)}), ("L", {"transparency": 9}), ("P", {})])
    @pytest.mark.parametrize("size", [None, 4])
    def test_transparent_pixels_are_composed_on_white(self, mode, options, size):
        image = Image.new("RGBA", (4, 4), (100, 100, 100, 255))
        image.putpixel((1, 0), (9, 9, 9, 0))
        image = image.convert("RGB").quantize(2) if mode == "P" else image.convert(mode)
        if mode == "P":
            options = {"transparency": image.getpixel((1, 0))}
        pixels, turned, transparent = decode(encoded(image, **options), size)
        assert pixels.shape[0] == (1 if mode in ("L", "LA") else 3)
        assert pixels[:, 0, :2].tolist() == [[100, 255]] * len(pixels)
        assert transparent
        assert not turned

    def test_half_transparent_pixels_are_half_white_and_opaque_ones_what_they_are(self):
        pixels, _, transparent = decode(encoded(Image.new("RGBA", (2, 2), (0, 100, 255, 128))))
        assert pixels[:, 0, 0].tolist() == [127, 177, 255]
        assert transparent
        assert decode(encoded(Image.new("LA", (2, 2), (7, 255))))[2] is False
        assert decode(encoded(Image.new("LA", (2, 2), (7, 255))))[0].tolist() == [[[7, 7], [7, 7]]]

    @pytest.mark.parametrize("suffix", ["gif", "png", "tiff", "webp"])
    def test_an_image_that_moves_or_has_pages_is_refused(self, suffix):
        frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (0, 100, 200)]
        with pytest.raises(BadImageError, match="3 frames or pages"):
            decode(encoded(frames[0], suffix, save_all=True, append_images=frames[1:]))
        assert decode(encoded(frames[1], suffix, **({"lossless": True} if suffix == "webp" else {})))[0].shape == (3, 4, 4)

    def test_a_bomb_is_refused(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
        with pytest.raises(BadImageError, match="corrupt or no image"):
            decode(encoded(random_image(4, 6)))


class TestReading:
    @pytest.fixture
    def listing(self, root):
        """More images than are under way at one time, of the value of their number."""
        for number in range(3, BLOCK * AHEAD // 8):
            write_image(root / "train" / "ant" / f"{number:05}.png", (2, 2), number % 256)
        for path in (*(root / "train" / "ant").glob("?.png"), *(root / "train" / "bee").iterdir(), *root.glob("test/*/*")):
            write_image(path, (2, 2), 7)
        return list_folder(root, "photos")

    def test_blocks_come_in_the_order_of_the_files(self, listing, told, monkeypatch):
        monkeypatch.setattr("ltgen_bench.data.image_files.BLOCK", 4)
        blocks = list(read_images(listing, "train", (3, 2, 2), None, told))
        assert len(blocks) > AHEAD
        values = np.concatenate([block.images[:, 0, 0, 0] for block in blocks])
        names = [int(file.rpartition("/")[2].removesuffix(".png")) for file in listing.train.files]
        expected = [7 if number < 3 else number % 256 for number in names]
        assert values.tolist() == expected
        assert sum(len(block.digests) for block in blocks) == len(names)
        assert told.stages[0] == {"name": "read train", "total": len(names), "done": len(names), "unit": "images", "note": ""}

    def test_a_reader_who_leaves_early_stops_the_threads(self, listing):
        blocks = read_images(listing, "train", (3, 2, 2), None, SILENT)
        assert len(next(blocks).images) == BLOCK
        blocks.close()

    def test_one_colour_image_among_grey_ones_makes_three_channels(self, root):
        for path in root.rglob("*.png"):
            write_image(path, (6, 4), mode="L")
        listing = list_folder(root, "photos")
        assert common_shape(listing, listing.train, None) == (1, 4, 6)
        write_image(root / "train" / "bee" / "2.png", (6, 4))
        assert common_shape(listing, listing.train, None) == (3, 4, 6)
        assert common_shape(listing, listing.test, 32) == (1, 32, 32)

    def test_where_nothing_can_be_read_there_is_no_shape(self, root):
        for path in root.rglob("*.png"):
            path.write_bytes(b"no image")
        listing = list_folder(root, "photos")
        assert common_shape(listing, listing.train, None) is None
        with pytest.raises(UserError, match="6 of 6 train images"):
            list(read_images(listing, "train", (1, 1, 1), None, SILENT))

    def test_a_file_that_may_not_be_read_is_named(self, root):
        listing = list_folder(root, "photos")
        (root / "train" / "ant" / "1.png").unlink()
        (root / "train" / "ant" / "1.png").mkdir()
        with pytest.raises(UserError, match="1 of 6 train images") as caught:
            list(read_images(listing, "train", (3, 4, 6), None, SILENT))
        assert "ant/1.png" in caught.value.problems[0]

    def test_turned_images_are_counted_and_said(self, root, told):
        exif = Image.Exif()
        exif[0x0112] = 6
        (root / "train" / "ant" / "0.png").write_bytes(encoded(random_image(4, 6), exif=exif))
        list(read_images(list_folder(root, "photos"), "train", (3, 4, 6), None, told))
        (message,) = told.messages
        assert "1 of 6 train images carry a camera's orientation" in message
