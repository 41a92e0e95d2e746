"""The samples of finished runs: finding those that are to be scored again. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import StoredRun, find_run, find_runs, refuse_blank


@dataclass(frozen=True)
class Drawn:
    """The samples of a finished run. `record` is the one of their newest scores under the run's own rules."""

    folder: Path
    record: RunRecord

    @property
    def config(self) -> RunConfig:
        """The whole configuration that they were made by, as the record keeps it."""
        return RunConfig.from_values(self.record.config, where=f"the record of {self.folder}")

    @property
    def sample_folder(self) -> Path:
        return self.folder / "samples" / self.record.sample_digest


def find_drawn(runs: Path, name: str, digest: str | None = None) -> Drawn:
    """The samples of the run called `name`: the newest, or those whose digest begins with `digest`.

    `name` is what `records.store.find_run` takes, or a run folder anywhere. Raises `UserError` for a run that is not there
    or not finished, an unknown digest, and samples that were removed.
    """
    refuse_blank(name)
    place = Path(name)
    if (place / "config.toml").is_file():
        runs, name = place.resolve().parent.parent, str(place.resolve())
    found = find_run(runs, name)
    if found.record is not None and found.record.kind != "run":
        raise UserError(f"{found.folder} holds scores of images that were not drawn here and are not kept; give the images "
                        f"themselves again, as in its command:\n  {found.record.command}")
    if found.record is None:
        raise UserError(found.problem or f"{found.folder} is not finished ({found.state}), so there are no samples to score; "
                        "repeat its ltgen-bench run to go on.")
    records = _records([run for run in find_runs(runs) if run.folder == found.folder])
    digests = list(dict.fromkeys(record.sample_digest for record in records))
    if digest is None:
        digest = digests[-1]
    matching = [one for one in digests if one.startswith(digest)]
    if len(matching) != 1:
        fault = "there are none" if not matching else f"{len(matching)} begin so"
        raise UserError(f"--samples {digest}: of the samples of {found.folder.name} {fault}; known: {', '.join(digests)}.")
    own = [record for record in records if record.sample_digest == matching[0]]
    plain = [record for record in own if not record.preset and record.config.get("evaluate", {}).get("half") is None]
    drawn = Drawn(found.folder, (plain or own)[-1])
    if not (drawn.sample_folder / "samples.npz").is_file():
        raise UserError(f"{drawn.sample_folder} has no samples.npz any more; repeat the run's command to draw them again:\n"
                        f"  {drawn.record.command}")
    return drawn


def _records(runs: Sequence[StoredRun]) -> list[RunRecord]:
    """The records of one run folder, the oldest first; of equally old ones in the order of their folders."""
    return sorted((run.record for run in runs if run.record is not None), key=lambda record: record.finished)
