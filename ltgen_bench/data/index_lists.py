"""Reader of published index lists: lines of `PATH LABEL` that say which images a data set has, as for ImageNet-LT."""

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import file_sha256
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.user_tables import read_table, read_text
from ltgen_bench.core.words import counted, some
from ltgen_bench.data.folder_source import inner_folders, split_off
from ltgen_bench.data.listing import FileId, Listing, Part
from ltgen_bench.data.npz import HIGHEST_LABEL
from ltgen_bench.data.parts import HIDDEN, TRAIN, TRAIN_NAMES, choose_parts, find_part

BOM = "\ufeff"
TABLES = (".csv", ".tsv")
PATH_HEADS = ("path", "file", "filename", "file_name", "image", "image_path")
LABEL_HEADS = ("label", "labels")
DIGITS = 20  # labels have fewer; Python refuses to parse thousands of digits


@dataclass
class IndexList:
    """Lines of one list, and the problems of those that could not be read."""

    path: Path
    files: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    hidden: int = 0  # lines with a label that was not published


def list_indexed(root: Path, where: str, train_list: Path, test_list: Path | None, test_part: str | None = None) -> Listing:
    """List the images of index lists; paths are relative to `root`, labels are integers from 0 without gaps.

    Without a test list the folder's own part `test/CLASS/FILE` is taken, or another by the rules of `choose_parts`. Class
    names are the folders of the training images where these are one-to-one with the labels, else the labels. Raises one
    `UserError` with all faults of both lists: malformed lines, missing files, labels without images, test labels that
    training lacks.
    """
    lists = [read_index_list(path) for path in (train_list, test_list) if path is not None]
    for found in lists:
        found.files = _with_slashes(root, found.files)
    parts = [Part.of(root, found.files, found.labels) for found in lists]
    problems = [problem for found in lists for problem in found.problems]
    problems += [_absent(found, part, root) for found, part in zip(lists, parts, strict=True) if part.absent]
    problems += _repeated(lists, parts) + _label_faults(lists)
    if len(lists) == 2 and lists[1].hidden:
        problems.append(f"{lists[1].path}: {counted(lists[1].hidden, 'line')} with the label {HIDDEN}, which stands for labels "
                        "that were not published; name another list with --test-list, or leave it out and choose a part with "
                        "--test-part NAME, train (a quarter of each class) or none")
    if problems:
        raise UserError(f"{where}: the index list{'s are' if len(lists) > 1 else ' is'} not usable "
                        f"({len(problems)} problem{'s' if len(problems) > 1 else ''})", problems)
    names, digests = class_names(parts[0]), tuple(file_sha256(found.path) for found in lists)
    if len(parts) == 2:
        return Listing(where, root, "index lists", tuple(names), parts[0], parts[1], digests)
    folders = inner_folders(root)
    chosen = choose_parts(folders, test_part, where, train=find_part(folders, TRAIN_NAMES, where) or TRAIN)
    train, test = split_off(parts[0], root, names, chosen, where)
    return Listing(where, root, "index lists", tuple(names), train, test, digests, chosen.test, chosen.unread)


def read_index_list(path: Path) -> IndexList:
    """Read a list, with or without byte order marks.

    A .csv or .tsv is a table with a column of paths and one of labels. Faults of single lines are returned as problems; raises
    `UserError` for a file that is missing or no text.
    """
    if not path.is_file():
        raise UserError(f"the index list {path} could not be read: it is no plain file." if path.exists() else
                        f"there is no index list {path}.")
    try:
        lines = _table(path) if path.suffix.lower() in TABLES else _lines(path)
    except UserError as error:
        raise UserError(f"the index list {path} could not be read ({str(error).rstrip('.')}); it is a text of lines PATH LABEL, "
                        "or a .csv with the columns path and label.") from error
    found = IndexList(path)
    malformed = []
    for place, words in lines.items():
        if len(words) == 2 and words[0] and _is_label(words[1]):
            found.files.append(words[0])
            found.labels.append(int(words[1]))
        elif words:
            malformed.append(f"{place}: {' '.join(words)[:60]!r}")
            found.hidden += words[-1] == str(HIDDEN)
    if malformed:
        found.problems.append(f"{path}: {counted(len(malformed), 'line')} not PATH LABEL with a label from 0 to {HIGHEST_LABEL}: "
                              f"{some(malformed)}")
    elif not found.files:
        found.problems.append(f"{path} is empty; it has lines PATH LABEL")
    return found


def _lines(path: Path) -> dict[str, list[str]]:
    """Return `line 1`, ... -> [path, label], or the words of a malformed line."""
    lines = read_text(path, str(path)).replace(BOM, "").splitlines()
    return {f"line {number}": [word.strip() for word in line.rsplit(maxsplit=1)] for number, line in enumerate(lines, 1)}


def _table(path: Path) -> dict[str, list[str]]:
    """Return `row 1`, ... -> [path, label] of a table with the columns `path` and `label`, or with only two columns."""
    rows = {f"row {row}": [cell.strip() for cell in cells] for row, *cells in read_table(path, header=False).itertuples()}
    heads = [cell.casefold() for cell in next(iter(rows.values()))]
    chosen = [[place for place, head in enumerate(heads) if head in names] for names in (PATH_HEADS, LABEL_HEADS)]
    if all(len(places) == 1 for places in chosen):
        (first,), (second,) = chosen
        return {row: [cells[first], cells[second]] for row, cells in list(rows.items())[1:]}
    if len(heads) == 2 and _is_label(heads[1]):
        return rows
    raise UserError(f"its first row has the columns {some(heads)}, of which one must be called path and one label")


def _is_label(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < DIGITS and int(text) <= HIGHEST_LABEL


def _with_slashes(root: Path, files: list[str]) -> list[str]:
    """Return `files` with backslashes replaced by slashes, except where a file of that exact name exists."""
    return [file.replace("\\", "/") if "\\" in file and not os.path.lexists(root / file) else file for file in files]


def class_names(part: Part) -> list[str]:
    """Return a name for each label: the folder of its images where each label has one folder of its own, else the number."""
    folders: dict[int, set[str]] = {}
    for file, label in zip(part.files, part.labels.tolist(), strict=True):
        folders.setdefault(label, set()).add(PurePosixPath(file).parent.name)
    names = [next(iter(folders[label])) for label in sorted(folders)]
    if all(len(own) == 1 for own in folders.values()) and len(set(names)) == len(names) and all(names):
        return names
    return [str(label) for label in sorted(folders)]


def _absent(found: IndexList, part: Part, root: Path) -> str:
    absent = [printable(file) for file in part.absent]
    return f"{found.path}: {len(absent):,} of {counted(len(part), 'file')} not under {root}: {some(absent)}"


def _repeated(lists: list[IndexList], parts: list[Part]) -> list[str]:
    """Return messages on files that a list names twice, and on test files that are training files (by device and inode)."""
    problems = []
    first_of: list[dict[FileId | str, str]] = []
    for found, part in zip(lists, parts, strict=True):
        first: dict[FileId | str, str] = {}
        twice: dict[str, None] = {}
        for file, file_id in zip(part.files, part.file_ids, strict=True):
            key = file_id or file
            if key in first:
                twice[_pair(file, first[key])] = None
            else:
                first[key] = file
        first_of.append(first)
        if twice:
            problems.append(f"{found.path}: {counted(len(twice), 'file')} named more than once: {some(twice)}")
    both = sorted(_pair(file, first_of[0][file_id]) for file_id, file in first_of[-1].items() if file_id in first_of[0]) \
        if len(lists) == 2 else []
    if both:
        problems.append(f"{lists[1].path}: {counted(len(both), 'file')} also in {lists[0].path}: {some(both)}")
    return problems


def _pair(file: str, known: str) -> str:
    return file if file == known else f"{file} (which is {known})"


def _label_faults(lists: list[IndexList]) -> list[str]:
    """Return messages on labels without training images, and on test labels that do not occur in training."""
    train = lists[0]
    known = set(train.labels)
    if not known:
        return []
    gaps = sorted(set(range(max(known) + 1)) - known)
    problems = [f"{train.path}: labels go up to {max(known)}, and these have no image: {some(map(str, gaps))}"] if gaps else []
    for test in lists[1:]:
        strangers = sorted(set(test.labels) - known)
        if strangers:
            problems.append(f"{test.path}: it has labels that {train.path} lacks: {some(map(str, strangers))}")
    return problems
