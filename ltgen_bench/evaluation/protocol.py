"""Protocols: how one metric was measured. Two numbers compare only if their protocols are equal.

The protocol says how a score was measured, never what was evaluated: method, sampler, steps, omega, budget and seeds belong to
the entry. A field that plays no part in a metric is absent from its protocol, so another k gives new ids to the metrics of
nearest neighbours and to no others.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from ltgen_bench.evaluation.metrics import METRICS

BALANCED = "exactly balanced"
EQUAL_SHARES = "equal shares"  # as near to balanced as the number of images allows
UNIFORM = "i.i.d. uniform"
AS_TRAINED = "counts of the training set"
REFERENCES = {"train": "the balanced training set", "test": "the held-out test set", "longtail": "the long-tailed training set"}
SELECTIONS = {"recipe": "omega of the recipe", "fixed": "omega fixed for all methods",
              "selected-on-half": "omega, steps and checkpoint chosen on the other half of the real images"}


class Protocol(BaseModel):
    """The measurement of one (metric, extractor). None: the field plays no part in this metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    revision: int  # grows when the metric's definition changes
    data: str  # fingerprint of training set, reference and test set
    images_per_class: int | None = None  # None where the classes differ; `labels` then says how
    images: int | None = None  # in all, where the labels are drawn or do not go into it evenly
    labels: str  # BALANCED, EQUAL_SHARES, UNIFORM, AS_TRAINED, or the smallest and largest class
    groups: tuple[str, ...] | None = None  # the rules of many, medium and few
    sample_dtype: str = "uint8"
    selection: Literal["recipe", "fixed", "selected-on-half"] = "recipe"  # how omega was chosen
    reference: Literal["train", "test", "longtail"] | None = None
    reference_half: Literal["selection", "report"] | None = None  # of the real images; None: all of them
    reference_per_class: int | None = None  # real images of each class, drawn with `SEED`; None: all of them
    extractor: str | None = None
    weights: str | None = None  # the extractor's, by content; of one that was trained also from what
    resize: str | None = None
    counts: str | None = None  # how many real and generated images are compared
    settings: dict[str, Any] = {}  # the metric's own, by their names in protocols; `describe` has them among the other fields
    training: str | None = None  # of downstream_*: the recipe of the classifier
    steps: int | None = None  # of downstream_*: optimiser steps, equal for all training sets

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, fields: Any) -> Any:
        """Read a description, which has the metric's settings among the other fields."""
        if not isinstance(fields, dict) or "settings" in fields:
            return fields
        name = str(fields.get("metric"))  # perhaps of a package that is not installed here
        own = METRICS[name].settings.described() if name in METRICS else fields.keys() - cls.model_fields
        return {**{key: value for key, value in fields.items() if key not in own},
                "settings": {key: value for key, value in fields.items() if key in own}}

    @property
    def id(self) -> str:
        """8 hex digits of SHA-256 over the canonical JSON of `describe()`."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def describe(self) -> dict[str, Any]:
        """The fields that play a part, as plain JSON values."""
        return {**self.model_dump(mode="json", exclude_none=True, exclude={"settings"}), **self.settings}

    @property
    def words(self) -> str:
        """The measurement in one sentence: every field that plays a part."""
        parts = [f"{self.metric} (revision {self.revision}) of {self._generated}, {self.labels}, {self.sample_dtype}"]
        if self.reference:
            part = f"{self.reference_per_class} images a class of " if self.reference_per_class else ""
            part += f"the {self.reference_half} half of " if self.reference_half else ""
            parts.append(f"against {part}{REFERENCES[self.reference]}")
        if self.extractor:
            parts.append(f"on {self.extractor} features (weights {self.weights}, {self.resize})")
        if self.training:
            parts.append(f"by a classifier trained for {self.steps} steps ({self.training})")
        details = {**self.settings, "counts": self.counts, "groups by": " and ".join(self.groups) if self.groups else None}
        parts += [f"{name} {value}" for name, value in details.items() if value is not None]
        parts += [SELECTIONS[self.selection], f"data {self.data}"]
        return ", ".join(parts) + "."

    @property
    def _generated(self) -> str:
        if self.images_per_class is not None:
            return f"{self.images_per_class} images a class"
        return "generated images" if self.images is None else f"{self.images} images in all"


def label_fields(counts: Sequence[int], *, uniform: bool = False, asked: int | Literal["train"] | None = None,
                 train_counts: Sequence[int] = ()) -> dict[str, Any]:
    """`images_per_class`, `images` and `labels` of a protocol, for `counts` generated images of each class.

    `uniform`: each label was drawn at random, so that the counts are chance and only their sum is stated. `asked` is how
    many images were to count: in equal shares, or with "train" as many of each class as `train_counts` says.
    """
    smallest, largest, total = min(counts), max(counts), sum(counts)
    if uniform:
        return {"images_per_class": None, "images": total, "labels": UNIFORM}
    if asked == "train" and list(counts) == list(train_counts):
        return {"images_per_class": None, "labels": AS_TRAINED}
    if smallest == largest:
        return {"images_per_class": smallest, "labels": BALANCED}
    if asked == total and largest - smallest == 1:
        return {"images_per_class": None, "images": total, "labels": EQUAL_SHARES}
    return {"images_per_class": None, "labels": f"unbalanced, {smallest} to {largest} images a class"}
