"""Images of each training step, as a function of (seed, images seen)."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ltgen_bench.data.images import ImageSet
from ltgen_bench.diffusion.draws import Draws, derived_seed
from ltgen_bench.methods.base import Batch
from ltgen_bench.sampling.pixel_values import from_uint8
from ltgen_bench.training.augmentation.augmentation import FLIP, Augmentation


class DataOrder:
    """An endless order of image numbers that can be entered at any position.

    Without `class_weights`: one permutation of all images after another. With them: in each round of as many images,
    classes are drawn with these relative frequencies and an image uniformly within the class, with replacement.
    """

    def __init__(self, labels: Int64[np.ndarray, " N"], seed: int,
                 class_weights: Float[Tensor, " K"] | None = None) -> None:
        self.size = len(labels)
        self.seed = seed
        self.probabilities = None
        if class_weights is not None:
            weights = class_weights.double().numpy()
            per_image = (weights / np.bincount(labels, minlength=len(weights)).clip(1))[labels]
            self.probabilities = per_image / per_image.sum()
        self._round: tuple[int, np.ndarray] | None = None

    def _numbers(self, number: int) -> Int64[np.ndarray, " N"]:
        if self._round is None or self._round[0] != number:
            rng = np.random.Generator(np.random.PCG64(derived_seed(self.seed, number, "order")))
            numbers = rng.permutation(self.size) if self.probabilities is None else \
                rng.choice(self.size, self.size, p=self.probabilities)
            self._round = number, numbers.astype(np.int64)
        return self._round[1]

    def at(self, position: int, count: int) -> Int64[np.ndarray, " B"]:
        """The image numbers at `position` ... `position + count - 1` of the order."""
        pieces = []
        while count:
            number, start = divmod(position, self.size)
            piece = self._numbers(number)[start:start + count]
            pieces.append(piece)
            position, count = position + len(piece), count - len(piece)
        return np.concatenate(pieces)


class TrainingImages:
    """The training set as uint8 tensors on the device, cut into batches of floats.

    `flip` says whether a mirrored image is still an image of its class.
    """

    def __init__(self, images: ImageSet, order: DataOrder, *, flip: bool, device: torch.device,
                 augmentation: Augmentation = FLIP) -> None:
        self.images = torch.from_numpy(images.images).to(device)
        self.labels = torch.from_numpy(images.labels).to(device)
        self.order = order
        self.flip = flip
        self.augmentation = augmentation
        self.device = device

    def batch(self, draws: Draws) -> Batch:
        """The batch of `draws`' step and slice, augmented."""
        numbers = torch.from_numpy(self.order.at(draws.images_seen, draws.global_batch)[draws.start:draws.stop])
        numbers = numbers.to(self.device, non_blocking=True)
        batch = Batch(from_uint8(self.images[numbers]), self.labels[numbers])
        return self.augmentation.transform(batch, draws, self.flip)
