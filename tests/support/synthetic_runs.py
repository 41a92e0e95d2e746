"""Made-up runs on disk, for the tests of records and report: deterministic, small, and of the shape of real ones."""

import zlib
from pathlib import Path

import numpy as np

from ltgen_bench.data.groups import all_groups
from ltgen_bench.data.images import SampleSet
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.curve import Point, curve_table, save_curve
from ltgen_bench.records.run_record import Entry, RunRecord, Stage

COUNTS = [131, 94, 67, 48, 35, 25, 18, 13, 9, 6]
NAMES = [str(digit) for digit in range(10)]
CLASSIFIER_METRICS = ("fid", "is", "kid", "precision", "recall", "density", "coverage", "label_accuracy")
QUALITY = {"ddpm": 0.0, "cfg": 0.5, "cbdm": 1.0}
TEST = "test"  # the variant whose reference is the held-out test set
HALF = "half"  # the variant that a search leaves: the report half of the real images
FEW_METRICS = {"metrics": ("fid", "recall"), "samples": False}  # settings of runs whose scores do not matter
NO_LOGITS = "not available: this weights file has no logits"


def protocol_id(metric, extractor, variant="a"):
    return f"{zlib.crc32(f'{metric}/{extractor}/{variant}'.encode()):08x}"


def describe(metric, extractor, variant, fingerprint="0123456789abcdef", images_per_class=100):
    """A protocol as `Protocol.describe` gives it; variant b has another k and another policy of guidance."""
    fields = {
        "metric": metric,
        "revision": 1,
        "data": fingerprint,
        "images_per_class": images_per_class,
        "labels": "exactly balanced",
        "groups": ["thirds", "count"],
        "sample_dtype": "uint8",
        "selection": "fixed" if variant == "b" else "recipe",
    }
    if variant == HALF:
        fields |= {"reference_half": "report", "selection": "selected-on-half"}
    if metric.startswith("downstream"):
        return fields | {"training": f"{extractor}, batches of 128", "steps": 250}
    fields |= {"extractor": extractor, "weights": "ab" * 8, "resize": "none"}
    if metric not in ("is", "label_accuracy"):
        fields["reference"] = "test" if variant == TEST else "train"
    if metric in ("precision", "recall", "density", "coverage"):
        fields |= {"k": 3 if variant == "b" else 5, "edge": "<=", "seed": 2020, "counts": "equal, drawn by class"}
    return fields


def score_rows(method="cbdm", seed=0, *, variant="a", inception=False, counts=COUNTS, names=NAMES, spread=0.01,
               also_test=False, metrics=()):
    """Rows for `Scores.from_rows`: higher QUALITY gives better scores, noise of relative size `spread` by seed.

    `metrics`: only these, so that a report has few tables.
    `also_test`: FID a tenth higher against the test set too, under an id of its own.
    """
    rng = np.random.default_rng([seed, zlib.crc32(method.encode())])
    better = QUALITY.get(method, 0.2)
    base = {
        "fid": 30 - 10 * better,
        "is": 6 + better,
        "kid": 0.02 - 0.008 * better,
        "precision": 0.7 + 0.1 * better,
        "recall": 0.5 + 0.15 * better,
        "density": 0.8 + 0.1 * better,
        "coverage": 0.6 + 0.15 * better,
        "label_accuracy": 0.85 + 0.1 * better,
    }
    rows = []

    def add(metric, extractor, scope, value, **more):
        noisy = value * (1 + spread * rng.standard_normal()) if value == value else value
        rows.append(
            {
                "metric": metric,
                "extractor": extractor,
                "protocol": protocol_id(metric, extractor, variant),
                "scope": scope,
                "value": noisy,
                **more,
            }
        )

    groups = all_groups(list(counts))
    for extractor in ("classifier", "inception") if inception else ("classifier",):
        for metric in CLASSIFIER_METRICS if extractor == "classifier" else ("fid", "is", "kid"):
            if extractor == "inception" and metric == "is":
                add(metric, extractor, "all", float("nan"), note=NO_LOGITS)
                continue
            value = base[metric] * (2 if extractor == "inception" and metric == "fid" else 1)
            floors = (
                {}
                if metric in ("is", "label_accuracy")
                else {
                    "floor_half": value * 0.1 if metric in ("fid", "kid") else 0.9,
                    "floor_test": value * 0.12 if metric in ("fid", "kid") else 0.88,
                    "half_n": 1000,
                    "test_n": 1000,
                }
            )
            note = "mostly bias: n < 2048" if extractor == "inception" and metric == "fid" else ""
            add(
                metric,
                extractor,
                "all",
                value,
                n_real=1347,
                n_generated=1000,
                note=note,
                **floors,
                uncertainty=value * 0.05 if metric in ("kid", "is") else float("nan"),
            )
            for place, (scope, members) in enumerate(groups.items()):
                factor = 1 + 0.2 * (place % 3) * (1 if metric in ("fid", "kid") else -0.5)
                if members:
                    add(metric, extractor, scope, value * factor, n_real=400, n_generated=300, **floors)
                else:
                    add(metric, extractor, scope, float("nan"), note="no classes in this group")
            if metric in ("kid", "recall", "coverage", "label_accuracy"):
                for label, name in enumerate(names):
                    add(
                        metric,
                        extractor,
                        "class",
                        value * (1 - 0.4 * label / len(names) * (1 - 0.6 * better)),
                        label=label,
                        class_name=name,
                        n_real=100,
                        n_generated=100,
                    )
    for train_data, level in (
        ("real-lt", 0.8),
        ("synthetic", 0.7 + 0.1 * better),
        ("real-lt+synthetic", 0.85 + 0.05 * better),
    ):
        add("downstream_accuracy", "cnn-8x8", "all", level, train_data=train_data, n_real=450)
        for place, group in enumerate(groups):
            add("downstream_accuracy", "cnn-8x8", group, level * (1.05 - 0.1 * (place % 3)), train_data=train_data)
        for label, name in enumerate(names):
            add(
                "downstream_recall",
                "cnn-8x8",
                "class",
                min(1.0, max(0.0, level * (1.1 - 0.03 * label))),
                train_data=train_data,
                label=label,
                class_name=name,
                n_real=45,
            )
    rows = [row for row in rows if row["metric"] in (metrics or {row["metric"]})]
    if also_test:
        rows += [
            {**row, "protocol": protocol_id("fid", row["extractor"], TEST), "value": 1.1 * row["value"]}
            for row in rows
            if row["metric"] == "fid"
        ]
    return rows


def make_record(
    method="cbdm",
    seed=0,
    *,
    dataset="digits-lt",
    omega=1.0,
    budget=44_800,
    steps=20,
    variant="a",
    label=None,
    finished="2026-01-02T03:04:05+00:00",
    inception=False,
    counts=COUNTS,
    names=NAMES,
    fingerprint="0123456789abcdef",
    train_digest=None,
    images_per_class=100,
    imbalance_factor=20.0,
    sampler="dpm-solver++",
    network="digits",
    batch_size=64,
    preset="",
    departures=(),
    also_test=False,
    metrics=(),
):
    train = train_digest or f"{zlib.crc32(f'{method}/{budget}/{label}'.encode()):08x}"
    sample = f"{zlib.crc32(f'{train}/{seed}/{omega}/{steps}/{images_per_class}'.encode()):08x}"
    score = f"{zlib.crc32(f'{sample}/{variant}/{inception}/{preset}'.encode()):08x}"
    rows = score_rows(method, seed, variant=variant, inception=inception, counts=counts, names=names,
                      also_test=also_test, metrics=metrics)
    return RunRecord(
        dataset=dataset,
        method=method,
        settings={},
        label=label or method,
        seed=seed,
        train_digest=train,
        sample_digest=sample,
        score_digest=score,
        fingerprint=fingerprint,
        imbalance_factor=imbalance_factor,
        profile="exp",
        class_names=list(names),
        class_counts=list(counts),
        groups=all_groups(list(counts)),
        entry=Entry(
            sampler=sampler,
            steps=steps,
            omega=omega,
            sample_seed=0,
            images_per_class=images_per_class,
            budget_images=budget,
            batch_size=batch_size,
            network=network,
            parameters=1_234_567,
            precision="float32",
            sample_precision="float32",
        ),
        preset=preset,
        departures=list(departures),
        protocols={
            row["protocol"]: describe(
                row["metric"],
                row["extractor"],
                TEST if row["protocol"] == protocol_id(row["metric"], row["extractor"], TEST) else variant,
                fingerprint,
                images_per_class,
            )
            for row in rows
        },
        extractor_weights={"classifier": "ab" * 32},
        stages=[
            Stage(name="train", seconds=80.0, peak_memory_mb=700.0, device="cpu"),
            Stage(name="sample", seconds=10.5, peak_memory_mb=600.0, device="cpu"),
            Stage(name="evaluate", seconds=20.0, peak_memory_mb=900.0, device="cpu"),
        ],
        versions={"ltgen-bench": "0.1.0", "torch": "2.14.0"},
        hardware={"device": "cpu", "cpu": "Some CPU", "threads": 2},
        deterministic=True,
        started="2026-01-02T03:00:00+00:00",
        finished=finished,
        config={"seed": seed, **({"evaluate": {"half": "report"}} if variant == HALF else {})},
        command=f"ltgen-bench run --method {method} --seed {seed}",
    )


def write_run(runs_dir: Path, method="cbdm", seed=0, *, samples=True, **settings):
    """A whole run folder; returns (folder, record)."""
    record = make_record(method, seed, **settings)
    of_scores = ("variant", "inception", "counts", "names", "also_test", "metrics")
    kept = {name: settings[name] for name in of_scores if name in settings}
    folder = runs_dir / record.dataset / f"{method}-{record.train_digest}-s{seed}"
    scores = folder / "scores" / record.score_digest
    Scores.from_rows(score_rows(method, seed, **kept), record.protocols).save(scores / "scores.csv")
    record.save(scores)
    (folder / "train").mkdir(parents=True, exist_ok=True)
    (folder / "train" / "checkpoint-44800.safetensors").write_bytes(b"")
    if samples:
        make_samples(seed, len(record.class_names)).save(folder / "samples" / record.sample_digest / "samples.npz")
    return folder, record


def make_samples(seed=0, classes=10, per_class=12):
    """Blots of 8 x 8 whose place and brightness tell their class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    images = rng.integers(0, 60, (len(labels), 1, 8, 8))
    for image, label in zip(images, labels, strict=True):
        image[0, label % 8, :] += 120
        image[0, :, (label * 3) % 8] += 75
    return SampleSet(images.astype(np.uint8), labels.astype(np.int64), np.arange(len(labels), dtype=np.int64))


CIFAR = {  # the settings of a run on cifar10-lt, with ids of its own
    "variant": "cifar",
    "dataset": "cifar10-lt",
    "imbalance_factor": 100.0,
    "counts": [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    "names": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    "fingerprint": "c1fa" * 4,
    "budget": 14_400_000,
    "network": "ddpm",
    "inception": True,
    "samples": False,
}


def write_external(runs_dir: Path, name, seed=0, *, kind="samples", variant="a", quality="ddpm", images_per_class=100,
                   **settings):
    """Scores of images that were not made here, as `evaluate` leaves them; `quality` names the method that they score like."""
    record = make_record(quality, seed, variant=variant, images_per_class=images_per_class, **settings)
    unknown = dict.fromkeys(Entry.model_fields) | {"labels": "balanced", "images_per_class": images_per_class}
    digest = f"{zlib.crc32(f'{name}/{seed}/{variant}/{images_per_class}'.encode()):08x}"
    record = record.model_copy(update={
        "kind": kind, "method": name.lower(), "label": name, "entry": Entry(**unknown), "deterministic": None,
        "train_digest": f"{zlib.crc32(name.encode()):08x}", "sample_digest": digest, "score_digest": digest[::-1],
        "stages": [Stage(name="evaluate", seconds=3.0, peak_memory_mb=100.0, device="cpu")],
        "command": f"ltgen-bench evaluate {name} --dataset {record.dataset}"})
    folder = runs_dir / record.dataset / f"{name}-{digest}"
    scores = folder / "scores" / record.score_digest
    Scores.from_rows(score_rows(quality, seed, variant=variant), record.protocols).save(scores / "scores.csv")
    record.save(scores)
    record.save(folder)
    return folder, record


PLACES = (1_000, 2_000, 44_800)


def add_curve(folder, record, places=PLACES, flops=2e6, pace=0.01, factor=None):
    """A curve whose last point is the run, and whose earlier scores are `factor` times as large (by place)."""
    scores = folder / "scores" / record.score_digest
    last = Scores.load(scores / "scores.csv")
    points = []
    for images in places:
        table = last.table.assign(value=last.table["value"] * ((factor or (lambda place: 44_800 / place))(images)))
        points.append(Point(images, images * flops, images * pace, Scores(table)))
    save_curve(curve_table(points), scores / "curve.csv")
