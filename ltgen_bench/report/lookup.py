"""Finds the protocols that a protocol id, a run or a preset stands for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.core.words import listed
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.records.results_csv import shipped_protocols
from ltgen_bench.records.store import StoredRun, find_runs
from ltgen_bench.report.protocols import measurement_keys

ID = re.compile(r"[0-9a-f]{1,8}")


@dataclass(frozen=True)
class Measured:
    """The measurements behind a name: one of a protocol id, all of a run or a preset.

    `measurements` maps `metric:extractor` to the fields of its protocol, `ids` to its id (a preset has none).
    `classes` is their number, where known. `about` are (word, text) pairs on the name itself.
    """

    kind: str  # protocol, run or preset
    name: str
    measurements: dict[str, dict[str, Any]]
    ids: dict[str, str] = field(default_factory=dict)
    classes: int | None = None
    about: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def find(name: str, runs_dir: Path) -> Measured:
    """What `name` stands for: a preset, a protocol id (or an unambiguous beginning), a run or one of its sets of scores.

    Ids are looked for in the records under `runs_dir` and in the shipped results. A run is named as in `runs show`; of
    several sets of scores the newest is meant, unless the digest of one is given. `UserError` for an unknown or unclear
    name, with near matches and where it looked.
    """
    from ltgen_bench.evaluation.presets import PRESETS

    if name in PRESETS:
        return _preset(name)
    runs = [run for run in find_runs(runs_dir) if run.record is not None]
    origins = _origins(runs)
    digests = {run.record.score_digest: run for run in runs if run.record is not None}
    exact = [run for run in runs if name in (run.folder.name, run.name) or Path(name).resolve() == run.folder.path.resolve()]
    if exact:
        return _run(exact[-1], runs)
    begins = ID.fullmatch(name) is not None
    ids = sorted(one for one in origins if begins and one.startswith(name))
    scores = [one for one in digests if begins and one.startswith(name)]
    folders = {run.name: run for run in runs if run.folder.name.startswith(name) or run.name.startswith(name)}
    found = [*(f"protocol {one}" for one in ids), *(f"scores {one}" for one in scores), *(f"run {one}" for one in folders)]
    if len(found) > 1:
        more = f", and {len(found) - 8} more" if len(found) > 8 else ""
        raise UserError(f"'{name}' could be any of {len(found)}: {', '.join(found[:8])}{more}. Type more of it.")
    if ids:
        return _protocol(ids[0], origins[ids[0]], runs)
    if found:
        return _run(digests[scores[0]] if scores else next(iter(folders.values())), runs)
    raise _unknown(name, [*PRESETS, *origins, *dict.fromkeys(run.folder.name for run in runs)], runs_dir, runs)


def _origins(runs: Sequence[StoredRun]) -> dict[str, list[str]]:
    """Protocol id -> the runs and shipped files that have it."""
    origins: dict[str, list[str]] = {}
    for run in runs:
        for one in run.record.protocols if run.record is not None else ():
            origins.setdefault(one, []).append(run.name)
    for path, described in shipped_protocols().items():
        for one in described:
            origins.setdefault(one, []).append(f"results/{path.name}")
    return {one: list(dict.fromkeys(own)) for one, own in origins.items()}


def _protocol(one: str, origins: list[str], runs: Sequence[StoredRun]) -> Measured:
    records = [run.record for run in runs if run.record is not None and one in run.record.protocols]
    described = [record.protocols for record in records] + list(shipped_protocols().values())
    fields = next(own[one] for own in described if one in own)
    key = next(iter(measurement_keys({one: fields}).values()))
    where = listed(origins if len(origins) <= 4 else [*origins[:3], f"{len(origins) - 3} more"])
    classes = len(records[0].class_names) if records else None
    return Measured("protocol", one, {key: fields}, {key: one}, classes, (("protocol", one), ("found in", where)))


def _run(run: StoredRun, runs: Sequence[StoredRun]) -> Measured:
    record = run.record
    assert record is not None
    keys = measurement_keys(_in_order(record.protocols, run.scores))
    about = [("run", run.name), ("method", f"{record.label}, seed {record.seed}"), ("scores", _scores_words(run))]
    if record.preset:
        followed = "measured as it says" if not record.departures else f"not as it says: {'; '.join(record.departures)}"
        about.append(("preset", f"{record.preset}, {followed}"))
    others = [other for other in runs if other.folder == run.folder and other is not run]
    if others:
        about.append(("also here", "; ".join(_scores_words(other) for other in others)))
    name = f"{run.name} (scores {record.score_digest})" if others else run.name
    return Measured("run", name, {key: record.protocols[one] for one, key in keys.items()},
                    {key: one for one, key in keys.items()}, len(record.class_names), tuple(about))


def _in_order(protocols: dict[str, dict[str, Any]], scores: Scores) -> dict[str, dict[str, Any]]:
    """The protocols in the order of the table of scores; those without a row come last."""
    seen = [one for one in dict.fromkeys(scores.table["protocol"]) if one in protocols]
    return {one: protocols[one] for one in dict.fromkeys([*seen, *protocols])}


def _scores_words(run: StoredRun) -> str:
    record = run.record
    assert record is not None
    return " ".join([record.score_digest, *([f"({record.preset})"] if record.preset else []), f"of {record.finished[:10]}"])


def _preset(name: str) -> Measured:
    from ltgen_bench.evaluation.presets import PRESETS

    preset = PRESETS[name]
    return Measured("preset", name, preset.measurements(), about=tuple(preset.lines()))


def _unknown(name: str, known: Sequence[str], runs_dir: Path, runs: Sequence[StoredRun]) -> UserError:
    from ltgen_bench.evaluation.presets import PRESETS

    shipped = ", ".join(f"results/{path.name}" for path in shipped_protocols())
    records = f"the records of {len(runs)} finished runs under {runs_dir}" if runs else f"{runs_dir} (no finished runs there)"
    return UserError(
        f"there is no protocol id, run or preset '{name}'.{did_you_mean(name, known)} Looked in {records}, {shipped} and the "
        f"presets ({', '.join(PRESETS)}).   (ltgen-bench runs list)"
    )
