"""Search for the samples of finished runs that are to be scored again. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.records.run_folder import RunFolder, SampleFiles
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import find_run_anywhere, newest_plain, stored_in


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

    `name` is what `records.store.find_run` takes, or a run folder anywhere. Raises `UserError` for a run that is not there
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
