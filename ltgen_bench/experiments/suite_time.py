"""How long the runs of a suite will take: by the recorded seconds of finished ones, else by measured steps.

The training of another method takes longer by its measured cost (`ltgen-bench speed --stage methods`), all else as long.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ltgen_bench.config.schema import digest
from ltgen_bench.core.errors import Interrupted
from ltgen_bench.core.words import counted
from ltgen_bench.experiments.plan import Plan
from ltgen_bench.experiments.speed.speed_rows import shipped_costs
from ltgen_bench.experiments.suite import SuiteCell
from ltgen_bench.runtime.context import RunContext


@dataclass(frozen=True)
class Timed:
    """Seconds of one run: recorded for a run of `task`, or measured (without a task)."""

    task: str
    method: str
    work: str  # equal for runs that do the same, but for method, seed and class counts
    train: float
    rest: float  # sampling and evaluation


@dataclass(frozen=True)
class TimeLeft:
    """What is left of a suite: `seconds` of the runs of which something is known (None: of none), and the number `unknown` of the
    others. `basis` says how it was found."""

    done: int
    of: int
    seconds: float | None
    unknown: int
    basis: str

    def words(self, jobs: int) -> str:
        """Return `12 of 390 runs done; about 5:40:00 left (...)`."""
        head = f"{self.done} of {self.of} runs done"
        if self.done == self.of:
            return head
        if self.seconds is None:
            return f"{head}; the time left is not known before one is finished"
        at_once = f", {jobs} at a time" if jobs > 1 else ""
        more = f", and {counted(self.unknown, 'run')} of which nothing is known" if self.unknown else ""
        return f"{head}; about {timedelta(seconds=round(self.seconds / jobs))} left{at_once} ({self.basis}){more}"


def work_of(plan: Plan) -> str:
    """Return a digest of what decides how long a run takes, besides its method and the class counts."""
    stated = plan.config.model_dump(mode="json", exclude={"data", "seed", "method", "source", "reported"})
    stated["sample"] |= {"omega": plan.config.sample.omega > 0, "seed": 0}
    return digest([plan.dataset.image_shape, plan.dataset.num_classes, stated])


def _recorded(one: SuiteCell, work: str) -> Timed:
    """Return the seconds of a finished run; with several evaluation settings training and sampling count once."""
    stages = [stage for number, plan in enumerate(one.cell.plans) for stage in plan.scores.read()[0].stages
              if number == 0 or stage.name == "evaluate"]
    train = sum(stage.seconds for stage in stages if stage.name == "train")
    return Timed(one.task, one.method, work, train, sum(stage.seconds for stage in stages) - train)


class Times:
    """The known times of the runs of a suite, and what they say of the others."""

    def __init__(self, cells: Sequence[SuiteCell]) -> None:
        self.cells = [(one, work_of(one.cell.plans[0])) for one in cells if one.cell.plans]
        self.costs: Mapping[str, float] = shipped_costs().relative
        self.measured: list[Timed] = []
        self.recorded: dict[int, Timed] = {}  # by the position of the run

    def measure(self, context: RunContext) -> None:
        """Try a few steps of runs of which no finished one says how long they take. Writes nothing."""
        from ltgen_bench.experiments.speed_probe import estimate

        self._look()
        tried = set()
        for number, (one, work) in enumerate(self.cells):
            if number not in self.recorded and (one.method, work) not in tried and self._seconds(one, work) is None:
                tried.add((one.method, work))
                try:
                    found = estimate(one.cell.plans[0], context.device)
                except Interrupted:
                    raise
                except Exception as error:  # noqa: BLE001  (its run fails too, and says why in its folder)
                    context.progress.say(f"{one.cell.words}: its time could not be measured: {error}")
                    continue
                self.measured.append(Timed("", one.method, work, found.train_seconds,
                                           found.sample_seconds + found.evaluate_seconds))

    def left(self) -> TimeLeft:
        """Return what is left now."""
        self._look()
        each = [self._seconds(one, work) for number, (one, work) in enumerate(self.cells) if number not in self.recorded]
        seconds = [one for one in each if one is not None]
        basis = f"by the seconds of {counted(len(self.recorded), 'finished run')}" if self.recorded else \
            "by measured steps on this machine"
        return TimeLeft(len(self.recorded), len(self.cells), sum(seconds) if seconds or not each else None,
                        len(each) - len(seconds), basis)

    def _look(self) -> None:
        """Read the records of the runs that were finished since."""
        for number, (one, work) in enumerate(self.cells):
            if number not in self.recorded and one.cell.finished:
                self.recorded[number] = _recorded(one, work)

    def _seconds(self, one: SuiteCell, work: str) -> float | None:
        """Return the median of runs of this task and method, else of this method, else of others by their cost."""
        alike = [timed for timed in (*self.recorded.values(), *self.measured) if timed.work == work]
        of_method = [timed for timed in alike if timed.method == one.method]
        same = [timed for timed in of_method if timed.task == one.task] or of_method
        if same:
            return statistics.median(timed.train + timed.rest for timed in same)
        scaled = [timed for timed in alike if timed.method in self.costs]
        if one.method not in self.costs or not scaled:
            return None
        train = statistics.median(timed.train / self.costs[timed.method] for timed in scaled)
        return train * self.costs[one.method] + statistics.median(timed.rest for timed in scaled)
