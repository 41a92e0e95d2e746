"""float32 is float32 wherever something is trained, drawn or measured, whatever the caller allows in its own process."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ltgen_bench as lt
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.precision import deterministic_float32, exact_float32
from ltgen_bench.sampling.chunks import Sampling

BACKENDS = torch.backends
NEWER = (BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul, BACKENDS.mkldnn.conv, BACKENDS.mkldnn.rnn,
         BACKENDS.mkldnn.matmul)


def state():
    """What all switches of torch say."""
    def older(read):
        try:
            return read()
        except RuntimeError:
            return "mixed"

    return [setting.fp32_precision for setting in NEWER], older(lambda: BACKENDS.cudnn.allow_tf32), older(
        lambda: BACKENDS.cuda.matmul.allow_tf32), older(torch.get_float32_matmul_precision)


EXACT = (["ieee"] * len(NEWER), False, False, "highest")


def allow(how):
    match how:
        case "all":
            BACKENDS.fp32_precision = "tf32"
        case "products":
            torch.set_float32_matmul_precision("medium")
        case "bf16":
            BACKENDS.mkldnn.matmul.fp32_precision = "bf16"
        case "convolutions":
            BACKENDS.cudnn.allow_tf32 = True


@pytest.fixture(params=["torch's own", "all", "products", "bf16", "convolutions"])
def allowed(request):
    """A process that allows less than float32, in one of the ways that torch has; the state before is back afterwards."""
    generic, newer = BACKENDS.fp32_precision, [setting.fp32_precision for setting in NEWER]
    older = BACKENDS.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    allow(request.param)
    yield state()
    BACKENDS.fp32_precision = generic
    BACKENDS.cudnn.allow_tf32 = older[0]
    torch.set_float32_matmul_precision(older[1])
    for setting, value in zip(NEWER, newer, strict=True):
        setting.fp32_precision = value


def test_inside_is_exact_and_afterwards_all_is_as_it_was(allowed):
    with exact_float32():
        assert state() == EXACT
        with deterministic_float32():
            assert state() == EXACT
            assert BACKENDS.cudnn.deterministic
            assert not BACKENDS.cudnn.benchmark
        assert state() == EXACT
        assert not BACKENDS.cudnn.deterministic
    assert state() == allowed


def test_also_where_it_ends_in_an_error(allowed):
    with pytest.raises(ZeroDivisionError), deterministic_float32():
        _ = 1 / 0
    assert state() == allowed


@pytest.fixture
def seen(monkeypatch):
    """The states in which networks of the evaluation and of diffusion were asked."""
    from ltgen_bench.diffusion.network import ConditionalUNet
    from ltgen_bench.evaluation.classifiers.classifier_networks import SmallCNN

    found = []
    for kind in (SmallCNN, ConditionalUNet):
        forward = kind.forward

        def watched(self, *inputs, forward=forward, name=kind.__name__, **given):
            found.append((name, self.training, state()))
            return forward(self, *inputs, **given)

        monkeypatch.setattr(kind, "forward", watched)
    return found


@pytest.mark.usefixtures("allowed")
class TestEveryEntry:
    def test_the_library_trains_and_asks_classifiers_in_float32(self, seen, make_dataset, tmp_path, monkeypatch):
        monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path))
        data = make_dataset()
        rule = lt.EvaluateConfig(metrics=("fid", "downstream_accuracy"), classifier_steps=2, downstream_steps=2)
        lt.evaluate(data.reference, data, config=rule, device="cpu")
        assert {training for _, training, _ in seen} == {True, False}
        assert all(found == EXACT for *_, found in seen)

    def test_so_do_the_trainings_and_predictions_by_themselves(self, seen, make_dataset):
        from ltgen_bench.core.progress import SILENT
        from ltgen_bench.evaluation.classifiers.classifier_recipe import extractor_recipe
        from ltgen_bench.evaluation.classifiers.classifier_training import predict, train_classifier

        data = make_dataset()
        recipe = replace(extractor_recipe(data.image_shape, flip=False), steps=2)
        with SILENT.stage("classifier", 2, "steps") as stage:
            net = train_classifier(data.train.images, data.train.labels, data.num_classes, recipe, device="cpu", stage=stage)
        predict(net, data.test.images, device="cpu")
        assert len(seen) >= 3
        assert all(found == EXACT for *_, found in seen)

    def test_training_sampling_and_what_measures_their_cost(self, seen, make_dataset, tmp_path):
        from ltgen_bench.sampling.draw import sample
        from ltgen_bench.sampling.solve import guidance_of
        from ltgen_bench.training.cost import flops_per_image, pace, probing
        from ltgen_bench.training.loop import train

        cpu, data = torch.device("cpu"), make_dataset()
        config = lt.RunConfig.from_values({
            "network": {"preset": "digits", "channels": [8, 16]}, "method": {"name": "ddpm"},
            "train": {"budget_images": 4, "batch_size": 4, "precision": "float32", "compile": "no"},
            "sample": {"sampler": "ddim", "steps": 2, "images_per_class": 1, "batch_size": 4}})
        trained = train(config, data, tmp_path / "train", RunContext())
        denoiser = trained.method.denoiser(trained.net, guidance_of(config.sample, data.num_classes, cpu))
        sample(denoiser, Sampling(config.sample, data.image_shape, data.num_classes), tmp_path / "samples", RunContext())
        flops_per_image(config, data, cpu)
        pace(probing(config, data, cpu, 2))
        assert len(seen) > 6
        assert all(found == EXACT for *_, found in seen)


def test_exact_is_the_default_arithmetic_of_a_cpu():
    """No bit of results that are there changes."""
    generator = torch.Generator().manual_seed(0)
    images, weights = torch.randn(2, 4, 9, 9, generator=generator), torch.randn(3, 4, 3, 3, generator=generator)
    plain = torch.nn.functional.conv2d(images, weights), images.reshape(2, -1) @ images.reshape(2, -1).T
    with exact_float32():
        exact = torch.nn.functional.conv2d(images, weights), images.reshape(2, -1) @ images.reshape(2, -1).T
    for first, second in zip(plain, exact, strict=True):
        np.testing.assert_array_equal(first, second)
