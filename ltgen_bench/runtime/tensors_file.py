"""Safetensors files with a checksum of tensors and metadata, which is verified whenever a file is read."""

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ltgen_bench.core.errors import DamagedError, MachineError
from ltgen_bench.core.files import CHECKSUM, CURE, checksum_matches, write_atomically


def save_checked_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write `tensors` and `metadata` atomically, with their checksum in the metadata under `sha256`.

    Raises `MachineError` when the disk is full; an earlier file at `path` is then unchanged.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = _content(stored)
    said = {**metadata, CHECKSUM: _checksum(content, metadata)}

    def write(part: Path) -> None:
        try:
            save_file(stored, part, metadata=said)
        except SafetensorError as error:  # which hides the operating system's message
            full = "os error 28" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error

    write_atomically(path, write)


def load_checked_tensors(path: Path, cure: str = CURE) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return (tensors on the CPU, metadata without the checksum). Files of earlier versions have no checksum and are accepted.

    Raises `DamagedError`, which ends in `cure`, for a file that is no safetensors file or does not match its checksum, and
    `MachineError` for one that cannot be read.
    """
    try:
        with path.open("rb"), safe_open(path, framework="pt") as file:
            said = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except OSError as error:
        raise MachineError(f"{path} could not be read: {error.strerror or error}.") from error
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise DamagedError(f"{path} is damaged ({error}); {cure}.") from error
    content = _content(tensors)
    if not checksum_matches(said, lambda rest: _checksum(content, rest)):
        raise DamagedError(f"{path} is damaged (its tensors do not match their checksum); {cure}.")
    return tensors, {key: value for key, value in said.items() if key != CHECKSUM}


def shapes_of(module: nn.Module) -> dict[str, torch.Size]:
    """Return the shape of each tensor of a module, by name."""
    return {name: value.shape for name, value in module.state_dict().items()}


def misfits(tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> list[str]:
    """Return the names of `tensors` that are missing, of another shape than in `shapes`, or superfluous."""
    return [name for name in {**shapes, **tensors}
            if name not in shapes or name not in tensors or tensors[name].shape != shapes[name]]


def _content(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of the tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _checksum(content: str, metadata: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps([content, metadata], sort_keys=True).encode()).hexdigest()
