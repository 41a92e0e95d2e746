"""Everything that decides the numbers of a run: frozen, strict, read from one TOML recipe, with a digest per stage."""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ltgen_bench.errors import UserError, did_you_mean
from ltgen_bench.files import shipped_folder

M = TypeVar("M", bound=BaseModel)

DIGEST_SCHEMA = 1  # grows only when the meaning of an existing value changes; a new setting with a default needs none


class Part(BaseModel):
    """A frozen group of settings in which unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Part):
    """Which images, and how many of each class."""

    name: str = Field(default="digits-lt", description="a catalogue name, folder:PATH or npz:FILE")
    imbalance_factor: Annotated[float, Field(ge=1)] | Literal["natural"] | None = Field(
        default=None,
        description="largest / smallest class count; the data set's own when absent, 'natural' keeps all images")
    profile: Literal["exp", "step"] = Field(default="exp", description="how the counts fall from head to tail")
    split_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the draw within each class")


class NetworkConfig(Part):
    """The U-Net. A preset gives every value; the others override it."""

    preset: Literal["ddpm", "cpu", "digits"] = "ddpm"
    channels: tuple[int, ...] | None = Field(default=None, min_length=1, description="width of each resolution level")
    blocks: int | None = Field(default=None, ge=1, le=8, description="residual blocks a level")
    attention: tuple[int, ...] | None = Field(default=None, description="levels with self-attention, counted from 0")
    dropout: float | None = Field(default=None, ge=0, lt=1)


class MethodConfig(BaseModel):
    """The method's name and its raw settings, which the method's own `Settings` validates."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str = "cbdm"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as given, without the name."""
        return dict(self.model_extra or {})


class TrainConfig(Part):
    """One loop for all methods. Every schedule counts images seen, so a batch size changes none of them."""

    budget_images: int = Field(default=14_400_000, gt=0, description="training images seen, with repetition")
    batch_size: int = Field(default=64, gt=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup_images: int = Field(default=320_000, ge=0, description="the learning rate rises linearly from 0 over these")
    ema_halflife_images: int = Field(default=443_600, ge=0, description="decay d a step of b images: b ln 2 / (1 - d)")
    ema_rampup: float = Field(default=0.05, ge=0, description="half-life at most this share of images seen; 0: none")
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the whole gradient")
    precision: Literal["auto", "float32", "bf16"] = Field(default="auto", description="auto: bf16 where it is native")
    compile: Literal["auto", "yes", "no"] = Field(default="auto", description="torch.compile; auto: on CUDA")


class SampleConfig(Part):
    """How images are drawn from the trained network. Labels are exactly balanced."""

    sampler: str = "ddpm"
    steps: int = Field(default=1000, gt=0, le=1000, description="network evaluations an image")
    omega: float = Field(default=0.0, ge=0, description="eps = cond + omega (cond - null); 0 is no guidance")
    images_per_class: int = Field(default=500, gt=0)
    batch_size: int = Field(default=250, gt=0, description="images of one fixed chunk")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the initial noise")
    precision: Literal["float32", "bf16"] = "float32"


class EvaluateConfig(Part):
    """Which measurements are taken. The protocol of each is made from this and the data."""

    extractors: tuple[str, ...] = Field(default=("classifier",), min_length=1)
    metrics: tuple[str, ...] | None = Field(default=None, description="all of them when absent")
    reference: Literal["train", "test"] = Field(default="train", description="balanced training or held-out test set")
    k: int = Field(default=5, gt=0, description="nearest neighbours of precision, recall, density and coverage")
    reference_per_class: int | None = Field(default=None, gt=0, description="real images of each class; all when absent")
    classifier_steps: int | None = Field(default=None, gt=0, description="of the extractor; its own when absent")
    downstream: bool = Field(default=True, description="train classifiers on the images")
    downstream_steps: int | None = Field(default=None, gt=0, description="of each classifier; its own when absent")


class Reported(Part):
    """A number that a paper prints for this recipe. Never mixed with what we measure."""

    metric: str
    value: float
    source: str


class RunConfig(Part):
    """One run from data to scores, as a recipe states it."""

    source: str = Field(default="", description="where the values come from")
    seed: int = Field(default=0, ge=0, lt=2**31, description="training seed: weights, data order, noise")
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    sample: SampleConfig = SampleConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    reported: tuple[Reported, ...] = ()

    @classmethod
    def from_recipe(cls, path: str | Path, *, overrides: Mapping[str, Any] | None = None, **top: Any) -> "RunConfig":
        """Read a TOML recipe; `overrides` maps dotted keys to values, `top` sets top-level ones (`seed=3`)."""
        return cls.from_values(read_toml(Path(path)), overrides={**(overrides or {}), **top}, where=str(path))

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, overrides: Mapping[str, Any] | None = None,
                    where: str = "the configuration") -> "RunConfig":
        """Validate nested `values` after laying dotted `overrides` over them. All faults come in one `UserError`."""
        merged = json.loads(json.dumps(values, default=str))
        for key, value in (overrides or {}).items():
            set_dotted(merged, key, value)
        return validate(cls, merged, where=where)

    def to_toml(self) -> str:
        """The whole recipe, defaults included, ready to be saved as a file. Absent values are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def train_digest(self, fingerprint: str, code: str = "") -> str:
        """8 hex digits over data (by content), network, method and training. The seed stands beside it in the folder.

        `code` is the content hash of a method's own file, for methods that do not come with the package.
        """
        parts = {"data": fingerprint, "network": _set(self.network), "method": _set(self.method), "train": _set(self.train)}
        return digest({**parts, "code": code} if code else parts)

    def sample_digest(self, train_digest: str) -> str:
        """Chained: the training it belongs to, its seed, and everything about sampling."""
        return digest({"train": train_digest, "seed": self.seed, "sample": _set(self.sample)})

    def score_digest(self, sample_digest: str) -> str:
        """Chained: the samples, and everything about measuring them."""
        return digest({"sample": sample_digest, "evaluate": _set(self.evaluate)})


def _set(part: BaseModel) -> dict[str, Any]:
    """The values that differ from their defaults, so that a new setting with a default changes no digest."""
    values = part.model_dump(mode="json", exclude_defaults=True)
    if isinstance(part, MethodConfig):
        values["name"] = part.name
    return values


def digest(value: Any) -> str:
    """8 hex digits of SHA-256 over canonical JSON with the schema version."""
    text = json.dumps({"schema": DIGEST_SCHEMA, "value": value}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file; a missing or broken one is a `UserError` (with the line where TOML is broken)."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no recipe {path}.   (ltgen-bench list recipes)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the recipe {path} could not be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from error


def recipe_path(dataset: str, method: str) -> Path:
    """Where the shipped recipe of a method on a data set stands (perhaps not there)."""
    return shipped_folder("baselines") / dataset / f"{method}.toml"


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Put `value` at the dotted `key` (`method.tau`) of nested dictionaries; None takes the key away."""
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {key}: '{parent}' is a single value, it has no '{last}'.")
    if value is None:
        values.pop(last, None)
    else:
        values[last] = value


def parse_setting(text: str) -> tuple[str, Any]:
    """`method.tau=0.5` as (key, value); the value is read as TOML, and as plain text where it is none."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text}: write it as KEY=VALUE, for example --set method.tau=0.5")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return key.strip(), parsed


def validate(model: type[M], values: Mapping[str, Any], *, where: str, prefix: str = "") -> M:
    """`model` from `values`, or one `UserError` with every fault: key path, what was given, what is allowed."""
    try:
        # through JSON, whose strict mode reads a list where a tuple is meant
        return model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        problems = [prefix + problem for problem in _explain_all(model, [dict(fault) for fault in error.errors()])]
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError(f"{where} has {count}", problems) from None


ALLOWED = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number", "string_type": "a text",
    "bool_type": "true or false", "tuple_type": "a list", "finite_number": "a finite number",
    "model_type": "a table of settings", "model_attributes_type": "a table of settings",
}
BOUNDS = {"gt": "above {}", "ge": "of at least {}", "lt": "below {}", "le": "of at most {}"}


def _explain_all(model: type[BaseModel], faults: list[dict[str, Any]]) -> list[str]:
    """One sentence for each value at fault. What the alternatives of a union say of one value becomes one sentence."""
    by_value: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for fault in faults:
        by_value.setdefault(_value_path(model, fault), []).append(fault)
    # a list whose entries are at fault counts as too short as well: only the entries are named
    bogus = [path for path, own in by_value.items() if own[0]["type"] == "too_short"
             and any(other[:len(path)] == path and other != path for other in by_value)]
    return [_explain(model, path, own) for path, own in by_value.items() if path not in bogus]


def _explain(model: type[BaseModel], path: tuple[str, ...], faults: list[dict[str, Any]]) -> str:
    key, kind, given = ".".join(path), faults[0]["type"], faults[0].get("input")
    if kind == "extra_forbidden":
        known = list(_field_model(model, path[:-1]).model_fields)
        return f"{key}: unknown setting.{did_you_mean(path[-1], known)} Known: {', '.join(known)}."
    if kind == "missing":
        return f"{key}: is needed and not given."
    alternatives = [_allowed(fault, _bounds(model, path)) for fault in faults]
    if None in alternatives:
        return f"{key}: {given!r}: {faults[0]['msg']}."
    return f"{key}: {given!r} is not {' or '.join(str(allowed) for allowed in alternatives)}."


def _allowed(fault: dict[str, Any], bounds: str) -> str | None:
    """What would have been right, as the end of "is not ..."; None where pydantic's own words must do."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "literal_error":
        expected = str(context["expected"])
        return f"one of {expected}" if " or " in expected else expected
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"a number {bounds}"
    if kind == "too_short":
        return f"long enough (at least {context['min_length']} {'entry' if context['min_length'] == 1 else 'entries'})"
    return f"{ALLOWED[kind]} {bounds}".strip() if kind in ALLOWED else None


def _value_path(model: type[BaseModel], fault: dict[str, Any]) -> tuple[str, ...]:
    """The key path of the value at fault, without the names that pydantic gives the alternatives of a union."""
    path = tuple(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return path
    known = [depth for depth, part in enumerate(path)
             if part.isdigit() or part in _field_model(model, path[:depth]).model_fields]
    return path[:known[-1] + 1] if known else path


def _field_model(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    """The model that owns the last key of `path`, as far as the path goes through models and lists of models."""
    for name in path:
        if name.isdigit():
            continue
        field = model.model_fields.get(name)
        inner = [t for t in (field.annotation, *get_args(field.annotation))
                 if isinstance(t, type) and issubclass(t, BaseModel)] if field is not None else []
        if not inner:
            break
        model = inner[0]
    return model


def _bounds(model: type[BaseModel], path: Sequence[str]) -> str:
    """`above 0 and below 1`, from the constraints of the field at `path`."""
    names = [part for part in path if not part.isdigit()]
    field = None
    for depth in range(len(names)):
        field = _field_model(model, names[:depth]).model_fields.get(names[depth], field)
    if field is None:
        return ""
    constraints = list(field.metadata)
    for alternative in get_args(field.annotation):  # of a union, each perhaps Annotated with its own
        for info in getattr(alternative, "__metadata__", ()):
            constraints += getattr(info, "metadata", ())
    words = []
    for constraint in constraints:
        words += [text.format(getattr(constraint, name)) for name, text in BOUNDS.items() if hasattr(constraint, name)]
    return " and ".join(words)
