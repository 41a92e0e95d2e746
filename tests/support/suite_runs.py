"""Finished runs of a suite that were never trained: records and scores with known truth, under the digests of its plans."""

import zlib

import numpy as np
from synthetic_runs import make_record, score_rows

from ltgen_bench.data.groups import all_groups
from ltgen_bench.data.load import load_dataset
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.suite import make_suite
from ltgen_bench.runtime.context import RunContext

METRICS = ("fid", "recall", "label_accuracy", "downstream_accuracy", "downstream_recall")


def cells_of(suite, runs, methods=None, seeds=None):
    return make_suite(suite, methods or suite.methods, suite.seeds if seeds is None else seeds, lambda data: load_dataset(data),
                      runs, RunContext())


def finish(cell, skill=0.0, *, noise=0.1, of_task=0.1, metrics=METRICS):
    """Write the scores of one run: its distances to the ideal are 1 - `skill` times those of a method without skill.

    On the logarithmic scale a seed varies by `noise`, and a method in a task by `of_task`.
    """
    (plan,) = cell.cell.plans
    data, seed = plan.dataset, cell.cell.seed
    draws = np.random.default_rng([seed, zlib.crc32(f"{cell.task}/{cell.method}".encode())])
    place = np.random.default_rng(zlib.crc32(f"{cell.task}/{cell.method}".encode())).standard_normal()
    rows = score_rows("ddpm", 0, counts=data.class_counts, names=data.class_names, spread=0, metrics=metrics)
    for row in rows:
        factor = (1 - skill) * np.exp(of_task * place + noise * draws.standard_normal())
        share = row["metric"] != "fid"
        if row.get("train_data") != "real-lt":
            row["value"] = 1 - min((1 - row["value"]) * factor, 1.0) if share else row["value"] * factor
    record = make_record(cell.method, seed, metrics=metrics).model_copy(update={
        "dataset": data.name, "fingerprint": data.fingerprint, "train_digest": plan.train_digest,
        "sample_digest": plan.sample_digest, "score_digest": plan.score_digest,
        "class_counts": list(data.class_counts), "class_names": list(data.class_names),
        "groups": all_groups(list(data.class_counts))})
    plan.scores.write(record, Scores.from_rows(rows, record.protocols))
