"""What a preset is: rules of measurement, the sampling they expect, and what this version cannot measure of them.

Rules are about the measurement: where a result departs from them it is not the preset's, and says so. Sampling is the
entry's: it is compared, and reported apart. Imports no torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ltgen_bench.config.schema import EvaluateConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS, default_metrics
from ltgen_bench.evaluation.protocol import AS_TRAINED, BALANCED, REFERENCES, UNIFORM

RULE_FIELDS = ("extractors", "metrics", "reference", "images", "k", "edge")  # what the rules decide
EIGHT_BITS = "uint8"  # what this package draws and scores


@dataclass(frozen=True)
class Omega:
    """The guidance strength that a paper uses for one of our methods (`cfg` is what papers call DDPM)."""

    method: str | None  # None: all of them
    dataset: str | None  # None: all of them
    value: float


@dataclass(frozen=True)
class Preset:
    """One set of rules with a name. What the source does not state is None, and nothing departs from it."""

    name: str
    summary: str  # one line
    source: str  # and how it was read
    rules: tuple[EvaluateConfig, ...]
    labels: Literal["balanced", "uniform"] | None = None
    sampler: str | None = None
    steps: int | None = None
    omega: tuple[Omega, ...] = ()
    sample_dtype: str = EIGHT_BITS
    sampling: str = ""  # in words, beyond the values above
    remarks: tuple[str, ...] = ()  # where our measurement differs whatever the samples

    @property
    def lacking(self) -> list[str]:
        """What the rules ask for and this version cannot measure, in words."""
        words = []
        for rule in self.rules:
            missing = [name for name in rule.metrics or () if name not in METRICS]
            known = [name for name in rule.metrics or () if name in METRICS]
            words += missing
            words += [f"{name} on {extractor} features" for extractor in rule.extractors if extractor not in EXTRACTORS
                      for name in known]
        return list(dict.fromkeys(words))

    @property
    def available(self) -> list[EvaluateConfig]:
        """The rules without what is lacking; a rule of which nothing is left is not among them."""
        cut = [rule.model_copy(update={"extractors": tuple(name for name in rule.extractors if name in EXTRACTORS),
                                       "metrics": tuple(name for name in rule.metrics or () if name in METRICS)})
               for rule in self.rules]
        return [rule for rule in cut if rule.extractors and rule.metrics]

    @property
    def policy(self) -> str:
        """The labels of the generated images as a protocol words them; empty where they are not stated."""
        if all(rule.images == "train" for rule in self.rules):
            return AS_TRAINED
        return {"balanced": BALANCED, "uniform": UNIFORM, None: ""}[self.labels]

    def rule_of(self, config: EvaluateConfig) -> EvaluateConfig:
        """The rule that `config` follows: the one that it differs from least."""
        def differences(rule: EvaluateConfig) -> int:
            others = not set(rule.metrics or ()) & set(config.metrics or ())
            return others + sum(getattr(rule, name) != getattr(config, name) for name in RULE_FIELDS if name != "metrics")

        return min(self.rules, key=differences)

    def omega_of(self, method: str, dataset: str) -> float | None:
        """The omega that the source states for `method` on `dataset`; None where it states none."""
        fits = [omega.value for omega in self.omega
                if omega.method in (None, method) and omega.dataset in (None, dataset)]
        return fits[0] if fits else None

    def expected(self, sample: SampleConfig, method: str, dataset: str, class_counts: list[int]) -> SampleConfig:
        """`sample` with what the preset expects in its place, and enough images of each class for every rule."""
        wanted = [max(class_counts) if rule.images == "train" else -(-rule.images // len(class_counts))
                  for rule in self.rules if rule.images is not None]
        values = {"labels": self.labels, "sampler": self.sampler, "steps": self.steps,
                  "omega": self.omega_of(method, dataset), "images_per_class": max(wanted, default=None)}
        return sample.model_copy(update={name: value for name, value in values.items() if value is not None})

    @property
    def stated(self) -> list[str]:
        """The values of sampling that the preset states."""
        known = {"labels": self.labels, "sampler": self.sampler, "steps": self.steps, "omega": self.omega or None,
                 "images_per_class": next((rule.images for rule in self.rules if rule.images is not None), None)}
        return [name for name, value in known.items() if value is not None]

    def measurements(self) -> dict[str, dict[str, Any]]:
        """`metric:extractor` -> the fields of its protocol that are known without data; `images` is in all.

        A later rule's measurement of the same pair has its reference behind it: `fid:inception@test`.
        """
        found: dict[str, dict[str, Any]] = {}
        for rule in self.available:
            images = {"images": rule.images} if isinstance(rule.images, int) else {}
            common = {**images, **({"labels": self.policy} if self.policy else {}), "sample_dtype": EIGHT_BITS}
            for extractor in rule.extractors:
                for name in rule.metrics or ():
                    key = f"{name}:{extractor}"
                    fields = METRICS[name].protocol_fields(rule, METRICS[name].settings_of(rule))
                    fields = fields.pop("settings") | fields | common | {"extractor": extractor}
                    found[f"{key}@{rule.reference}" if key in found else key] = {
                        field: value for field, value in fields.items() if value is not None}
        return found

    def lines(self) -> list[tuple[str, str]]:
        """The preset as (word, text), for a listing."""
        lines = [("preset", self.name), ("summary", self.summary), ("source", self.source)]
        lines += [("rule" if len(self.rules) == 1 else f"rule {number}", rule_words(rule))
                  for number, rule in enumerate(self.rules, 1)]
        lines += [("sampling", self.sampling_words)]
        if self.omega:
            lines.append(("omega", ", ".join(_omega_words(omega) for omega in self.omega)))
        if self.lacking:
            lines.append(("lacking", f"{', '.join(self.lacking)}: not measured by this version"))
        return lines + [("remark", remark) for remark in self.remarks]

    @property
    def sampling_words(self) -> str:
        """How the preset expects images to be drawn, in words."""
        labels = {"balanced": "labels exactly balanced", "uniform": "labels drawn i.i.d. uniform",
                  None: "labels not stated"}[self.labels]
        steps = "" if self.steps is None else f" {self.steps}"
        sampler = "any sampler" if self.sampler is None else f"sampler {self.sampler}{steps}"
        parts = [labels if self.policy != AS_TRAINED else f"labels in the {AS_TRAINED}", sampler,
                 f"samples {self.sample_dtype}"]
        return "; ".join(parts + ([self.sampling] if self.sampling else []))


def rule_words(rule: EvaluateConfig) -> str:
    """One rule in a line: metrics, features, images, reference, k and edge."""
    images = "as many images of each class as the training set" if rule.images == "train" else \
        "all images" if rule.images is None else f"{rule.images:,} images"
    metrics, extractors = (", ".join(names or ()) for names in (rule.metrics, rule.extractors))
    words = f"{metrics} on {extractors} features; {images} against {REFERENCES[rule.reference]}"
    return words + (f"; k {rule.k}, edge {rule.edge}" if uses_k(rule.metrics or ()) else "")


def for_each_k(rules: Sequence[EvaluateConfig], numbers: Sequence[int]) -> list[EvaluateConfig]:
    """`rules` with each k of `numbers` in turn; all but the first measure only what looks at nearest neighbours.

    Raises `UserError` where nothing in `rules` does. Without `numbers` the rules are as they are.
    """
    if not numbers:
        return list(rules)
    found = [rule.model_copy(update={"k": numbers[0]}) for rule in rules]
    of_k = [(rule, tuple(name for name in rule.metrics or default_metrics() if uses_k([name]))) for rule in rules]
    if not any(names for _, names in of_k):
        raise UserError("--k: none of the metrics asked for looks at nearest neighbours; leave it out.")
    return found + [rule.model_copy(update={"k": k, "metrics": names, "downstream": False})
                    for k in numbers[1:] for rule, names in of_k if names]


def uses_k(metrics: Iterable[str]) -> bool:
    """Whether one of `metrics` looks at nearest neighbours."""
    return any("k" in METRICS[name].settings.model_fields for name in metrics if name in METRICS)


def _omega_words(omega: Omega) -> str:
    where = "" if omega.dataset is None else f" on {omega.dataset}"
    return f"{omega.value:g} for {omega.method or 'all methods'}{where}"
