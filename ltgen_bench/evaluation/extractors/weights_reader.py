"""Weights from a file: fetched or given, read without unpickling anything but tensors, and held against a network."""

import hashlib
import pickle
import urllib.error
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.files import file_sha256
from ltgen_bench.core.progress import Progress
from ltgen_bench.evaluation.extractors.published_weights import WeightsFile


def fetched(file: WeightsFile, folder: Path, progress: Progress) -> Path:
    """Return the path of a weights file, after downloading it where needed; its SHA-256 is verified."""
    for place in (folder / file.file_name, Path(torch.hub.get_dir()) / "checkpoints" / file.file_name):
        if place.is_file() and file_sha256(place).startswith(file.sha256):
            return place
    progress.say(f"fetching {file.url} ({file.megabytes:,} MB)")
    path = folder / file.file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(file.url, str(path), hash_prefix=file.sha256, progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise MachineError(f"the weights of {file.network} could not be fetched ({error}). Get {file.file_name} (its SHA-256 "
                           f"begins with {file.sha256[:8]}) from {file.url} and give it by {file.option}.") from error
    return path


def read_tensors(path: Path, file: WeightsFile) -> dict[str, Tensor]:
    """Names and tensors of a weights file, read without unpickling anything else.

    A published file that is a TorchScript program is opened as one when its SHA-256 is right to the last digit. Raises
    `UserError` for a file that is missing or is not a file of tensors.
    """
    if not path.is_file():
        raise UserError(f"{file.option}: there is no file {path}; {_cure(file)}.")
    try:
        with warnings.catch_warnings():
            if file.torchscript and file_sha256(path) == file.sha256:
                for kind in (DeprecationWarning, FutureWarning):
                    warnings.simplefilter("ignore", kind)  # of TorchScript itself
                return dict(torch.jit.load(str(path), map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
            # A plain pickle, of which all that can be read is read, or a program: what is more is refused just below.
            warnings.filterwarnings("ignore", "Detected pickle protocol|'torch.load' received a zip file", UserWarning)
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, OSError, SafetensorError) as error:
        # What torch says of an unpickling that it refused ends in the advice to allow it.
        silent = isinstance(error, pickle.UnpicklingError) or not str(error)
        reason = "" if silent else f" ({str(error).splitlines()[0]})"
        raise UserError(f"{file.option}: {path} was refused, since it is not a plain file of tensors{reason}; "
                        f"{_cure(file)}.") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) and isinstance(value, Tensor)
                                              for key, value in state.items()):
        raise UserError(f"{file.option}: {path} holds no mapping of names to tensors; {_cure(file)}.")
    return state


def misfit(error: RuntimeError, path: Path, file: WeightsFile) -> UserError:
    """What to say of tensors that `load_state_dict` refused with `error`, which lists every name and shape that does not fit."""
    faults = [line.strip() for line in str(error).splitlines()[1:]]
    return UserError(f"{file.option}: {path} does not fit {file.network}; {_cure(file)}.",
                     [fault if len(fault) < 300 else fault[:300] + " ..." for fault in faults])


def check_finite(state: Mapping[str, Tensor], path: Path, file: WeightsFile) -> None:
    """Refuse tensors with infinite numbers or NaN in them (`UserError`)."""
    broken = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise UserError(f"{file.option}: {path} holds numbers that are not finite, in {', '.join(broken[:3])}; it is broken.")


def _cure(file: WeightsFile) -> str:
    return f"give {file.file_name} ({file.url})"


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values; counters of batch norm, which change no output, stay out."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if not name.endswith("num_batches_tracked"):
            values = state[name].to(torch.float32).contiguous().numpy()
            digest.update(f"{name} {values.shape}".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()
