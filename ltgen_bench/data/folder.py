"""A folder of class folders: the layout that a user's own images have."""

from pathlib import Path

import numpy as np

from ltgen_bench.data.listing import Listing, Part, class_folders, hold_out, image_names, some
from ltgen_bench.errors import UserError


def list_folder(root: Path, where: str) -> Listing:
    """`ROOT/train/CLASS/FILE` and `ROOT/test/CLASS/FILE`. Without `test`, a quarter of each class is held out.

    Classes stand in the order of their names (`in_order`), images in that of their sorted file names. Raises `UserError` for a
    missing folder, a class without images, and classes in `test` that `train` lacks.
    """
    if not (root / "train").is_dir():
        raise UserError(f"{where}: there is no folder {root / 'train'}; images are expected as {root}/train/CLASS/FILE and "
                        f"{root}/test/CLASS/FILE.")
    class_names = class_folders(root / "train")
    train = list_classes(root, "train", class_names)
    if (root / "test").is_dir():
        return Listing(where, root, "folder", tuple(class_names), train, list_test(root, class_names, where))
    return Listing(where, root, "folder", tuple(class_names), *hold_out(train))


def list_test(root: Path, class_names: list[str], where: str) -> Part:
    """The part `ROOT/test/CLASS/FILE`, whose classes are among `class_names`, which number them."""
    strangers = sorted(set(class_folders(root / "test")) - set(class_names))
    if strangers:
        raise UserError(f"{where}: test has classes that train lacks: {some(strangers)}.")
    return list_classes(root, "test", class_names)


def list_classes(root: Path, part: str, class_names: list[str], inner: str = "") -> Part:
    """The image files `ROOT/PART/CLASS/FILE` of every class, or those in the folder `inner` of each class folder."""
    by_class: list[list[str]] = []
    for name in class_names:
        place = "/".join(filter(None, (part, name, inner)))
        found = image_names(root / place) if (root / place).is_dir() else []
        if not found:
            raise UserError(f"the class folder {root / place} has no images (.jpg, .jpeg, .png, ...); add some or remove the "
                            "class.")
        by_class.append([f"{place}/{file}" for file in found])
    labels = np.repeat(np.arange(len(by_class)), [len(files) for files in by_class])
    return Part.of(root, [file for files in by_class for file in files], labels)
