"""Search for runs on disk, and their scores as one tidy table."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.errors import BenchError, UserError, did_you_mean
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.user_paths import check_path
from ltgen_bench.evaluation.scores import COLUMNS, Scores
from ltgen_bench.records.run_folder import RunFolder, SampleFiles
from ltgen_bench.records.run_record import NewerError, RunRecord
from ltgen_bench.records.score_files import ScoreFiles, read_scores

DIGESTS = re.compile(r"-[0-9a-f]{8}(-s\d+)?$")  # end of the name of a run folder
ENTRY_COLUMNS = ["dataset", "method", "label", "seed", "sampler", "steps", "omega", "budget_images", "batch_size",
                 "images_per_class", "sample_seed", "network", "train_digest", "sample_digest", "score_digest", "fingerprint",
                 "imbalance_factor"]
# The rules that the scores were asked to follow, where they do not, what was judged (run, samples of another model, or a
# reference row), augmentation and process of the training, and what training and run cost. CSVs of earlier versions lack
# them: column -> what is meant there.
LATER_COLUMNS = {"preset": "", "departures": "", "kind": "run", "augment": "flip", "process": "ddpm", "train_flops": "",
                 "train_seconds": "", "peak_memory_mb": "", "notes": ""}
# Values that are unknown for external samples are missing, or empty.
UNKNOWN_TYPES = {"steps": "Int64", "omega": "Float64", "budget_images": "Int64", "batch_size": "Int64",
                 "images_per_class": "Int64", "sample_seed": "Int64", "train_flops": "Float64", "train_seconds": "Float64",
                 "peak_memory_mb": "Float64"}
ORIGIN_COLUMNS = ["finished", "versions", "hardware", "command", "run"]
# An entry has a label (its name in a table) and a score has one (its class): in the rows the second is `class_label`.
SCORE_COLUMNS = ["class_label" if name == "label" else name for name in COLUMNS]
ROW_COLUMNS = [*SCORE_COLUMNS, "class_count", *ENTRY_COLUMNS, *LATER_COLUMNS, *ORIGIN_COLUMNS]


@dataclass(frozen=True)
class StoredRun:
    """One set of scores of one run or of external samples, or a run without scores (`record` and `files` are then None).

    `state` is that of `RunFolder.state`, or damaged, or newer than this program (`problem` then says what and where).
    """

    folder: RunFolder
    state: str
    record: RunRecord | None = None
    files: ScoreFiles | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        return self.folder.title

    @cached_property
    def scores(self) -> Scores:
        """Read the scores, once. Raises `UserError` for a run without scores, and as `read_scores`."""
        if self.record is None or self.files is None:
            raise UserError(self.problem or f"{self.folder} has no scores yet ({self.state}); repeat its ltgen-bench run to "
                            "finish it.")
        return read_scores(self.record, self.files.table)


def find_runs(runs_dir: Path) -> list[StoredRun]:
    """Find every set of scores and every unfinished run under `runs_dir`, by data set, folder and time of finishing.

    A missing folder holds no runs. A damaged record is a run of its own, whose state is damaged.
    """
    folders = sorted(path for path in runs_dir.glob("*/*") if path.is_dir() and not path.name.startswith("."))
    return [run for folder in folders for run in stored_in(RunFolder(folder))]


class Reported(NamedTuple):
    """Runs that a report compares, and messages on those that cannot be read."""

    runs: list[StoredRun]
    left_out: list[str]


def reported_runs(runs_dir: Path) -> Reported:
    """Return the finished runs without scores on the half `selection` of the real images, which settings were chosen by.

    Runs whose record or scores are damaged are left out and named.
    """
    runs, left_out = [], []
    for run in find_runs(runs_dir):
        if run.problem:
            left_out.append(run.problem)
        if run.record is None or run.record.half == "selection":
            continue
        try:
            _ = run.scores  # kept for whoever asks later
            runs.append(run)
        except BenchError as error:
            left_out.append(str(error))
    return Reported(runs, left_out)


def stored_in(folder: RunFolder) -> list[StoredRun]:
    """Find every set of scores in one run folder, damaged ones first and the newest last; without any, the run as it stands."""
    damaged, found = [], []
    for files in folder.all_scores():
        try:
            record = RunRecord.load(files.record)
            found.append(StoredRun(folder, str(folder.state(record)), record, files))
        except BenchError as error:
            fault = "newer" if isinstance(error, NewerError) else "damaged"
            damaged.append(StoredRun(folder, fault, problem=_problem(error, files, folder)))
    found.sort(key=lambda run: run.record.finished if run.record else "")
    if found or damaged:  # the last of a folder is an undamaged one
        return [*damaged, *found]
    try:
        state = folder.state()
    except UserError as error:
        return [StoredRun(folder, "damaged", problem=str(error))]
    return [] if state is None else [StoredRun(folder, state)]


def newest_plain(records: Sequence[RunRecord]) -> RunRecord | None:
    """Return the newest record under the run's own settings (no preset, all real images), else the newest of all `records`."""
    plain = [one for one in records if not one.preset and one.half is None] or records
    return sorted(plain, key=lambda one: one.finished)[-1] if plain else None


def _problem(error: BenchError, files: ScoreFiles, folder: RunFolder) -> str:
    """Return what is wrong with a record, and the command that makes it again where that can still be read."""
    if isinstance(error, NewerError):
        return str(error)
    for file in (files.record, folder.newest.record):
        try:
            command = json.loads(file.read_text(encoding="utf-8"))["command"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if isinstance(command, str):
            return f"{error}\n  measured again by: {printable(command)}"
    return f"{error}\n  measured again by the ltgen-bench run, or evaluate, that made it"


def refuse_blank(name: str) -> None:
    """Raise `UserError` for an empty name of a run, which every name begins with, and for a name unfit for folders."""
    check_path(name, "the name of the run")
    if not name.strip():
        raise UserError("the name of the run is empty; type that of its folder, or its beginning.   (ltgen-bench runs list)")


def find_run(runs_dir: Path, name: str, *, method_named: bool = False) -> StoredRun:
    """Return the run called `name`: its folder, its folder's name, `dataset/folder`, or a unique beginning of it.

    With `method_named` a beginning must contain the whole method. Of several sets of scores the newest is returned. Raises
    `UserError` where no run or several match.
    """
    refuse_blank(name)
    runs = find_runs(runs_dir)
    if not runs:
        raise UserError(f"there are no runs under {runs_dir}; make one with: ltgen-bench run")
    as_path = Path(name)
    exact = [run for run in runs if name in (run.folder.name, run.name) or _same(as_path, run.folder.path)]
    begins = [run for run in runs if _begins(run, name, method_named)]
    matches = exact or begins
    folders = {run.folder for run in matches}
    if not folders:
        names = sorted({run.folder.name for run in runs})
        raise UserError(f"there is no run '{name}' under {runs_dir}.{did_you_mean(name, names)} Known: {', '.join(names)}."
                        "   (ltgen-bench runs list)")
    if len(folders) > 1:
        raise UserError(f"'{name}' could be any of {len(folders)} runs: {', '.join(sorted({run.name for run in matches}))}. Type "
                        "more of the name.")
    return matches[-1]


def find_run_anywhere(runs_dir: Path, name: str) -> StoredRun:
    """Return `find_run`, where `name` may also be the path of a run folder outside `runs_dir`."""
    refuse_blank(name)
    if RunFolder(Path(name)).is_run:
        folder = RunFolder(Path(name).resolve())
        runs_dir, name = folder.runs, str(folder)
    return find_run(runs_dir, name)


def _begins(run: StoredRun, name: str, method_named: bool) -> bool:
    """Return whether the run's name begins with `name`; the data set in front of it must be complete or absent."""
    own = name.removeprefix(f"{run.folder.path.parent.name}/")
    least = len(DIGESTS.sub("", run.folder.name)) if method_named else 1
    return len(own) >= least and run.folder.name.startswith(own)


def _same(path: Path, folder: Path) -> bool:
    return path.exists() and path.resolve() == folder.resolve()


@dataclass(frozen=True)
class RunSamples:
    """The samples of a finished run. `record` is the one of their newest scores under the run's own settings."""

    folder: RunFolder
    record: RunRecord

    @property
    def config(self) -> RunConfig:
        """The whole configuration of the run, as the record has it."""
        return RunConfig.from_values(self.record.config, where=f"the record of {self.folder}")

    @property
    def files(self) -> SampleFiles:
        return self.folder.samples(self.record.sample_digest)


def find_samples(runs: Path, name: str, digest: str | None = None) -> RunSamples:
    """Find the samples of the run called `name`: the newest, or those whose digest begins with `digest`.

    `name` is what `find_run` takes, or a run folder anywhere. Raises `UserError` for a run that is not there
    or not finished, an unknown digest, and samples that were deleted.
    """
    found = find_run_anywhere(runs, name)
    if found.record is not None and found.record.kind != "run":
        raise UserError(f"{found.folder} holds scores of external samples, which are not stored with them; give the images "
                        f"themselves again, as in its command:\n  {found.record.command}")
    if found.record is None:
        raise UserError(found.problem or f"{found.folder} is not finished ({found.state}), so there are no samples to score; "
                        "repeat its ltgen-bench run to continue.")
    records = [run.record for run in stored_in(found.folder) if run.record is not None]  # the oldest first
    digests = list(dict.fromkeys(record.sample_digest for record in records))
    matching = digests[-1:] if digest is None else [one for one in digests if one.startswith(digest)]
    if len(matching) != 1:
        fault = "there are none" if not matching else f"{len(matching)} begin so"
        raise UserError(f"--samples {digest}: of the samples of {found.folder.name} {fault}; known: {', '.join(digests)}.")
    record = newest_plain([record for record in records if record.sample_digest == matching[0]])
    assert record is not None, "a digest is that of a record"
    samples = RunSamples(found.folder, record)
    if not samples.files.images.is_file():
        raise UserError(f"{samples.files.folder} has no {samples.files.images.name} any more; repeat the run's command to draw "
                        f"them again:\n  {samples.record.command}")
    return samples


def rows(runs: Sequence[StoredRun], runs_dir: Path | None = None) -> pd.DataFrame:
    """Return all scores of the finished `runs` as one tidy frame with ROW_COLUMNS: score, entry, origin.

    `label` names the entry, `class_label` the class; `class_count` is the number of training images of a row's class;
    `preset` names the preset that was asked for (empty: none), `departures` the differences from it; `run` is the folder,
    relative to `runs_dir` when given; `kind` is that of the record. Unfinished runs are left out; without any finished run
    the frame is empty with the same columns.
    """
    frames = [_rows_of(run, runs_dir) for run in runs if run.record is not None]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=ROW_COLUMNS)
    return pd.concat(frames, ignore_index=True)


def _rows_of(run: StoredRun, runs_dir: Path | None) -> pd.DataFrame:
    record = run.record
    assert record is not None
    inside = runs_dir is not None and run.folder.path.is_relative_to(runs_dir)
    values = {
        **record.entry.model_dump(), **record.model_dump(include={*ENTRY_COLUMNS, *LATER_COLUMNS, *ORIGIN_COLUMNS}),
        "sampler": record.entry.sampler or "", "network": record.entry.network or "", "augment": record.entry.augment or "",
        "process": record.entry.process or ("ddpm" if record.kind == "run" else ""),
        "departures": "; ".join(record.departures), "notes": " ".join(record.notes),
        "train_flops": record.entry.train_flops, "train_seconds": record.train_seconds,
        "peak_memory_mb": record.peak_memory_mb,
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "hardware": ", ".join(f"{name}: {value}" for name, value in record.hardware.items()),
        "run": str(run.folder.path.relative_to(runs_dir)) if inside and runs_dir is not None else run.name,
    }
    table = run.scores.table.rename(columns={"label": "class_label"})
    table["class_count"] = table["class_label"].map(dict(enumerate(record.class_counts))).astype("Int64")
    for column in (*ENTRY_COLUMNS, *LATER_COLUMNS, *ORIGIN_COLUMNS):
        table[column] = pd.Series(values[column], index=table.index, dtype=UNKNOWN_TYPES.get(column))
    table["imbalance_factor"] = table["imbalance_factor"].astype(float)
    return table[ROW_COLUMNS]


def protocols(runs: Sequence[StoredRun]) -> dict[str, dict[str, Any]]:
    """Return protocol id -> description, over all finished runs."""
    return {key: text for run in runs if run.record is not None for key, text in run.record.protocols.items()}
