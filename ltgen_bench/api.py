"""The Python API: `run` a configuration, `evaluate` any images. `ltgen_bench` offers both, `RunConfig` and the readers."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ltgen_bench.config.schema import DataConfig, EvaluateConfig, RunConfig, SampleConfig
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.data.class_labels import LabelsAre
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.load import load_dataset
from ltgen_bench.data.samples import load_samples
from ltgen_bench.evaluation.evaluator import Origin, check_weights
from ltgen_bench.evaluation.evaluator import evaluate as measure
from ltgen_bench.evaluation.presets import PRESETS, resolved
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.pipeline import Run, carry_out
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.experiments.recipes import resolved_run, usual_measurement
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.device import choose_device

NO_WEIGHTS: Mapping[str, Path] = MappingProxyType({})


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
    `preset` names a preset (`cbdm-paper`), whose settings hold where `config` states nothing else; `Scores.departures` says
    where the result departs from it. The rows of a preset with several settings stand in one table; their protocol ids differ.
    `sampling=SampleConfig(labels="uniform")` says that the labels were drawn at random.

    Raises `UserError` for an unknown preset, images of another shape or dtype, labels out of range, or a class without
    images.
    """
    config = config or EvaluateConfig()
    config = config if preset is None else config.model_copy(update={"preset": PRESETS.check(preset)})
    settings = resolved(config)  # refuses unknown names before data are read
    if isinstance(dataset, str):
        dataset = load_dataset(DataConfig(name=dataset), data_root=Path(data_root), progress=progress)
    if config.preset is None:
        stated = {name: getattr(config, name) for name in config.model_fields_set}
        settings = resolved(usual_measurement(dataset).model_copy(update=stated))
    images = samples if isinstance(samples, ImageSet) else \
        load_samples(Path(samples), dataset, None if labels is None else Path(labels), progress, labels_are=labels_are)
    context = RunContext(choose_device(device), progress, extractor_weights=extractor_weights)
    check_weights(settings, extractor_weights)
    parts = [measure(images, dataset, one, context, Origin(sampling)) for one in settings]
    return parts[0] if len(parts) == 1 else Scores.joined(parts)


def run(config: RunConfig, *, runs: Path = Path("runs"), data_root: Path = Path("data"), device: str | None = None,
        extractor_weights: Mapping[str, Path] = NO_WEIGHTS, progress: Progress = SILENT, command: str = "") -> Run:
    """Take `config` through every stage, or continue where an earlier call stopped; a finished run is only read.

    With `evaluate.preset` the scores are those of that preset. Raises `UserError` before any work for a configuration that
    cannot run and for a preset with several settings (which `ltgen-bench evaluate` takes), `Interrupted` on Ctrl-C and SIGTERM,
    and `MachineError` where the machine fails. What was finished before stays whole.
    """
    config = resolved_run(config, f"a run is measured with one; run without it, then ltgen-bench evaluate RUN --preset "
                          f"{config.evaluate.preset}")
    check_weights([config.evaluate], extractor_weights)
    context = RunContext(choose_device(device), progress, extractor_weights=extractor_weights, command=command)
    dataset = load_dataset(config.data, data_root=data_root, progress=progress)
    return carry_out(make_plan(config, dataset, runs, context), context)
