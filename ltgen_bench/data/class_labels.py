"""Interpretation of labels as names of classes or as positions in the order of the classes."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import some
from ltgen_bench.data.class_names import NUMBER

FIRST_NUMBER = re.compile(r"(\D*)(\d+(?:\.\d+)?)(.*)", re.ASCII | re.DOTALL)
LabelsAre = Literal["names", "positions"]
OPTION = "--labels-are names or --labels-are positions"


def label_numbers(texts: Iterable[str], class_names: Sequence[str], where: str, word: str, *, are: LabelsAre | None = None,
                  names_first: bool = False) -> dict[str, int]:
    """Return text -> label (0 to K - 1), reading all of `texts` as names of classes, or all as positions.

    A name may be written as its number (1 for `01`, or for `class_1` where all names are `class_` and a number). `are` is the
    user's choice. Without it the interpretation that fits all texts is taken; where both fit and differ, `UserError` is raised,
    unless `names_first` is set and all texts are exact names. Raises `UserError` with unknown labels and missing classes; `word`
    is the noun for one of `texts` in messages.
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


def numbers_are_names(numbers: Mapping[str, int]) -> bool:
    """Return whether `label_numbers` read a number as the name of a class at another position."""
    return any(text.isdecimal() and Decimal(text) != number for text, number in numbers.items())


class _Names:
    """Map a text to the label of the class it names, exactly or by the number in the name; None for no class."""

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
    """Return the number in each name, where all names are numbers or a common text and a number; else an empty list."""
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
    """Return `text` stripped and in Unicode normal form C, since file systems and spreadsheets write accents in two forms."""
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
