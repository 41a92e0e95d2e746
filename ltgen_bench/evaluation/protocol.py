"""The measurement behind a number: what must be equal before two numbers may stand in one column.

The protocol says how is measured, never what is judged: method, sampler, steps, omega, budget and seeds belong to the
entry. A field that does not touch a metric is absent from its protocol, so another k gives new ids to the k-NN metrics
and to nothing else.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SEED = 2020  # of every draw inside a metric; torch-fidelity's default


class Protocol(BaseModel):
    """The measurement of one (metric, extractor). None: the field plays no part in this metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    revision: int  # grows when the metric's definition changes
    data: str  # fingerprint of training set, reference and test set
    images_per_class: int | None  # None where the classes differ; `labels` then says how
    labels: str  # "exactly balanced", or the smallest and largest class
    groups: tuple[str, ...] | None = None  # the rules of many, medium and few
    sample_dtype: str = "uint8"
    selection: Literal["recipe", "fixed", "selected-on-half"] = "recipe"  # how omega was chosen
    reference: Literal["train", "test"] | None = None
    reference_per_class: int | None = None  # real images of each class, drawn with `SEED`; None: all of them
    extractor: str | None = None
    weights: str | None = None  # the extractor's weights, or the recipe and data they were made from
    resize: str | None = None
    seed: int | None = None  # of the draws inside the metric
    counts: str | None = None  # how many real and generated images meet
    k: int | None = None
    edge: Literal["<=", "<"] | None = None  # whether the edge belongs to a k-NN ball
    kid_subsets: int | None = None
    kid_subset_size: int | None = None
    kid_degree: int | None = None
    is_splits: int | None = None
    training: str | None = None  # of downstream_*: the recipe of the classifier
    steps: int | None = None  # of downstream_*: optimiser steps, equal for all training sets

    @property
    def id(self) -> str:
        """8 hex digits of SHA-256 over the canonical JSON of `describe()`."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def describe(self) -> dict[str, Any]:
        """The fields that play a part, as plain JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def words(self) -> str:
        """The measurement in one sentence."""
        images = "generated images" if self.images_per_class is None else f"{self.images_per_class} images a class"
        parts = [f"{self.metric} (revision {self.revision}) of {images}, {self.labels}, {self.sample_dtype}"]
        if self.reference:
            where = {"train": "the balanced training set", "test": "the held-out test set"}[self.reference]
            part = f"{self.reference_per_class} images a class of " if self.reference_per_class else ""
            parts.append(f"against {part}{where}")
        if self.extractor:
            parts.append(f"on {self.extractor} features (weights {self.weights}, {self.resize})")
        if self.training:
            parts.append(f"by a classifier trained for {self.steps} steps ({self.training})")
        details = {"k": self.k, "edge": self.edge, "counts": self.counts, "subsets": self.kid_subsets,
                   "subset size": self.kid_subset_size, "kernel degree": self.kid_degree, "splits": self.is_splits}
        parts += [f"{name} {value}" for name, value in details.items() if value is not None]
        parts.append(f"data {self.data}")
        return ", ".join(parts) + "."


def label_policy(counts: list[int]) -> tuple[int | None, str]:
    """(images per class, words) for generated images per class: exactly balanced, or from smallest to largest."""
    smallest, largest = min(counts), max(counts)
    if smallest == largest:
        return smallest, "exactly balanced"
    return None, f"unbalanced, {smallest} to {largest} images a class"
