"""Export of a split as an image folder for other programs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ltgen_bench.core.files import atomic_folder
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.data.class_names import in_order
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet

UNSAFE = '/\\:*?"<>|'  # in a file name, on one system or another
BLOCK = 1024


def export(dataset: LongTailDataset, folder: Path, *, reference: bool = False, progress: Progress = SILENT) -> list[Path]:
    """Write `folder`/train/CLASS/NUMBER.png, likewise test (and with `reference` the balanced set), and `split.json`.

    Returns the written paths. PNG is lossless, so `folder:FOLDER` reads the same data. NUMBER is the position in the set. Class
    folders have the class names, after the label where sorting would change the order. The folder is written atomically; raises
    `UserError` where it exists and is not empty.
    """
    parts = {"train": dataset.train, "test": dataset.test, **({"reference": dataset.reference} if reference else {})}
    parts = {part: images for part, images in parts.items() if len(images)}  # there may be no test images
    names = folder_names(dataset.class_names)
    with atomic_folder(folder, "choose a new folder with --out") as unfinished:
        for part, images in parts.items():
            _write_part(images, unfinished / part, names, progress)
        if dataset.split is not None:
            dataset.split.save(unfinished / "split.json")
    return [folder / part for part in parts]


def folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Return a folder name for each class whose sorted order is that of the labels, here and in other programs."""
    safe = ["".join("-" if c in UNSAFE or not c.isprintable() else c for c in name).strip(" .") or "class"
            for name in class_names]
    ordered = sorted(safe) == safe == in_order(safe)
    if len(set(map(str.lower, safe))) == len(safe) and ordered and not any(name.startswith(".") for name in safe):
        return safe
    digits = len(str(len(safe) - 1))
    return [f"{label:0{digits}d}-{name}" for label, name in enumerate(safe)]


def _write_part(images: ImageSet, folder: Path, names: list[str], progress: Progress) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
    digits = len(str(len(images) - 1))
    with progress.stage(f"write {folder.name}", len(images), "images") as stage, ThreadPoolExecutor() as pool:
        for start in range(0, len(images), BLOCK):
            numbers = range(start, min(start + BLOCK, len(images)))
            files = [folder / names[images.labels[i]] / f"{i:0{digits}d}.png" for i in numbers]
            for _ in pool.map(_write_png, images.images[numbers.start:numbers.stop], files):
                pass  # to raise errors
            stage.advance(len(numbers))


def _write_png(image: np.ndarray, file: Path) -> None:
    from PIL import Image

    Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))).save(file)
