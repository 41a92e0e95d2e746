"""Readers of the layouts of Tiny ImageNet, CUB-200-2011 and iNaturalist 2018, as their authors distribute them."""

import json
from collections.abc import Sequence
from pathlib import Path

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import file_sha256
from ltgen_bench.core.user_tables import read_text
from ltgen_bench.core.words import counted, some
from ltgen_bench.data.folder_source import list_classes
from ltgen_bench.data.listing import Listing, Part, class_folders

TINY_LIST = "val/val_annotations.txt"
CUB_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
INATURALIST_LISTS = ("train2018.json", "val2018.json")


def list_tiny_imagenet(root: Path, where: str) -> Listing:
    """List `train/<wnid>/images/*.JPEG`, and `val/images` with `val_annotations.txt` as the test part. Classes are the wnids."""
    if not (root / "train").is_dir() or not (root / TINY_LIST).is_file():
        raise UserError(f"{where}: {root} has no train/<wnid>/images/ or no {TINY_LIST}; unpack tiny-imagenet-200.zip there.")
    wnids = class_folders(root / "train")
    train = list_classes(root, "train", wnids, inner="images")
    named = [row[:2] for row in _rows(root / TINY_LIST)]
    strangers = sorted({wnid for _, wnid in named} - set(wnids))
    if strangers:
        raise UserError(f"{where}: {TINY_LIST} has classes that train lacks: {some(strangers)}.")
    label = {wnid: number for number, wnid in enumerate(wnids)}
    test = _part(root, where, TINY_LIST, [f"val/images/{file}" for file, _ in named], [label[wnid] for _, wnid in named])
    return Listing(where, root, "tiny-imagenet", tuple(wnids), train, test, (file_sha256(root / TINY_LIST),))


def list_cub(root: Path, where: str) -> Listing:
    """List the images of `images.txt`, `image_class_labels.txt` and `train_test_split.txt`. Classes are the image folders."""
    _check_lists(root, where, CUB_LISTS, "unpack CUB_200_2011.tgz there")
    files, labels, trains = (dict(row[:2] for row in _rows(root / name)) for name in CUB_LISTS)
    if not files.keys() == labels.keys() == trains.keys():
        raise UserError(f"{where}: {some(CUB_LISTS)} of {root} do not number the same images; unpack them again.")
    class_names = sorted({file.partition("/")[0] for file in files.values()})  # they begin with the label
    parts = []
    for flag in ("1", "0"):
        own = [files[number] for number in files if trains[number] == flag]
        parts.append(_part(root, where, CUB_LISTS[0], [f"images/{file}" for file in own],
                           [class_names.index(file.partition("/")[0]) for file in own]))
    return Listing(where, root, "cub", tuple(class_names), parts[0], parts[1],
                   tuple(file_sha256(root / name) for name in CUB_LISTS))


def list_inaturalist(root: Path, where: str) -> Listing:
    """List the images of `train2018.json` and `val2018.json`. Classes are named by the ids of their categories."""
    _check_lists(root, where, INATURALIST_LISTS, "put them there, or the lists iNaturalist18_train.txt and "
                 "iNaturalist18_val.txt, or name lists with --index-list and --test-list")
    train, test = (_annotations(root / name) for name in INATURALIST_LISTS)
    index = {category: label for label, category in enumerate(sorted({category for _, category in train}))}
    strangers = sorted({category for _, category in test} - index.keys())
    if strangers:
        raise UserError(f"{where}: {INATURALIST_LISTS[1]} has categories that {INATURALIST_LISTS[0]} lacks: "
                        f"{some(map(str, strangers))}.")
    parts = [_part(root, where, name, [file for file, _ in own], [index[category] for _, category in own])
             for name, own in zip(INATURALIST_LISTS, (train, test), strict=True)]
    return Listing(where, root, "inaturalist", tuple(map(str, index)), parts[0], parts[1],
                   tuple(file_sha256(root / name) for name in INATURALIST_LISTS))


def _check_lists(root: Path, where: str, names: Sequence[str], cure: str) -> None:
    absent = [name for name in names if not (root / name).is_file()]
    if absent:
        raise UserError(f"{where}: {root} has no {some(absent)}; {cure}.")


def _part(root: Path, where: str, source: str, files: Sequence[str], labels: Sequence[int]) -> Part:
    """Return the part with the files that the list `source` names. Raises `UserError` where there are none or some missing."""
    if not files:
        raise UserError(f"{where}: {root / source} names no images; unpack the archive again.")
    part = Part.of(root, files, labels)
    if part.absent:
        raise UserError(f"{where}: {len(part.absent):,} of {counted(len(part), 'file')} that {source} names not under {root}: "
                        f"{some(part.absent)}; unpack the archive again.")
    return part


def _rows(path: Path) -> list[list[str]]:
    """Return the words of each line. Raises `UserError` for a line of fewer than two."""
    try:
        rows = [line.split() for line in read_text(path).splitlines()]
    except UserError as error:
        raise UserError(f"{path} could not be read ({str(error).rstrip('.')}); unpack it again.") from error
    short = [number for number, row in enumerate(rows, 1) if len(row) == 1]
    if short:
        raise UserError(f"{path}: {counted(len(short), 'line')} of one word, where two are needed; the first is line {short[0]}.")
    return [row for row in rows if row]


def _annotations(path: Path) -> list[tuple[str, int]]:
    """Return (file, category) of each image of a JSON file in COCO's format, in order."""
    try:
        values = json.loads(read_text(path))
        category = {int(row["image_id"]): int(row["category_id"]) for row in values["annotations"]}
        return [(str(row["file_name"]), category[int(row["id"])]) for row in values["images"]]
    except (UserError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not the published list of images and annotations ({type(error).__name__}: {error}); "
                        "get it again.") from error
