"""ltgen_bench: benchmark generative models of images on long-tailed (class-imbalanced) data.

    import ltgen_bench as lt
    record = lt.run(lt.RunConfig.from_recipe("baselines/digits-lt/cbdm.toml", seed=3)).record
    scores = lt.evaluate("samples.npz", dataset="digits-lt").table
    published = lt.read_leaderboard("results/published/generation.csv")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltgen_bench.api import evaluate, run
    from ltgen_bench.config.schema import DataConfig, EvaluateConfig, RunConfig
    from ltgen_bench.data import ImageSet, LongTailDataset, SampleSet, load_dataset
    from ltgen_bench.evaluation.scores import Scores
    from ltgen_bench.records.published import read_leaderboard
    from ltgen_bench.records.run_record import RunRecord

__version__ = "0.1.0"

# Looked up when they are first used, so that `import ltgen_bench` and the command line's help wait for nothing.
_FRONT = {
    "evaluate": "ltgen_bench.api", "run": "ltgen_bench.api",
    "DataConfig": "ltgen_bench.config.schema", "EvaluateConfig": "ltgen_bench.config.schema",
    "RunConfig": "ltgen_bench.config.schema",
    "ImageSet": "ltgen_bench.data", "LongTailDataset": "ltgen_bench.data", "SampleSet": "ltgen_bench.data",
    "load_dataset": "ltgen_bench.data", "Scores": "ltgen_bench.evaluation.scores",
    "read_leaderboard": "ltgen_bench.records.published", "RunRecord": "ltgen_bench.records.run_record",
}

__all__ = ["DataConfig", "EvaluateConfig", "ImageSet", "LongTailDataset", "RunConfig", "RunRecord", "SampleSet", "Scores",
           "evaluate", "load_dataset", "read_leaderboard", "run"]


def __getattr__(name: str) -> Any:
    if name not in _FRONT:
        raise AttributeError(f"module 'ltgen_bench' has no attribute {name!r}")
    return getattr(importlib.import_module(_FRONT[name]), name)
