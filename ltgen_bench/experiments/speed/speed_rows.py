"""One measured figure, and the CSV of all of them."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

COLUMNS = ("stage", "what", "size", "unit", "value", "against", "reference", "ratio", "memory_mb")
MORE_IS_BETTER = ("images/s", "TFLOP/s", "%")


@dataclass(frozen=True)
class SpeedRow:
    """`value` in `unit`, with the `reference` that was measured for `against` in the same run, if there is one.

    The unit "x" is a cost as a multiple of the reference. `memory_mb` is the peak of memory beyond the input, in 10^6 bytes.
    """

    stage: str
    what: str
    size: str
    unit: Literal["s", "ms", "MB", "GFLOP", "images/s", "TFLOP/s", "%", "x"]
    value: float
    against: str = ""
    reference: float = math.nan
    memory_mb: float = math.nan

    @property
    def ratio(self) -> float:
        """Ratio to the reference, above 1 for faster or smaller; NaN without one."""
        return self.value / self.reference if self.unit in MORE_IS_BETTER else self.reference / max(self.value, 1e-9)


def comma_separated(rows: Sequence[SpeedRow], machine: Mapping[str, object]) -> str:
    """CSV with a line a row and the facts of the machine behind it; an empty cell is what was not measured."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *machine])
    writer.writerows([_cell(getattr(row, column)) for column in COLUMNS] + [str(value) for value in machine.values()]
                     for row in rows)
    return out.getvalue()


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
