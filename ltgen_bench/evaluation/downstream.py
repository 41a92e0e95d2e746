"""Downstream classifiers: trained on generated and real images, tested on real test images.

Three trainings of equally many optimiser steps: the long-tailed real set, the generated set, and the plain union of
both. The predictions of each are cached as soon as it is trained, so an interrupted evaluation repeats none of them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.progress import Progress
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.cached_evaluation import PREDICTIONS
from ltgen_bench.evaluation.classifiers.classifier_recipe import ClassifierRecipe
from ltgen_bench.evaluation.classifiers.classifier_training import predict, train_classifier
from ltgen_bench.evaluation.measure import NO_CLASSES, NO_HELD_OUT, Scope
from ltgen_bench.evaluation.metrics.enough import OF_A_SHARE, too_few
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.tensors_file import load_checked_tensors, save_checked_tensors

TRAIN_DATA = ("real-lt", "synthetic", "real-lt+synthetic")
ASKED = 0.01  # share of the test images that a classifier may have trained on: its accuracy is not more than this too high
Predictions = Int64[np.ndarray, " N"]


@dataclass(frozen=True)
class DownstreamImages:
    """The images that downstream classifiers are trained on, and the real test images on which they are scored.

    `asked` says which test images are copied among the synthetic ones.
    """

    real: ImageSet
    synthetic: ImageSet
    test: ImageSet
    asked: Bool[np.ndarray, " N"]
    num_classes: int

    @property
    def training_sets(self) -> dict[str, ImageSet]:
        """The three training sets by the names of TRAIN_DATA; the union is plain, with no weights."""
        union = ImageSet(np.concatenate([self.real.images, self.synthetic.images]),
                         np.concatenate([self.real.labels, self.synthetic.labels]))
        return dict(zip(TRAIN_DATA, (self.real, self.synthetic, union), strict=True))


def downstream_predictions(images: DownstreamImages, recipe: ClassifierRecipe, folders: Mapping[str, Path | None],
                           context: RunContext) -> dict[str, Predictions]:
    """Predicted labels of the test images (int64, in their order) by the classifier of each training set in `folders`, which says
    where its predictions are cached; None: nowhere.
    """
    device, test = str(context.device), images.test
    sets = {name: part for name, part in images.training_sets.items() if name in folders}
    paths = {name: PREDICTIONS.path(folder, prediction_key(sets[name], test, recipe, device))
             for name, folder in folders.items() if folder is not None}
    found = {name: kept for name, path in paths.items() if (kept := _read(path, context.progress)) is not None}
    with context.progress.stage("downstream", len(sets) * recipe.steps, "steps", done=len(found) * recipe.steps) as stage:
        for name in (name for name in sets if name not in found):
            stage.advance(0, name)
            train = sets[name]
            net = train_classifier(train.images, train.labels, images.num_classes, recipe, device=device, stage=stage)
            found[name] = predict(net, test.images, device=device)[1].argmax(axis=1)
            if name in paths:
                save_checked_tensors(paths[name], {"predicted": torch.from_numpy(found[name])}, {})
    return {name: found[name] for name in sets}


def downstream_scores(images: DownstreamImages, scopes: Sequence[Scope], recipe: ClassifierRecipe, work: Path | None,
                      context: RunContext) -> list[dict[str, Any]]:
    """The rows of `downstream_rows`. Predictions of the real training set, the same for every method, are cached with the
    features, the others in `work`. Classifiers whose every score would be withheld are not trained, nor are any without test
    images."""
    folders = {"real-lt": context.features} if withheld(images.asked) else {
        "real-lt": context.features, "synthetic": work, "real-lt+synthetic": work}
    predictions: dict[str, Predictions | None] = dict.fromkeys(TRAIN_DATA)
    if len(images.test):
        predictions |= downstream_predictions(images, recipe, folders, context)
    return downstream_rows(predictions, images.test.labels, scopes, len(images.synthetic), images.asked)


def withheld(asked: Bool[np.ndarray, " N"]) -> bool:
    """Return whether too many test images (`asked`) are among those that a classifier trains on."""
    return bool(len(asked) and asked.mean() > ASKED)


def prediction_key(train: ImageSet, test: ImageSet, recipe: ClassifierRecipe, device: str) -> str:
    """16 hex digits over what decides the predictions: both sets by content, the recipe, the kind of device."""
    kind = device.partition(":")[0]
    # on CUDA what was predicted in TF32, before it was ruled out, is not taken for this
    parts = [train.content_hash(), test.content_hash(), recipe.digest, kind if kind == "cpu" else f"{kind} in float32"]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _read(path: Path, progress: Progress) -> Predictions | None:
    """Return the stored predictions; None where there are none, or they are damaged."""
    if not path.is_file():
        return None
    try:
        return load_checked_tensors(path, "training that classifier again")[0]["predicted"].numpy()
    except (MachineError, KeyError) as error:
        progress.say(str(error))
        return None


def downstream_rows(predictions: Mapping[str, Predictions | None], labels: Int64[np.ndarray, " N"], scopes: Sequence[Scope],
                    n_synthetic: int, asked: Bool[np.ndarray, " N"]) -> list[dict[str, Any]]:
    """Rows downstream_accuracy (all, groups) and downstream_recall (classes); protocols come later.

    Predictions of None are those of a classifier that was not trained, since there are no test images to ask it about.
    `n_real` counts the real test images of the scope, `n_generated` the generated images trained on. `asked` says which test
    images are among the generated ones: where they are too many, in all or in a scope, there is no value.
    """
    rows = []
    for name, predicted in predictions.items():
        trained_on = {"train_data": name, "n_generated": None if name == "real-lt" else n_synthetic}
        for scope in scopes:
            metric = "downstream_recall" if scope.kind == "class" else "downstream_accuracy"
            inside = np.isin(labels, scope.classes)
            row = {"metric": metric, **trained_on, **scope.row}
            among = int(asked[inside].sum()) if name != "real-lt" else 0
            of_them = f"({among:,} of {inside.sum():,} test images)"
            if among and (withheld(asked) or withheld(asked[inside])):
                rows.append({**row, "note": f"not available: the classifier would train on test images {of_them}"})
            elif predicted is None and withheld(asked) and name != "real-lt" and inside.any():
                rows.append({**row, "note": "not available: the classifier would train on test images of other classes"})
            elif predicted is None:
                rows.append({**row, "note": NO_HELD_OUT if scope.classes else NO_CLASSES})
            elif inside.any():
                right = float((predicted[inside] == labels[inside]).mean())
                counts = {"real test": int(inside.sum()), **({} if name == "real-lt" else {"generated": n_synthetic})}
                told = {"note": f"the classifier trains on some of the test images {of_them}"} if among else {}
                rows.append({**row, "value": right, "n_real": counts["real test"], "wanted": OF_A_SHARE,
                             "few": too_few(counts, OF_A_SHARE), **told})
            else:
                rows.append({**row, "note": NO_CLASSES})
    return sorted(rows, key=lambda row: row["metric"])  # stable: by metric, then training set, then scope
