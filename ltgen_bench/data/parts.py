"""Choice of the test part of a user's own data: `test`, else a validation part, else a quarter of the training images."""

from collections.abc import Iterable
from dataclasses import dataclass

from ltgen_bench.core.errors import UserError, did_you_mean

TRAIN_NAMES = ("train", "training")  # in any case
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation", "dev")
TRAIN = "train"  # as a test part: hold out a quarter of each class of the training images
NONE = "none"  # no test part: nothing is held out
NAMED = 3  # largest number of other parts in a message
HIDDEN = -1  # the label of images whose labels were not published


@dataclass(frozen=True)
class Parts:
    """Names of the parts for training and testing, and of those that are not read.

    `test` may also be TRAIN, for a quarter of the training images, or NONE.
    """

    train: str
    test: str
    unread: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """The parts that are read."""
        return (self.train,) if self.test in (TRAIN, NONE) else (self.train, self.test)

    @property
    def alternatives(self) -> str:
        """Alternatives for the test part, as the end of a sentence."""
        others = [f"--test-part {name}" for name in self.unread[:NAMED]]
        return ", or ".join([*others, "--test-part train (a quarter of each class of the training images)",
                             "--test-part none (then scores that need held-out images are not available)"])


def choose_parts(present: Iterable[str], asked: str | None, where: str, *, train: str = "", word: str = "part") -> Parts:
    """Return the training and the test part among `present`; `asked` is the user's choice of the test part.

    `train` is the name of the training part where it is known. `word` is the noun for a part in messages. Case is ignored. Raises
    `UserError` where there is no training part, several parts may serve as test, or `asked` does not exist.
    """
    names = sorted(present)
    train = train or find_part(names, TRAIN_NAMES, where)
    others = [name for name in names if name != train]
    if not train:
        raise UserError(f"{where} has no {word} 'train'; it has: {', '.join(names) or 'nothing'}.")
    if asked is None:
        test = find_part(others, TEST_NAMES, where) or find_part(others, VALIDATION_NAMES, where) or TRAIN
    elif asked in (NONE, TRAIN, *others):
        test = asked
    else:
        alike = [name for name in others if name.casefold() == asked.casefold()]
        if len(alike) != 1:
            raise UserError(f"{where}: there is no {word} '{asked}' that can serve as test."
                            f"{did_you_mean(asked, [*others, TRAIN, NONE])} --test-part takes: {', '.join([*others, TRAIN])} "
                            "(a quarter of each class is held out) or none.")
        test = alike[0]
    return Parts(train, test, tuple(name for name in others if name != test))


def find_part(present: Iterable[str], names: tuple[str, ...], where: str) -> str:
    """Return the name in `present` that is one of `names`, ignoring case; empty without one.

    Exact spellings, `train` and `test` are preferred. Raises `UserError` where two are equally likely.
    """
    present = list(present)
    found = [name for name in names if name in present] or [name for name in present if name.casefold() in names]
    if len(found) > 1 and found[0] not in (TRAIN_NAMES[0], TEST_NAMES[0]):
        cure = "rename all but one" if names is TRAIN_NAMES else \
            f"say which serves as test with --test-part {found[0]}, or --test-part {found[1]}"
        raise UserError(f"{where} has several parts that may be the {names[0]} part: {', '.join(found)}; {cure}.")
    return found[0] if found else ""


def origin_words(test_part: str) -> str:
    """Return what the test images are: `the held-out test set`, or the part that serves as test."""
    if test_part == NONE:
        return "none, so that scores which need held-out images are not available"
    if test_part == TRAIN:
        return "a quarter of each class of the training images, held out"
    return "the held-out test set" if test_part == "test" else f"the part '{test_part}', which serves as test"
