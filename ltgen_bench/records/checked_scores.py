"""A record with its scores, written and read together: the record vouches for every value, and what it does not is named."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

import pandas as pd

from ltgen_bench.core.errors import BenchError, DamagedError, UserError
from ltgen_bench.core.files import json_sha256, read_checked_json, set_aside
from ltgen_bench.core.plain_text import printable
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.scores import Scores, protocols_path, read_cells
from ltgen_bench.records.run_record import RECORD_FILE, NewerError, RunRecord, Vouched

NAMED = 5  # how many of many values an error names
SLACK = 0.05  # by which a value of an older record may pass its bounds: what lies farther off was never measured


def save_kept(folder: Path, record: RunRecord, scores: Scores) -> RunRecord:
    """Write scores and, last, their record into `folder`; returns the record as it is there."""
    (folder / RECORD_FILE).unlink(missing_ok=True)  # it does not vouch for what is written now
    path = folder / record.scores_file
    scores.save(path)
    rest = json_sha256(read_checked_json(protocols_path(path)))
    record = record.model_copy(update={"vouched": Vouched(rows="".join(row_digests(read_cells(path))), rest=rest)})
    record.save(folder)
    return record


def read_kept(folder: Path) -> tuple[RunRecord, Scores]:
    """The record and the scores in `folder`. Raises as `RunRecord.load` and `read_scores`."""
    record = RunRecord.load(folder)
    return record, read_scores(record, folder)


def read_scores(record: RunRecord, folder: Path) -> Scores:
    """The scores beside `record` in `folder`.

    Raises `UserError` where they are missing, and `DamagedError` where they are broken or `record` does not vouch for a value:
    it is named, with the command that measures it again. Of older records, which vouch for nothing, values of a protocol that
    the record does not know are refused, and those that their metric cannot have.
    """
    path = folder / record.scores_file
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
        raise DamagedError(f"{path} holds values that were not measured: {_first(foreign)}; {again}")
    return scores


def row_digests(cells: pd.DataFrame) -> list[str]:
    """8 hex digits of SHA-256 over each row of a table of texts."""
    return [hashlib.sha256("\x1f".join(map(str, row)).encode()).hexdigest()[:8] for row in cells.itertuples(index=False)]


def unvouched(cells: pd.DataFrame, digests: str) -> str:
    """In words: the rows of a table of texts that `digests` (of `row_digests`, joined) do not vouch for, and how many are
    gone; empty where all is as it was."""
    known = Counter(digests[start:start + 8] for start in range(0, len(digests), 8))
    left, foreign = known.copy(), []
    for row, own in zip(cells.to_dict("records"), row_digests(cells), strict=True):
        if left[own] > 0:
            left[own] -= 1
        else:
            foreign.append(_row_words(row))
    gone = left.total() - len(foreign)
    return _first([*foreign, *([f"{gone} of {known.total()} rows are gone"] if gone > 0 else [])])


def _first(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _row_words(row: Mapping[Hashable, str]) -> str:
    """`fid 0.01 (classifier, few@thirds)`."""
    about = [row.get(name, "") for name in ("extractor", "train_data", "scope", "class_name")]
    return printable(f"{row.get('metric', '')} {row.get('value') or 'without a value'} ({', '.join(filter(None, about))})")


def _foreign(table: pd.DataFrame, record: RunRecord) -> list[str]:
    """The values of a protocol that the record does not have, and those outside the bounds of their metric."""
    found = []
    for row in table.itertuples():
        name = printable(f"{row.metric} {row.value:g} ({row.extractor}, {row.scope})")
        if row.protocol not in record.protocols:
            found.append(f"{name} of protocol {printable(str(row.protocol))}")
        elif row.metric in METRICS and not math.isnan(value := float(str(row.value))):
            low, high = METRICS[str(row.metric)].bounds
            found += [] if math.isfinite(value) and low - SLACK <= value <= high + SLACK else [f"{name} out of bounds"]
    return found


def whole(folder: Path, say: Callable[[str], object]) -> bool:
    """Whether the record and the scores in `folder` are there and what was measured.

    What is damaged is said and set aside, so that it can be measured again. A record of a newer version is a `UserError`.
    """
    if not (folder / RECORD_FILE).is_file():
        return False
    try:
        read_kept(folder)
    except NewerError:
        raise
    except BenchError as error:
        say(f"{str(error).splitlines()[0].partition(';')[0]}; set aside and measured again")
        scores = folder / RunRecord.model_fields["scores_file"].default
        for file in (folder / RECORD_FILE, scores, protocols_path(scores)):
            if file.is_file():
                set_aside(file)
        return False
    return True


def has_whole(folder: Path) -> bool:
    """Whether the run folder holds a readable record of scores against all real images."""
    try:
        return RunRecord.load(folder).half is None
    except BenchError:  # none there, or a broken one, whose place a sound one may take
        return False
