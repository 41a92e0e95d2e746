"""One safetensors file per position, its JSON in the metadata, written whole, the previous one kept."""

import errno
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ltgen_bench.files import write_whole
from ltgen_bench.progress import Progress
from ltgen_bench.training.ema import EMA

KEEP = 2
ADAM = ("step", "exp_avg", "exp_avg_sq")


def checkpoint_path(folder: Path, images_seen: int) -> Path:
    """`checkpoint-000000044800.safetensors`: names sort by position."""
    return folder / f"checkpoint-{images_seen:012d}.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, newest first."""
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> Path:
    """Write the state at `info["images_seen"]`, then drop all but the newest two."""
    path = checkpoint_path(folder, info["images_seen"])
    for left in folder.glob(".checkpoint-*.safetensors"):  # of a command that was killed while it wrote
        left.unlink(missing_ok=True)
    write_tensors(path, tensors, info)
    # later positions are of a checkpoint that could not be read: training went back behind it
    gone = [other for other in checkpoints(folder) if other > path]
    for old in gone + checkpoints(folder)[len(gone) + KEEP:]:
        old.unlink()
    return path


def write_tensors(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """One file with `tensors`, and `info` as JSON in its metadata, written whole."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(part: Path) -> None:
        try:
            save_file(stored, part, metadata={"info": json.dumps(info)})
        except SafetensorError as error:  # which hides what the operating system said
            full = "os error 28" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error

    write_whole(path, write)


def load_newest(folder: Path, progress: Progress) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors (on the CPU) and JSON of the newest readable checkpoint, or None where there is none."""
    for path in checkpoints(folder):
        try:
            return load_checkpoint(path)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            progress.say(f"{path.name} cannot be read ({error}); going back to the one before")
    return None


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and JSON of one file."""
    with safe_open(path, framework="pt") as file:
        info = json.loads(file.metadata()["info"])
        return {name: file.get_tensor(name) for name in file.keys()}, info  # noqa: SIM118  (not a dict)


def state_tensors(net: nn.Module, ema: EMA, extra: nn.ModuleDict,
                  optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that training needs to go on, under names: net., ema., extra., adam."""
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= {f"ema.{name}": value for name, value in ema.net.state_dict().items()}
    tensors |= {f"extra.{name}": value for name, value in extra.state_dict().items()}
    for name, parameter in named_parameters(net, extra):
        if parameter in optimizer.state:
            tensors |= {f"adam.{key}.{name}": optimizer.state[parameter][key] for key in ADAM}
    return tensors


def restore(tensors: dict[str, Tensor], net: nn.Module, ema: EMA, extra: nn.ModuleDict,
            optimizer: torch.optim.Optimizer) -> None:
    """Put the state of `state_tensors` back, keeping each tensor's device and memory format."""
    for prefix, module in (("net.", net), ("ema.", ema.net), ("extra.", extra)):
        module.load_state_dict(with_prefix(tensors, prefix))
    for name, parameter in named_parameters(net, extra):
        state = {}
        for key in ADAM:
            stored = tensors.get(f"adam.{key}.{name}")
            if stored is not None:
                like = torch.empty((), device=parameter.device) if key == "step" else parameter.detach()
                state[key] = torch.empty_like(like, dtype=stored.dtype).copy_(stored)
        if state:
            optimizer.state[parameter] = state


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def named_parameters(net: nn.Module, extra: nn.ModuleDict) -> list[tuple[str, nn.Parameter]]:
    """All trained parameters with the names they have in a checkpoint."""
    modules = (("net", net), ("extra", extra))
    return [(f"{prefix}.{name}", p) for prefix, module in modules for name, p in module.named_parameters()]
