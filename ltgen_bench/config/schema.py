"""Configuration of a run: frozen, strictly validated models, and the digest of each stage."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from ltgen_bench.config.recipe_files import read_toml, set_dotted
from ltgen_bench.core.validation import INVERSE, validate

PROFILE = r"^(exp|step|pareto:[0-9]{1,6}([.][0-9]{1,9})?)$"
DIGEST_SCHEMA = 1  # increased only when the meaning of an existing value changes; a new setting with a default needs no increase

SHARED_SETTINGS = ("k", "edge")  # settings of EvaluateConfig that every metric with a setting of that name takes

Compile = Literal["auto", "yes", "no", "graphs"]  # `graphs`: CUDA graphs too


class Part(BaseModel):
    """Base class of groups of settings: frozen; unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Part):
    """Data set, and number of training images of each class."""

    name: str = Field(default="digits-lt", description="a catalogue name, folder:PATH, npz:FILE or hub:NAME")
    imbalance_factor: Annotated[float, Field(ge=1)] | Literal["natural"] | None = Field(
        default=None, json_schema_extra={INVERSE: True},
        description="largest / smallest class count; the data set's own when absent, 'natural' keeps all images")
    profile: str = Field(default="exp", pattern=PROFILE, description="how the class counts fall: exp, step or pareto:ALPHA")
    split_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the draw within each class")
    class_order: int | None = Field(
        default=None, ge=0, lt=2**32, description="seed of the order from head to tail; by label when absent")
    split: str | None = Field(default=None, description="a manifest file that says which images train, instead of a draw")
    index_list: str | None = Field(default=None, description="a published list of training images, lines of PATH LABEL")
    test_list: str | None = Field(default=None, description="likewise of the test images")
    test_part: str | None = Field(
        default=None, min_length=1, description="the part (folder, arrays or split) of the user's own data that serves as test; "
        "train: a quarter of each class; none; test, or else a validation part, when absent")
    image_size: Literal[16, 32, 64, 128] | None = Field(
        default=None, description="image files are cut to their centre square and resized to this; as they are when absent")
    flip: bool | None = Field(
        default=None, description="whether a mirrored image is still of its class; as the data set says when absent")
    columns: tuple[str, str] | None = Field(default=None, description="image and label columns of hub:NAME; found when absent")


class NetworkConfig(Part):
    """U-Net. A preset gives every value; the other settings override it."""

    preset: Literal["ddpm", "cpu", "digits"] = "ddpm"
    channels: tuple[int, ...] | None = Field(default=None, min_length=1, description="width of each resolution level")
    blocks: int | None = Field(default=None, ge=1, le=8, description="residual blocks a level")
    attention: tuple[int, ...] | None = Field(default=None, description="levels with self-attention, counted from 0")
    dropout: float | None = Field(default=None, ge=0, lt=1)


class ProcessConfig(Part):
    """How noise is added in training, and what the network predicts."""

    name: str = Field(default="ddpm", description="ddpm (the noise, 1000 steps) or flow (the velocity of a straight path)")


class MethodConfig(BaseModel):
    """Name of the method, and its settings as given; the method's own `Settings` validates them."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str = "cbdm"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as given, without the name."""
        return dict(self.model_extra or {})


class TrainConfig(Part):
    """Training, equal for all methods. Schedules count images seen, so that they do not depend on the batch size."""

    budget_images: int = Field(default=14_400_000, gt=0, description="training images seen, with repetition")
    batch_size: int = Field(default=64, gt=0)
    micro_batch: int | None = Field(
        default=None, gt=0, description="images of a batch that go through the network at once; all when absent")
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup_images: int = Field(default=320_000, ge=0, description="the learning rate rises linearly from 0 over these")
    ema_halflife_images: int = Field(default=443_600, ge=0, description="decay d a step of b images: b ln 2 / (1 - d)")
    ema_rampup: float = Field(default=0.05, ge=0, description="half-life at most this share of images seen; 0: none")
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the whole gradient")
    precision: Literal["auto", "float32", "bf16"] = Field(default="auto", description="auto: bf16 where it is native")
    compile: Compile = Field(
        default="auto", description="torch.compile; auto: on CUDA; graphs: yes, on CUDA with CUDA graphs, for small networks")
    augment: str = Field(default="flip", description="an augmentation; flip: mirrored at random where data.flip allows it")


class BudgetConfig(Part):
    """Training budget in FLOPs or seconds, from which `train.budget_images` is computed."""

    flops: float | None = Field(default=None, gt=0, description="floating-point operations of the whole training")
    seconds: float | None = Field(default=None, gt=0, description="of training on this machine, by a measured pace")


class SampleConfig(Part):
    """Sampling from the trained network."""

    sampler: str = "ddpm"
    steps: int = Field(default=1000, gt=0, le=1000, description="network evaluations an image")
    omega: float = Field(default=0.0, ge=0, description="eps = cond + omega (cond - null); 0 is no guidance")
    images_per_class: int = Field(default=500, gt=0)
    labels: Literal["balanced", "uniform"] = Field(
        default="balanced", description="exactly images_per_class of each, or as many in all, each label drawn at random")
    batch_size: Annotated[int, Field(gt=0)] | Literal["auto"] = Field(
        default=250, description="images of one fixed chunk; auto: as many as are fastest on the machine that draws them")
    share: float | None = Field(
        default=None, gt=0, description="as many images as this share of the training is worth in 25 guided steps each, at most "
        "images_per_class of each class; a number before anything runs")
    as_preset: bool = Field(
        default=False, description="drawn as the preset of evaluate.preset expects, in place of what is stated here")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the initial noise")
    precision: Literal["float32", "bf16"] = "float32"
    compile: Literal["auto", "yes", "no"] = Field(
        default="auto", description="torch.compile; auto: on CUDA where a set takes 2 million evaluations of the network")


class EvaluateConfig(Part):
    """Which measurements are taken. The protocol of each is made from this and the data."""

    extractors: tuple[str, ...] = Field(default=("classifier",), min_length=1)
    batch_size: Annotated[int, Field(gt=0)] | Literal["auto"] | None = Field(
        default=None, description="batch size of an extractor, its own default when absent (auto where "
        "sample.batch_size is); as many as are fastest here with auto; in no digest")
    metrics: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="all when absent, but for those that are measured on request alone")
    preset: str | None = Field(
        default=None, validation_alias=AliasChoices("preset", "protocol"),  # its name in earlier files
        description="a named set of evaluation settings, as a paper used them; stated settings override it")
    reference: Literal["train", "test", "longtail"] = Field(
        default="train", description="balanced training set, held-out test set, or the long-tailed training set itself")
    half: Literal["selection", "report"] | None = Field(
        default=None, description="half of the reference: one to choose settings on, the other to report; all when absent")
    selection: Literal["recipe", "fixed", "selected-on-half"] = Field(
        default="recipe", description="how omega, steps and checkpoint were chosen")
    images: Annotated[int, Field(gt=0)] | Literal["train"] | None = Field(
        default=None, description="generated images that count, in equal shares of the classes (at random where labels were); "
        "'train': as many of each class as the training set has; all when absent")
    k: int = Field(default=5, gt=0, description="nearest neighbours, of every metric with a setting of that name")
    edge: Literal["<=", "<"] = Field(default="<=", description="whether the edge belongs to a nearest-neighbour ball; likewise")
    settings: dict[str, dict[str, Any]] | None = Field(
        default=None, description="settings of a metric by its name, as in [evaluate.settings.kid] subsets = 50")
    reference_per_class: int | None = Field(default=None, gt=0, description="real images of each class; all when absent")
    classifier_steps: int | None = Field(default=None, gt=0, description="of the extractor; its own when absent")
    downstream: bool = Field(default=True, description="train classifiers on the images")
    downstream_steps: int | None = Field(default=None, gt=0, description="of each classifier; its own when absent")

    def __hash__(self) -> int:  # `settings` is a table, which has no hash
        return hash(self.model_dump_json())


class Reported(Part):
    """Score that a paper prints for this recipe; it is never mixed with measured scores."""

    metric: str
    value: float
    source: str


class RunConfig(Part):
    """Configuration of one run, from data to scores."""

    source: str = Field(default="", description="where the values come from")
    seed: int = Field(default=0, ge=0, lt=2**31, description="training seed: weights, data order, noise")
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    process: ProcessConfig = ProcessConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    budget: BudgetConfig | None = None
    sample: SampleConfig = SampleConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    reported: tuple[Reported, ...] = ()

    @classmethod
    def from_recipe(cls, path: str | Path, *, overrides: Mapping[str, Any] | None = None, **top: Any) -> "RunConfig":
        """Read a TOML recipe; `overrides` maps dotted keys to values, `top` sets top-level keys. Raises `UserError`."""
        return cls.from_values(read_toml(Path(path)), overrides={**(overrides or {}), **top}, where=str(path))

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, overrides: Mapping[str, Any] | None = None,
                    where: str = "the configuration") -> "RunConfig":
        """Validate nested `values` with dotted `overrides` applied. Raises one `UserError` with all faults.

        `where` names the source of the values in messages.
        """
        merged = json.loads(json.dumps(values, default=str))
        evaluate = merged.get("evaluate")
        if isinstance(evaluate, dict) and "protocol" in evaluate and "preset" not in evaluate:
            evaluate["preset"] = evaluate.pop("protocol")  # its name in earlier recipes
        for key, value in (overrides or {}).items():
            set_dotted(merged, key, value)
        return validate(cls, merged, where=where)

    def to_toml(self) -> str:
        """Return the whole recipe as TOML, with defaults, without absent values and an empty list of `reported` scores."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True, exclude=None if self.reported else {"reported"}))

    def train_digest(self, fingerprint: str, code: str = "") -> str:
        """Return 8 hex digits over data (by `fingerprint`), network, method and training; the seed is not part of it.

        `code` is the content hash of a method's own file, for methods that do not come with the package.
        """
        parts = {"data": fingerprint, "network": _set(self.network), "method": _set(self.method), "train": _set(self.train)}
        process = _set(self.process)  # absent where it is the default, so that digests of before stay
        return digest({**parts, **({"process": process} if process else {}), **({"code": code} if code else {})})

    def sample_digest(self, train_digest: str) -> str:
        """Return 8 hex digits over the training digest, the seed and the sampling settings."""
        return digest({"train": train_digest, "seed": self.seed, "sample": _set(self.sample)})

    def score_digest(self, sample_digest: str) -> str:
        """Return 8 hex digits over the sample digest and the evaluation settings except the batch size."""
        stated = _set(self.evaluate.model_copy(update={"batch_size": None}))
        if "preset" in stated:
            stated["protocol"] = stated.pop("preset")  # the key when the first score folders got their names
        return digest({"sample": sample_digest, "evaluate": stated})


def _set(part: BaseModel) -> dict[str, Any]:
    """Return the values that differ from their defaults, so that a new setting with a default changes no digest."""
    values = part.model_dump(mode="json", exclude_defaults=True)
    if isinstance(part, MethodConfig):
        values["name"] = part.name
    return values


def digest(value: Any) -> str:
    """Return 8 hex digits of SHA-256 over canonical JSON with the schema version."""
    text = json.dumps({"schema": DIGEST_SCHEMA, "value": value}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
