"""Reader of label files for sample arrays: a row per image of a table or text, or an array."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.user_tables import read_table, read_text
from ltgen_bench.core.words import counted, some
from ltgen_bench.data.class_labels import LabelsAre, label_numbers, number_labels, numbers_are_names

if TYPE_CHECKING:
    import pandas as pd

HEADS = ("label", "labels")


def text_labels(path: Path, class_names: Sequence[str], are: LabelsAre | None, progress: Progress) -> np.ndarray:
    """Return int64 [N]: the label of each row of a table or text, given as a class name or position.

    A table with several columns needs one called `label`. Raises `UserError` for rows without a label, and as `read_table` and
    `label_numbers` do.
    """
    where = f"--labels {path}"
    texts = {row: str(text).strip() for row, text in _column(path, where, class_names).items()}
    absent = [f"row {row}" for row, text in texts.items() if not text]
    if absent:
        raise UserError(f"{where}: {len(absent):,} of {counted(len(texts), 'row')} have no label ({some(absent)}); give each "
                        "image one, or leave these images out.")
    numbers = label_numbers(dict.fromkeys(texts.values()), class_names, where, "label", are=are)
    if are is None and numbers_are_names(numbers):
        _say_names(where, progress)
    return np.array([numbers[text] for text in texts.values()], dtype=np.int64)


def array_labels(labels: np.ndarray, class_names: Sequence[str], where: str, are: LabelsAre | None,
                 progress: Progress) -> np.ndarray:
    """Return the labels of an array of integers (class names or positions) or of class names as text; others unchanged."""
    if labels.dtype.kind == "U" and labels.ndim == 1:
        numbers = label_numbers(dict.fromkeys(labels.tolist()), class_names, where, "label", are=are)
        found = np.array([numbers[text] for text in labels.tolist()], dtype=np.int64)
        different = numbers_are_names(numbers)
    elif labels.dtype.kind in "iu":
        found = number_labels(labels, class_names, where, are)
        different = not np.array_equal(found, labels)
    else:
        return labels
    if are is None and different:
        _say_names(where, progress)
    return found


def _say_names(where: str, progress: Progress) -> None:
    progress.say(f"{where}: labels are read as names of classes, not as positions in their order (--labels-are names says so)")


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
