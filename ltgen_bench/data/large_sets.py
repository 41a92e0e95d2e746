"""Data sets that are too large to download automatically, or need a registration: read from `<data root>/<name>/`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.data.folder_source import list_folder
from ltgen_bench.data.index_lists import list_indexed
from ltgen_bench.data.layouts import list_cub, list_inaturalist, list_tiny_imagenet
from ltgen_bench.data.listing import Listing

IMAGE_SIZE = 64  # pixels, when the user asks for no other


@dataclass(frozen=True)
class LargeSet:
    """Origin and layout of a large data set.

    `archives` are published files with their md5 (empty where none is published), `inner` is the folder that they unpack to,
    `wanted` says what the folder must contain. `index_lists` are the names of the published lists of training and test images;
    `find` reads the layout where there are none; None: the set needs its lists, which are those of OLTR.
    """

    folder: str
    address: str
    archives: tuple[tuple[str, str], ...]
    wanted: str
    find: Callable[[Path, str], Listing] | None = None
    inner: str = "."
    index_lists: tuple[str, str] | None = None


def list_large(large: LargeSet, config: DataConfig, data_root: Path) -> Listing:
    """List the images of a large set: by the lists that `config` names, by the published ones in its folder, or by its layout.

    Raises `UserError` where the folder is missing, saying what to download, from where, and where to put it.
    """
    outer = data_root / large.folder
    if not outer.is_dir():
        archives = " and ".join(f"{file} (md5 {md5})" if md5 else file for file, md5 in large.archives)
        raise UserError(f"{config.name} is not under {outer}/: get {archives} from {large.address} and unpack into {outer}/, so "
                        f"that it has {large.wanted}, or name the folder that has {large.folder}/ with --data-root.")
    root = outer / large.inner if (outer / large.inner).is_dir() else outer
    published = [root / name for name in large.index_lists or ()]
    lists = given_lists(config, *(published if any(path.is_file() for path in published) else ()))
    if lists:
        return list_indexed(root, config.name, *lists)
    if large.find is not None:
        return large.find(root, config.name)
    raise UserError(f"{config.name}: {root} has no {' and '.join(large.index_lists or ())}; get these lists from {OLTR} and put "
                    "them there, or name them with --index-list and --test-list.")


def given_lists(config: DataConfig, *published: Path) -> tuple[Path, Path | None] | None:
    """Return the lists of training and test images: those of `config`, else the published ones, else None."""
    train, test = (None if given is None else user_path(given, option) for given, option in
                   ((config.index_list, "--index-list"), (config.test_list, "--test-list")))
    train, test = train or next(iter(published), None), test or next(iter(published[1:]), None)
    if train is not None:
        return train, test
    if test is not None:
        raise UserError(f"{config.name}: --test-list is given without --index-list, the list of the training images.")
    return None


def _list_celeba_5(root: Path, where: str) -> Listing:
    """List class folders, since the division into five classes is not published as a list."""
    if not (root / "train").is_dir():
        raise UserError(f"{where}: no list of its five classes by hair colour is published; sort the images into "
                        f"{root}/train/CLASS/FILE and {root}/test/CLASS/FILE, or give --index-list FILE with lines PATH LABEL, "
                        f"where paths start at {root}.")
    return list_folder(root, where)


OLTR = "https://github.com/zhmiao/OpenLongTailRecognition-OLTR"  # the lists of Liu et al., CVPR 2019
IMAGENET_LISTS = ("ImageNet_LT_train.txt", "ImageNet_LT_test.txt")
PLACES_LISTS = ("Places_LT_train.txt", "Places_LT_test.txt")

TINY_IMAGENET = LargeSet(
    "tiny-imagenet", "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    (("tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"),),
    "train/<wnid>/images/ and val/val_annotations.txt", list_tiny_imagenet, inner="tiny-imagenet-200")
IMAGENET_LT = LargeSet(
    "imagenet-lt", "https://image-net.org/download (ILSVRC 2012)",
    (("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
     ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622")),
    f"train/ and val/ as the lists {' and '.join(IMAGENET_LISTS)} of {OLTR} name them, and these lists",
    index_lists=IMAGENET_LISTS)
PLACES_LT = LargeSet(
    "places-lt", "http://places2.csail.mit.edu/download.html",
    (("train_256_places365standard.tar", "53ca1c756c3d1e7809517cc47c5561c5"),
     ("val_256.tar", "e27b17d8d44f4af9a78502beb927f808")),
    f"the images where the lists {' and '.join(PLACES_LISTS)} of {OLTR} name them, and these lists",
    index_lists=PLACES_LISTS)
INATURALIST_2018 = LargeSet(
    "inaturalist-2018", "https://github.com/visipedia/inat_comp/tree/master/2018",
    (("train_val2018.tar.gz", "b1c6952ce38f31868cc50ea72d066cc3"), ("train2018.json", ""), ("val2018.json", "")),
    "train_val2018/, train2018.json and val2018.json", list_inaturalist,
    index_lists=("iNaturalist18_train.txt", "iNaturalist18_val.txt"))
CELEBA_5 = LargeSet(
    "celeba-5", "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    (("img_align_celeba.zip", "00d2c5bc6d35e252742224ab0c1e8fcb"),),
    "train/CLASS/FILE and test/CLASS/FILE, or give --index-list (no list of its five classes by hair colour is published)",
    _list_celeba_5)
CUB = LargeSet(
    "cub", "https://data.caltech.edu/records/65de6-vp158", (("CUB_200_2011.tgz", "97eceeb196236b17998738112f37df78"),),
    "images/, images.txt, image_class_labels.txt and train_test_split.txt", list_cub, inner="CUB_200_2011")
