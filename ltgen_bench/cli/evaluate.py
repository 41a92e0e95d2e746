"""`ltgen-bench evaluate`: score the samples of a run, or of any model, under any rules."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.cli.presets import preset_notes
from ltgen_bench.cli.run import (
    about,
    check_preset,
    names_of,
    place_words,
    prepare,
    recorded_command,
    resumable,
    weights_files,
)
from ltgen_bench.cli.shared import FOLDER, data_options, data_values, debug_option, runs_option
from ltgen_bench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from ltgen_bench.config import RunConfig
    from ltgen_bench.data.dataset import LongTailDataset
    from ltgen_bench.data.images import ImageSet
    from ltgen_bench.evaluation.scores import Scores
    from ltgen_bench.records.schema import RunRecord

SCORES_FILE = "scores.csv"


@click.command()
@click.argument("samples")
@click.option("--dataset", metavar="NAME", help="What an npz is judged against: a data set, folder:PATH or npz:FILE.")
@data_options
@click.option("--protocol", metavar="PRESET", help="The rules of standard, cbdm-paper, oc-paper, cm-paper, ...")
@click.option("--metrics", metavar="NAME,...", help="Only these (ltgen-bench list metrics).")
@click.option("--extractor", metavar="NAME,...", help="classifier, inception, or both.")
@click.option("--extractor-weights", multiple=True, metavar="NAME=FILE", help="Weights from a file, e.g. inception=FILE.")
@click.option("--half", type=click.Choice(["selection", "report"]), help="Against one half of the real images.")
@click.option("--labels", type=click.Choice(["balanced", "uniform"]), help="How the labels of an npz were drawn: counted out, "
              "or each at random.  [default: balanced]")
@click.option("--samples", "digest", metavar="DIGEST", help="Which samples of a run that has several.  [default: the newest]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one value, e.g. evaluate.k=3.")
@click.option("--device", metavar="NAME", help="cpu, cuda or cuda:N.  [default: cuda where there is one]")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.")
@runs_option
@click.option("--out", type=FOLDER, help="Write scores.csv and its protocols here, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of records (of an npz: scores) as JSON, and nothing else.")
@debug_option
def evaluate(samples: str, dataset: str | None, data_root: Path, protocol: str | None, settings: tuple[str, ...],
             extractor_weights: tuple[str, ...], labels: str | None, digest: str | None, device: str | None,
             threads: int | None, runs: Path, out: Path | None, as_json: bool, **options: Any) -> None:
    """Score samples that are there; nothing is trained or drawn.

    SAMPLES is a run (its folder, its name or the beginning of it), whose newest samples are scored into its folder, or an
    npz of any model with `images` (uint8) and `labels`.

    \b
    ltgen-bench evaluate cbdm-1a2b --protocol cbdm-paper      one model under each paper's rules
    ltgen-bench evaluate theirs.npz --dataset cifar10-lt --protocol standard
    """
    data = data_values(options)
    changes = _changes(protocol, settings, options)
    weights = weights_files(extractor_weights)
    if samples.endswith(".npz") or Path(samples).is_file():
        if dataset is None:
            raise UserError(f"{samples}: name the data set that it is judged against, as in --dataset cifar10-lt")
        _refuse("of an npz there is only one set", samples=digest)
        _of_file(Path(samples), {"name": dataset, **data}, changes, weights, data_root, labels, device, threads, out, as_json)
    else:
        _refuse(f"{samples} is a run, which brings its own data and labels", dataset=dataset, labels=labels, **data)
        _of_run(samples, digest, changes, weights, data_root, device, threads, runs, out, as_json)


def _refuse(why: str, **options: Any) -> None:
    """Options that have no meaning here are said to have none, and not passed over."""
    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')}: {why}; leave it out.")


def _changes(protocol: str | None, settings: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Values of `[evaluate]` that the options state."""
    from ltgen_bench.config import parse_setting

    stated = {"protocol": check_preset(protocol), "metrics": names_of(options["metrics"]),
              "extractors": names_of(options["extractor"]), "half": options["half"]}
    changes = {key: value for key, value in stated.items() if value is not None}
    for key, value in map(parse_setting, settings):
        table, dot, name = key.partition(".")
        if table != "evaluate" or not dot:
            raise UserError(f"--set {key}: only evaluate.* can be set here, since nothing is trained or drawn.")
        changes[name] = value
    return changes


def _configured(config: "RunConfig", changes: dict[str, Any]) -> "RunConfig":
    """`config` with `changes` in its rules; a preset asked for puts its own in the place of all others."""
    from ltgen_bench.config import EvaluateConfig
    from ltgen_bench.validation import validate

    own = {} if "protocol" in changes else config.evaluate.model_dump(mode="json", exclude_unset=True)
    values = {key: value for key, value in {**own, **changes}.items() if value is not None}
    return config.model_copy(update={"evaluate": validate(EvaluateConfig, values, where="the command line", prefix="evaluate.")})


def _of_run(name: str, digest: str | None, changes: dict[str, Any], weights: dict[str, Path], data_root: Path,
            device: str | None, threads: int | None, runs: Path, out: Path | None, as_json: bool) -> None:
    from ltgen_bench.drawn import find_drawn
    from ltgen_bench.evaluation.presets import rules_of

    drawn = find_drawn(runs, name, digest)
    config = _configured(drawn.config, changes)
    rules = rules_of(config.evaluate)
    dataset, chosen, progress, console = prepare(config, data_root, device, threads)
    from ltgen_bench.rescore import rescore

    _say(progress.console, f"{drawn.folder.name} on {about(dataset)}", place_words(chosen), drawn.sample_folder)
    with resumable():
        found = rescore(drawn, rules, dataset, device=chosen, extractor_weights=weights, progress=progress,
                        command=recorded_command())
    if out is not None:
        _joined([one.scores for one in found]).save(out / SCORES_FILE)
    if as_json:
        _json([one.record.model_dump(mode="json") for one in found])
        return
    for one in found:
        if one.known:
            click.echo(f"measured on {one.record.finished[:16].replace('T', ' ')}; shown from {drawn.folder}")
        _show(one.record, one.scores, console, drawn.folder)
    _notes(found[-1].record, config, console, drawn.folder.parent.parent)


def _of_file(path: Path, data: dict[str, Any], changes: dict[str, Any], weights: dict[str, Path], data_root: Path,
             labels: str | None, device: str | None, threads: int | None, out: Path | None, as_json: bool) -> None:
    from ltgen_bench.config import RunConfig, SampleConfig
    from ltgen_bench.data.npz import load_samples
    from ltgen_bench.evaluation.presets import rules_of
    from ltgen_bench.recipes import resolve_recipe

    overrides = {f"data.{key}": value for key, value in data.items() if key != "name"}
    recipe = resolve_recipe(recipe=None, method=None, dataset=data["name"], overrides=overrides)
    config = _configured(recipe.model_copy(update={"evaluate": RunConfig().evaluate}), changes)
    rules = rules_of(config.evaluate)
    images = load_samples(path)
    dataset, chosen, progress, console = prepare(config, data_root, device, threads)
    from ltgen_bench.api import score

    _say(progress.console, f"{path.name} ({len(images):,} images) against {about(dataset)}", place_words(chosen))
    sampling = SampleConfig(labels="uniform") if labels == "uniform" else None
    with resumable():
        found = score(images, dataset, rules, sampling=sampling, device=str(chosen), extractor_weights=weights, progress=progress)
    if out is not None:
        _joined(found).save(out / SCORES_FILE)
    if as_json:
        _json([{"samples": path.name, "dataset": dataset.name, "fingerprint": dataset.fingerprint, **_plain(scores)}
               for scores in found])
        return
    records = [_record_of_file(images, dataset, scores, config) for scores in found]
    for record, scores in zip(records, found, strict=True):
        _show(record, scores, console, None)
    _notes(records[-1], config, console, None)
    if out is not None:
        click.echo(f" {'scores':<9} {out / SCORES_FILE}")


def _joined(parts: "list[Scores]") -> "Scores":
    from ltgen_bench.evaluation.scores import Scores

    return Scores.joined(parts)


def _plain(scores: "Scores") -> dict[str, Any]:
    """Scores as JSON values to the last digit; a value that is not available is null."""
    cells = scores.table.astype(object)
    return {"preset": scores.preset, "departures": scores.departures, "protocols": scores.protocols,
            "extractor_weights": scores.extractor_weights, "scores": cells.where(cells.notna(), None).to_dict("records")}


def _json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def _say(console: "Console", what: str, where: str, samples: Path | None = None) -> None:
    lines = [f"ltgen-bench {__version__}  {what}  {where}", *([f"samples     {samples}"] if samples else [])]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _record_of_file(images: "ImageSet", dataset: "LongTailDataset", scores: "Scores", config: "RunConfig") -> "RunRecord":
    """What a table says of samples beside their scores. There was no run, so there is no whole record."""
    from ltgen_bench.records.schema import Entry, RunRecord

    return RunRecord.model_construct(
        dataset=dataset.name, method="", fingerprint=dataset.fingerprint, class_names=list(dataset.class_names),
        class_counts=dataset.class_counts, groups=dataset.groups, protocols=scores.protocols, preset=scores.preset,
        departures=scores.departures, extractor_weights=scores.extractor_weights, config=config.model_dump(mode="json"),
        entry=Entry.model_construct(images_per_class=len(images) // dataset.num_classes))


def _show(record: "RunRecord", scores: "Scores", console: "Console", folder: Path | None) -> None:
    from ltgen_bench.report.terminal import score_table

    click.echo(score_table(record, scores, console.width, console.is_terminal and not console.no_color, folder=folder))


def _notes(record: "RunRecord", config: "RunConfig", console: "Console", runs: Path | None) -> None:
    if record.preset:
        click.echo(preset_notes(record.preset, config, record.dataset, record.class_counts, console.width, runs))
