"""The door of the data room: a configuration in, a long-tailed data set out."""

from pathlib import Path

import numpy as np

from ltgen_bench.config import DataConfig
from ltgen_bench.data.catalog import find_source, short_name
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.longtail import class_counts, select_indices
from ltgen_bench.data.raw import RawData
from ltgen_bench.errors import UserError
from ltgen_bench.progress import SILENT, Progress


def load_dataset(config: DataConfig, *, data_root: Path = Path("data"), progress: Progress = SILENT) -> LongTailDataset:
    """Read the images that `config` names and cut the long tail that it asks for.

    `data_root` is where torchvision's data sets lie, or are fetched to. Raises `UserError` for an unknown name, files
    that are missing, corrupt or of different sizes, labels out of range, and a class without images.
    """
    source = find_source(config.name)
    raw = source.load(config, data_root, progress)
    _check_classes(raw, config.name)
    factor = source.imbalance_factor if config.imbalance_factor is None else config.imbalance_factor
    train = raw.train
    if isinstance(factor, float | int):
        # the smallest class sets the height, so that the profile is exact where the source is only nearly balanced
        n_max = int(np.bincount(raw.train.labels, minlength=len(raw.class_names)).min())
        counts = class_counts(n_max, len(raw.class_names), factor, config.profile)
        train = raw.train.take(select_indices(raw.train.labels, counts, config.split_seed))
    return LongTailDataset(
        name=short_name(config.name), train=train, reference=raw.train, test=raw.test, class_names=raw.class_names,
        flip=source.flip, imbalance_factor=float(factor) if isinstance(factor, float | int) else None,
        profile=config.profile)


def _check_classes(raw: RawData, name: str) -> None:
    if len(raw.class_names) < 2:
        raise UserError(f"{name} has {len(raw.class_names)} class; at least 2 are needed.")
    for part, images in (("training", raw.train), ("test", raw.test)):
        counts = np.bincount(images.labels, minlength=len(raw.class_names))
        empty = [raw.class_names[c] for c in np.flatnonzero(counts == 0)]
        if empty:
            raise UserError(f"{name}: no {part} images of class {', '.join(empty[:5])}{' ...' if empty[5:] else ''}; "
                            "every class needs some.")
