"""PRESETS: the evaluation settings with which papers, and this benchmark, measure.

Each says how it is known: from the authors' code, from a third party's copy of it, or second-hand (summaries, reviews, other
groups' re-implementations). Imports no torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ltgen_bench.config.schema import EvaluateConfig, SampleConfig
from ltgen_bench.core.registry import Registry
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.preset import EIGHT_BITS, PRESET_FIELDS, Omega, Preset
from ltgen_bench.evaluation.protocol import AS_TRAINED, BALANCED, EQUAL_SHARES, REFERENCES, label_fields

N = 50_000  # what nearly everybody draws

FLOAT32 = "the authors score float32 samples that were never rounded to 8 bits; ours are uint8"
CHUNKS = ("IS takes 10 chunks of a seeded permutation; the authors' consecutive chunks of an i.i.d. ordered set are the same in "
          "distribution")
RESIZE = "the authors' Inception enlarges images by torch's bilinear rule, ours by TensorFlow 1's"
BY_CLASS = "FIDs of single classes are not in the table, since below 2,048 images they are mostly bias; KID by class stands there"

PRESETS: Registry[Preset] = Registry("preset", "")


def _inception(*metrics: str, **settings: Any) -> EvaluateConfig:
    return EvaluateConfig(extractors=("inception",), metrics=metrics, **{"images": N, **settings})


for _preset in (
    Preset(
        "standard", "50,000 exactly balanced images against the balanced training set, k = 5",
        "this benchmark's own",
        (_inception("fid", "is", "kid", "precision", "recall", "density", "coverage"),), labels="balanced",
        sampling="sampler, steps and omega are the entry's own",
        remarks=("downstream and label accuracy need a classifier and are measured on request: --metrics, --extractor",)),
    Preset(
        "cbdm-paper", "50,000 images with random labels against the balanced training set, F_8, F_1/8, k = 5 by `<`",
        "Qin et al., CVPR 2023, arXiv 2305.00562; read in the authors' code, github.com/qym7/CBDM-pytorch; that its reference "
        "statistics are of all balanced training images is second-hand",
        (_inception("fid", "is", "prd_f8", "prd_f1_8", "precision", "recall", k=5, edge="<"),), labels="uniform",
        sampler="ddpm", steps=1000, omega=(Omega("cbdm", "cifar100-lt", 1.6), Omega("cfg", "cifar100-lt", 0.8)),
        sample_dtype="float32", sampling="EMA weights, ancestral sampling", remarks=(FLOAT32, CHUNKS, RESIZE)),
    Preset(
        "oc-paper", "50,000 images with random labels by DDIM-100 against the balanced training set",
        "Zhang et al., ICLR 2024, OpenReview NW2s5XXwXU; read in the authors' code, github.com/MediaBrain-SJTU/OC_LT",
        (_inception("fid", "is"),), labels="uniform", sampler="ddim", steps=100, omega=(Omega(None, None, 1.5),),
        sample_dtype="float32", remarks=(FLOAT32, CHUNKS, RESIZE)),
    Preset(
        "cm-paper", "50,000 exactly balanced images by DDIM-50 against the balanced training set, FID and KID",
        "Hong et al., ICLR 2026, OpenReview wSGle6ag5I; read in a third party's copy of the authors' code, and second-hand",
        (_inception("fid", "kid"),), labels="balanced", sampler="ddim", steps=50, omega=(Omega(None, None, 1.5),),
        remarks=("the paper's FIDs of many, medium and few are of 20,000 images each; ours are of the groups' share of all",)),
    Preset(
        "coral-paper", "50,000 images with random labels against the balanced training set, recall on VGG16 with k = 3",
        "Rodriguez et al., NeurIPS 2025, arXiv 2506.15933; read in part in the authors' code, "
        "github.com/SankarLab/coral-lt-diffusion, and second-hand; the edge rule of its recall is not stated",
        (_inception("fid", "is", "prd_f8", "prd_f1_8"),
         EvaluateConfig(extractors=("vgg16",), metrics=("recall",), images=N, k=3)), labels="uniform",
        sampler="ddpm", steps=1000,
        omega=(Omega("coral", "cifar10-lt", 0.6), Omega("coral", "cifar100-lt", 0.8), Omega("cbdm", "cifar10-lt", 1.0),
               Omega("cbdm", "cifar100-lt", 1.6), Omega("cfg", "cifar10-lt", 0.8), Omega("cfg", "cifar100-lt", 0.8),
               Omega("oc", "cifar10-lt", 1.0), Omega("oc", "cifar100-lt", 1.5), Omega("coral", "cifar10-lt-1000", 1.0),
               Omega("cbdm", "cifar10-lt-1000", 1.8), Omega("cfg", "cifar10-lt-1000", 1.0), Omega("oc", "cifar10-lt-1000", 1.7)),
        sampling="ancestral sampling", remarks=(CHUNKS, RESIZE, BY_CLASS)),
    Preset(
        "ccua-paper", "10,000 images by DDIM-100 against the balanced training set and the test set, k = 3",
        "Chen et al., arXiv 2507.09052, U-Net pipeline; read in the authors' code, github.com/C-Fun/"
        "Contrastive-Conditional-Unconditional-Alignment-for-Long-tailed-Diffusion-Model",
        (_inception("fid", "kid", "precision", "recall", images=10_000, k=3),
         _inception("fid", "kid", images=10_000, k=3, reference="test")), sampler="ddim", steps=100,
        omega=(Omega(None, None, 1.5),),
        remarks=("the flag of the authors' script says 50,000 images by default, its published commands 10,000",
                 "the authors count 4 neighbours with the point itself, which is k = 3 without it; whether the edge counts is "
                 "not stated, and `<=` is taken", BY_CLASS)),
    Preset(
        "dlpm-paper", "as many images as the long-tailed training set, against that set, k = 5 by `<`",
        "Shariatian et al., ICLR 2025, arXiv 2407.18609; read in the authors' code, github.com/darioShar/DLPM, and second-hand",
        (_inception("fid", "precision", "recall", "density", "coverage", reference="longtail", images="train", k=5, edge="<"),),
        sampling="without labels: 12,406 images of CIFAR-10-LT in 1000 steps or by DLIM",
        remarks=("the authors' images have no labels; of labelled ones as many of each class count as the training set has",
                 "the authors' F1 is 2 P R / (P + R) of this precision P and recall R")),
):
    PRESETS.add(_preset.name, _preset)


def resolved(config: EvaluateConfig) -> list[EvaluateConfig]:
    """The evaluation settings that `config` stands for: those of its preset, in which what `config` itself states wins.

    Without a preset that is `config` alone. Each result is resolved: resolving it again gives itself. Where `config` names
    metrics, each of the preset's settings keeps those of its own, and those that none of them has. Settings of metrics that
    equal their defaults are left out. Raises `UserError` for an unknown preset, metric or extractor, and for values that a metric
    does not take.
    """
    for extractor in config.extractors:
        EXTRACTORS.check(extractor)
    for metric in (*(config.metrics or ()), *(config.settings or {})):
        METRICS.check(metric)
    config = _normal(config)
    if is_resolved(config):
        return [config]
    preset = PRESETS[str(config.preset)]
    stated = {name: getattr(config, name) for name in config.model_fields_set - {"metrics"}}
    of_preset = {name for one in preset.settings for name in one.metrics or ()}
    found: list[EvaluateConfig] = []
    for one in preset.settings:
        metrics = one.metrics or ()
        if config.metrics is not None:
            metrics = tuple(name for name in config.metrics if name in metrics or name not in of_preset)
        own = {name: getattr(one, name) for name in PRESET_FIELDS}  # stated too, which marks it as resolved
        whole = one.model_copy(update={**own, **stated, "metrics": metrics})
        if metrics and whole not in found:
            found.append(whole)
    return found


def is_resolved(config: EvaluateConfig) -> bool:
    """Return whether `config` states everything that its preset states, or has no preset."""
    return config.preset is None or (config.model_fields_set.issuperset(PRESET_FIELDS) and config.metrics is not None)


def _normal(config: EvaluateConfig) -> EvaluateConfig:
    """`config` without settings of metrics that change nothing, so that equal measurements have equal digests."""
    if config.settings is None:
        return config
    plain, found = config.model_copy(update={"settings": None}), {}
    for name, stated in config.settings.items():
        values, defaults = (METRICS[name].settings_of(one).model_dump(mode="json") for one in (config, plain))
        found[name] = {key: values[key] for key in stated if values[key] != defaults[key]}
    return config.model_copy(update={"settings": {name: values for name, values in found.items() if values} or None})


def departures(config: EvaluateConfig, labels: Mapping[str, Any], images: int, weights: Mapping[str, str]) -> list[str]:
    """Return where a measurement with `config` differs from its preset, a sentence each; empty without a preset.

    `labels` holds the protocol fields of `protocol.label_fields`, `images` counts the generated images, `weights` are the
    SHA-256 of the extractors' weights.
    """
    if config.preset is None:
        return []
    preset, name, found = PRESETS[config.preset], config.preset, []
    wanted = preset.nearest(config)
    if isinstance(wanted.images, int) and images != wanted.images:
        found.append(f"{images:,} images where {name} asks for {wanted.images:,}")
    actual = BALANCED if labels["labels"] == EQUAL_SHARES else labels["labels"]
    if wanted.images == "train" and actual != AS_TRAINED:
        found.append(f"{images:,} images, {actual}, where {name} asks for as many of each class as the training set has")
    elif preset.policy and actual != preset.policy:
        found.append(f"labels {actual} where {name} asks for {preset.policy}")
    if config.reference != wanted.reference:
        found.append(f"{REFERENCES[config.reference]} as the reference where {name} asks for {REFERENCES[wanted.reference]}")
    if config.half is not None:
        found.append(f"the {config.half} half of the real images where {name} takes all of them")
    if config.reference_per_class is not None:
        found.append(f"{config.reference_per_class:,} real images a class where {name} takes all of them")
    strange = [extractor for extractor in config.extractors if extractor not in wanted.extractors]
    if strange:
        found.append(f"{', '.join(strange)} features where {name} asks for {', '.join(wanted.extractors)}")
    for metric in config.metrics or ():
        own, theirs = (METRICS[metric].settings_of(one) for one in (config, wanted))
        found += [f"{title} {getattr(own, field)} where {name} asks for {getattr(theirs, field)}"
                  for field, (title, _) in zip(type(own).model_fields, own.described().values(), strict=True)
                  if getattr(own, field) != getattr(theirs, field)]
    found += [f"{extractor} weights {sha256[:8]}... where {name} asks for the published file, "
              f"{PUBLISHED[extractor].sha256[:8]}..." for extractor, sha256 in weights.items()
              if extractor in PUBLISHED and not sha256.startswith(PUBLISHED[extractor].sha256)]
    return list(dict.fromkeys(found))


def sampling_departures(preset: Preset, sample: SampleConfig, method: str, dataset: str) -> list[str]:
    """Return where images were sampled otherwise than `preset` expects, a sentence each. These are facts of the entry."""
    found = []
    if preset.sampler is not None and (sample.sampler, sample.steps) != (preset.sampler, preset.steps or sample.steps):
        found.append(f"sampler {sample.sampler} {sample.steps} where {preset.name} uses {preset.sampler} {preset.steps}")
    omega = preset.omega_of(method, dataset)
    if omega is not None and sample.omega != omega:
        found.append(f"omega {sample.omega:g} where {preset.name} uses {omega:g} for {method}")
    if preset.sample_dtype != EIGHT_BITS:
        found.append(f"samples {EIGHT_BITS} where {preset.name} scores {preset.sample_dtype}")
    return found


def planned_departures(config: EvaluateConfig, sample: SampleConfig, method: str, dataset: str,
                       class_counts: Sequence[int]) -> list[str]:
    """The sentences of `departures` and `sampling_departures` for images that are yet to be drawn as `sample` says.

    `dataset` is the data set's name in tables, `class_counts` are its training images. Nothing without a preset.
    """
    if config.preset is None:
        return []
    preset, classes = PRESETS[config.preset], len(class_counts)
    asked = preset.nearest(config).images
    counts = [sample.images_per_class] * classes
    if asked == "train" and min(counts) >= max(class_counts):
        counts = list(class_counts)
    elif isinstance(asked, int) and sum(counts) > asked:
        counts = [asked // classes + (label < asked % classes) for label in range(classes)]
    labels = label_fields(counts, uniform=sample.labels == "uniform", asked=asked, train_counts=class_counts)
    return [*departures(config, labels, sum(counts), {}), *sampling_departures(preset, sample, method, dataset)]
