"""The extractor `classifier`: a small network trained on the balanced real reference of the data set.

For the digits its weights ship with the package, so its id is the same on every machine. Elsewhere they are trained
once, kept in the cache folder, and named by the recipe and the images that they were made from.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.errors import UserError
from ltgen_bench.evaluation.classifiers import PREDICT_BATCH, new_classifier, predict, train_classifier
from ltgen_bench.evaluation.extractors import Features
from ltgen_bench.evaluation.networks import FEATURES
from ltgen_bench.evaluation.recipes import ClassifierRecipe, extractor_recipe
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.files import file_sha256, write_whole
from ltgen_bench.progress import Progress

SHIPPED = Path(__file__).parent / "weights" / "digits.safetensors"


class DomainClassifier:
    """An `Extractor` around a trained classifier. Logit c belongs to class c of the data set."""

    name = "classifier"
    resize = "none, 0 ... 255 to -1 ... 1"
    precision = "float32 without TF32"  # features of before this was so on CUDA are not taken for these
    feature_dim = FEATURES
    has_logits = True
    class_logits = True
    batch_size = PREDICT_BATCH

    def __init__(self, net: nn.Module, weights_id: str, sha256: str, device: str) -> None:
        self._net = net
        self._device = device
        self.weights_id = self.logits_id = weights_id
        self.sha256 = sha256

    def __call__(self, images: UInt8[np.ndarray, "N C H W"]) -> Features:
        return Features(*predict(self._net, images, device=self._device, batch_size=self.batch_size))


def domain_classifier(dataset: LongTailDataset, *, device: str, folder: Path, weights: Path | None, steps: int | None,
                      progress: Progress) -> DomainClassifier:
    """The classifier of `dataset`'s reference: the shipped one, one kept in `folder`, or one trained now."""
    if weights is not None:
        raise UserError(f"--extractor-weights classifier={weights}: the classifier is trained on the data set itself "
                        "and takes no weights file; leave this option out.")
    reference = canonical(dataset.reference)
    content = reference.content_hash()
    recipe = extractor_recipe(dataset.image_shape, dataset.flip, steps)
    shape = dataset.image_shape[0], dataset.num_classes
    if shipped_for(SHIPPED) == content and steps is None:
        sha256 = file_sha256(SHIPPED)
        return DomainClassifier(_loaded(SHIPPED, *shape, device), f"shipped-{sha256[:16]}", sha256, device)
    path = folder / f"classifier-{recipe.digest}-{content[:16]}.safetensors"
    net = _from_cache(path, content, *shape, device, progress)
    if net is None:
        net = _trained(reference, dataset.num_classes, recipe, device, progress)
        save_classifier(net, path, recipe, content)
    return DomainClassifier(net, f"{recipe.digest}-{content[:16]}", file_sha256(path), device)


def _trained(reference: ImageSet, num_classes: int, recipe: ClassifierRecipe, device: str,
             progress: Progress) -> nn.Module:
    with progress.stage("classifier", recipe.steps, "steps") as stage:
        return train_classifier(reference.images, reference.labels, num_classes, recipe, device=device, stage=stage)


def save_classifier(net: nn.Module, path: Path, recipe: ClassifierRecipe, reference: str, **facts: float) -> None:
    """Write weights with what they were made from: the recipe, and the content hash of the reference."""
    # One entry, since safetensors writes several in any order: equal weights shall be equal files.
    metadata = {"facts": json.dumps({"reference": reference, "recipe": asdict(recipe), **facts}, sort_keys=True)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    write_whole(path, lambda part: save_file(tensors, part, metadata=metadata))


def stored_facts(path: Path) -> dict[str, Any]:
    """What `save_classifier` wrote beside the weights; without the file, nothing."""
    if not path.is_file():
        return {}
    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()["facts"]))


def shipped_for(path: Path) -> str | None:
    """Content hash of the reference that the weights at `path` were trained on; None without the file."""
    return stored_facts(path).get("reference")


def _loaded(path: Path, channels: int, num_classes: int, device: str) -> nn.Module:
    with safe_open(path, framework="pt") as file:
        recipe = ClassifierRecipe(**json.loads(file.metadata()["facts"])["recipe"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
    net = new_classifier(recipe, channels, num_classes)
    net.load_state_dict(state)
    return net.to(torch.device(device)).eval()


def _from_cache(path: Path, content: str, channels: int, num_classes: int, device: str,
                progress: Progress) -> nn.Module | None:
    """The classifier at `path`; None where there is none, or none that can be read."""
    if not path.is_file():
        return None
    try:
        if shipped_for(path) == content:
            return _loaded(path, channels, num_classes, device)
        reason = "it belongs to other images"
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    progress.say(f"the kept classifier {path.name} cannot be used ({reason}); training it again")
    return None
