"""Entry points of the library: score any images with one call. `ltgen_bench` has `run`, `RunConfig` and the readers too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ltgen_bench.config.schema import DataConfig, EvaluateConfig, SampleConfig
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.data.class_labels import LabelsAre
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.load import load_dataset
from ltgen_bench.data.samples import load_samples
from ltgen_bench.evaluation.evaluator import evaluate as measure
from ltgen_bench.evaluation.evaluator import weights_for
from ltgen_bench.evaluation.presets import PRESETS, rules_of
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.pipeline import NO_WEIGHTS
from ltgen_bench.experiments.recipes import usual_measurement
from ltgen_bench.runtime.device import choose_device


def evaluate(samples: str | Path | ImageSet, dataset: str | LongTailDataset = "digits-lt", *,
             labels: str | Path | None = None, labels_are: LabelsAre | None = None, preset: str | None = None,
             config: EvaluateConfig | None = None, sampling: SampleConfig | None = None, data_root: str | Path = "data",
             device: str | None = None, extractor_weights: Mapping[str, Path] = NO_WEIGHTS,
             progress: Progress = SILENT) -> Scores:
    """Score `samples` of any model against the real images of `dataset`.

    `samples` is an `ImageSet`, or the path of an npz with `images` (uint8 [N, H, W, C], [N, H, W] or [N, C, H, W]) and
    `labels` (whole numbers from 0), of an npy of images (`labels` then is a file with one label an image), of a folder of
    class folders, or of a zip of one. `labels_are` ("names" or "positions") says what labels are that may be both.
    `dataset` is a catalogue name, folder:PATH, npz:FILE, or a loaded data set.

    What `config` does not state is as the recipes for these data have it, so that a number is what `run` calls so.
    `preset` names a preset (`cbdm-paper`), whose rules hold where `config` states nothing else; `Scores.departures` says
    where the result is not the preset's, and the rows of several rules stand in one table, apart by their protocol id.
    `sampling=SampleConfig(labels="uniform")` says that the labels were drawn at random.

    Raises `UserError` for an unknown preset, images of another shape or dtype, labels out of range, or a class without
    images.
    """
    config = config or EvaluateConfig()
    config = config if preset is None else config.model_copy(update={"preset": PRESETS.check(preset)})
    rules = rules_of(config)  # refuses unknown names before data are read
    if isinstance(dataset, str):
        dataset = load_dataset(DataConfig(name=dataset), data_root=Path(data_root), progress=progress)
    if config.preset is None:
        stated = {name: getattr(config, name) for name in config.model_fields_set}
        rules = [usual_measurement(dataset).model_copy(update=stated)]
    images = samples if isinstance(samples, ImageSet) else \
        load_samples(Path(samples), dataset, None if labels is None else Path(labels), progress, labels_are=labels_are)
    parts = score(images, dataset, rules, sampling=sampling, device=device, extractor_weights=extractor_weights,
                  progress=progress)
    return parts[0] if len(parts) == 1 else Scores.joined(parts)


def score(images: ImageSet, dataset: LongTailDataset, rules: Sequence[EvaluateConfig], *, sampling: SampleConfig | None = None,
          device: str | None = None, extractor_weights: Mapping[str, Path] = NO_WEIGHTS,
          progress: Progress = SILENT) -> list[Scores]:
    """The scores of `images` under each of `rules` (`presets.rules_of`), which share the weights files."""
    files = weights_for(rules, extractor_weights)
    return [measure(images, dataset, rule, device=str(choose_device(device)), extractor_weights=own, progress=progress,
                    sampling=sampling) for rule, own in zip(rules, files, strict=True)]
