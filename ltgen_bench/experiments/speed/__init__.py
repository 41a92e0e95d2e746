"""Speed and memory of training, sampling and evaluation on this machine.

STAGES has the stages by name. A stage makes its measurements and returns rows.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ltgen_bench.core.registry import Registry

if TYPE_CHECKING:
    from ltgen_bench.core.progress import Progress
    from ltgen_bench.experiments.speed.speed_rows import Conditions, SpeedRow

STAGES: "Registry[Callable[[Conditions, Progress], list[SpeedRow]]]" = Registry("stage", "")
STAGES.add("train", "ltgen_bench.experiments.speed.training_rates:train_stage")
STAGES.add("sample", "ltgen_bench.experiments.speed.sampler_rates:sample_stage")
STAGES.add("evaluate", "ltgen_bench.experiments.speed.evaluator_rates:evaluate_stage")
STAGES.add("methods", "ltgen_bench.experiments.speed.training_rates:methods_stage")
