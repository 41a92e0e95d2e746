"""The files of one set of scores. A record has a checksum of every row, and values without one are refused."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ltgen_bench.core.errors import BenchError, DamagedError, UserError
from ltgen_bench.core.files import file_sha256, json_sha256, read_checked_json, set_aside
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import some
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.metrics import METRICS, default_metrics
from ltgen_bench.evaluation.scores import Scores, protocols_path, read_cells
from ltgen_bench.records.run_record import RECORD_FILE, SCORES_FILE, NewerError, RunRecord, Vouched

CURVE_FILE = "curve.csv"
COST_FILE = "cost.json"  # of a stage, in the folder of what it makes
SLACK = 0.05  # by which a value of an older record may pass its bounds: what lies farther off was never measured


class ScoreFiles:
    """The files of one set of scores in `folder`. The record is written last, and has checksums of the scores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / RECORD_FILE
        self.table = folder / SCORES_FILE
        self.curve = folder / CURVE_FILE
        self.cost = folder / COST_FILE

    @property
    def exist(self) -> bool:
        """Whether there is a record, which may be damaged."""
        return self.record.is_file()

    def readable_record(self) -> RunRecord | None:
        """Return the record; None where there is none, or it is damaged or of a newer version."""
        try:
            return RunRecord.load(self.record)
        except BenchError:
            return None

    @property
    def finished(self) -> bool:
        """Whether there is a readable record that is not outdated, whatever weights files the user gives."""
        record = self.readable_record()
        return record is not None and not outdated(record)

    def read(self) -> tuple[RunRecord, Scores]:
        """Read the record and its scores. Raises as `RunRecord.load` and `read_scores`."""
        record = RunRecord.load(self.record)
        return record, read_scores(record, self.table)

    def write(self, record: RunRecord, scores: Scores) -> RunRecord:
        """Write scores and, last, their record; returns the record with the checksums of these scores."""
        self.record.unlink(missing_ok=True)  # its checksums are not those of the new scores
        scores.save(self.table)
        rest = json_sha256(read_checked_json(protocols_path(self.table)))
        record = record.model_copy(update={"vouched": Vouched(rows="".join(row_digests(read_cells(self.table))), rest=rest)})
        record.save(self.folder)
        return record

    def are_current(self, weights: Mapping[str, Path], say: Callable[[str], object]) -> bool:
        """Return whether these scores are complete, undamaged, and what would be measured now with the user's `weights` files.

        Damaged files are reported by `say` and set aside, so that they can be measured again. Raises `NewerError` for a
        record of a newer version.
        """
        if not self.exist:
            return False
        try:
            record, _ = self.read()
        except NewerError:
            raise
        except BenchError as error:
            say(f"{str(error).splitlines()[0].partition(';')[0]}; set aside and measured again")
            for file in (self.record, self.table, protocols_path(self.table)):
                if file.is_file():
                    set_aside(file)
            return False
        return not outdated(record, weights)


def outdated(record: RunRecord, weights: Mapping[str, Path] | None = None) -> bool:
    """Return whether the metrics or extractor weights of a record differ from those of today.

    Scores are outdated where a metric was registered since or has a higher revision (records without revisions are accepted),
    and where ids lack the digest of weights that were trained here. With `weights`, the user's files, also where the record's
    weights are neither in these files nor published; with None these are unknown.
    """
    names = record.config.get("evaluate", {}).get("metrics")
    if record.metrics and record.metrics != revisions(names):
        return True
    given = {name: path for name, path in (weights or {}).items() if name in record.extractor_weights}
    if any(record.extractor_weights[name] != file_sha256(path) for name, path in given.items()):
        return True
    return any(_of_other_weights(record, name, published=weights is not None)
               for name in record.extractor_weights if name not in given)


def _of_other_weights(record: RunRecord, extractor: str, published: bool) -> bool:
    """Return whether scores of an extractor without a file of the user's would now have another protocol id."""
    sha256 = record.extractor_weights[extractor]
    if extractor in PUBLISHED:
        return published and not sha256.startswith(PUBLISHED[extractor].sha256)
    if extractor in EXTRACTORS and EXTRACTORS[extractor].trained:
        return not all(str(described.get("weights")).endswith(sha256[:16]) for described in record.protocols.values()
                       if described.get("extractor") == extractor)
    return False


def revisions(metrics: Sequence[str] | None) -> dict[str, int]:
    """Return name -> revision of these metrics; None: of the metrics that are measured by default."""
    return {name: METRICS[name].revision for name in (default_metrics() if metrics is None else metrics) if name in METRICS}


def read_scores(record: RunRecord, path: Path) -> Scores:
    """Read the scores at `path`, which belong to `record`.

    Raises `UserError` where they are missing, and `DamagedError` where they are malformed or rows do not match the record's
    checksums, with the command that measures them again. In records of earlier versions, which have no checksums, values of
    unknown protocols, and values outside the bounds of their metric, are refused.
    """
    again = f"repeat the run's command to measure again:\n  {printable(record.command)}"
    if not path.is_file():
        raise UserError(f"{path} is missing beside its record; {again}")
    try:
        scores = Scores.load(path)
    except BenchError as error:
        raise DamagedError(f"{error}\n  measured again by: {printable(record.command)}") from error
    beside = protocols_path(path)
    if record.vouched is not None:
        faults = unvouched(read_cells(path), record.vouched.rows)
        if faults:
            raise DamagedError(f"{path} holds values that were not measured: {faults}; {again}")
        if not beside.is_file() or json_sha256(read_checked_json(beside)) != record.vouched.rest:
            raise DamagedError(f"{beside} is not what was written; {again}")
    unlike = [one for one, described in scores.protocols.items() if record.protocols.get(one) != described]
    if unlike:
        raise DamagedError(f"{beside} describes the protocol {printable(unlike[0])} otherwise than the record does; {again}")
    foreign = _foreign(scores.table, record)
    if foreign:
        raise DamagedError(f"{path} holds values that were not measured: {some(foreign)}; {again}")
    return scores


def row_digests(cells: pd.DataFrame) -> list[str]:
    """Return 8 hex digits of SHA-256 over each row of a table of strings."""
    return [hashlib.sha256("\x1f".join(map(str, row)).encode()).hexdigest()[:8] for row in cells.itertuples(index=False)]


def unvouched(cells: pd.DataFrame, digests: str) -> str:
    """Return which rows of a table of strings are not among the checksums `digests` (of `row_digests`, joined).

    Missing rows are counted; the text is empty where all rows match.
    """
    known = Counter(digests[start:start + 8] for start in range(0, len(digests), 8))
    left, foreign = known.copy(), []
    for row, own in zip(cells.to_dict("records"), row_digests(cells), strict=True):
        if left[own] > 0:
            left[own] -= 1
        else:
            foreign.append(_row_words(row))
    gone = left.total() - len(foreign)
    return some([*foreign, *([f"{gone} of {known.total()} rows are gone"] if gone > 0 else [])])


def _row_words(row: Mapping[Hashable, str]) -> str:
    """Return a row in words: `fid 0.01 (classifier, few@thirds)`."""
    about = [row.get(name, "") for name in ("extractor", "train_data", "scope", "class_name")]
    return printable(f"{row.get('metric', '')} {row.get('value') or 'without a value'} ({', '.join(filter(None, about))})")


def _foreign(table: pd.DataFrame, record: RunRecord) -> list[str]:
    """Return messages on values of protocols that the record does not have, and on values outside the bounds of their metric."""
    found = []
    for row in table.itertuples():
        name = printable(f"{row.metric} {row.value:g} ({row.extractor}, {row.scope})")
        if row.protocol not in record.protocols:
            found.append(f"{name} of protocol {printable(str(row.protocol))}")
        elif row.metric in METRICS and not math.isnan(value := float(str(row.value))):
            low, high = METRICS[str(row.metric)].bounds
            found += [] if math.isfinite(value) and low - SLACK <= value <= high + SLACK else [f"{name} out of bounds"]
    return found
