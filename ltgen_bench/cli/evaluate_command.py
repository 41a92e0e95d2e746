"""`ltgen-bench evaluate`: score the samples of a run, or of any model."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ltgen_bench import __version__
from ltgen_bench.cli.common import about, device_words, print_json, resumable, terminal_context
from ltgen_bench.cli.options import (
    FILE,
    FOLDER,
    batch_option,
    check_preset,
    data_options,
    data_values,
    device_option,
    names_of,
    preset_option,
    runs_option,
    table_values,
    threads_option,
    weights_files,
    weights_option,
    whole_number,
)
from ltgen_bench.cli.run_notes import day, show, show_notes
from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.core.registry import check_name, for_folder
from ltgen_bench.core.user_paths import user_path

if TYPE_CHECKING:
    from ltgen_bench.config.schema import EvaluateConfig, RunConfig
    from ltgen_bench.data.dataset import LongTailDataset
    from ltgen_bench.experiments.rescore import Rescored
    from ltgen_bench.runtime.context import RunContext

SUFFIXES = (".npz", ".npy", ".zip")


@click.command()
@click.argument("samples")
@click.option("--dataset", metavar="NAME", help="Real images to compare with: a data set, folder:PATH or npz:FILE.")
@data_options
@preset_option
@click.option("--metrics", metavar="NAME,...", help="Metrics (ltgen-bench list metrics).  [default: all usual ones]")
@click.option("--extractor", metavar="NAME,...", help="classifier, inception, vgg16, dinov2, clip or clip-b32.")
@weights_option
@click.option("--k", metavar="N,...", help="Nearest neighbours of precision, recall, density and coverage, e.g. 3,5,10.  "
              "[default: 5, or the preset's]")
@click.option("--half", type=click.Choice(["selection", "report"]), help="Compare with one half of the real images only.")
@click.option("--name", metavar="TEXT", help="Name of another model's images in tables.  [default: the file's name]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Training seed of the images, or seed of "
              "a reference row.  [default: 0]")
@click.option("--labels", type=FILE, metavar="FILE", help="Labels of an .npy of images: .npy, .csv or .txt, one per image.")
@click.option("--labels-are", type=click.Choice(["names", "positions"]), help="Meaning of labels that are numbers: names of "
              "classes, or positions in their order from 0.  [default: what fits; both: refused]")
@click.option("--label-policy", type=click.Choice(["balanced", "uniform"]), help="How another model's labels were drawn: equally "
              "many, or each at random.  [default: balanced]")
@click.option("--images-per-class", type=click.IntRange(min=1), metavar="N", help="Images of each class of a reference row.  "
              "[default: the recipe's]")
@batch_option("Batch size of feature extraction; auto: the fastest on this machine, found in some seconds. No part of the "
              "protocol.")
@click.option("--samples", "digest", metavar="DIGEST", help="Sample digest, for a run that has several.  [default: the newest]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one value, e.g. evaluate.k=3.")
@device_option
@threads_option
@runs_option
@click.option("--out", type=FOLDER, help="Also write scores.csv and its protocols into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print only the records, as JSON.")
def evaluate(samples: str, dataset: str | None, data_root: Path, preset: str | None, settings: tuple[str, ...],
             extractor_weights: tuple[str, ...], digest: str | None, device: str | None, threads: int | None, runs: Path,
             out: Path | None, as_json: bool, **options: Any) -> None:
    """Score the samples of a run, or images of any model.

    SAMPLES is one of the following. A run (its folder, its name or the beginning of its name): its newest samples are
    scored, into its folder. Images of any model: an .npz of `images` (uint8) and `labels`, an .npy with --labels FILE, a
    folder of class folders, or a .zip of one. A reference row: real-train, real-test, copy-train, jitter-train,
    class-gaussian or one-per-class. Images and reference rows need --dataset; `ltgen-bench report` finds them under --runs.

    \b
    ltgen-bench evaluate cbdm-1a2b --preset cbdm-paper        one model under each paper's rules
    ltgen-bench evaluate theirs.npz --dataset cifar10-lt --name StyleGAN2 --seed 1
    ltgen-bench evaluate one-per-class --dataset cifar10-lt
    """
    from ltgen_bench.evaluation.trivial_samples import TRIVIAL
    from ltgen_bench.records.run_folder import RunFolder

    if not samples.strip():
        raise UserError("SAMPLES is empty; name a run, images or a reference row.   (ltgen-bench evaluate --help)")
    if options["name"] is not None:
        check_name("--name", options["name"], folders=False)
    neighbours = _whole_numbers("--k", options.pop("k"))
    data = data_values(options)
    given = {key: options.pop(key) for key in ("name", "seed", "labels", "labels_are", "label_policy", "images_per_class")}
    stated = {"preset": check_preset(preset), "metrics": names_of(options["metrics"]),
              "extractors": names_of(options["extractor"]), "half": options["half"], "batch_size": options["batch"]}
    changes = table_values("evaluate", stated, settings, "nothing is trained or sampled")
    if neighbours and "k" in changes:
        raise UserError(f"--k and --set evaluate.k={changes['k']} say the same thing; leave one out.")
    weights = weights_files(extractor_weights)
    shown = Shown(out, as_json, neighbours, data_root, runs, partial(terminal_context, device, threads, weights))
    place = user_path(samples, "SAMPLES")
    if (place / "config.json").is_file() or (place / "unet" / "config.json").is_file():
        raise UserError(f"{place} is a network, not images; draw some first: ltgen-bench sample {place} --out samples.npz")
    is_run = RunFolder(place).exists
    if samples in TRIVIAL or (not is_run and (place.exists() or place.suffix.lower() in SUFFIXES)):
        if dataset is None:
            raise UserError(f"{samples}: name the data set to compare with, as in --dataset cifar10-lt")
        _refuse(f"{samples} is one set of images", samples=digest)
        if samples in TRIVIAL:
            _refuse(f"{samples} is a reference row, whose images are made here", name=given["name"], labels=given["labels"],
                    labels_are=given["labels_are"], label_policy=given["label_policy"])
        else:
            _refuse(f"all images of {samples} are used; --set evaluate.images=N takes fewer",
                    images_per_class=given["images_per_class"])
        _of_images(samples, given, {"name": dataset, **data}, changes, shown)
    else:
        if dataset is not None and not is_run:
            _refuse_unknown(samples, runs)
        _refuse(f"{samples} is a run, whose data and labels are recorded", dataset=dataset, **given, **data)
        _of_run(samples, digest, changes, shown)


class Shown(NamedTuple):
    """Options of either kind of samples: where results go (a folder for scores.csv; JSON instead of tables), the values of k,
    where data sets and runs are, and what makes the context."""

    out: Path | None
    as_json: bool
    neighbours: list[int]
    data_root: Path
    runs: Path
    context: "Callable[[], RunContext]"


def _refuse_unknown(samples: str, runs: Path) -> None:
    """Raise `UserError` where SAMPLES is given with --dataset and is no file, folder, reference or run."""
    from ltgen_bench.data.samples import FORMS
    from ltgen_bench.evaluation.trivial_samples import TRIVIAL
    from ltgen_bench.records.store import find_runs

    if not any(run.folder.name.startswith(samples) or run.name.startswith(samples) for run in find_runs(runs)):
        raise UserError(f"{samples} is no file or folder, run or reference row.{did_you_mean(samples, TRIVIAL)} Allowed are "
                        f"{FORMS}; {', '.join(TRIVIAL)}; or a run.   (ltgen-bench runs list)")


def _refuse(why: str, **options: Any) -> None:
    """Raise `UserError` for the first option that was given and has no meaning here, because of `why`."""
    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')}: {why}; leave it out.")


def _whole_numbers(option: str, text: str | None) -> list[int]:
    """Return `3,5,10` as a list. Raises `UserError` for anything but distinct integers above 0."""
    numbers = [whole_number(name) for name in names_of(text) or []]
    if text is not None and (not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers)):
        raise UserError(f"{option} {text}: write different whole numbers above 0, for example {option} 3,5,10")
    return numbers


def _configured(config: "RunConfig", changes: dict[str, Any], shown: Shown) -> "tuple[RunConfig, list[EvaluateConfig]]":
    """Return (`config` with `changes` in [evaluate], its evaluation settings for each k); a preset replaces all of [evaluate]."""
    from ltgen_bench.config.schema import EvaluateConfig
    from ltgen_bench.core.validation import validate
    from ltgen_bench.evaluation.preset import for_each_k
    from ltgen_bench.evaluation.presets import resolved

    own = {} if "preset" in changes else config.evaluate.model_dump(mode="json", exclude_unset=True)
    values = {key: value for key, value in {**own, **changes}.items() if value is not None}
    evaluate = validate(EvaluateConfig, values, where="the command line", prefix="evaluate.")
    return config.model_copy(update={"evaluate": evaluate}), for_each_k(resolved(evaluate), shown.neighbours)


def _of_run(name: str, digest: str | None, changes: dict[str, Any], shown: Shown) -> None:
    from ltgen_bench.records.store import find_samples

    stored = find_samples(shown.runs, name, digest)
    config, settings = _configured(stored.config, changes, shown)
    context, dataset = _prepared(config, settings, shown)
    from ltgen_bench.experiments.rescore import rescore

    context.progress.say(f"ltgen-bench {__version__}  {stored.folder.name} on {about(dataset)}  {device_words(context.device)}")
    context.progress.say(f"samples     {stored.files.folder}")
    with resumable():
        found = rescore(stored, settings, dataset, context)
    _present(found, config, shown, stored.folder.runs)


def _prepared(config: "RunConfig", settings: "Sequence[EvaluateConfig]", shown: Shown) -> "tuple[RunContext, LongTailDataset]":
    """Return the context and the data set; weights files that none of `settings` uses are a `UserError` before data are read."""
    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.evaluation.evaluator import check_weights

    context = shown.context()
    check_weights(settings, context.extractor_weights)
    return context, load_dataset(config.data, data_root=shown.data_root, progress=context.progress)


def _of_images(samples: str, given: dict[str, Any], data: dict[str, Any], changes: dict[str, Any], shown: Shown) -> None:
    from ltgen_bench.data.samples import load_samples
    from ltgen_bench.evaluation.trivial_samples import TRIVIAL
    from ltgen_bench.experiments.recipes import resolve_recipe

    overrides = {f"data.{key}": value for key, value in data.items() if key != "name"}
    recipe = resolve_recipe(recipe=None, method=None, dataset=data["name"], overrides=overrides)
    config, settings = _configured(recipe, changes, shown)  # measured as runs on these data are
    path, seed = user_path(samples, "SAMPLES"), given["seed"] or 0
    if samples not in TRIVIAL and not path.exists():  # before data are read
        raise UserError(f"{samples}: there is no such file or folder.")
    context, dataset = _prepared(config, settings, shown)
    from ltgen_bench.experiments.rescore import ExternalSamples, score_external

    if samples in TRIVIAL:
        each = given["images_per_class"] or config.sample.images_per_class
        external = ExternalSamples(samples, TRIVIAL[samples].draw(dataset, each, seed), config.data, "reference", seed)
        if len(external.images) < each * dataset.num_classes:
            context.progress.say(f"{samples} has {len(external.images):,} images, fewer than {each:,} of each class; it compares "
                                 "with sets of as many images")
    else:
        images = load_samples(path, dataset, given["labels"], context.progress, labels_are=given["labels_are"])
        name = given["name"] or for_folder(path.resolve().name.removesuffix(path.suffix if path.is_file() else ""))
        external = ExternalSamples(name, images, config.data, seed=seed, labels=given["label_policy"] or "balanced")
    context.progress.say(f"ltgen-bench {__version__}  {path.name} ({len(external.images):,} images) against {about(dataset)}  "
                         f"{device_words(context.device)}")
    with resumable():
        found = score_external(external, settings, dataset, shown.runs, context)
    _present(found, config, shown, None)


def _present(found: "list[Rescored]", config: "RunConfig", shown: Shown, runs: Path | None) -> None:
    """Print tables or JSON of the scores; `runs` is the folder of the run that drew the images, if any."""
    if shown.out is not None:
        from ltgen_bench.evaluation.scores import Scores
        from ltgen_bench.records.score_files import ScoreFiles

        Scores.joined([one.scores for one in found]).save(ScoreFiles(shown.out).table)
    if shown.as_json:
        print_json([one.record.model_dump(mode="json") for one in found])
        return
    for one in found:
        show(one.record, one.scores, one.folder, f"measured on {day(one.record)}; shown from {one.folder}" if one.known else "")
    show_notes(found[-1].record, config, runs)
