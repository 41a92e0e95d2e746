"""Reader of label files for sample arrays: a row per image of a table or text, or an array."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.user_tables import read_table, read_text
from ltgen_bench.core.words import counted, some
from ltgen_bench.data.class_labels import LabelsAre, label_numbers, numbers_are_names

if TYPE_CHECKING:
    import pandas as pd

HEADS = ("label", "labels")


def text_labels(path: Path, class_names: Sequence[str]) -> np.ndarray:
    """Return the label of each row of a table or text, as an array of text.

    A table with several columns needs one called `label`. Raises `UserError` for rows without a label, and as `read_table` does.
    """
    where = f"--labels {path}"
    texts = {row: str(text).strip() for row, text in _column(path, where, class_names).items()}
    absent = [f"row {row}" for row, text in texts.items() if not text]
    if absent:
        raise UserError(f"{where}: {len(absent):,} of {counted(len(texts), 'row')} have no label ({some(absent)}); give each "
                        "image one, or leave these images out.")
    return np.array(list(texts.values()), dtype=np.str_)


def array_labels(labels: np.ndarray, class_names: Sequence[str], where: str, are: LabelsAre | None,
                 progress: Progress) -> np.ndarray:
    """Return the labels of an array of integers or text (class names or positions) as int64; other arrays unchanged."""
    if labels.dtype.kind not in "iuU" or labels.ndim != 1:
        return labels
    values, places = np.unique(labels, return_inverse=True)
    numbers = label_numbers(map(str, values.tolist()), class_names, where, "label", are=are)
    if are is None and numbers_are_names(numbers):
        progress.say(f"{where}: labels are read as names of classes, not as positions in their order (--labels-are names "
                     "says so)")
    return np.array(list(numbers.values()), dtype=np.int64)[places]


def _column(path: Path, where: str, class_names: Sequence[str]) -> "pd.Series":
    """Return the column with the labels, indexed by row of the file."""
    import pandas as pd

    lines = pd.Series([line.strip() for line in read_text(path, where).splitlines() if line.strip()], dtype=object)
    if set(lines) <= set(class_names):  # which may hold separators
        return lines
    table = read_table(path, where, header=False)
    heads = [str(cell).strip() for cell in table.iloc[0]]
    named = [place for place, head in enumerate(heads) if head.lower() in HEADS and head not in class_names]
    if len(named) > 1:
        raise UserError(f"{where}: the columns {some(heads[place] for place in named)} may both hold the labels; leave one.")
    if not named and len(heads) > 1:
        raise UserError(f"{where}: of its {len(heads)} columns none is called 'label'; name one so in its first row.")
    return table[named[0]].iloc[1:] if named else table[0]
