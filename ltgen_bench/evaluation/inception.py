"""The extractor `inception`: the Inception-v3 of the FID papers, as torch-fidelity carries it.

The only place of the package that imports torch_fidelity. Its own reader of weights unpickles whatever it is given, and
its feature cache goes by names: neither is used. Weights are read with `weights_only=True`, held against the names and
shapes of the network, and handed over from a clean copy.
"""

import hashlib
import pickle
import tempfile
import urllib.error
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.errors import MachineError, UserError
from ltgen_bench.evaluation.extractors import Features
from ltgen_bench.files import file_sha256
from ltgen_bench.progress import Progress

FILE_NAME = URL_INCEPTION_V3.rpartition("/")[2]
SHA_PREFIX = "6726825d"  # of the file's SHA-256, by the convention of torch.hub
OPTION = "--extractor-weights inception=FILE"
HEAD = ("fc.weight", "fc.bias")


class Inception:
    """An `Extractor`: 2048 features, 1008 logits without bias (as in the published IS) where the file has them."""

    name = "inception"
    resize = "TensorFlow 1 bilinear to 299 x 299, (x - 128) / 128, grey to RGB by copies"
    feature_dim = 2048
    class_logits = False
    batch_size = 64

    def __init__(self, state: dict[str, Tensor], sha256: str, device: str) -> None:
        self.has_logits = all(bool(state[name].isfinite().all()) for name in HEAD)
        # By content of the tensors: the same network in another file, or without its head, gives the same features.
        self.weights_id = tensors_id({name: tensor for name, tensor in state.items() if name not in HEAD})
        self.logits_id = tensors_id(state)
        self.sha256 = sha256
        self._device = device
        layers = ["2048", "logits_unbiased"] if self.has_logits else ["2048"]
        self._net = _fidelity_network(state, layers).to(torch.device(device)).to(memory_format=torch.channels_last)

    def __call__(self, images: UInt8[np.ndarray, "N C H W"]) -> Features:
        if images.shape[1] == 1:
            images = np.repeat(images, 3, axis=1)
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device, memory_format=torch.channels_last)
        with torch.inference_mode():
            outputs = [part.float().cpu().numpy() for part in self._net(batch)]
        return Features(outputs[0], outputs[1] if self.has_logits else None)


def inception(dataset: LongTailDataset, *, device: str, folder: Path, weights: Path | None, steps: int | None,
              progress: Progress) -> Inception:
    """Inception-v3 from the file `weights`, from an earlier download, or fetched now into `folder`. It is never trained."""
    if dataset.image_shape[0] not in (1, 3):
        raise UserError(f"the extractor 'inception' takes grey or RGB images, and {dataset.name} has "
                        f"{dataset.image_shape[0]} channels; use the extractor 'classifier'.")
    path = weights if weights is not None else _fetched(folder, progress)
    extractor = Inception(read_weights(path), file_sha256(path), device)
    if not extractor.has_logits:
        progress.say(f"{path} has features but no logits: scores that need logits are not available")
    return extractor


def read_weights(path: Path) -> dict[str, Tensor]:
    """Names and float32 (or int64) tensors of a weights file, read without unpickling anything else.

    Raises `UserError` for a file that is missing, is not a file of tensors, or does not fit the network.
    """
    if not path.is_file():
        raise UserError(f"{OPTION}: there is no file {path}; give {FILE_NAME} ({URL_INCEPTION_V3}).")
    try:
        with warnings.catch_warnings():
            # A plain pickle; what can be read of it is read, and the rest is refused just below.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        raise UserError(f"{OPTION}: {path} was refused, since it is not a plain file of tensors "
                        f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); give {FILE_NAME} "
                        f"({URL_INCEPTION_V3}).") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) and isinstance(value, Tensor)
                                              for key, value in state.items()):
        raise UserError(f"{OPTION}: {path} holds no mapping of names to tensors; give {FILE_NAME} "
                        f"({URL_INCEPTION_V3}).")
    try:
        _fidelity_network(state, ["2048"])
    except RuntimeError as error:  # load_state_dict lists every name and shape that does not fit
        faults = [line.strip() for line in str(error).splitlines()[1:]]
        raise UserError(f"{OPTION}: {path} does not fit Inception-v3; give {FILE_NAME} ({URL_INCEPTION_V3}).",
                        [fault if len(fault) < 300 else fault[:300] + " ..." for fault in faults]) from error
    trunk = [name for name, tensor in state.items() if name not in HEAD and not bool(tensor.isfinite().all())]
    if trunk:
        raise UserError(f"{OPTION}: {path} holds numbers that are not finite, in {', '.join(trunk[:3])}; it is broken.")
    return state


def _fidelity_network(state: dict[str, Tensor], layers: list[str]) -> torch.nn.Module:
    """torch-fidelity's network with `state`, by way of a file that holds these tensors and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "clean.pth"
        torch.save({name: tensor.detach().clone() for name, tensor in state.items()}, copy)
        net: torch.nn.Module = FeatureExtractorInceptionV3(
            "inception-v3-compat", layers, feature_extractor_weights_path=str(copy))
    return net


def tensors_id(state: dict[str, Tensor]) -> str:
    """16 hex digits over names, shapes and values; counters of batch norm, which change no output, stay out."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if not name.endswith("num_batches_tracked"):
            values = state[name].to(torch.float32).contiguous().numpy()
            digest.update(f"{name} {values.shape}".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def _fetched(folder: Path, progress: Progress) -> Path:
    """The published weights file: where torch.hub keeps it, in `folder`, or downloaded there; its SHA is checked."""
    for place in (folder / FILE_NAME, Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME):
        if place.is_file() and file_sha256(place).startswith(SHA_PREFIX):
            return place
    progress.say(f"fetching {URL_INCEPTION_V3} (96 MB)")
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=SHA_PREFIX, progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise MachineError(f"the weights of Inception-v3 could not be fetched ({error}). Get {FILE_NAME} (its SHA-256 "
                           f"begins with {SHA_PREFIX}) from {URL_INCEPTION_V3} and give it by {OPTION}.") from error
    return path
