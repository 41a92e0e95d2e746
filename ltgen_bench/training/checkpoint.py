"""One safetensors file per position with a checksum, its JSON in the metadata, written whole, the previous one kept."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltgen_bench.core.errors import DamagedError
from ltgen_bench.core.file_names import CHECKPOINT, CHECKPOINTS, WEIGHTS
from ltgen_bench.core.files import CURE, set_aside
from ltgen_bench.core.progress import Progress
from ltgen_bench.runtime.tensors_file import load_checked_tensors, misfits, save_checked_tensors

KEEP = 2
ADAM = ("step", "exp_avg", "exp_avg_sq")
Fault = Callable[[Mapping[str, Tensor], Mapping[str, Any]], str]
Modules = Mapping[str, nn.Module]  # what a training changes: the network "net", its average "ema", and the "extra" modules


def checkpoint_path(folder: Path, images_seen: int) -> Path:
    """`checkpoint-000000044800.safetensors`: names sort by position."""
    return folder / f"{CHECKPOINT}{images_seen:012d}{WEIGHTS}"


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first."""
    return sorted(folder.glob(CHECKPOINTS), reverse=True)


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> Path:
    """Write the state at `info["images_seen"]`, then drop all but the newest two."""
    path = checkpoint_path(folder, info["images_seen"])
    for left in folder.glob(f".{CHECKPOINTS}"):  # of a command that was killed while it wrote
        left.unlink(missing_ok=True)
    write_tensors(path, tensors, info)
    # later positions are of a checkpoint that could not be read: training went back behind it
    gone = [other for other in checkpoints(folder) if other > path]
    for old in gone + checkpoints(folder)[len(gone) + KEEP:]:
        old.unlink()
    return path


def write_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """One file with `tensors`, and `info` as JSON in its metadata, written whole, with a checksum of both."""
    save_checked_tensors(path, tensors, {"info": json.dumps(info)})


def load_newest(folder: Path, progress: Progress, fault: Fault = lambda tensors, info: "",
                aside: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors (on the CPU) and JSON of the newest whole checkpoint, or None where there is none.

    One that is damaged, or of which `fault` says what is wrong with it, is named and, with `aside`, renamed; then it is the turn
    of the one before.
    """
    found = checkpoints(folder)
    for path in found:
        then = "training starts anew" if path == found[-1] else "going back to the one before"
        cure = f"it is set aside as {path.name}.damaged, and {then}" if aside else then
        try:
            tensors, info = load_checkpoint(path, cure)
            misplaced = "" if checkpoint_path(folder, info["images_seen"]) == path else "it is of another position"
            wrong = misplaced or fault(tensors, info)
        except DamagedError as error:
            said = str(error)
        else:
            if not wrong:
                return tensors, info
            said = f"{path} is damaged ({wrong}); {cure}."
        if aside:
            set_aside(path)
        progress.say(said)
    return None


def load_checkpoint(path: Path, cure: str = CURE) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and JSON of one file. A damaged one is a `DamagedError`, which ends in `cure`."""
    tensors, said = load_checked_tensors(path, cure)
    try:
        info = json.loads(said["info"])
        return tensors, {**info, "images_seen": int(info["images_seen"])}
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedError(f"{path} is damaged (it says no position: {error}); {cure}.") from error


def state_tensors(modules: Modules, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Tensor]:
    """Return the tensors of `modules` as `PREFIX.NAME`, and the moments of `optimizer` as `adam.KEY.PREFIX.NAME`.

    All modules and the optimiser are what training needs to continue; "ema" and "extra" are what sampling needs.
    """
    tensors = {f"{prefix}.{name}": value for prefix, module in modules.items() for name, value in module.state_dict().items()}
    if optimizer is not None:
        tensors |= {f"adam.{key}.{name}": optimizer.state[parameter][key] for name, parameter in named_parameters(modules)
                    if parameter in optimizer.state for key in ADAM}
    return tensors


def state_fault(tensors: Mapping[str, Tensor], modules: Modules) -> str:
    """Return which tensors of `state_tensors` are missing, of another shape or superfluous; empty where none is.

    A parameter that no step has used yet has no moments, and else it has all of them.
    """
    needed = {name: value.shape for name, value in state_tensors(modules).items()}
    for name, parameter in named_parameters(modules):
        moments = [f"adam.{key}.{name}" for key in ADAM]
        if any(moment in tensors for moment in moments):
            needed |= {moment: torch.Size() if moment == moments[0] else parameter.shape for moment in moments}
    odd = misfits(tensors, needed)
    return f"{len(odd)} tensors are missing, too many or of another shape, such as {odd[0]}" if odd else ""


def restore(tensors: Mapping[str, Tensor], modules: Modules, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Put the state of `state_tensors` back, keeping each tensor's device and memory format.

    Raises `RuntimeError` where a module's tensor is missing or does not fit.
    """
    for prefix, module in modules.items():
        module.load_state_dict(with_prefix(tensors, f"{prefix}."))
    if optimizer is None:
        return
    for name, parameter in named_parameters(modules):
        state = {}
        for key in ADAM:
            stored = tensors.get(f"adam.{key}.{name}")
            if stored is not None:
                like = torch.empty((), device=parameter.device) if key == "step" else parameter.detach()
                state[key] = torch.empty_like(like, dtype=stored.dtype).copy_(stored)
        if state:
            optimizer.state[parameter] = state


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def named_parameters(modules: Modules) -> list[tuple[str, nn.Parameter]]:
    """Return all trained parameters, those of "net" and "extra", with their names in a checkpoint."""
    return [(f"{prefix}.{name}", p) for prefix in ("net", "extra") for name, p in modules[prefix].named_parameters()]
