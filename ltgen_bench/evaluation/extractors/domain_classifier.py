"""The extractor `classifier`: a small network trained on the balanced real reference of the data set.

For the digits its weights ship with the package, so its id is the same on every machine. Elsewhere they are trained
once and cached. Another machine, or another kind of device, trains to other weights, which give other features:
the id names the recipe, the images and what came out of them.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import safe_open
from torch import Tensor, nn

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.files import file_lock, file_sha256, set_aside
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.cached_evaluation import CLASSIFIER
from ltgen_bench.evaluation.classifiers.classifier_networks import FEATURES
from ltgen_bench.evaluation.classifiers.classifier_recipe import (
    LARGE_IMAGE,
    REDUCED,
    ClassifierRecipe,
    extractor_recipe,
    fitted_to,
)
from ltgen_bench.evaluation.classifiers.classifier_training import PREDICT_BATCH, new_classifier, predict, train_classifier
from ltgen_bench.evaluation.extractors import Features
from ltgen_bench.evaluation.extractors.weights_reader import tensors_sha256
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.tensors_file import load_checked_tensors, misfits, save_checked_tensors, shapes_of

SHIPPED = Path(__file__).parent / "weights" / "digits.safetensors"
SHIPPED_SHA256 = "0408d88bbd0d62c4975ebf4b7265a2be10e120b943729b933c264740fb33e6f1"
SHIPPED_FOR = "b3befaede793d9253c24ddec1122df1b20f8f4982c0d7e6078c2d77a51878231"  # content hash of its reference
AGAIN = "training it again"


class DomainClassifier:
    """An `Extractor` around a trained classifier. Logit c belongs to class c of the data set."""

    name = "classifier"
    precision = "float32 without TF32"  # features of before this was so on CUDA are not taken for these
    feature_dim = FEATURES
    has_logits = True
    class_logits = True
    batch_size = PREDICT_BATCH

    def __init__(self, net: nn.Module, weights_id: str, sha256: str, device: str, *, is_reduced: bool = False) -> None:
        self._net = net
        self.resize = f"{f'area to {LARGE_IMAGE} pixels' if is_reduced else 'none'}, 0 ... 255 to -1 ... 1"
        self._device = device
        self.weights_id = self.logits_id = weights_id
        self.sha256 = sha256

    def __call__(self, images: UInt8[np.ndarray, "N C H W"]) -> Features:
        return Features(*predict(self._net, images, device=self._device, batch_size=self.batch_size))


def domain_classifier(dataset: LongTailDataset, context: RunContext, steps: int | None) -> DomainClassifier:
    """The classifier of `dataset`'s reference: the shipped one, a cached one, or one trained now."""
    weights, device = context.extractor_weights.get("classifier"), str(context.device)
    if weights is not None:
        raise UserError(f"--extractor-weights classifier={weights}: the classifier is trained on the data set itself "
                        "and takes no weights file; leave this option out.")
    reference = canonical(dataset.reference)
    content = reference.content_hash()
    recipe = extractor_recipe(dataset.image_shape, dataset.flip, steps)
    if content == SHIPPED_FOR and steps is None:
        return _shipped(dataset, device)
    recipe = recipe if steps is not None else fitted_to(recipe, len(reference))
    path = CLASSIFIER.path(context.features, recipe.digest, content)
    state = _trained_once(path, reference, recipe, dataset.num_classes, context)
    sha256 = tensors_sha256(state)
    net = _with_weights(state, recipe, dataset, device)
    weights_id = f"{recipe.digest}-{content[:16]}-{sha256[:16]}"
    return DomainClassifier(net, weights_id, sha256, device, is_reduced=recipe.revision == REDUCED)


def _shipped(dataset: LongTailDataset, device: str) -> DomainClassifier:
    sha256 = file_sha256(SHIPPED) if SHIPPED.is_file() else ""
    if sha256 != SHIPPED_SHA256:
        raise DamagedError(f"{SHIPPED}, the digits' classifier, is not what ltgen-bench ships; install ltgen-bench again.")
    with safe_open(SHIPPED, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
    recipe = ClassifierRecipe(**stored_facts(SHIPPED)["recipe"])
    return DomainClassifier(_with_weights(state, recipe, dataset, device), f"shipped-{sha256[:16]}", sha256, device)


def stored_facts(path: Path) -> dict[str, Any]:
    """What weights were made from, and more of what was known: `recipe`, `reference` (a content hash)."""
    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()["facts"]))


def _trained_once(path: Path, reference: ImageSet, recipe: ClassifierRecipe, num_classes: int,
                  context: RunContext) -> dict[str, Tensor]:
    """The weights in the file `path`, on the CPU. Of several commands that need them at once the first one trains them."""
    facts = {"reference": reference.content_hash(), "recipe": asdict(recipe)}
    shapes = shapes_of(new_classifier(recipe, reference.images.shape[1], num_classes))
    if path.is_file():
        try:
            return _read(path, facts, shapes)
        except DamagedError:
            pass  # read again below, under the lock
    progress = context.progress
    with file_lock(path, progress.say):
        if path.is_file():
            try:
                return _read(path, facts, shapes)
            except DamagedError as error:
                progress.say(f"{error} It is set aside as {set_aside(path).name}.")
        with progress.stage("classifier", recipe.steps, "steps") as stage:
            net = train_classifier(reference.images, reference.labels, num_classes, recipe, device=str(context.device),
                                   stage=stage)
        save_checked_tensors(path, net.state_dict(), {"facts": json.dumps(facts, sort_keys=True)})
        return _read(path, facts, shapes)


def _read(path: Path, facts: dict[str, Any], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Weights of these `shapes` that were made from these `facts`. Raises `DamagedError` where the file holds none."""
    state, said = load_checked_tensors(path, AGAIN)
    try:
        known = dict(json.loads(said["facts"]))
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedError(f"{path} is damaged (it does not say what it was made from: {error}); {AGAIN}.") from error
    if {key: known.get(key) for key in facts} != facts:
        raise DamagedError(f"{path} belongs to other images; {AGAIN}.")
    if misfits(state, shapes):
        raise DamagedError(f"{path} holds the weights of another network; {AGAIN}.")
    return state


def _with_weights(state: dict[str, Tensor], recipe: ClassifierRecipe, dataset: LongTailDataset, device: str) -> nn.Module:
    net = new_classifier(recipe, dataset.image_shape[0], dataset.num_classes)
    net.load_state_dict(state)
    return net.to(torch.device(device)).eval()
