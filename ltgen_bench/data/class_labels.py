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
    positions = {str(label): label for label in range(len(class_names))}
    found = {"names": _by_name(texts, class_names), "positions": {text: positions[text] for text in texts if text in positions}}
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


def _by_name(texts: Iterable[str], class_names: Sequence[str]) -> dict[str, int]:
    """Return text -> label of those that name a class, exactly or by the number in its name."""
    plain = {_plain(name): label for label, name in enumerate(class_names)}
    exact = plain | {name: label for label, name in enumerate(class_names)}
    found = [NUMBER.fullmatch(name) or FIRST_NUMBER.fullmatch(name) for name in plain]
    befores = {"" if part is None or part.re is NUMBER else part[1] for part in found}
    values = [Decimal(part[0] if part.re is NUMBER else part[2]) for part in found if part is not None]
    numbered = len(values) == len(class_names) == len(set(values)) and len(befores) == 1
    by_value = dict(zip(values, plain.values(), strict=True)) if numbered else {}
    numbers = {}
    for text in texts:
        own = _plain(text)
        label = exact.get(text, exact.get(own))
        label = by_value.get(Decimal(own)) if label is None and NUMBER.fullmatch(own) else label
        if label is not None:
            numbers[text] = label
    return numbers


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
