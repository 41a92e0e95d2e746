"""Loading and verification of each form of data set (arrays, image files), and the options that it accepts."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.data.folder_source import list_folder
from ltgen_bench.data.image_cache import load_images
from ltgen_bench.data.image_verify import verify_images
from ltgen_bench.data.index_lists import list_indexed
from ltgen_bench.data.large_sets import given_lists
from ltgen_bench.data.listing import Listing
from ltgen_bench.data.overlap import refuse_shared_files
from ltgen_bench.data.raw import RawData

OPTIONS = ("imbalance_factor", "profile", "split_seed", "class_order", "split", "index_list", "test_list", "test_part",
           "image_size")  # command-line options with a single value
OPTION_FORMS = {  # options of `DataConfig` that not every form takes, and by which they are taken
    "index_list": "folder:PATH and the large sets", "test_list": "folder:PATH and the large sets",
    "test_part": "folder:PATH, npz:FILE and hub:NAME",
    "image_size": "folder:PATH, hub:NAME and the large sets", "columns": "hub:NAME",
}
T = TypeVar("T")
Find = Callable[[DataConfig, Path, Progress], Listing]


def taking(call: Callable[..., T], *options: str) -> Callable[..., T]:
    """Return `call(config, data root, progress, ...)`, which refuses all of OPTION_FORMS but `options` by a `UserError`."""
    def checked(config: DataConfig, *rest: Any) -> T:
        refuse_options(config, *(option for option in OPTION_FORMS if option not in options))
        return call(config, *rest)

    return checked


def load_listed(find: Find, image_size: int | None, config: DataConfig, data_root: Path, progress: Progress) -> RawData:
    """Load the images that `find` lists through the cache, at `config.image_size`, else `image_size`, else their own size."""
    return load_images(_found(find, config, data_root, progress), config.image_size or image_size,
                       verify_command(config, data_root), progress)


def verify_listed(find: Find, image_size: int | None, config: DataConfig, data_root: Path, progress: Progress,
                  update: bool) -> list[str]:
    """Check the files that `find` lists against the cache; see `verify_images`."""
    return verify_images(_found(find, config, data_root, progress), config.image_size or image_size,
                         verify_command(config, data_root), progress, update)


def _found(find: Find, config: DataConfig, data_root: Path, progress: Progress) -> Listing:
    """Return the listing of `find`, and report files that are left out. Raises `UserError` for test files that train, too."""
    listing = find(config, data_root, progress)
    refuse_shared_files(listing)
    for note in listing.notes:
        progress.say(note)
    return listing


def find_folder(path: Path, config: DataConfig) -> Listing:
    """List a user's own folder: by the lists of `config`, or by its class folders."""
    lists = given_lists(config)
    if config.test_list is not None and config.test_part is not None:
        raise UserError(f"{config.name}: --test-list and --test-part both say what serves as test; leave one out.")
    if lists is None:
        return list_folder(path, config.name, config.test_part)
    return list_indexed(path, config.name, *lists, config.test_part)


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
