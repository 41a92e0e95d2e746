"""The data sets that have a name, and the two forms for a user's own."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ltgen_bench.config import DataConfig
from ltgen_bench.data.raw import RawData
from ltgen_bench.data.sources import load_cifar, load_digits, load_folder, load_npz
from ltgen_bench.errors import UserError, unknown_name
from ltgen_bench.progress import Progress
from ltgen_bench.registry import Registry


@dataclass(frozen=True)
class DataSource:
    """One catalogue entry. `imbalance_factor` is what the name stands for; None keeps the counts as they are."""

    summary: str
    source: str
    licence: str
    load: Callable[[DataConfig, Path, Progress], RawData]
    flip: bool
    recipes: str | None  # the folder of baselines/ whose recipes fit; None: by the size of the images
    imbalance_factor: float | None = None
    content: str = ""  # what the images are called without a tail, the same for `cifar10` and `cifar10-lt`; in manifests
    image_shape: tuple[int, int, int] | None = None  # (channels, height, width) where all images have one
    class_names: tuple[str, ...] = ()  # where they are known before the files are read
    num_classes: int | None = None
    checksums: tuple[tuple[str, str], ...] = ()  # published files and what they hash to, as "md5:..."
    # Recompute what the files hash to: (config, data root, progress, take changed files as they are now) -> what was found,
    # a line each; a difference is a `UserError`.
    verify: Callable[[DataConfig, Path, Progress, bool], list[str]] | None = None


CIFAR_SOURCE = "Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html"
CIFAR_LICENCE = "none stated; free for research"

DATASETS: Registry[DataSource] = Registry("data set", "datasets")
for _suffix, _factor, _words in (("", None, "balanced"), ("-lt", 20.0, "exponential long tail, imbalance factor 20")):
    DATASETS.add(f"digits{_suffix}", DataSource(
        f"8 x 8 handwritten digits, 10 classes, {_words}; ships with scikit-learn",
        "Alpaydin and Kaynak, 1998, UCI Optical Recognition of Handwritten Digits", "CC BY 4.0",
        lambda config, root, progress: load_digits(), flip=False, recipes="digits-lt", imbalance_factor=_factor))
for _suffix, _factor, _words in (("", None, "balanced"), ("-lt", 100.0, "exponential long tail, imbalance factor 100")):
    DATASETS.add(f"cifar10{_suffix}", DataSource(
        f"32 x 32 photographs, 10 classes, {_words}; fetched by torchvision", CIFAR_SOURCE, CIFAR_LICENCE,
        lambda config, root, progress: load_cifar("CIFAR10", root, progress), flip=True, recipes="cifar10-lt",
        imbalance_factor=_factor))
    DATASETS.add(f"cifar100{_suffix}", DataSource(
        f"32 x 32 photographs, 100 classes, {_words}; fetched by torchvision", CIFAR_SOURCE, CIFAR_LICENCE,
        lambda config, root, progress: load_cifar("CIFAR100", root, progress), flip=True, recipes="cifar100-lt",
        imbalance_factor=_factor))

OWN_FORMS = {  # a user's own data, written PREFIX:PATH
    "folder": "images of your own as PATH/train/CLASS/FILE and PATH/test/CLASS/FILE",
    "npz": "arrays of your own: train_images, train_labels, test_images, test_labels",
}


def find_source(name: str) -> DataSource:
    """The entry of a catalogue name, `folder:PATH` or `npz:FILE`; else a `UserError` with the near match."""
    prefix, colon, path = name.partition(":")
    if not colon:
        if name not in DATASETS:
            raise unknown_name("data set", name, [*DATASETS, "folder:PATH", "npz:FILE"], "datasets")
        return DATASETS[name]
    if prefix not in OWN_FORMS:
        raise unknown_name("data set form", prefix, OWN_FORMS, "datasets")
    if not path:
        raise UserError(f"data set '{name}': a path is missing after the colon, as in {prefix}:PATH.")
    place = Path(path).expanduser()
    if prefix == "folder":
        return DataSource(OWN_FORMS[prefix], str(place), "the user's",
                          lambda config, root, progress: load_folder(place, progress), flip=True, recipes=None)
    return DataSource(OWN_FORMS[prefix], str(place), "the user's", lambda config, root, progress: load_npz(place),
                      flip=True, recipes=None)


def short_name(name: str) -> str:
    """A name fit for a folder and a table: `folder:/data/cifar10-jpeg/` becomes `folder-cifar10-jpeg`."""
    prefix, colon, path = name.partition(":")
    return f"{prefix}-{Path(os.path.abspath(path)).name.removesuffix('.npz')}" if colon else name  # noqa: PTH100  (`..` goes, links stay)
