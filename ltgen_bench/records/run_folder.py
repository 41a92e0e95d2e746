"""The folder of a run: its paths, its state, its lock, and the reading and writing of what lies in it.

    runs/<data set>/<method>-<train digest>-s<seed>/      of external samples <name>-<content>
        config.toml                   what decides the training
        train/                        checkpoint-<images>.safetensors, log.jsonl, loss.png, cost.json, flops.json
        samples/<sample digest>/      samples.npz, samples.png, cost.json, downstream/
        scores/<score digest>/        scores.csv, scores.protocols.json, cost.json, curve.csv and, last, record.json
        scores.csv, record.json, ...  copies of the newest scores against all real images
        failure.json                  why a grid or a suite could not finish it, until it is finished
        curve/<images>/               a snapshot: weights.safetensors, samples/ and scores/ as above
        curve/train/<images>/         a second training up to that position, for snapshots that are missing; deleted at its end

`core.file_names` has the names that other packages write; no other module spells one.
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from ltgen_bench.config.recipe_files import parse_toml, read_toml
from ltgen_bench.core.errors import BenchError, BusyError, DamagedError, MachineError, UserError
from ltgen_bench.core.file_names import CHECKPOINT, CHECKPOINTS, LOG, SAMPLES
from ltgen_bench.core.files import only_writer, read_checked_json, set_aside, write_checked_json, write_text
from ltgen_bench.core.validation import dotted
from ltgen_bench.core.words import file_name
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.score_files import COST_FILE, ScoreFiles, outdated

State = Literal["training", "trained", "sampling", "sampled", "finished", "outdated"]


class SampleFiles:
    """The files of one set of samples. `images` is written last, and says that the set is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / SAMPLES
        self.sheet = folder / "samples.png"
        self.cost = folder / COST_FILE
        self.downstream = folder / "downstream"  # checkpoints of the classifiers that are trained on these samples


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run or of external samples. With `snapshot`, samples and scores are those of the averaged weights after
    so many training images; without, those of the end of training."""

    path: Path
    snapshot: int | None = None

    @classmethod
    def of_run(cls, runs: Path, dataset: str, method: str, train_digest: str, seed: int) -> "RunFolder":
        """Return the folder of a training."""
        return cls(runs / dataset / f"{method}-{train_digest}-s{seed}")

    @classmethod
    def of_external(cls, runs: Path, dataset: str, name: str, content: str) -> "RunFolder":
        """Return the folder of external samples called `name`; `content` is the digest of images and labels."""
        return cls(runs / dataset / f"{file_name(name)}-{content}")

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        """Data set and folder name, as `runs show` takes them: `digits-lt/cbdm-1a2b3c4d-s0`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def runs(self) -> Path:
        return self.path.parent.parent

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def train(self) -> Path:
        return self.path / "train"

    @property
    def log(self) -> Path:
        return self.train / LOG

    @property
    def loss_picture(self) -> Path:
        return self.train / "loss.png"

    @property
    def train_cost(self) -> Path:
        return self.train / COST_FILE

    @property
    def newest(self) -> ScoreFiles:
        """Copies of the newest scores against all real images."""
        return ScoreFiles(self.path)

    @property
    def _place(self) -> Path:
        return self.path if self.snapshot is None else self.path / "curve" / f"{self.snapshot:012d}"

    @property
    def weights(self) -> Path:
        """The weights of a snapshot."""
        assert self.snapshot is not None, "the weights at the end of a training are in its checkpoint"
        return self._place / "weights.safetensors"

    def samples(self, digest: str) -> SampleFiles:
        """Return the files of the samples with this digest."""
        return SampleFiles(self._place / "samples" / digest)

    def scores(self, digest: str) -> ScoreFiles:
        """Return the files of the scores with this digest."""
        return ScoreFiles(self._place / "scores" / digest)

    def all_scores(self) -> list[ScoreFiles]:
        """Return every set of scores that has a record, in the order of digests; without the copies of the newest."""
        return [one for folder in sorted(self._place.glob("scores/*")) if (one := ScoreFiles(folder)).exist]

    def at(self, images: int | None) -> "RunFolder":
        """Return the folder of the snapshot after `images` training images; None: of the end of training."""
        return replace(self, snapshot=images)

    def snapshots(self) -> list[int]:
        """Return positions (training images seen) whose snapshots are there, in order."""
        files = self.path.glob("curve/*/weights.safetensors")
        return sorted(int(file.parent.name) for file in files if file.parent.name.isdigit())

    def second_training(self, until: int) -> Path:
        """Return where training is repeated up to the position `until`, for snapshots that are missing."""
        return self.path / "curve" / "train" / str(until)

    @property
    def is_run(self) -> bool:
        """Whether a run was begun here; external samples have no configuration of a training."""
        return self.config.is_file()

    @property
    def exists(self) -> bool:
        """Whether this is the folder of a run or of external samples."""
        return self.is_run or (self.path / "scores").is_dir()

    def positions(self) -> list[int]:
        """Return training images seen at each checkpoint, in order."""
        names = [file.stem.removeprefix(CHECKPOINT) for file in self.train.glob(CHECKPOINTS)]
        return sorted(int(name) for name in names if name.isdigit())

    @property
    def images_seen(self) -> int | None:
        """Training images seen at the newest checkpoint; None without a checkpoint."""
        return max(self.positions(), default=None)

    def state(self, record: RunRecord | None = None) -> State | None:
        """Return the state of the run: of the scores of `record`, else of the stages before. None: not begun.

        Raises `UserError` where the configuration is damaged.
        """
        if record is not None:
            return "outdated" if outdated(record) else "finished"
        if not self.train.is_dir():
            return None
        sets = [SampleFiles(folder) for folder in self.path.glob("samples/*") if folder.is_dir()]
        if sets:
            return "sampled" if any(one.images.is_file() for one in sets) else "sampling"
        seen, budget = self.images_seen, self._budget()
        return "trained" if seen is not None and budget is not None and seen >= budget else "training"

    def _budget(self) -> int | None:
        """Return `train.budget_images` of the configuration; an earlier version kept it in train/."""
        files = [file for file in (self.config, self.train / self.config.name) if file.is_file()]
        value = read_toml(files[0]).get("train", {}).get("budget_images") if files else None
        return value if isinstance(value, int) else None

    def lock(self) -> AbstractContextManager[None]:
        """Lock the folder for this command. Raises `BusyError` where another one does."""
        return only_writer(self.path)

    @property
    def busy(self) -> bool:
        """Whether another command holds the lock."""
        if not self.path.is_dir():
            return False
        try:
            with self.lock():
                return False
        except BusyError:
            return True

    @property
    def failure(self) -> Path:
        return self.path / "failure.json"

    def note_failure(self, why: str) -> None:
        """Keep the reason why the run could not be finished. On a full disk nothing is kept."""
        with suppress(MachineError):
            write_checked_json(self.failure, {"error": why})

    def why_failed(self) -> str:
        """Return the reason of the last failure of the run, if it was not finished since; empty without."""
        if not self.failure.is_file():
            return ""
        try:
            return str(read_checked_json(self.failure)["error"])
        except (BenchError, KeyError):
            return f"not known, since {self.failure} is damaged"

    def remove(self) -> None:
        """Delete the folder with everything in it. Raises `BusyError` while it is being written.

        It is renamed first, so that no other command begins to write into it or finds a part of it.
        """
        removed = self.path.with_name(f".{self.name}.removed")
        try:
            with self.lock():
                shutil.rmtree(removed, ignore_errors=True)  # of a command that was killed
                self.path.rename(removed)
                shutil.rmtree(removed)
        except OSError as error:
            raise MachineError(f"{self} could not be deleted: {error.strerror or error}.") from error

    def read_config(self) -> dict[str, Any]:
        """Return what decides the training: `seed`, `data`, `network`, `method`, `train` and `fingerprint` (of the data)."""
        return read_toml(self.config)

    def claim(self, wanted: Mapping[str, Any], say: Callable[[str], object]) -> None:
        """Write the configuration `wanted`, or raise `UserError` where the folder has another one; the differences are named.

        A file that is no TOML is set aside and written again: the name of the folder has the digest of the training.
        """
        stored = self._claimed(say) if self.config.is_file() else None
        if stored is None:
            write_text(self.config, tomli_w.dumps(wanted))
            return
        mine, theirs = dotted(wanted), dotted(stored)
        # The fingerprint stands for the data: equal images may lie elsewhere, or be asked for in other words. A setting that
        # one side lacks was added since with a default, and changes no training.
        differences = [f"{key}: {theirs[key]} there, {mine[key]} now" for key in sorted(mine.keys() & theirs.keys())
                       if not key.startswith("data.") and mine[key] != theirs[key]]
        if differences:
            raise UserError(f"{self} belongs to another configuration; choose another folder with --runs, or remove this one; "
                            f"where {self.config.name} in it was damaged or edited, delete that file alone", differences)

    def _claimed(self, say: Callable[[str], object]) -> dict[str, Any] | None:
        try:
            stored = parse_toml(self.config.read_bytes().decode("utf-8"))
            fault = "" if "fingerprint" in stored else "it names no data"
        except ValueError as error:  # of TOML or of UTF-8
            fault = str(error)
        if not fault:
            return stored
        say(f"{self.config} is damaged ({fault:.200}); it is set aside as {set_aside(self.config).name}, and made again")
        return None

    def flops_per_image(self, count: Callable[[], float]) -> float:
        """Return floating-point operations of one training image: as stored, or as `count` says, which is stored then."""
        path = self.train / "flops.json"
        if path.is_file():
            with suppress(DamagedError, KeyError, TypeError, ValueError):
                return float(read_checked_json(path)["per_image"])
            set_aside(path)
        counted = count()
        write_checked_json(path, {"per_image": counted})
        return counted

    def keep(self, record: RunRecord, scores: Scores) -> RunRecord:
        """Write what was measured, last into the folder of its score digest; returns the record as it is stored.

        Scores of the end of training are copied into the run folder too. There, scores against one half of the real images
        do not replace scores against all of them.
        """
        if self.snapshot is None:
            newest = None if record.half is None else self.newest.readable_record()  # a damaged one is replaced
            if newest is None or newest.half is not None:
                self.newest.write(record, scores)
        kept = self.scores(record.score_digest).write(record, scores)
        self.failure.unlink(missing_ok=True)
        return kept
