"""Data sets that torchvision downloads and reads: CIFAR-10 and -100, MNIST, Fashion-MNIST and SVHN."""

import gzip
import hashlib
import http.client
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.words import counted
from ltgen_bench.data.class_names import DIGITS
from ltgen_bench.data.images import ImageSet
from ltgen_bench.data.raw import RawData

NO_DOWNLOAD = (OSError, RuntimeError, http.client.HTTPException)  # no network, wrong checksum, incomplete download
DAMAGED = (AssertionError, ValueError, LookupError, TypeError, EOFError, zlib.error)  # raised by torchvision for truncated files
BORDER = 2  # black pixels around the 28 x 28 of MNIST, so that a network can halve the image


@dataclass(frozen=True)
class Published:
    """Published files of a set in `folder`, with their md5.

    `unpacked` are the files that torchvision unpacks from them, with their md5; None where only their archive NAME.gz tells.
    """

    folder: Path
    files: dict[str, str]
    unpacked: dict[Path, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: Any, data_root: Path) -> "Published":
        """Return the published files of a torchvision class."""
        if hasattr(kind, "tgz_md5"):
            named = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
            inner = data_root / kind.base_folder
            return cls(data_root, {kind.filename: kind.tgz_md5}, {inner / file: md5 for file, md5 in named})
        if hasattr(kind, "resources"):
            folder = data_root / kind.__name__ / "raw"
            return cls(folder, dict(kind.resources), {folder / file.removesuffix(".gz"): None for file, _ in kind.resources})
        return cls(data_root, {file: md5 for _, file, md5 in (kind.split_list[part] for part in ("train", "test"))})

    @property
    def is_packed(self) -> bool:
        """Whether all published files exist."""
        return all((self.folder / file).is_file() for file in self.files)

    @property
    def is_there(self) -> bool:
        """Whether all files exist, packed or unpacked, so that nothing needs to be downloaded."""
        return self.is_packed or (bool(self.unpacked) and all(path.parent.is_dir() for path in self.unpacked))

    @property
    def checksum(self) -> str:
        """`md5:...` of the one archive; of several files `sha256:...` over their sorted lines `NAME MD5`."""
        if len(self.files) == 1:
            return f"md5:{next(iter(self.files.values()))}"
        lines = "".join(f"{file} {md5}\n" for file, md5 in sorted(self.files.items()))
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    def is_sound(self, file: str) -> bool:
        """Return whether a published file exists and has its md5."""
        from torchvision.datasets.utils import check_integrity

        return bool(check_integrity(self.folder / file, self.files[file]))

    def differing(self) -> list[Path]:
        """Return unpacked files that differ from what their intact archive NAME.gz holds."""
        return [path for path, md5 in self.unpacked.items() if md5 is None and path.is_file()
                and self.is_sound(f"{path.name}.gz") and gzip.decompress(
                    path.with_name(f"{path.name}.gz").read_bytes()) != path.read_bytes()]


def load_torchvision(name: str, data_root: Path, progress: Progress) -> RawData:
    """Load the set of torchvision's class `name` from `data_root`, after downloading it where needed.

    Images are uint8 [N, C, 32, 32]: RGB, or the grey 28 x 28 of MNIST and Fashion-MNIST with a border of 2 black pixels. Raises
    `UserError` where files are missing and cannot be downloaded, or are damaged, with their checksums and location.
    """
    from torchvision import datasets

    kind = getattr(datasets, name)
    published = Published.of(kind, data_root)
    was_there = published.is_there
    if not was_there:
        progress.say(f"fetching {', '.join(published.files)} into {published.folder}/")
    new_folders = [folder for folder in (published.folder, *published.folder.parents) if not folder.exists()]
    for path in published.differing():  # torchvision unpacks them again
        path.unlink()
    try:
        train, class_names = _read(kind, data_root, train=True)
        test, _ = _read(kind, data_root, train=False)
    except (*NO_DOWNLOAD, *DAMAGED) as error:
        for folder in new_folders:  # torchvision created them before it failed
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        wrong = [file for file in published.files if (published.folder / file).is_file() and not published.is_sound(file)]
        found = f"{published.folder / wrong[0]} has another checksum and could not be downloaded" if wrong else \
            f"{name} under {published.folder}/ is damaged and could not be mended" if was_there else \
            f"{name} is not under {data_root}/ and could not be downloaded"
        raise UserError(f"{found} ({' '.join(str(error).split())}).\n{_cure(published, data_root)}") from error
    # Unpacked files without their archive have no published checksum: only the images identify them.
    known = published.is_packed or hasattr(kind, "tgz_md5")  # torchvision holds the unpacked CIFAR against checksums of their own
    return RawData(train, test, class_names, published.checksum if known else "")


def verify_torchvision(name: str, data_root: Path, progress: Progress) -> list[str]:
    """Recompute the md5 of the published files and check the unpacked ones against them; downloads a missing set.

    Returns messages; raises one `UserError` with all differences.
    """
    from torchvision import datasets

    kind = getattr(datasets, name)
    published = Published.of(kind, data_root)
    if not published.is_there:
        load_torchvision(name, data_root, progress)
    lines, problems = [], []
    for file, md5 in published.files.items():
        path = published.folder / file
        if not path.is_file():
            lines.append(f"{file}: not in {published.folder}/ any more, only what was unpacked from it")
        elif published.is_sound(file):
            lines.append(f"{file}: md5 {md5} as published")
        else:
            problems.append(f"{path}: md5 {_md5(path)} instead of {md5}; delete it to have it fetched again")
    unpacked = {path: md5 for path, md5 in published.unpacked.items() if md5 is not None and path.parent.is_dir()}
    problems += [f"{path}: md5 {_md5(path) if path.is_file() else 'of nothing'} instead of {md5}; the next reading mends it"
                 for path, md5 in unpacked.items() if not path.is_file() or _md5(path) != md5]
    problems += [f"{path}: not what {path.name}.gz holds; the next reading mends it" for path in published.differing()]
    if problems:
        raise UserError(f"{name}: {counted(len(problems), 'file')} not as published", problems)
    if unpacked:
        lines.append(f"{kind.base_folder}/: {len(unpacked)} files, all md5 as published")
    return lines


def _read(kind: Any, data_root: Path, *, train: bool) -> tuple[ImageSet, tuple[str, ...]]:
    """Return one part through torchvision, channels first, and the class names."""
    if hasattr(kind, "split_list"):
        part = kind(root=str(data_root), split="train" if train else "test", download=True)
        return ImageSet(np.ascontiguousarray(part.data), np.asarray(part.labels, np.int64)), DIGITS
    part = kind(root=str(data_root), train=train, download=True)
    if hasattr(kind, "resources"):
        padded = np.pad(part.data.numpy()[:, None], ((0, 0), (0, 0), (BORDER, BORDER), (BORDER, BORDER)))
        names = DIGITS if kind.__name__ == "MNIST" else tuple(kind.classes)  # torchvision's are "0 - zero" and so on
        return ImageSet(padded, part.targets.numpy().astype(np.int64)), names
    images = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
    return ImageSet(images, np.asarray(part.targets, np.int64)), tuple(part.classes)


def _md5(path: Path) -> str:
    from torchvision.datasets.utils import calculate_md5

    return str(calculate_md5(path))


def _cure(published: Published, data_root: Path) -> str:
    named = ", ".join(f"{file} (md5 {md5})" for file, md5 in published.files.items())
    inner = published.folder.relative_to(data_root).as_posix()
    place = f"the folder that has {inner}/" if inner != "." else "its folder" if len(published.files) == 1 else "their folder"
    return f"       Put {named} into {published.folder}/, or name {place} with --data-root."
