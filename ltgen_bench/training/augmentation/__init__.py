"""Registry of augmentations of training images; a new one is one file and one line here.

`train.augment` names one for any method. `data.flip` is a property of the data: whether a mirrored image still belongs to its
class. Each augmentation takes it into account.
"""

from typing import TYPE_CHECKING

from ltgen_bench.core.registry import Registry

if TYPE_CHECKING:  # torch takes seconds to import, and a bad name is refused before
    from ltgen_bench.training.augmentation.augmentation import Augmentation

AUGMENTATIONS: "Registry[Augmentation]" = Registry("augmentation", "augmentations")
AUGMENTATIONS.add("flip", "ltgen_bench.training.augmentation.augmentation:FLIP")
AUGMENTATIONS.add("none", "ltgen_bench.training.augmentation.augmentation:NONE")
AUGMENTATIONS.add("ada", "ltgen_bench.training.augmentation.ada:ADA")
