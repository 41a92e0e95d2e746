"""Features of a few shipped images as they were when they were stored, to hold a machine against.

Processors differ in the last bits of float32, so that features are stored and not a hash of them. The images are the first of
each class of the digits' test set, in canonical order; scikit-learn ships them. The features of Inception belong to the
tensors of 2015-12-05, in whatever file they come.

`tests/support/shipped_files.py` makes the file again, after new weights of the classifier.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors.numpy import load_file, safe_open

from ltgen_bench.data import ImageSet, LongTailDataset
from ltgen_bench.evaluation.subsets import canonical

FILE = Path(__file__).parents[1] / "extractors" / "weights" / "digits_features.safetensors"
DATASET = "digits-lt"
SLOW_IMAGES = 4  # images for networks that take seconds
TOLERANCE = 1e-4  # of the largest feature


@dataclass(frozen=True)
class Reference:
    """What was stored: the content hash of the images, and by extractor the id of its weights and what it saw."""

    content: str
    weights: dict[str, str]
    features: dict[str, Float32[np.ndarray, "N D"]]

    def difference(self, name: str, found: Float32[np.ndarray, "N D"]) -> float:
        """The largest difference to what was stored under `name`, as a share of the largest stored feature."""
        stored = self.features[name]
        return float(np.abs(found[:len(stored)] - stored).max() / np.abs(stored).max())


def read_reference(path: Path = FILE) -> Reference:
    """The shipped reference."""
    with safe_open(path, framework="np") as file:
        facts = json.loads(file.metadata()["facts"])
    return Reference(facts["content"], facts["weights"], load_file(path))


def reference_images(dataset: LongTailDataset) -> ImageSet:
    """The first two test images of every class in canonical order."""
    images = canonical(dataset.test)
    first = [np.flatnonzero(images.labels == label)[:2] for label in range(dataset.num_classes)]
    return images.take(np.concatenate(first))
