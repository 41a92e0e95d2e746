"""One figure beside its reference and its target. Ratios compare what ran on the same machine in the same minutes."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

COLUMNS = ("stage", "what", "size", "unit", "value", "against", "reference", "ratio", "target", "target_at", "met", "difference",
           "memory_mb", "reference_memory_mb")
MORE_IS_BETTER = ("images/s", "TFLOP/s", "%")


@dataclass(frozen=True)
class Target:
    """What a row's `ratio` to its reference or its `value` must reach.

    `elsewhere` says at which size the target was set where the row is of another one; such a row is not judged.
    """

    figure: Literal["ratio", "value"]
    bound: Literal[">=", "<="]
    number: float
    elsewhere: str = ""

    @classmethod
    def at(cls, size: str, here: str, figure: Literal["ratio", "value"], bound: Literal[">=", "<="],
           number: float) -> "Target":
        """A target that was set at `size`, of a row that was measured at `here`."""
        return cls(figure, bound, number, "" if size == here else size)


@dataclass(frozen=True)
class SpeedRow:
    """`value` is ours and `reference` that of `against`, both in `unit`; "x" is a cost, in that of the reference.

    The ratio is how many times as good ours is: as fast, or as small. `difference` is the largest between the results of
    the two, and `tolerance` what it may be. The memory of both is the peak beyond the input, in 10^6 bytes.
    """

    stage: str
    what: str
    size: str
    unit: Literal["s", "ms", "MB", "GFLOP", "images/s", "TFLOP/s", "%", "x"]
    value: float
    target: Target | None = None
    against: str = ""
    reference: float = math.nan
    difference: float = math.nan
    tolerance: float = math.inf
    memory_mb: float = math.nan
    reference_memory_mb: float = math.nan

    @property
    def ratio(self) -> float:
        """How many times as good as the reference; NaN without one."""
        return self.value / self.reference if self.unit in MORE_IS_BETTER else self.reference / max(self.value, 1e-9)

    @property
    def agrees(self) -> bool:
        """Whether the results are those of the reference, where there is one."""
        return not self.difference > self.tolerance

    @property
    def met(self) -> bool | None:
        """Whether the target is met with results that agree; None without a target of this size."""
        if not self.agrees:
            return False
        if self.target is None or self.target.elsewhere:
            return None
        found = self.ratio if self.target.figure == "ratio" else self.value
        return found >= self.target.number if self.target.bound == ">=" else found <= self.target.number

    @property
    def target_words(self) -> str:
        """The target as it stands in a table."""
        if self.target is None:
            return ""
        unit = "x" if self.target.figure == "ratio" else self.unit
        return f"{self.target.bound} {round(self.target.number, 2):,g} {unit}"


def comma_separated(rows: Sequence[SpeedRow], machine: Mapping[str, object]) -> str:
    """CSV with a line a row and the facts of the machine behind it; an empty cell is what was not measured."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *machine])
    for row in rows:
        facts: dict[str, object] = {**vars(row), "ratio": row.ratio, "target": row.target_words, "met": row.met,
                                    "target_at": row.target.elsewhere if row.target else ""}
        writer.writerow([_cell(facts[column]) for column in COLUMNS] + [str(value) for value in machine.values()])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
