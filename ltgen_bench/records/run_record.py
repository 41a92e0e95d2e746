"""The record of a finished run: entry, protocols, cost, versions and machine."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ltgen_bench.config.schema import Part
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import read_json_object, without_checksum, write_checked_json, write_text
from ltgen_bench.core.validation import validate

SCHEMA_VERSION = 1
RECORD_FILE = "record.json"
SCORES_FILE: Literal["scores.csv"] = "scores.csv"


class NewerError(UserError):
    """Record of a newer version, which is not damaged."""


class Entry(Part):
    """What is judged besides method, settings and seed: network, budget and sampling.

    Values are None where they are unknown, as for external samples. `images_per_class` is None where the classes differ.
    """

    sampler: str | None
    steps: int | None = Field(gt=0, description="network evaluations an image")
    omega: float | None = Field(ge=0)
    sample_seed: int | None
    images_per_class: int | None = Field(gt=0)
    budget_images: int | None = Field(gt=0, description="training images seen, with repetition")
    batch_size: int | None = Field(gt=0)
    network: str | None = Field(description="name of the preset")
    parameters: int | None = Field(gt=0)
    precision: str | None
    sample_precision: str | None
    augment: str | None = Field(default="flip", description="the augmentation of the training images")
    process: str | None = Field(default=None, description="how noise was added; absent in earlier records: ddpm")
    train_flops_per_image: float | None = Field(default=None, gt=0, description="forward and backward, of one training image")
    labels: str = Field(default="balanced", description="of the generated images: balanced, or uniform (each drawn at random)")

    @property
    def train_flops(self) -> float | None:
        """FLOPs of the whole training; None where unknown."""
        known = self.budget_images is not None and self.train_flops_per_image is not None
        return self.budget_images * self.train_flops_per_image if known else None  # type: ignore[operator]


class Stage(Part):
    """Cost of one stage."""

    name: Literal["train", "sample", "evaluate"]
    seconds: float = Field(ge=0)
    peak_memory_mb: float | None = Field(ge=0, description="in this stage; None where that is not known")
    device: str


class Vouched(Part):
    """Checksums of the files next to a record."""

    rows: str = Field(description="8 hex digits for each row of scores.csv")
    rest: str = Field(description="SHA-256 of the values of scores.protocols.json")


class RunRecord(Part):
    """Record of one finished run (`record.json`), with everything that a report needs besides the scores.

    External samples have records too: `samples` of another model, which are entries like runs, and `reference` rows of real
    images and trivial generators, which are never ranked.
    """

    schema_version: int = Field(SCHEMA_VERSION, ge=1, le=SCHEMA_VERSION)
    kind: Literal["run", "samples", "reference"] = "run"
    dataset: str
    method: str
    settings: dict[str, Any] = Field(description="the method's settings that differ from its defaults")
    label: str = Field(description="how a report names the row")
    seed: int = Field(description="training seed")
    train_digest: str
    sample_digest: str
    score_digest: str
    fingerprint: str
    split: str = Field(default="", description="16 hex digits of the manifest that says which images train")
    preset: str = Field(default="", description="the paper's or the benchmark's rules that the scores were asked to follow")
    departures: list[str] = Field(default=[], description="where the measurement is not what the preset asks for")
    notes: list[str] = Field(default=[], description="what the scores do not say of the images: copies, repeats, labels")
    imbalance_factor: float | None
    profile: str
    class_names: list[str]
    class_counts: list[int]
    groups: dict[str, list[int]]
    entry: Entry
    protocols: dict[str, dict[str, Any]] = Field(description="protocol id -> what it stands for")
    metrics: dict[str, int] = Field(default={}, description="metric asked for -> its revision")
    extractor_weights: dict[str, str] = Field(description="extractor -> SHA-256 of its weights")
    stages: list[Stage]
    versions: dict[str, str]
    hardware: dict[str, str | int]
    deterministic: bool | None = Field(description="whether the training gives the same bits again; None: there was none")
    started: str
    finished: str
    config: dict[str, Any]
    command: str
    scores_file: Literal["scores.csv"] = SCORES_FILE
    vouched: Vouched | None = Field(default=None, description="checksums of the scores; records of earlier versions have none")

    @property
    def train_seconds(self) -> float | None:
        """Seconds of the whole training, with interrupted sessions; None where nothing was trained here."""
        return next((stage.seconds for stage in self.stages if stage.name == "train"), None)

    @property
    def peak_memory_mb(self) -> float | None:
        """Peak memory of the whole run, of its stage that took most; None where that of a stage is not known."""
        peaks = [stage.peak_memory_mb for stage in self.stages]
        known = [peak for peak in peaks if peak is not None]
        return max(known) if known and len(known) == len(peaks) else None

    @property
    def half(self) -> str | None:
        """Half of the real images that the scores compare with (selection or report); None: all of them."""
        half = self.config.get("evaluate", {}).get("half")
        return None if half is None else str(half)

    def save(self, folder: Path) -> Path:
        """Write `record.json` atomically into `folder`, with a checksum where it has those of its scores; returns its path."""
        path, values = folder / RECORD_FILE, self.model_dump(mode="json")
        if self.vouched is not None:
            write_checked_json(path, values)
        else:
            write_text(path, json.dumps(values, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: Path) -> "RunRecord":
        """Read a record from its file or folder.

        Raises `UserError` for a file that is no record, and `DamagedError` where it is no JSON or does not match its checksum.
        Records of earlier versions have none.
        """
        file = path / RECORD_FILE if path.is_dir() else path
        if not file.is_file():
            raise UserError(f"there is no record {file}.   (ltgen-bench runs list)")
        cure = "repeat the command that made it"
        values = read_json_object(file, cure)
        version = values.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise NewerError(f"{file} was written by a newer ltgen-bench (schema_version {version}, this one reads up to "
                             f"{SCHEMA_VERSION}); update ltgen-bench to read it.")
        # only now: a newer version may compute its checksum otherwise
        return validate(cls, without_checksum(values, file, cure), where=str(file))
