"""evaluate: scores of samples against a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ltgen_bench.config.schema import EvaluateConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import CACHE_VARIABLE
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.classifiers.classifier_recipe import ClassifierRecipe, downstream_recipe
from ltgen_bench.evaluation.compared_images import (
    ComparedImages,
    computable_metrics,
    extract_features,
    images_to_extract,
    real_images,
)
from ltgen_bench.evaluation.extractors import EXTRACTORS, Extractor
from ltgen_bench.evaluation.features.extractor_batch import with_batch_size
from ltgen_bench.evaluation.features.feature_cache import ensure_features
from ltgen_bench.evaluation.label_check import label_contradiction
from ltgen_bench.evaluation.measure import Configured, FeatureSets, Scope, measure, scopes_of
from ltgen_bench.evaluation.metrics import METRICS, Metric, default_metrics
from ltgen_bench.evaluation.metrics.accuracy import confusion
from ltgen_bench.evaluation.metrics.metric import SEED
from ltgen_bench.evaluation.presets import departures
from ltgen_bench.evaluation.protocol import Protocol, label_fields
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.evaluation.subsets import at_most, canonical, shares
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.precision import exact_float32

Row = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where samples come from: how they were drawn, as far as that is known, and the folder for what is computed from them alone.

    That is the predictions of finished downstream classifiers, which a repeated evaluation reads.
    """

    sampling: SampleConfig | None = None
    work: Path | None = None


UNKNOWN = Origin()


@exact_float32()
def evaluate(samples: ImageSet, dataset: LongTailDataset, config: EvaluateConfig, context: RunContext,
             origin: Origin = UNKNOWN) -> Scores:
    """Compute every score that `config` asks for, of `samples` against the real images of `dataset`.

    Features and classifiers are cached by content, so a repeated call continues and gives the same bits. Labels that were drawn
    at random (`origin.sampling`) have another protocol than balanced ones. With `config.preset` set the scores
    also say where they depart from that preset, of whose settings `config` then is one (`presets.resolved`).

    Several processes share the passes through extractors; the main process measures, and all return the same scores.

    The order of the images changes nothing. Raises `UserError` for an unknown metric or extractor, for samples of
    another shape, with labels out of range or (unless they were drawn at random) without an image of some class, for a
    half of a long-tailed reference, and for unusable weights files.
    """
    for name in config.extractors:
        EXTRACTORS.check(name)
    comparison = _prepared(samples, dataset, config, origin.sampling)
    if context.ranks.size > 1:
        _share_features(dataset, comparison, context)
    return context.ranks.from_main(lambda: _scores(dataset, comparison, context.alone, origin.work))


def _scores(dataset: LongTailDataset, comparison: "_Comparison", context: RunContext, work: Path | None) -> Scores:
    """The scores of one process; `work` keeps the predictions of downstream classifiers."""
    from ltgen_bench.evaluation.copies import find_caveats  # torch, without which this module is imported

    config, real_data, sets, labels = comparison
    metrics = [METRICS[name] for name in wanted_metrics(config)]
    generated = sets.generated
    if config.preset is None and isinstance(config.images, int) and len(generated) < config.images:  # else a departure
        context.progress.say(f"{len(generated):,} generated images count, where evaluate.images asks for {config.images:,}")
    scopes = scopes_of(dataset)
    common = {**labels, "data": real_data.fingerprint, "groups": ("thirds", "count"),
              "sample_dtype": str(generated.images.dtype), "selection": config.selection}
    findings = find_caveats(generated, real_data, context)
    rows: list[Row] = []
    protocols: dict[str, dict[str, Any]] = {}
    weights: dict[str, str] = {}
    confusions: dict[str, list[list[float]]] = {}
    contradictions: dict[bool, str] = {}  # by whether a classifier of the classes says so, which is preferred
    measured = [Configured(metric, metric.settings_of(config).fitted(len(generated), len(sets.real)))
                for metric in metrics if not metric.is_downstream]
    for name in config.extractors if measured else ():
        extractor = EXTRACTORS[name].build(dataset, context, config.classifier_steps)
        weights[name] = extractor.sha256
        found, seen, contradiction = _extractor_rows(extractor, measured, comparison, scopes, context)
        if seen is not None:
            confusions[name] = seen
        contradictions[extractor.class_logits] = contradiction
        of_metric = {metric.name: extractor_protocol(Configured(metric, settings), extractor, config, common)
                     for metric, settings in measured}
        rows += _stamped(findings.with_notes(found, scopes), extractor.name, of_metric, protocols)
    trained = [metric for metric in metrics if metric.is_downstream]
    if config.downstream and trained:
        from ltgen_bench.evaluation.downstream import DownstreamImages, downstream_scores  # imports torch

        recipe = downstream_recipe(dataset.image_shape, dataset.flip, len(dataset.train), config.downstream_steps)
        images = DownstreamImages(canonical(real_data.train), findings.generated, canonical(real_data.test), findings.held_out,
                                  real_data.num_classes)
        found = downstream_scores(images, scopes, recipe, work, context)
        of_metric = {metric.name: downstream_protocol(metric, recipe, common) for metric in trained}
        rows += _stamped([row for row in found if row["metric"] in of_metric], recipe.network, of_metric, protocols)
    return Scores.from_rows(rows, protocols, weights, preset=config.preset or "", confusions=confusions,
                            notes=(*findings.sentences, *filter(None, [contradictions.get(True, contradictions.get(False, ""))])),
                            departures=departures(config, labels, len(generated), weights))


def _share_features(dataset: LongTailDataset, comparison: "_Comparison", context: RunContext) -> None:
    """Put the features that are needed into the cache; each process computes a part of them."""
    config, real_data, sets, _ = comparison
    metrics = [METRICS[name] for name in wanted_metrics(config) if not METRICS[name].is_downstream]
    for name in config.extractors if metrics else ():
        with context.ranks.main_first():  # it may be trained or fetched
            extractor = EXTRACTORS[name].build(dataset, context, config.classifier_steps)
        if len(set(context.ranks.all_gather(extractor.sha256))) > 1:
            raise UserError(f"the extractor '{name}' has other weights on other machines of this run; let {CACHE_VARIABLE} name "
                            "a folder that all of them share.")
        by_role, _ = images_to_extract(sets, real_data, config, computable_metrics(extractor, metrics))
        with context.progress.stage("features", sum(map(len, by_role.values())), "images") as stage:
            for images in by_role.values():
                if len(images):
                    batched = with_batch_size(extractor, config.batch_size, images.images, context)
                    ensure_features(images.images, batched, context, stage)


class _Comparison(NamedTuple):
    """The inputs of an evaluation: its settings, the real data or the half of them that is compared with, the images by role,
    and the protocol's fields about the labels of the generated images."""

    config: EvaluateConfig
    real_data: LongTailDataset
    sets: ComparedImages
    labels: Row


def _prepared(samples: ImageSet, dataset: LongTailDataset, config: EvaluateConfig, sampling: SampleConfig | None) -> _Comparison:
    """The inputs of an evaluation from the arguments of `evaluate`. Raises `UserError` as `evaluate` does."""
    config = _with_batch_of_sampling(with_available_reference(config, dataset), sampling)
    uniform = sampling is not None and sampling.labels == "uniform"
    check_samples(samples, dataset, every_class=not uniform)
    real_data = dataset if config.half is None else dataset.half(config.half)
    generated, labels = select_generated(canonical(samples), dataset, config, uniform)
    compared = ComparedImages(generated, *(canonical(images) for images in real_images(real_data, config)))
    return _Comparison(config, real_data, compared, labels)


def wanted_metrics(config: EvaluateConfig) -> list[str]:
    """The metrics that `config` names; without names all but those that are measured on request alone."""
    return list(default_metrics() if config.metrics is None else dict.fromkeys(config.metrics))


def with_available_reference(config: EvaluateConfig, dataset: LongTailDataset) -> EvaluateConfig:
    """`config` with the held-out images as the reference where the training images are not balanced.

    Samples have balanced labels, so with a long-tailed reference a score would measure the shares of the classes. The reference
    `longtail` asks for just that and stays. Raises `UserError` for a half of it, since it has none.
    """
    if config.reference == "longtail":
        if config.half is not None:
            raise UserError("evaluate.half: the reference is the long-tailed training set, which has no halves; take the "
                            "reference train or test.")
        return config
    return config if dataset.reference_is_balanced else config.model_copy(update={"reference": "test"})


def _with_batch_of_sampling(config: EvaluateConfig, sampling: SampleConfig | None) -> EvaluateConfig:
    """`config` with batch size "auto" for extractors where it states none and the samples were drawn with "auto"."""
    auto = config.batch_size is None and sampling is not None and sampling.batch_size == "auto"
    return config.model_copy(update={"batch_size": "auto"}) if auto else config


def select_generated(generated: ImageSet, dataset: LongTailDataset, config: EvaluateConfig,
                     uniform: bool) -> tuple[ImageSet, Row]:
    """Return (the generated images that are scored, the protocol's fields about their labels); `generated` in canonical order.

    `config.images` of them are drawn without replacement with the metrics' seed: equally many of each class, or with "train"
    as many of each as the training set has, or, where labels were drawn at random (`uniform`), at random. Where there are
    fewer, all are scored.
    """
    rng = np.random.default_rng(SEED)
    if config.images == "train":
        generated, uniform = at_most(generated, dataset.class_counts, rng), False
    elif uniform and config.images is not None:
        generated = generated.take(np.sort(rng.permutation(len(generated))[:config.images]))
    elif config.images is not None:
        generated = at_most(generated, shares(config.images, dataset.num_classes), rng)
    counts = np.bincount(generated.labels, minlength=dataset.num_classes).tolist()
    return generated, label_fields(counts, uniform=uniform, asked=config.images, train_counts=dataset.class_counts)


def check_samples(samples: ImageSet, dataset: LongTailDataset, *, every_class: bool = True) -> None:
    """Raise `UserError` for samples of another shape than `dataset`, with labels out of range, or without images of a class.

    Without `every_class` a class may be empty, as it is by chance where labels were drawn at random.
    """
    if samples.images.shape[1:] != dataset.image_shape:
        given, wanted = (" x ".join(map(str, shape)) for shape in (samples.images.shape[1:], dataset.image_shape))
        raise UserError(f"the samples are images of {given} (channels, height, width), those of {dataset.name} are "
                        f"{wanted}; make samples of that size.")
    if len(samples) and not 0 <= samples.labels.min() <= samples.labels.max() < dataset.num_classes:
        outside = samples.labels[(samples.labels < 0) | (samples.labels >= dataset.num_classes)]
        raise UserError(f"the samples have the label {outside[0]}; {dataset.name} has the labels 0 to "
                        f"{dataset.num_classes - 1}.")
    counts = np.bincount(samples.labels, minlength=dataset.num_classes)
    empty = [dataset.class_names[label] for label in np.flatnonzero(counts == 0)]
    if empty and (every_class or not len(samples)):
        raise UserError(f"the samples have no image of class {', '.join(empty[:5])}{' ...' if empty[5:] else ''}; "
                        f"every class of {dataset.name} needs some.")


def check_extractors(dataset: LongTailDataset, config: EvaluateConfig, context: RunContext) -> None:
    """Fetch the weights of the extractors, or read and check the user's files, before hours are spent on samples.

    Raises `UserError` or `MachineError` as `evaluate` would.
    """
    import torch

    with context.ranks.main_first():
        for kind in map(EXTRACTORS.__getitem__, config.extractors):
            if kind.fetched:
                kind.build(dataset, replace(context, device=torch.device("cpu")), None)


def check_weights(settings: Sequence[EvaluateConfig], weights: Mapping[str, Path]) -> None:
    """Refuse `weights` of an extractor that is unknown, or that none of `settings` uses (`UserError`)."""
    used = tuple(dict.fromkeys(name for config in settings for name in config.extractors))
    for name in (*used, *weights):
        EXTRACTORS.check(name)
    unused = [name for name in weights if name not in used]
    if unused:
        raise UserError(f"--extractor-weights {unused[0]}={weights[unused[0]]}: the extractor '{unused[0]}' is not used; add it "
                        f"to evaluate.extractors (now {', '.join(used)}), or leave the option out.")


def _extractor_rows(extractor: Extractor, metrics: list[Configured], comparison: _Comparison, scopes: list[Scope],
                    context: RunContext) -> tuple[list[Row], list[list[float]] | None, str]:
    """Return (rows of scores with the features of one extractor, confusion matrix, sentence on contradicting labels).

    The matrix is None where the extractor does not classify the classes or label accuracy is not asked for.
    """
    config, dataset = comparison.config, comparison.real_data
    allowed = computable_metrics(extractor, [metric for metric, _ in metrics])
    possible = [one for one in metrics if one.metric in allowed]
    sets, known = images_to_extract(comparison.sets, dataset, config, allowed)
    found = extract_features(extractor, sets, config.batch_size, context)
    sides = FeatureSets(**found) if known is None else FeatureSets(**found, train=found["real"].take(known))
    seen = None
    if any("class logits" in metric.needs for metric in allowed) and sides.generated.logits is not None:
        shares = confusion(sides.generated.logits, sides.generated.labels)
        seen = [[round(share, 6) for share in row] for row in np.nan_to_num(shares, nan=-1.0).tolist()]
    contradiction = label_contradiction(sides.generated, sides.real, sides.held_out, dataset.class_names, extractor.class_logits)
    with context.progress.stage("metrics", len(scopes), "scopes") as stage:
        return measure(possible, sides, scopes, stage), seen, contradiction


def extractor_protocol(configured: Configured, extractor: Extractor, config: EvaluateConfig,
                       common: Mapping[str, Any]) -> Protocol:
    """The measurement of a metric on the features of `extractor`; `common` holds the fields that all measurements share."""
    metric, settings = configured
    on_logits = "features" not in metric.needs
    return Protocol(extractor=extractor.name, resize=extractor.resize,
                    weights=extractor.logits_id if on_logits else extractor.weights_id,
                    **metric.protocol_fields(config, settings), **common)


def downstream_protocol(metric: Metric, recipe: ClassifierRecipe, common: Mapping[str, Any]) -> Protocol:
    """The measurement of a downstream metric with classifiers of `recipe`."""
    return Protocol(metric=metric.name, revision=metric.revision, training=recipe.words, steps=recipe.steps, **common)


def _stamped(rows: list[Row], extractor: str, of_metric: Mapping[str, Protocol],
             protocols: dict[str, dict[str, Any]]) -> list[Row]:
    """`rows` with their extractor and protocol id; the protocols that occur go into `protocols`."""
    for row in rows:
        protocol = of_metric[row["metric"]]
        protocols[protocol.id] = protocol.describe()
    return [{**row, "extractor": extractor, "protocol": of_metric[row["metric"]].id} for row in rows]
