"""Loading and verification of each form of data set (arrays, image files), and the options that it accepts."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.data.folder_source import list_folder
from ltgen_bench.data.hub import list_hub
from ltgen_bench.data.image_cache import load_images
from ltgen_bench.data.image_verify import verify_images
from ltgen_bench.data.index_lists import list_indexed
from ltgen_bench.data.large_sets import LargeSet, list_large
from ltgen_bench.data.listing import Listing
from ltgen_bench.data.npz import load_npz, verify_npz
from ltgen_bench.data.overlap import refuse_shared_files
from ltgen_bench.data.raw import RawData

OPTIONS = ("imbalance_factor", "profile", "split_seed", "class_order", "split", "index_list", "test_list", "test_part",
           "image_size")  # command-line options with a single value
Find = Callable[[DataConfig, Path, Progress], Listing]
OPTION_FORMS = {  # options of `DataConfig` that not every form takes, and by which they are taken
    "index_list": "folder:PATH and the large sets", "test_list": "folder:PATH and the large sets",
    "test_part": "folder:PATH, npz:FILE and hub:NAME",
    "image_size": "folder:PATH, hub:NAME and the large sets", "columns": "hub:NAME",
}


def load_arrays(read: Callable[[Path, Progress], RawData], config: DataConfig, data_root: Path, progress: Progress) -> RawData:
    """Load a set of arrays, which accepts no options for image files."""
    refuse_options(config, *OPTION_FORMS)
    return read(data_root, progress)


def verify_arrays(check: Callable[[Path, Progress], list[str]], config: DataConfig, data_root: Path, progress: Progress,
                  update: bool) -> list[str]:
    """Check such a set against its published checksums; returns messages. `update` has no effect."""
    refuse_options(config, *OPTION_FORMS)
    return check(data_root, progress)


def load_npz_file(path: Path, config: DataConfig, data_root: Path, progress: Progress) -> RawData:
    """Load the arrays of a user's npz file."""
    refuse_options(config, *(option for option in OPTION_FORMS if option != "test_part"))
    return load_npz(path, config.test_part)


def verify_npz_file(path: Path, config: DataConfig, data_root: Path, progress: Progress, update: bool) -> list[str]:
    """Read every array and hash the file; see `verify_npz`."""
    refuse_options(config, *(option for option in OPTION_FORMS if option != "test_part"))
    return verify_npz(path, config.test_part)


def load_listed(find: Find, image_size: int | None, config: DataConfig, data_root: Path, progress: Progress) -> RawData:
    """Load the images that `find` lists through the cache, at `config.image_size`, else `image_size`, else their own size."""
    listing = find(config, data_root, progress)
    refuse_shared_files(listing)
    for note in listing.notes:
        progress.say(note)
    return load_images(listing, config.image_size or image_size, verify_command(config, data_root), progress)


def verify_listed(find: Find, image_size: int | None, config: DataConfig, data_root: Path, progress: Progress,
                  update: bool) -> list[str]:
    """Check the files that `find` lists against the cache; see `verify_images`."""
    listing = find(config, data_root, progress)
    refuse_shared_files(listing)
    for note in listing.notes:
        progress.say(note)
    return verify_images(listing, config.image_size or image_size, verify_command(config, data_root), progress, update)


def find_folder(path: Path, config: DataConfig, data_root: Path, progress: Progress) -> Listing:
    """List a user's own folder: by the lists of `config`, or by its class folders."""
    refuse_options(config, "columns")
    if config.index_list is not None:
        test = None if config.test_list is None else user_path(config.test_list, "--test-list")
        if test is not None and config.test_part is not None:
            raise UserError(f"{config.name}: --test-list and --test-part both say what serves as test; leave one out.")
        return list_indexed(path, config.name, user_path(config.index_list, "--index-list"), test, config.test_part)
    if config.test_list is not None:
        raise UserError(f"{config.name}: --test-list is given without --index-list, the list of the training images.")
    return list_folder(path, config.name, config.test_part)


def find_large(large: LargeSet, config: DataConfig, data_root: Path, progress: Progress) -> Listing:
    """List one of the large sets below `data_root`."""
    refuse_options(config, "columns", "test_part")
    return list_large(large, config, data_root)


def find_hub(name: str, config: DataConfig, data_root: Path, progress: Progress) -> Listing:
    """List `NAME` or `NAME:CONFIG` of the Hugging Face hub."""
    refuse_options(config, "index_list", "test_list")
    return list_hub(name, config.columns, progress, config.test_part)


def refuse_options(config: DataConfig, *options: str) -> None:
    """Raise `UserError` for the first of `options` that is set in `config`, since this form of data set does not accept it."""
    for option in options:
        if getattr(config, option) is not None:
            raise UserError(f"{config.name} takes no --{option.replace('_', '-')}; it is for {OPTION_FORMS[option]}.")


def option_words(data: Mapping[str, Any]) -> list[str]:
    """Return the command-line options that state these values of `[data]`, without defaults and the name."""
    defaults = DataConfig().model_dump()
    words = []
    for key in OPTIONS:
        value = data.get(key)
        if value is not None and value != defaults[key]:
            words += [f"--{key.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return [*words, "--columns", ",".join(data["columns"])] if data.get("columns") else words


def verify_command(config: DataConfig, data_root: Path) -> str:
    """Return the command that verifies the images of a configuration."""
    files = config.model_dump(include={"index_list", "test_list", "test_part", "image_size", "columns"})
    words = ["ltgen-bench", "data", "verify", config.name, *option_words(files)]
    if data_root != Path("data"):
        words += ["--data-root", str(data_root)]
    return shlex.join(words)
