"""Check whether image files still have the content that was read from them, and whether the cached arrays are intact."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.files import file_lock, write_checked_json
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.words import counted
from ltgen_bench.data.image_cache import (
    FACTS,
    Entry,
    checksum,
    difference,
    entry_folder,
    hint,
    hints,
    read_entry,
    set_aside_entry,
    usable_entry,
)
from ltgen_bench.data.listing import NAMED, Listing


def verify_images(listing: Listing, image_size: int | None, command: str, progress: Progress, update: bool) -> list[str]:
    """Recompute the SHA-256 of every file of a listing and of the cached arrays; returns messages.

    New sizes and times of unchanged files are recorded. Files whose content changed are read again with `update`, and otherwise
    raise a `UserError` that names them; `command` is what the user typed. Damaged arrays are made again.
    """
    total = f"{len(listing.train):,} training and {len(listing.test):,} test images"
    with file_lock(entry_folder(listing, image_size), progress.say):
        entry = usable_entry(listing, image_size, progress)
        if entry is None:
            entry = read_entry(listing, image_size, progress)
            return [f"{listing.where}: {total} read now; nothing was cached to compare them with", checksum(entry)]
        counts, named = difference(entry.digests(), _digests(listing, progress))
        if counts:
            words = ", ".join(f"{counted(count, 'file')} {word}" for word, count in counts.items())
            if not update:
                raise UserError(f"{listing.where} has other content than the images that were read: {words}; put the files "
                                f"back, or take them as they are now with `{command} --update`", named)
            entry = read_entry(listing, image_size, progress)
            return [f"{listing.where}: {words}; {total} read again", *named, checksum(entry)]
        lines = [f"{listing.where}: {total} as they were read", *_note_hints(entry, listing)]
        try:
            if entry.matches(listing):
                entry.arrays(SILENT, memory_share=0.0)
            else:
                lines.append("the files are in another order, and are read again")
                entry = read_entry(listing, image_size, progress)
        except DamagedError as error:
            set_aside_entry(entry.folder, error, listing, progress)
            entry = read_entry(listing, image_size, progress)
            lines.append("the cached arrays are damaged; the files are read again")
        return [*lines, checksum(entry)]


def _digests(listing: Listing, progress: Progress) -> dict[str, str]:
    """Return file -> SHA-256 of its present content. Raises `UserError` for files that cannot be read."""
    digests = {file: "" for part in listing.parts.values() for file in part.files}
    faults: list[str] = []

    def add(file: str) -> None:
        try:
            digests[file] = hashlib.sha256(listing.content(file)).hexdigest()
        except OSError as error:
            faults.append(f"{listing.root / file}: {error.strerror or error}")

    for name, part in listing.parts.items():
        with progress.stage(f"verify {name}", len(part), "images") as stage, ThreadPoolExecutor() as pool:
            for _ in pool.map(add, part.files):
                stage.advance(1)
    if faults:
        raise UserError(f"{listing.where}: {counted(len(faults), 'file')} could not be read", sorted(faults)[:NAMED])
    return digests


def _note_hints(entry: Entry, listing: Listing) -> list[str]:
    """Record sizes and times of files whose content is unchanged; returns messages."""
    now = {name: hint(part) for name, part in listing.parts.items()}
    before, after = hints(entry.parts.values()), hints(now.values())
    touched = sum(before[file] != after[file] for file in after)
    if not touched or any(entry.parts[name]["files"] != own["files"] for name, own in now.items()):
        return []
    for name, own in now.items():
        entry.parts[name].update(own)
    write_checked_json(entry.folder / FACTS, entry.facts)
    return [f"{counted(touched, 'file')} with another time than when they were read, which is noted"]
