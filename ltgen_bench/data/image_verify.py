"""Check whether image files still have the content that was read from them, and whether the cached arrays are intact."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.words import counted
from ltgen_bench.data.image_cache import (
    Entry,
    checksum,
    difference,
    entry_lock,
    hint,
    pixels_digest,
    read_entry,
    set_aside_entry,
    usable_entry,
    write_entry,
)
from ltgen_bench.data.listing import NAMED, Listing


def verify_images(listing: Listing, image_size: int | None, command: str, progress: Progress, update: bool) -> list[str]:
    """Recompute the SHA-256 of every file of a listing and of the cached arrays; returns messages.

    New sizes and times of unchanged files are recorded. Files whose content changed are read again with `update`, and otherwise
    raise a `UserError` that names them; `command` is what the user typed. Damaged arrays are made again.
    """
    with entry_lock(listing, image_size, progress):
        entry = usable_entry(listing, image_size, progress)
        if entry is None:
            entry = read_entry(listing, image_size, progress)
            return [f"{listing.where}: {_count(listing)} read now; nothing was cached to compare them with", checksum(entry)]
        counts, named = difference(entry.digests(), _digests(listing, progress))
        if any(counts.values()) and not update:
            raise UserError(f"{listing.where} has other content than the images that were read: {_words(counts)}; put the files "
                            f"back, or take them as they are now with `{command} --update`", named)
        if any(counts.values()):
            entry = read_entry(listing, image_size, progress)
            return [f"{listing.where}: {_words(counts)}; {_count(listing)} read again", *named, checksum(entry)]
        lines = [f"{listing.where}: {_count(listing)} as they were read", *_note_hints(entry, listing)]
        if not _whole(entry, listing):
            if entry.matches(listing):
                set_aside_entry(listing, image_size, "its pixels do not match their checksum", progress)
            entry = read_entry(listing, image_size, progress)
            lines.append("the cached arrays are damaged; the files are read again")
        return [*lines, checksum(entry)]


def _digests(listing: Listing, progress: Progress) -> dict[str, str]:
    """Return file -> SHA-256 of its present content. Raises `UserError` for files that cannot be read."""
    digests: dict[str, str] = {}
    faults: list[str] = []

    def digest(file: str) -> str | OSError:
        try:
            return hashlib.sha256(listing.content(file)).hexdigest()
        except OSError as error:
            return error

    for name, part in listing.parts.items():
        with progress.stage(f"verify {name}", len(part), "images") as stage, ThreadPoolExecutor() as pool:
            for file, found in zip(part.files, pool.map(digest, part.files), strict=True):
                if isinstance(found, str):
                    digests[file] = found
                else:
                    faults.append(f"{listing.root / file}: {found.strerror or found}")
                stage.advance(1)
    if faults:
        raise UserError(f"{listing.where}: {counted(len(faults), 'file')} could not be read", faults[:NAMED])
    return digests


def _note_hints(entry: Entry, listing: Listing) -> list[str]:
    """Record sizes and times of files whose content is unchanged; returns messages."""
    if entry.matches(listing):
        return []
    if any(entry.part(name)["files"] != list(part.files) for name, part in listing.parts.items()):
        return []  # in another order: the arrays do not match, and are made again
    before = entry.hints()
    touched = 0
    for name, part in listing.parts.items():
        touched += sum(before[file] != (size, time) for file, size, time in
                       zip(part.files, part.sizes.tolist(), part.times.tolist(), strict=True))
        entry.facts["parts"][name] |= hint(part)
    write_entry(entry)
    return [f"{counted(touched, 'file')} with another time than when they were read, which is noted"]


def _whole(entry: Entry, listing: Listing) -> bool:
    """Return whether the arrays match their checksums and the listing."""
    return entry.matches(listing) and all(
        pixels_digest(np.load(entry.array_path(name), mmap_mode="r")) == entry.part(name)["pixels"] for name in listing.parts)


def _count(listing: Listing) -> str:
    return f"{len(listing.train):,} training and {len(listing.test):,} test images"


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{counted(count, 'file')} {word}" for word, count in counts.items() if count)
