"""The stage `evaluate`: metrics on given features, and an extractor's loop."""

from collections.abc import Callable

import numpy as np

from ltgen_bench.core.progress import Progress
from ltgen_bench.experiments.speed.conditions import FULL, WIDTH, Conditions, Sizes
from ltgen_bench.experiments.speed.process import Measured, measured
from ltgen_bench.experiments.speed.rows import SpeedRow, Target

PRDC, FIDELITY = "whole matrices in float64 (prdc's way)", "torch-fidelity"


def evaluate_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """k-NN metrics, FID, metrics of every class and Inception features, beside torch-fidelity's and plain ones."""
    sizes = conditions.sizes
    with progress.stage("speed", 8 + bool(sizes.wide), "measurements") as stage:
        def run(job: str, **inputs: object) -> Measured:
            stage.advance(0, job.replace("_", ", "))
            found = measured(job, inputs, conditions.threads)
            stage.advance(1)
            return found

        return [*_neighbours(run, sizes), _frechet(run, sizes), _classes(run, sizes), _inception(run, sizes, conditions.device)]


Run = Callable[..., Measured]


def _neighbours(run: Run, sizes: Sizes) -> list[SpeedRow]:
    """Time beside both references, and memory; at full size once more, without a reference."""
    input_ = {"images": sizes.images, "features": sizes.features}
    size = _square(sizes.images, sizes.features)
    elsewhere = "" if sizes.features == WIDTH else f"{WIDTH:,} features"
    ours, plain, fidelity = (run(job, **input_) for job in ("neighbours", "neighbours_prdc", "neighbours_fidelity"))
    rows = [_beside("k-NN", size, ours, plain, PRDC, Target("ratio", ">=", 3.0, elsewhere), tolerance=1e-3),
            _beside("k-NN", size, ours, fidelity, f"{FIDELITY} (precision and recall)",
                    Target("ratio", ">=", 1.3, elsewhere), tolerance=1e-3),
            SpeedRow("evaluate", "k-NN memory", size, "MB", ours.memory_mb,
                     None if sizes.wide else Target("value", "<=", 2500.0, _square(FULL.wide, WIDTH)), PRDC, plain.memory_mb)]
    if sizes.wide:
        size = _square(sizes.wide, sizes.features)
        large = run("neighbours", images=sizes.wide, features=sizes.features)
        rows += [SpeedRow("evaluate", "k-NN", size, "s", large.seconds, memory_mb=large.memory_mb),
                 SpeedRow("evaluate", "k-NN memory", size, "MB", large.memory_mb, Target("value", "<=", 2500.0, elsewhere))]
    return rows


def _frechet(run: Run, sizes: Sizes) -> SpeedRow:
    input_ = {"images": sizes.images, "features": sizes.features}
    return _beside("FID", _square(sizes.images, sizes.features), run("frechet", **input_), run("frechet_fidelity", **input_),
                   FIDELITY, Target("ratio", ">=", 1.0), tolerance=1e-6, relative=True)


def _classes(run: Run, sizes: Sizes) -> SpeedRow:
    """The target is 60 s for 100 classes of 500 images, and in proportion for fewer."""
    found = run("classes", classes=sizes.classes, per_class=sizes.per_class, features=sizes.features)
    return SpeedRow("evaluate", "class metrics", f"{sizes.classes} classes x {sizes.per_class} x {sizes.features:,}", "s",
                    found.seconds, Target("value", "<=", 60.0 * sizes.classes / FULL.classes), memory_mb=found.memory_mb)


def _inception(run: Run, sizes: Sizes, device: str) -> SpeedRow:
    input_ = {"images": sizes.inception, "device": device}
    return _beside("Inception", f"{sizes.inception:,} images on {device}", run("inception", **input_),
                   run("inception_fidelity", **input_), FIDELITY, Target("ratio", ">=", 1.4), tolerance=1e-4, relative=True,
                   images=sizes.inception)


def _beside(what: str, size: str, ours: Measured, theirs: Measured, against: str, target: Target, *, tolerance: float,
            relative: bool = False, images: int | None = None) -> SpeedRow:
    """A row with its reference, in seconds or with `images` in images/s; the results of both are compared as far as the
    reference has them."""
    first, second = (np.array(found.values[:min(len(ours.values), len(theirs.values))]) for found in (ours, theirs))
    difference = np.abs(first - second).max() / (np.abs(second).max() if relative else 1)
    value, reference = (found.seconds if images is None else images / found.seconds for found in (ours, theirs))
    return SpeedRow("evaluate", what, size, "s" if images is None else "images/s", value, target, against, reference,
                    float(difference), tolerance, ours.memory_mb, theirs.memory_mb)


def _square(images: int, features: int) -> str:
    return f"{images:,} x {images:,} x {features:,}"
