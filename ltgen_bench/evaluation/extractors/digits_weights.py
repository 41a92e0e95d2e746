"""Make the shipped weights of the digits classifier again: `python -m ltgen_bench.evaluation.extractors.digits_weights [FILE]`.

The file holds the classifier of the reference set of `digits-lt`, its recipe, the content hash of that set, and its
accuracy on the test set. Its SHA-256 is the classifier's id, so a new file is a new protocol; it and
the reference stand in `domain.py` too.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from safetensors.torch import save_file
from torch import nn

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.files import file_sha256, write_atomically
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import LongTailDataset, load_dataset
from ltgen_bench.evaluation.classifiers.classifier_recipe import ClassifierRecipe, extractor_recipe
from ltgen_bench.evaluation.classifiers.classifier_training import predict, train_classifier
from ltgen_bench.evaluation.extractors.domain_classifier import SHIPPED
from ltgen_bench.evaluation.metrics.accuracy import label_accuracy
from ltgen_bench.evaluation.subsets import canonical


def make(dataset: LongTailDataset, path: Path) -> float:
    """Train on `dataset`'s reference, write the weights to `path`, return the accuracy on the test set (0 ... 1)."""
    recipe = extractor_recipe(dataset.image_shape, dataset.flip)
    reference = canonical(dataset.reference)
    with SILENT.stage("classifier", recipe.steps, "steps") as stage:
        net = train_classifier(reference.images, reference.labels, dataset.num_classes, recipe, device="cpu",
                               stage=stage)
    accuracy = label_accuracy(predict(net, dataset.test.images, device="cpu")[1], dataset.test.labels)
    _save(net, path, recipe, {"reference": reference.content_hash(), "accuracy_test": accuracy})
    return accuracy


def _save(net: nn.Module, path: Path, recipe: ClassifierRecipe, facts: dict[str, str | float]) -> None:
    """Write weights with what they were made from: the recipe, and the content hash of the reference."""
    # One entry, since safetensors writes several in any order: equal weights shall be equal files.
    metadata = {"facts": json.dumps({"recipe": asdict(recipe), **facts}, sort_keys=True)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    write_atomically(path, lambda part: save_file(tensors, part, metadata=metadata))


def main() -> None:
    """Write the weights to the path given, or over the shipped file."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    accuracy = make(load_dataset(DataConfig.model_validate({"name": "digits-lt"})), path)
    click.echo(f"wrote {path}: {accuracy:.2%} of the test images, sha256 {file_sha256(path)}")


if __name__ == "__main__":
    main()
