"""The results of a suite: the runs of its cells in a folder of runs, or as they were recorded in CSV files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import BenchError, UserError
from ltgen_bench.core.files import read_checked_json, write_checked_json
from ltgen_bench.core.words import some
from ltgen_bench.evaluation.scores import protocols_path
from ltgen_bench.experiments.suite import SuiteCell, other_runs, other_versions
from ltgen_bench.experiments.suite_file import Suite, differences
from ltgen_bench.records.results_csv import measured_csv, read_measured
from ltgen_bench.records.store import StoredRun, find_runs, protocols, rows
from ltgen_bench.report.suite_results import STATES, SuiteResults
from ltgen_bench.statistics.suite_cells import SuitePlan

SCORES, SUITE_FILE = "rows.csv", "suite.json"  # of a folder with recorded results


def collect(suite: Suite, cells: Sequence[SuiteCell], methods: Sequence[str], seeds: Sequence[int], runs: Path) -> SuiteResults:
    """Return the results of `methods` and `seeds` among the finished runs under `runs`, found by the digests of `cells`.

    Runs of the same data sets and methods with other digests are left out and named, and so are damaged ones. `cells` may be
    of more seeds. Raises `UserError` where only another version of the suite was run.
    """
    every = find_runs(runs)
    stored = {run.record.score_digest: run for run in every if run.record is not None}
    used: dict[str, StoredRun] = {}
    states, damaged = [], []
    for one in cells:
        if one.method not in methods or one.cell.seed not in seeds:
            continue
        digest = one.cell.plans[0].score_digest if one.cell.plans else ""
        state, why = one.state
        if state == "done":
            try:
                _ = stored[digest].scores
                used[digest] = stored[digest]
            except (BenchError, KeyError) as error:
                state, why = "failed", "its record is damaged" if isinstance(error, KeyError) else str(error)
                damaged.append(f"{one.cell.words}: {why}")
        states.append((one.task, one.method, one.cell.seed, state, why, digest))
    table = pd.DataFrame(states, columns=[*STATES, "score_digest"])
    left_out, versions = [*damaged], other_versions(suite, runs)
    others = list(dict.fromkeys(run.name for run in other_runs(cells, every)))
    if others:
        left_out.append(f"left out, since they are of other settings: {some(others, 3)}")
        left_out += [f"{version}, was run there too, and differs: {'; '.join(words)}" for version, words in versions.items()]
    if versions and not used:
        raise UserError(f"{suite.words}: no run of this version is finished under {runs}, but another version was run there. "
                        "Versions are not mixed in one report.", left_out)
    found = rows(list(used.values()), runs)
    return _results(suite, table, found, protocols(list(used.values())), left_out)


def _results(suite: Suite, states: pd.DataFrame, found: pd.DataFrame, described: dict[str, dict[str, Any]],
             left_out: Sequence[str]) -> SuiteResults:
    done = states[states["state"] == "done"]
    task_of = dict(zip(done["score_digest"], done["task"], strict=True))
    of_suite = found[found["score_digest"].isin(list(task_of))]
    methods, seeds = (list(dict.fromkeys(states[column])) for column in ("method", "seed"))
    plan = SuitePlan(suite.groups, methods, seeds, suite.baseline)
    return SuiteResults(suite.name, suite.words, plan, suite.metrics, of_suite.assign(task=of_suite["score_digest"].map(task_of)),
                        states, described, tuple(left_out))


def record(suite: Suite, results: SuiteResults, folder: Path) -> list[Path]:
    """Write the results into `folder`: scores, runs and protocols as CSV and JSON, and what the suite states. Returns the files.

    Of the scores only the headline is kept, with that of each class.
    """
    kept = results.rows[results.rows["metric"].isin([*suite.metrics, *_class_versions(suite)])]
    path = measured_csv(kept, folder / SCORES, results.protocols)
    values = {"suite": suite.name, "version": suite.version, "digest": suite.digest, "stated": suite.stated,
              "runs": results.states.to_dict("records")}
    write_checked_json(folder / SUITE_FILE, values)
    return [path, folder / SUITE_FILE]


def _class_versions(suite: Suite) -> list[str]:
    return ["downstream_recall"] if "downstream_accuracy" in suite.metrics else []


def read_recorded(suite: Suite, folder: Path, methods: Sequence[str] | None, seeds: Sequence[int] | None) -> SuiteResults:
    """Read what `record` wrote: of `methods` and `seeds`, or all that were recorded.

    Raises `UserError` where the results are of another version of the suite, with the differences in words.
    """
    if not (folder / SUITE_FILE).is_file():
        raise UserError(f"{folder} holds no results of a suite: there is no {SUITE_FILE}. ltgen-bench suite report {suite.name} "
                        f"--record {folder} writes them from runs.")
    values = read_checked_json(folder / SUITE_FILE, "record the results again")
    if values["suite"] != suite.name or values["digest"] != suite.digest:
        raise UserError(f"{folder} holds results of suite {values['suite']}, version {values['version']}, digest "
                        f"{values['digest']}, and not of {suite.words}. Versions are not mixed in one report.",
                        differences(values["stated"], suite.stated))
    states = pd.DataFrame(values["runs"])
    wanted = pd.Series(True, index=states.index)
    for column, chosen in (("method", methods), ("seed", seeds)):
        known = list(dict.fromkeys(states[column]))
        unknown = [one for one in chosen or [] if one not in known]
        if unknown:
            raise UserError(f"{folder} has no runs of {column} {some(map(str, unknown))}; recorded: "
                            f"{', '.join(map(str, known))}.")
        wanted &= states[column].isin(known if chosen is None else list(chosen))
    found = read_measured(folder / SCORES)
    others = found.loc[~found["score_digest"].isin(states["score_digest"]), "run"].unique().tolist()
    left_out = [f"left out, since they are not of this suite: {some(others, 3)}"] if others else []
    described = json.loads(protocols_path(folder / SCORES).read_text(encoding="utf-8"))
    return _results(suite, states[wanted], found, described, left_out)
