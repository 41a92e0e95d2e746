"""Presets: named lists of evaluation settings, with the sampling that they expect.

A score that was measured with other settings departs from the preset, and its record says so. Sampling belongs to the
entry: where it differs from what the preset expects is reported apart. Imports no torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ltgen_bench.config.schema import EvaluateConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.metrics import METRICS, default_metrics
from ltgen_bench.evaluation.protocol import AS_TRAINED, BALANCED, REFERENCES, UNIFORM

PRESET_FIELDS = ("extractors", "metrics", "reference", "images", "k", "edge")  # the fields that a preset states
EIGHT_BITS = "uint8"  # what this package draws and scores


@dataclass(frozen=True)
class Omega:
    """The guidance strength that a paper uses for one of our methods (`cfg` is what papers call DDPM)."""

    method: str | None  # None: all of them
    dataset: str | None  # None: all of them
    value: float


@dataclass(frozen=True)
class Preset:
    """A named list of evaluation settings. What the source does not state is None, and nothing departs from it."""

    name: str
    summary: str  # one line
    source: str  # and how it was read
    settings: tuple[EvaluateConfig, ...]
    labels: Literal["balanced", "uniform"] | None = None
    sampler: str | None = None
    steps: int | None = None
    omega: tuple[Omega, ...] = ()
    sample_dtype: str = EIGHT_BITS
    sampling: str = ""  # in words, beyond the values above
    remarks: tuple[str, ...] = ()  # where our measurement differs whatever the samples

    @property
    def policy(self) -> str:
        """The labels of the generated images as a protocol words them; empty where they are not stated."""
        if all(one.images == "train" for one in self.settings):
            return AS_TRAINED
        return {"balanced": BALANCED, "uniform": UNIFORM, None: ""}[self.labels]

    def nearest(self, config: EvaluateConfig) -> EvaluateConfig:
        """Those of its settings that `config` differs from least: the ones that it was resolved from."""
        def differences(one: EvaluateConfig) -> int:
            others = not set(one.metrics or ()) & set(config.metrics or ())
            return others + sum(getattr(one, name) != getattr(config, name) for name in PRESET_FIELDS if name != "metrics")

        return min(self.settings, key=differences)

    def omega_of(self, method: str, dataset: str) -> float | None:
        """The omega that the source states for `method` on `dataset`; None where it states none."""
        fits = [omega.value for omega in self.omega
                if omega.method in (None, method) and omega.dataset in (None, dataset)]
        return fits[0] if fits else None

    def expected(self, sample: SampleConfig, method: str, dataset: str, class_counts: list[int]) -> SampleConfig:
        """`sample` with the values that the preset expects, and enough images of each class for all its settings."""
        wanted = [max(class_counts) if one.images == "train" else -(-one.images // len(class_counts))
                  for one in self.settings if one.images is not None]
        values = {"labels": self.labels, "sampler": self.sampler, "steps": self.steps,
                  "omega": self.omega_of(method, dataset), "images_per_class": max(wanted, default=None)}
        return sample.model_copy(update={name: value for name, value in values.items() if value is not None})

    @property
    def sampling_fields(self) -> list[str]:
        """The fields of `SampleConfig` that the preset states."""
        known = {"labels": self.labels, "sampler": self.sampler, "steps": self.steps, "omega": self.omega or None,
                 "images_per_class": next((one.images for one in self.settings if one.images is not None), None)}
        return [name for name, value in known.items() if value is not None]

    def measurements(self) -> dict[str, dict[str, Any]]:
        """`metric:extractor` -> the fields of its protocol that are known without data; `images` is in all.

        The second measurement of one pair has its reference behind it: `fid:inception@test`.
        """
        found: dict[str, dict[str, Any]] = {}
        for one in self.settings:
            images = {"images": one.images} if isinstance(one.images, int) else {}
            common = {**images, **({"labels": self.policy} if self.policy else {}), "sample_dtype": EIGHT_BITS}
            for extractor in one.extractors:
                for name in one.metrics or ():
                    key = f"{name}:{extractor}"
                    fields = METRICS[name].protocol_fields(one, METRICS[name].settings_of(one))
                    fields = fields.pop("settings") | fields | common | {"extractor": extractor}
                    found[f"{key}@{one.reference}" if key in found else key] = {
                        field: value for field, value in fields.items() if value is not None}
        return found

    def lines(self) -> list[tuple[str, str]]:
        """The preset as (word, text), for a listing."""
        lines = [("preset", self.name), ("summary", self.summary), ("source", self.source)]
        lines += [("settings" if len(self.settings) == 1 else f"settings {number}", settings_words(one))
                  for number, one in enumerate(self.settings, 1)]
        lines += [("sampling", self.sampling_words)]
        if self.omega:
            lines.append(("omega", ", ".join(_omega_words(omega) for omega in self.omega)))
        return lines + [("remark", remark) for remark in self.remarks]

    @property
    def sampling_words(self) -> str:
        """Sampling settings that the preset expects, in words."""
        labels = {"balanced": "labels exactly balanced", "uniform": "labels drawn i.i.d. uniform",
                  None: "labels not stated"}[self.labels]
        steps = "" if self.steps is None else f" {self.steps}"
        sampler = "any sampler" if self.sampler is None else f"sampler {self.sampler}{steps}"
        parts = [labels if self.policy != AS_TRAINED else f"labels in the {AS_TRAINED}", sampler,
                 f"samples {self.sample_dtype}"]
        return "; ".join(parts + ([self.sampling] if self.sampling else []))


def settings_words(config: EvaluateConfig) -> str:
    """Evaluation settings in a line: metrics, features, images, reference, and k and edge where they play a part."""
    images = "as many images of each class as the training set" if config.images == "train" else \
        "all images" if config.images is None else f"{config.images:,} images"
    metrics, extractors = (", ".join(names or ()) for names in (config.metrics, config.extractors))
    words = f"{metrics} on {extractors} features; {images} against {REFERENCES[config.reference]}"
    return words + (f"; k {config.k}, edge {config.edge}" if uses_k(config.metrics or ()) else "")


def for_each_k(settings: Sequence[EvaluateConfig], numbers: Sequence[int]) -> list[EvaluateConfig]:
    """`settings` with each k of `numbers` in turn; from the second k on only the metrics that have a setting k are measured.

    Raises `UserError` where no metric has one. Without `numbers` the settings are returned as they are.
    """
    if not numbers:
        return list(settings)
    found = [one.model_copy(update={"k": numbers[0]}) for one in settings]
    of_k = [(one, tuple(name for name in one.metrics or default_metrics() if uses_k([name]))) for one in settings]
    if not any(names for _, names in of_k):
        raise UserError("--k: none of the metrics asked for has nearest neighbours; leave it out.")
    return found + [one.model_copy(update={"k": k, "metrics": names, "downstream": False})
                    for k in numbers[1:] for one, names in of_k if names]


def uses_k(metrics: Iterable[str]) -> bool:
    """Return whether one of `metrics` has a setting k."""
    return any("k" in METRICS[name].settings.model_fields for name in metrics)


def _omega_words(omega: Omega) -> str:
    where = "" if omega.dataset is None else f" on {omega.dataset}"
    return f"{omega.value:g} for {omega.method or 'all methods'}{where}"
