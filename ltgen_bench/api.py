"""The library's front: score any images with one call. `run`, `RunConfig` and the readers stand beside it in `ltgen_bench`."""

from collections.abc import Mapping
from pathlib import Path

from ltgen_bench.config import DataConfig, EvaluateConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.load import load_dataset
from ltgen_bench.data.sources import load_samples
from ltgen_bench.evaluation.evaluate import evaluate as measure
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.machine import choose_device
from ltgen_bench.pipeline import NO_WEIGHTS
from ltgen_bench.progress import SILENT, Progress


def evaluate(samples: str | Path | ImageSet, dataset: str | LongTailDataset = "digits-lt", *,
             config: EvaluateConfig | None = None, data_root: str | Path = "data", device: str | None = None,
             extractor_weights: Mapping[str, Path] = NO_WEIGHTS, progress: Progress = SILENT) -> Scores:
    """Score `samples` of any model against the real images of `dataset`.

    `samples` is an `ImageSet`, or an npz with `images` (uint8 [N, H, W, C], [N, H, W] or [N, C, H, W]) and `labels`
    (whole numbers from 0). `dataset` is a catalogue name, folder:PATH, npz:FILE, or a loaded data set. Raises `UserError`
    for images of another shape or dtype, labels out of range, or a class without images.
    """
    images = samples if isinstance(samples, ImageSet) else load_samples(Path(samples))
    if isinstance(dataset, str):
        dataset = load_dataset(DataConfig(name=dataset), data_root=Path(data_root), progress=progress)
    return measure(images, dataset, config or EvaluateConfig(), device=str(choose_device(device)),
                   extractor_weights=extractor_weights, progress=progress)
