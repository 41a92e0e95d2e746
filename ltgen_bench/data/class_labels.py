"""Which class a label means: the name of a class, or its position in the order of the classes."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.plain_text import printable
from ltgen_bench.data.class_names import NUMBER
from ltgen_bench.data.listing import some

FIRST_NUMBER = re.compile(r"(\D*)(\d+(?:\.\d+)?)(.*)", re.ASCII | re.DOTALL)
LabelsAre = Literal["names", "positions"]
OPTION = "--labels-are names or --labels-are positions"


def label_numbers(texts: Iterable[str], class_names: Sequence[str], where: str, word: str, *, are: LabelsAre | None = None,
                  names_first: bool = False) -> dict[str, int]:
    """Each of `texts` as a label from 0 to K - 1: all of them are names of classes, or all are positions of classes.

    A name may be written as its number (1 for `01`, or for `class_1` where all names are `class_` and a number). `are` is the
    user's word for which is meant. Without it the reading that fits all is taken; where both fit and differ, this is a
    `UserError`, but with `names_first` texts that are names letter by letter are names. Raises `UserError` that lists the
    unknown ones and the classes that are missing; `word` is what one of `texts` is called.
    """
    texts = list(texts)
    found = {how: {text: number for text in texts if (number := read(text)) is not None} for how, read in
             (("names", _Names(class_names)), ("positions", _positions(class_names).get))}
    fitting = [how for how in found if len(found[how]) == len(texts) and are in (None, how)]
    if not fitting:
        raise _unknown(texts, found, class_names, where, word, are)
    if len(fitting) == 1 or found["names"] == found["positions"]:
        return found[fitting[0]]
    exact = {_plain(name) for name in class_names}
    if names_first and all(_plain(text) in exact for text in texts):
        return found["names"]
    raise _ambiguous(found, class_names, where, word)


def number_labels(labels: np.ndarray, class_names: Sequence[str], where: str, are: LabelsAre | None) -> np.ndarray:
    """Whole numbers as labels, by the rules of `label_numbers`; those that fit neither reading come back as they are."""
    values, places = np.unique(labels, return_inverse=True)
    texts = [str(value) for value in values.tolist()]
    by_name = _Names(class_names)
    if are == "positions" or (are is None and any(by_name(text) is None for text in texts)):
        return labels
    numbers = label_numbers(texts, class_names, where, "label", are=are)
    return np.array([numbers[text] for text in texts], dtype=np.int64)[places.reshape(labels.shape)]


def are_other(numbers: Mapping[str, int]) -> bool:
    """Whether some of the texts that `label_numbers` read are numbers, and another class's position than their own."""
    return any(text.isdecimal() and Decimal(text) != number for text, number in numbers.items())


class _Names:
    """The label of the class that a text names, letter by letter or by the number in the names; None for no class."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.exact = {_plain(name): label for label, name in enumerate(class_names)} | \
            {name: label for label, name in enumerate(class_names)}
        self.by_value = {value: label for label, value in enumerate(_values(class_names))}

    def __call__(self, text: str) -> int | None:
        plain = _plain(text)
        if text in self.exact or plain in self.exact:
            return self.exact[text if text in self.exact else plain]
        return self.by_value.get(Decimal(plain)) if NUMBER.fullmatch(plain) else None


def _positions(class_names: Sequence[str]) -> Mapping[str, int]:
    return {str(label): label for label in range(len(class_names))}


def _values(class_names: Sequence[str]) -> list[Decimal]:
    """The number in each name, where all names are numbers or begin with the same text and a number; else nothing."""
    names = [_plain(name) for name in class_names]
    if all(NUMBER.fullmatch(name) for name in names):
        values = [Decimal(name) for name in names]
    else:
        parts = [FIRST_NUMBER.fullmatch(name) for name in names]
        found = [part for part in parts if part is not None]
        if len(found) < len(names) or len({part[1] for part in found}) > 1:
            return []
        values = [Decimal(part[2]) for part in found]
    return values if len(set(values)) == len(values) else []


def _plain(text: str) -> str:
    """As the classes of a data set are called, without spaces around, and letters with marks in one form.

    File systems and spreadsheets write such letters in two forms.
    """
    return unicodedata.normalize("NFC", printable(text).strip())


def _ambiguous(found: Mapping[str, Mapping[str, int]], class_names: Sequence[str], where: str, word: str) -> UserError:
    names, positions = found["names"], found["positions"]
    texts = [text for text in names if names[text] != positions[text]]
    first = texts[0]
    return UserError(f"{where}: the {word}{'' if len(texts) == 1 else 's'} {some(texts)} may mean names of classes or positions "
                     f"in their order ({first} names the class '{class_names[names[first]]}', and at position {first}, counted "
                     f"from 0, stands '{class_names[positions[first]]}'); say which with {OPTION}.")


def _unknown(texts: Sequence[str], found: Mapping[str, Mapping[str, int]], class_names: Sequence[str], where: str, word: str,
             are: LabelsAre | None) -> UserError:
    likelier: str = are or max(found, key=lambda how: len(found[how]))
    unknown = [f"'{printable(text)}'" for text in texts if text not in found[likelier]]
    known = class_names if likelier == "names" else list(map(str, range(len(class_names))))
    missing = [name for label, name in enumerate(known) if label not in found[likelier].values()]
    lacks = f"; of the classes {some(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""
    allowed = {"names": f"the names of the classes ({some(class_names)})", "positions": f"the labels 0 to {len(class_names) - 1}"}
    return UserError(f"{where}: unknown {word}{'' if len(unknown) == 1 else 's'} {some(unknown)}{lacks}. Known are "
                     f"{allowed[are] if are else ', or '.join(allowed.values())}.")
