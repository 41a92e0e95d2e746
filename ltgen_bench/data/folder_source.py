"""Reader of folders of class folders, the layout of users' own images."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.words import some
from ltgen_bench.data.class_files import Inventory
from ltgen_bench.data.listing import Listing, Part, class_folders, hold_out, is_hidden
from ltgen_bench.data.parts import NONE, TRAIN, TRAIN_NAMES, Parts, choose_parts, find_part


def list_folder(root: Path, where: str, test_part: str | None = None) -> Listing:
    """List `ROOT/train/CLASS/FILE` and `ROOT/test/CLASS/FILE`, or another test part by the rules of `choose_parts`.

    Classes are in the order of `in_order`, images in that of their sorted file names. Raises `UserError` for a missing folder, a
    class without images, and classes of the test part that are not in the training part.
    """
    folders = inner_folders(root)
    if not find_part(folders, TRAIN_NAMES, where):
        raise UserError(f"{where}: there is no folder {root / 'train'}; images are expected as {root}/train/CLASS/FILE and "
                        f"{root}/test/CLASS/FILE.")
    parts = choose_parts(folders, test_part, where)
    class_names = class_folders(root / parts.train)
    train, test = split_off(list_classes(root, parts.train, class_names), root, class_names, parts, where)
    return Listing(where, root, "folder", tuple(class_names), train, test, (), parts.test, parts.unread)


def inner_folders(root: Path) -> list[str]:
    """Return the sorted names of the folders in `root` that are not hidden; empty where `root` does not exist."""
    paths = root.iterdir() if root.is_dir() else []
    return sorted(path.name for path in paths if path.is_dir() and not is_hidden(path.name))


def split_off(train: Part, root: Path, class_names: list[str], parts: Parts, where: str) -> tuple[Part, Part]:
    """Return (training part, test part) by `parts`: a folder `ROOT/PART/CLASS/FILE`, a share of `train`, or none."""
    if parts.test in (TRAIN, NONE):
        return hold_out(train, parts.test)
    inside = inner_folders(root / parts.test)
    strangers = sorted(set(inside) - set(class_names))
    if strangers:
        raise UserError(f"{where}: {parts.test} has classes that {parts.train} lacks: {some(strangers)}. Where its images have "
                        f"no labels, choose another part: {parts.alternatives}.")
    if not inside:
        raise UserError(f"{where}: {root / parts.test} has no class folders, so that the labels of its images are hidden; choose "
                        f"another part as test: {parts.alternatives}.")
    return train, list_classes(root, parts.test, class_names)


def list_classes(root: Path, part: str, class_names: list[str], inner: str = "") -> Part:
    """Return the image files `ROOT/PART/CLASS/FILE` of every class, or those in the folder `inner` of each class folder.

    Raises `UserError` for a class without images, and for misplaced or unreadable files.
    """
    inventory = Inventory(str(root / part))
    by_class = inventory.images_of(root / part, class_names, inner)
    inventory.refuse()
    folders = {name: "/".join(filter(None, (part, name, inner))) for name in class_names}
    for name, files in by_class.items():
        if not files:
            raise UserError(f"the class folder {root / folders[name]} has no images (.jpg, .jpeg, .png, ...); add some or remove "
                            "the class.")
    labels = np.repeat(np.arange(len(by_class)), [len(files) for files in by_class.values()])
    files = [f"{folders[name]}/{file}" for name, files in by_class.items() for file in files]
    return replace(Part.of(root, files, labels), notes=inventory.notes)
