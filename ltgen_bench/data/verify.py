"""Verification of data sets and of the shipped manifests by recomputing their checksums and draws."""

from pathlib import Path

import numpy as np

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.describe import is_shipped
from ltgen_bench.data.load import load_dataset
from ltgen_bench.data.overlap import equal_images, equal_words
from ltgen_bench.data.splits import STANDARD, Split, draw_split, manifest_path

SIZES = {"cifar10": [5000] * 10, "cifar100": [500] * 100}  # images of each class in the balanced training sets


def verify(config: DataConfig, *, data_root: Path = Path("data"), progress: Progress = SILENT, update: bool = False) -> list[str]:
    """Recompute every checksum of a data set and its split; returns messages.

    With `update`, the present content of changed files is accepted. Raises `UserError` for any difference.
    """
    source = find_source(config.name)
    lines = [] if source.verify is None else source.verify(config, data_root, progress, update)
    dataset = load_dataset(config, data_root=data_root, progress=progress)
    overlap = [equal_words(equal_images(dataset), len(dataset.test))] if len(dataset.test) else []
    return [*lines, _split_words(dataset, given=config.split),
            f"fingerprint {dataset.fingerprint} (pixels of training, reference and test images)", *overlap]


def _split_words(dataset: LongTailDataset, given: str | None) -> str:
    split = dataset.split
    assert split is not None, "a loaded data set has a split"
    if split.ranks is None:
        return f"split {split.id}: all training images"
    if not is_shipped(split):
        return f"split {split.id}: {f'as {given} states' if given else 'drawn now by its seed'}"
    _check_draw(split, np.bincount(dataset.reference.labels, minlength=dataset.num_classes).tolist())
    return f"split {split.id}: the shipped manifest, equal to a new draw"


def _check_draw(split: Split, sizes: list[int]) -> None:
    assert split.imbalance_factor is not None
    drawn = draw_split(split.dataset, split.source, sizes, split.imbalance_factor, split.profile, split.seed, split.class_order)
    if drawn.sha256 != split.sha256:
        raise UserError(f"the split {split.id} of {split.dataset} is not what its seed draws ({drawn.id}): the package's files "
                        "or numpy's generator have changed; install ltgen-bench again.")


def verify_manifests() -> list[str]:
    """Read every shipped manifest, check its checksum, and repeat its draw where the class sizes are fixed; returns messages."""
    lines = []
    for dataset, factors in STANDARD.items():
        for factor in factors:
            path = manifest_path(dataset, factor)
            split = Split.load(path)
            if dataset in SIZES:
                _check_draw(split, SIZES[dataset])
            assert split.ranks is not None
            total = sum(map(len, split.ranks))
            drawn = ", equal to a new draw" if dataset in SIZES else ""
            lines.append(f"{path.name.removesuffix('.json.gz')}: {total:,} images, split {split.id}{drawn}")
    return lines
