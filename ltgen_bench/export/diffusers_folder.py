"""A network as a folder of diffusers: one of ours written so that diffusers reads it, and any of that form read.

    config.json, diffusion_pytorch_model.safetensors    a `UNet2DModel`
    class_embedding.safetensors                         `weight`: a row a class, and perhaps a last one for "no label"
    scheduler_config.json                               the noise process
    ltgen_bench.json                                    `Facts`; a folder from elsewhere has none

Nothing is unpickled, and nothing is fetched.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from jaxtyping import Float, Int64, Num
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ltgen_bench.config.schema import DataConfig, Part, SampleConfig, digest
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import CHECKSUM, checksum_matches, file_sha256, json_sha256, write_checked_json
from ltgen_bench.core.validation import validate
from ltgen_bench.core.words import some
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.low_rank import merged
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.runtime.tensors_file import misfits, shapes_of
from ltgen_bench.sampling.samplers import SAMPLERS

CONFIG, WEIGHTS, SCHEDULER = "config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"
PICKLES = ("diffusion_pytorch_model.bin", "pytorch_model.bin")
EMBEDDING, FACTS = "class_embedding.safetensors", "ltgen_bench.json"


class Facts(Part):
    """Facts of a network trained here that diffusers' files do not have, as `ltgen_bench.json` holds them."""

    name: str  # of the run: method, training digest and seed
    seed: int  # of the training
    data: DataConfig
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]  # training images
    null_label: bool  # whether guidance may use the last row of the embedding
    sample: SampleConfig  # as the run drew its images; without guidance where the network alone does not give it
    files: dict[str, str] = Field(default_factory=dict)  # SHA-256 of each file that decides what the network computes

    @property
    def row(self) -> str:
        """What tables call its images: without the seed, which repetitions share, and not as the run itself begins."""
        return f"exported {self.name.rpartition('-s')[0]}"


class LabelledUNet(nn.Module):
    """f_theta(x_t, t, y) of a `UNet2DModel`: label y is row y of `table`, or goes in as it is where the U-Net has its own."""

    def __init__(self, unet: UNet2DModel, table: Float[Tensor, "R D"] | None) -> None:
        super().__init__()
        self.unet = unet
        self.table = None if table is None else nn.Parameter(table, requires_grad=False)

    def forward(self, x_t: Float[Tensor, "B C H W"], t: Num[Tensor, " B"],
                labels: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        condition = labels if self.table is None else self.table[labels]
        return self.unet(x_t, t, class_labels=condition, return_dict=False)[0].float()

    @property
    def parameter_count(self) -> int:
        """Numbers in the network, its embedding included."""
        return sum(p.numel() for p in self.parameters())

    @property
    def rows(self) -> int:
        """Labels that the network knows, "no label" included."""
        return int(self.unet.config.num_class_embeds) if self.table is None else len(self.table)


def plain(net: ConditionalUNet) -> LabelledUNet:
    """`net` as diffusers can say it, on the CPU: a low-rank reserve becomes part of its convolutions.

    The embedding of an augmentation stays behind: samples are drawn without it. Raises `UserError` for a network with parts
    that no `UNet2DModel` has.
    """
    whole = merged(net)
    unet = _empty(whole.unet.config)
    own = whole.unet.state_dict()
    odd = misfits(own, shapes_of(unet))
    if odd or not isinstance(whole.label_embedding, nn.Embedding):
        raise UserError("the network has parts that diffusers' UNet2DModel lacks, so it cannot be exported: "
                        f"{some(odd or ['label_embedding'])}.")
    unet.load_state_dict(own)
    return LabelledUNet(unet, whole.label_embedding.weight.detach().cpu().clone()).eval().requires_grad_(False)


def write_network(net: LabelledUNet, facts: Facts, folder: Path) -> None:
    """Write `net` with its embedding, the scheduler of `facts.sample` and the facts into `folder`."""
    assert net.table is not None, "a network of ours has its embedding beside it"
    net.unet.save_pretrained(folder, safe_serialization=True)
    save_file({"weight": net.table.contiguous()}, folder / EMBEDDING, metadata={"format": "pt"})
    SAMPLERS[facts.sample.sampler].make(facts.sample.steps).save_pretrained(folder)
    files = {name: file_sha256(folder / name) for name in (CONFIG, WEIGHTS, EMBEDDING)}
    write_checked_json(folder / FACTS, facts.model_copy(update={"files": files}).model_dump(mode="json"))


@dataclass(frozen=True)
class StoredNetwork:
    """A network read from `folder`, on the CPU, with what is known of it; `facts` is None for one from elsewhere."""

    folder: Path
    net: LabelledUNet
    facts: Facts | None
    files: tuple[Path, ...]  # whose bytes decide what it computes
    process: str  # under which it was trained

    @cached_property
    def digest(self) -> str:
        """8 hex digits over the bytes of its files."""
        return digest({file.name: file_sha256(file) for file in self.files})

    @property
    def channels(self) -> int:
        return int(self.net.unet.config.in_channels)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of its images; None where its configuration leaves that open."""
        stated = self.net.unet.config.sample_size
        return None if stated is None else (stated, stated) if isinstance(stated, int) else (stated[0], stated[1])


def read_network(folder: Path) -> StoredNetwork:
    """The network in `folder`, or in its folders `unet` and `scheduler` as pipelines have them.

    Raises `UserError` for one that is not a class-conditional `UNet2DModel` in safetensors which predicts the target of a
    known noise process, as its scheduler states.
    """
    inner = folder / "unet" if (folder / "unet" / CONFIG).is_file() else folder
    if not (inner / CONFIG).is_file():
        raise UserError(f"{folder} has no {CONFIG}, so it is no network of diffusers; a run of ours becomes one by: "
                        "ltgen-bench export RUN DIR")
    config = read_json(inner / CONFIG)
    _check_config(config, inner / CONFIG)
    process = _process_of(next((path for path in (folder / "scheduler" / SCHEDULER, folder / SCHEDULER, inner / SCHEDULER)
                                if path.is_file()), folder / SCHEDULER))
    unet = _with_weights(config, inner)
    places = [place / EMBEDDING for place in (folder, inner) if (place / EMBEDDING).is_file()]
    table = None
    if config.get("class_embed_type") == "identity":
        table = _read_table(places[0] if places else folder / EMBEDDING, unet.time_embedding.linear_2.out_features)
    files = (inner / CONFIG, inner / WEIGHTS, *(places[:1] if table is not None else ()))
    facts = _read_facts(folder / FACTS, files) if (folder / FACTS).is_file() else None
    return StoredNetwork(folder, LabelledUNet(unet, table).eval().requires_grad_(False), facts, files, process)


def _read_facts(path: Path, files: Sequence[Path]) -> Facts:
    """What an export says of its network. A `UserError` where it, or a file that it vouches for, is not what was exported."""
    values = read_json(path)
    facts = validate(Facts, {key: value for key, value in values.items() if key != CHECKSUM}, where=str(path))
    if not checksum_matches(values, json_sha256):
        raise UserError(f"{path} is damaged or was edited (its values do not match its checksum); export the run again, or copy "
                        "the folder anew.")
    other = [file for file in files if facts.files.get(file.name) not in (None, file_sha256(file))]
    if other:
        raise UserError(f"{other[0]} is not what was exported: it is damaged, or was changed. Copy it anew; where it is meant to "
                        f"be another network, remove {path.name}, and name the data set with --dataset.")
    return facts


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; anything else is a `UserError`."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} could not be read as JSON ({error}).") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__} where an object is needed.")
    return values


def _check_config(config: Mapping[str, Any], path: Path) -> None:
    kind = config.get("_class_name")
    if kind != "UNet2DModel":
        raise UserError(f"{path} is of {kind or 'an unnamed class'}; only UNet2DModel can be sampled here.")
    if config.get("class_embed_type") != "identity" and (config.get("class_embed_type") or not config.get("num_class_embeds")):
        raise UserError(f"{path}: the network takes no class labels; needed is num_class_embeds, or class_embed_type "
                        f"\"identity\" with {EMBEDDING} beside it.")
    if config.get("in_channels") != config.get("out_channels"):
        raise UserError(f"{path}: {config.get('in_channels')} channels go in and {config.get('out_channels')} come out; a "
                        "network that predicts more than the noise, such as a variance, cannot be sampled here.")


def _process_of(path: Path) -> str:
    """The noise process that a scheduler_config.json belongs to; another schedule or prediction is a `UserError`."""
    if not path.is_file():
        raise UserError(f"{path} is missing, and without it the noise schedule of the network is not known; write it with "
                        f"DDPMScheduler(...).save_pretrained({str(path.parent)!r}).")
    values = read_json(path)
    kind = str(values.get("_class_name", ""))
    process = max((name for name in PROCESSES if kind.startswith(PROCESSES[name].schedulers)),
                  key=lambda name: len(PROCESSES[name].schedulers))
    values = {**PROCESSES[process].scheduler_defaults, **values}
    faults = [f"{key} {values.get(key, 'is not stated')!s:.40} where {needed} is needed"
              for key, needed in PROCESSES[process].scheduler_values.items() if key not in values or values[key] != needed]
    if faults:
        raise UserError(f"{path}: {'; '.join(faults)}, since networks of process {process} predict here the "
                        f"{PROCESSES[process].predicts}.")
    return process


def _with_weights(config: Mapping[str, Any], folder: Path) -> UNet2DModel:
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = [name for name in PICKLES if (folder / name).is_file()]
        if pickled:
            raise UserError(f"{folder / pickled[0]} is a pickle, which can run code, and is not read; where you trust it, "
                            f"convert it: UNet2DModel.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})")
        raise UserError(f"{folder} has no {WEIGHTS}.")
    try:
        unet = _empty(config)
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RuntimeError) as error:
        raise UserError(f"{folder / CONFIG}: diffusers makes no network of it ({error}).") from error
    tensors = _read_tensors(path)
    odd = misfits(tensors, shapes_of(unet))
    if odd:
        raise UserError(f"{path} does not fit {folder / CONFIG}: missing, too many or of another shape are {some(odd)}.")
    unet.load_state_dict(tensors)
    return unet


def _read_table(path: Path, width: int) -> Float[Tensor, "R D"]:
    if not path.is_file():
        raise UserError(f"{path} is missing, and holds the label embedding of a network with class_embed_type \"identity\": a "
                        f"tensor `weight` with a row of {width} numbers for each class, and perhaps a last one for no label.")
    table = _read_tensors(path).get("weight")
    if table is None or table.ndim != 2 or table.shape[1] != width:
        found = "none" if table is None else f"of shape {list(table.shape)}"
        raise UserError(f"{path}: needed is a tensor `weight` with a row of {width} numbers for each label; it is {found}.")
    return table


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, in float32."""
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable file of safetensors ({error}); copy or make it again.") from error
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise UserError(f"{path} holds numbers that are not finite, in {some(broken)}.")
    return tensors


def _empty(config: Mapping[str, Any]) -> UNet2DModel:
    """A U-Net whose weights are to be replaced; the global generators stay as they were."""
    with torch.random.fork_rng(devices=[]):
        return UNet2DModel.from_config(dict(config))
