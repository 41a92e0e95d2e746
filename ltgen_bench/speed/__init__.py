"""How fast this program is on this machine, beside plain references measured in the same run.

STAGES has the stages by name. A stage measures its jobs, each in a process of its own, and returns rows.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ltgen_bench.registry import Registry

if TYPE_CHECKING:
    from ltgen_bench.progress import Progress
    from ltgen_bench.speed.conditions import Conditions
    from ltgen_bench.speed.rows import SpeedRow

STAGES: "Registry[Callable[[Conditions, Progress], list[SpeedRow]]]" = Registry("stage", "")
STAGES.add("train", "ltgen_bench.speed.train:train_stage")
STAGES.add("sample", "ltgen_bench.speed.sample:sample_stage")
STAGES.add("evaluate", "ltgen_bench.speed.evaluate:evaluate_stage")
STAGES.add("methods", "ltgen_bench.speed.methods:methods_stage")
