"""Makes the two files again that ship in `ltgen_bench/evaluation/extractors/weights`; equal content gives equal files.

    python tests/support/shipped_files.py weights                   digits.safetensors, the classifier of the digits
    python tests/support/shipped_files.py features INCEPTION.pth    digits_features.safetensors, after new weights

The first holds the classifier of the reference set of `digits-lt`, its recipe, the content hash of that set, and its accuracy on
the test set. Its SHA-256 is the classifier's id, so a new file is a new protocol; it and the hash stand in `domain_classifier.py`
too. The second holds what `reference_features.py` reads.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.files import file_sha256, write_atomically
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import load_dataset
from ltgen_bench.evaluation.classifiers.classifier_recipe import extractor_recipe
from ltgen_bench.evaluation.classifiers.classifier_training import predict, train_classifier
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.extractors.domain_classifier import SHIPPED
from ltgen_bench.evaluation.features.reference_features import DATASET, FILE, SLOW_IMAGES, reference_images
from ltgen_bench.evaluation.metrics.accuracy import label_accuracy
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.runtime.context import RunContext


def metadata(facts):
    """One entry, since safetensors writes several in any order."""
    return {"facts": json.dumps(facts, sort_keys=True)}


def make_weights(dataset, path):
    """Train on the reference of `dataset`, write the weights to `path`, return the accuracy on the test set (0 ... 1)."""
    recipe = extractor_recipe(dataset.image_shape, dataset.flip)
    reference = canonical(dataset.reference)
    with SILENT.stage("classifier", recipe.steps, "steps") as stage:
        net = train_classifier(reference.images, reference.labels, dataset.num_classes, recipe, device="cpu", stage=stage)
    accuracy = label_accuracy(predict(net, dataset.test.images, device="cpu")[1], dataset.test.labels)
    facts = {"recipe": asdict(recipe), "reference": reference.content_hash(), "accuracy_test": accuracy}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    write_atomically(path, lambda part: save_file(tensors, part, metadata=metadata(facts)))
    return accuracy


def make_features(path, inception, slow_images=SLOW_IMAGES):
    """Write the features of the reference images by the shipped classifier, and of some by the weights file `inception`."""
    dataset = load_dataset(DataConfig(name=DATASET))
    images = reference_images(dataset)
    classifier, network = (EXTRACTORS[name].build(dataset, RunContext(extractor_weights=given), None)
                           for name, given in (("classifier", {}), ("inception", {"inception": inception})))
    seen = classifier(images.images)
    arrays = {"classifier": seen.features, "logits": seen.logits, "inception": network(images.images[:slow_images]).features}
    facts = {"content": images.content_hash(), "weights": {found.name: found.weights_id for found in (classifier, network)}}
    write_atomically(path, lambda part: save_arrays(arrays, part, metadata=metadata(facts)))


if __name__ == "__main__":
    if sys.argv[1:] == ["weights"]:
        print(f"{make_weights(load_dataset(DataConfig(name=DATASET)), SHIPPED):.2%} of the test images, {file_sha256(SHIPPED)}")
    else:
        make_features(FILE, Path(sys.argv[2]))
