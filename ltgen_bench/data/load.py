"""Loading of a data set: from its configuration to training, reference and test images."""

from pathlib import Path

import numpy as np

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.core.words import some
from ltgen_bench.data.catalog import DATASETS, DataSource, find_source, short_name
from ltgen_bench.data.dataset import LongTailDataset, balanced
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.parts import NONE, origin_words
from ltgen_bench.data.raw import RawData
from ltgen_bench.data.splits import NATURAL, Split, draw_split, standard_split


def load_dataset(config: DataConfig, *, data_root: Path = Path("data"), progress: Progress = SILENT) -> LongTailDataset:
    """Load the images that `config` names, and select the long-tailed training set.

    `data_root` is the folder of downloaded data sets. Raises `UserError` for an unknown name, files that are missing, corrupt,
    changed or of different sizes, labels out of range, a class without images, and a manifest of other images.
    """
    source = find_source(config.name)
    factor = wanted_factor(config, source)
    manifest = None if config.split is None else Split.load(user_path(config.split, "--split"))
    raw = source.load(config, data_root, progress)
    if raw.test_part.casefold() != "test":
        unread = f"; not read: {', '.join(raw.unread)} (--test-part NAME takes one as test)" if raw.unread else ""
        progress.say(f"{config.name}: test images: {origin_words(raw.test_part)}{unread}")
    class_names = _class_names(raw, config.name)
    split = _split(config, source, raw, factor, manifest)
    train = raw.train if split.ranks is None else raw.train.take(split.indices(raw.train.labels, len(raw.class_names)))
    return LongTailDataset(
        name=dataset_name(config, source, split, own=manifest is not None), train=train, reference=_reference(raw, split),
        test=raw.test, class_names=class_names,
        flip=source.flip if config.flip is None else config.flip, imbalance_factor=split.imbalance_factor,
        profile=split.profile, split=split, test_part=raw.test_part)


def wanted_factor(config: DataConfig, source: DataSource) -> float | None:
    """Return the imbalance factor of a configuration; None keeps the class counts."""
    factor = source.imbalance_factor if config.imbalance_factor is None else config.imbalance_factor
    return float(factor) if isinstance(factor, float | int) else None


def shipped_split(config: DataConfig) -> Split | None:
    """Return the shipped manifest of a configuration, without reading images; None where there is none."""
    source = find_source(config.name)
    factor = wanted_factor(config, source)
    if factor is None or config.split is not None or (config.profile, config.split_seed, config.class_order) != ("exp", 0, None):
        return None
    return standard_split(_content(config, source), factor)


def _split(config: DataConfig, source: DataSource, raw: RawData, factor: float | None, manifest: Split | None) -> Split:
    """Return the given manifest, the shipped one of the name, or a new draw."""
    dataset = _content(config, source)
    checksum = raw.checksum or f"sha256:{raw.train.content_hash()}"
    if manifest is not None:
        if manifest.source != checksum:
            raise UserError(f"the manifest {config.split} was made for other images than those of {config.name}: its source is "
                            f"{manifest.source}, and these are {checksum}.")
        return manifest
    if factor is None:
        return Split(dataset, checksum)
    shipped = shipped_split(config)
    if shipped is not None and shipped.source == checksum:
        return shipped
    sizes = np.bincount(raw.train.labels, minlength=len(raw.class_names)).tolist()
    return draw_split(dataset, checksum, sizes, factor, config.profile, config.split_seed, config.class_order)


def _content(config: DataConfig, source: DataSource) -> str:
    """Return the name of the images without a tail; for a user's own data their form (`folder`, `npz`, `hub`)."""
    return source.content or config.name.partition(":")[0]


def _reference(raw: RawData, split: Split) -> ImageSet:
    """Return the balanced images that the tail is cut from: all, or as many of each class as the smallest class has."""
    num_classes = len(raw.class_names)
    if split.ranks is None or balanced(raw.train.labels, num_classes):
        return raw.train
    sizes = np.bincount(raw.train.labels, minlength=num_classes).tolist()
    even = draw_split(split.dataset, split.source, sizes, 1.0, seed=split.seed)
    return raw.train.take(np.sort(even.indices(raw.train.labels, num_classes)))


def dataset_name(config: DataConfig, source: DataSource, split: Split, *, own: bool = False) -> str:
    """Return the name for folders and tables, which has every setting in which the split differs from the standard one.

    `cifar10-lt`, `cifar10-lt-50`, `cifar10-lt-100-step-order3`, `folder-photos-lt-100`; a manifest of the user's own (`own`) adds
    its checksum.
    """
    plain = short_name(config.name) if ":" in config.name else source.content or config.name
    if split.profile == NATURAL:
        return plain
    tailed = f"{plain.removesuffix('-lt')}-lt"
    standard = DATASETS[tailed].imbalance_factor if tailed in DATASETS else None
    words = [f"split{split.seed}"] if split.seed else []
    words += [] if split.class_order is None else [f"order{split.class_order}"]
    words += [f"manifest{split.id[:8]}"] if own else []
    if split.profile != "exp":
        words.insert(0, split.profile.replace(":", ""))
    if words or split.imbalance_factor != standard:
        words.insert(0, f"{split.imbalance_factor:g}")
    return "-".join([tailed, *words])


def _class_names(raw: RawData, name: str) -> tuple[str, ...]:
    """Return the class names without control characters. Raises `UserError` for equal ones and for classes without images."""
    shown = tuple(map(printable, raw.class_names))
    if len(set(shown)) < len(set(raw.class_names)):
        twice = next(own for own in shown if shown.count(own) > 1)
        raise UserError(f"{name}: two classes differ only in characters that cannot be shown ({twice}); rename one of them.")
    if len(raw.class_names) < 2:
        raise UserError(f"{name} has {len(raw.class_names)} class; at least 2 are needed.")
    for part, images in (("training", raw.train), ("test", raw.test)):
        if part == "test" and raw.test_part == NONE:
            continue
        counts = np.bincount(images.labels, minlength=len(raw.class_names))
        empty = [raw.class_names[c] for c in np.flatnonzero(counts == 0)]
        if empty:
            raise UserError(f"{name}: no {part} images of class {some(empty)}; every class needs some.")
    return shown
