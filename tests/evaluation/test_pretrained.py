"""VGG16, DINOv2 and CLIP with random weights against torch-fidelity's own classes; narrow versions, so that they are quick."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from support.extracting import context_of
from torch import nn
from torch_fidelity import (
    feature_extractor_clip,
    feature_extractor_dinov2,
    feature_extractor_inceptionv3,
    feature_extractor_vgg16,
)

from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.files import file_sha256
from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation.extractors import EXTRACTORS, Extractor, pretrained
from ltgen_bench.evaluation.extractors.dinov2 import DinoV2
from ltgen_bench.evaluation.extractors.fidelity import clip_network
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.extractors.weights_reader import read_tensors
from ltgen_bench.runtime.context import RunContext


class NarrowVGG(nn.Module):
    """The layers of VGG16 by name, with a few channels."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.MaxPool2d(4))
        self.classifier = nn.Sequential(nn.Linear(4 * 9, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 20), nn.ReLU(), nn.Dropout(),
                                        nn.Linear(20, 10))

    def forward(self, x):
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 3).flatten(1))


NARROW = {
    "vgg16": replace(pretrained.VGG16, feature_dim=20, network=NarrowVGG),
    "dinov2": replace(pretrained.DINOV2, feature_dim=128, network=partial(DinoV2, width=128, depth=2)),
    "clip": replace(pretrained.CLIP_L14_336, size=56, feature_dim=24,
                    network=partial(clip_network, dim=24, size=56, depth=2, width=64, patch=14)),
    "clip-b32": replace(pretrained.CLIP_B32, size=64, feature_dim=16,
                        network=partial(clip_network, dim=16, size=64, depth=1, width=128, patch=32)),
}


def random_state(name):
    """The tensors of the published file, in the small: all names, random values, and what a file holds besides."""
    net = NARROW[name].network()
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.randn(tensor.shape, generator=generator) * 0.2 for key, tensor in net.state_dict().items()}
    if name == "dinov2":
        state["mask_token"] = torch.zeros(1, 128)
    if name.startswith("clip"):  # the published numbers have 16 bits
        state = {key: tensor.half().float() for key, tensor in state.items()}
        state |= {"text_projection": torch.zeros(8, NARROW[name].feature_dim), "logit_scale": torch.ones(()),
                  "transformer.resblocks.0.ln_1.weight": torch.ones(8)}
    return state


@pytest.fixture(scope="module", params=list(NARROW))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def state(name):
    return random_state(name)


@pytest.fixture(scope="module")
def weights(name, state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / f"{name}.pth"
    torch.save(state, path)
    return path


def build(name, dataset, weights, folder, progress=SILENT):
    return pretrained.build(NARROW[name], dataset, context_of(folder, name, weights, progress), None)


@pytest.fixture(scope="module")
def extractor(name, weights, make_dataset, tmp_path_factory):
    return build(name, make_dataset(), weights, tmp_path_factory.mktemp("unused"))


@pytest.fixture(scope="module")
def images(make_images):
    return make_images((3, 2), (3, 20, 24)).images


def torch_fidelitys(name, state, path, monkeypatch):
    """torch-fidelity's own extractor around the same tensors."""
    if name == "vgg16":
        monkeypatch.setattr(torchvision.models, "vgg16", NarrowVGG)
        return feature_extractor_vgg16.FeatureExtractorVGG16("vgg16", ["fc2_relu"], feature_extractor_weights_path=str(path))
    if name == "dinov2":
        monkeypatch.setattr(torch.hub, "load", lambda *args: torchvisions_transformer(state))
        return feature_extractor_dinov2.FeatureExtractorDinoV2("dinov2-vit-l-14", ["dinov2"])

    class Program:
        def state_dict(self):
            return dict(state)

    monkeypatch.setattr(torch.jit, "load", lambda *args, **kwargs: Program())
    return feature_extractor_clip.FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(path))


def torchvisions_transformer(state):
    """DINOv2 as torchvision's own vision transformer: LayerScale multiplied into the weights before it."""
    width, depth, renamed = 128, 2, {}
    net = torchvision.models.VisionTransformer(224, 14, depth, width // 64, width, 4 * width,
                                               norm_layer=partial(nn.LayerNorm, eps=1e-6))
    net.heads = nn.Identity()
    for block in range(depth):
        ours, theirs = f"blocks.{block}.", f"encoder.layers.encoder_layer_{block}."
        for kind in ("weight", "bias"):
            scaled = {part: state[f"{ours}{scale}.gamma"] for part, scale in (("attn.proj", "ls1"), ("mlp.fc2", "ls2"))}
            scaled = {part: (gamma[:, None] if kind == "weight" else gamma) * state[f"{ours}{part}.{kind}"]
                      for part, gamma in scaled.items()}
            renamed |= {f"{theirs}ln_1.{kind}": state[f"{ours}norm1.{kind}"],
                        f"{theirs}ln_2.{kind}": state[f"{ours}norm2.{kind}"],
                        f"{theirs}self_attention.in_proj_{kind}": state[f"{ours}attn.qkv.{kind}"],
                        f"{theirs}self_attention.out_proj.{kind}": scaled["attn.proj"],
                        f"{theirs}mlp.0.{kind}": state[f"{ours}mlp.fc1.{kind}"], f"{theirs}mlp.3.{kind}": scaled["mlp.fc2"]}
    learnt = state["pos_embed"][0, 1:].T.reshape(1, width, 37, 37)
    grid = nn.functional.interpolate(learnt, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic")[0].flatten(1).T
    renamed |= {"class_token": state["cls_token"], "encoder.pos_embedding": torch.cat([state["pos_embed"][0, :1], grid])[None],
                "conv_proj.weight": state["patch_embed.proj.weight"], "conv_proj.bias": state["patch_embed.proj.bias"],
                "encoder.ln.weight": state["norm.weight"], "encoder.ln.bias": state["norm.bias"]}
    net.load_state_dict(renamed)
    return net


def test_features_are_torch_fidelitys(name, state, weights, extractor, images, monkeypatch):
    reference = torch_fidelitys(name, state, weights, monkeypatch)
    [expected] = reference(torch.from_numpy(images))
    found = extractor(images)
    np.testing.assert_allclose(found.features, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert found.features.shape == (5, extractor.feature_dim)
    assert found.features.dtype == np.float32
    assert found.features.std(axis=0).max() > 1e-3, "the images must make a difference"
    assert found.logits is None
    assert isinstance(extractor, Extractor)


def test_the_batch_size_changes_no_feature(extractor, images):
    one_by_one = np.concatenate([extractor(images[i:i + 1]).features for i in range(len(images))])
    np.testing.assert_allclose(extractor(images).features, one_by_one, rtol=1e-4, atol=1e-5)


def test_grey_images_are_seen_as_rgb(extractor, make_images):
    grey = make_images((1, 1)).images
    assert np.array_equal(extractor(grey).features, extractor(np.repeat(grey, 3, axis=1)).features)


def test_the_id_is_that_of_the_tensors_that_are_used(name, state, extractor, tiny_dataset, tmp_path):
    unused = {"vgg16": "classifier.6.bias", "dinov2": "mask_token"}.get(name, "logit_scale")
    used = {"vgg16": "classifier.3.bias", "dinov2": "norm.bias"}.get(name, "visual.ln_post.bias")
    for changed, same in ((unused, True), (used, False)):
        torch.save(state | {changed: state[changed] + 1}, tmp_path / "other.pth")
        other = build(name, tiny_dataset, tmp_path / "other.pth", tmp_path)
        assert (other.weights_id == extractor.weights_id) == same
        assert other.sha256 != extractor.sha256


def test_weights_that_do_not_fit_or_are_broken_are_refused_by_name(name, state, tiny_dataset, tmp_path):
    key = next(key for key in state if NARROW[name].uses(key) and state[key].ndim > 1)
    path, network = tmp_path / "w.pth", PUBLISHED[name].network
    for changed, fault in (
        (state | {key: torch.zeros(1)}, rf"does not fit {network}.*size mismatch for {key}.*\[1\]"),
        ({other: state[other] for other in state if other != key}, rf'does not fit {network}.*Missing key.*"{key}"'),
        (state | {key: state[key] / 0}, rf"not finite, in {key.removeprefix('visual.')}")):
        torch.save(changed, path)
        with pytest.raises(UserError, match=rf"(?s)^--extractor-weights {name}=FILE: .*w\.pth.*{fault}"):
            build(name, tiny_dataset, path, tmp_path)


def test_without_network_and_file_the_error_says_what_to_put_where(name, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(MachineError) as error:
        EXTRACTORS[name].build(tiny_dataset, RunContext(cache=tmp_path), None)
    file = PUBLISHED[name]
    for part in (file.file_name, file.sha256[:8], file.url, f"--extractor-weights {name}=FILE"):
        assert part in str(error.value)


def test_an_earlier_download_is_used_when_its_sha_is_right(name, weights, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = replace(PUBLISHED[name], sha256=file_sha256(weights), torchscript=False)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / file.file_name).write_bytes(weights.read_bytes())
    with pytest.raises(MachineError):  # these are not the published weights
        build(name, tiny_dataset, None, tmp_path / "cache")
    monkeypatch.setitem(PUBLISHED, name, file)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert build(name, tiny_dataset, None, tmp_path / "cache").sha256 == file.sha256


def test_images_of_two_channels_are_refused(name, make_dataset, weights, tmp_path):
    with pytest.raises(UserError, match=f"'{name}' takes grey or RGB images.*2 channels"):
        build(name, make_dataset(shape=(2, 8, 8)), weights, tmp_path)


def test_a_program_is_opened_only_if_it_is_the_published_one(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2))
    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.script(net).save(str(tmp_path / "program.pt"))
    file = PUBLISHED["clip"]
    with pytest.raises(UserError, match=r"program\.pt was refused, since"):
        read_tensors(tmp_path / "program.pt", file)
    published = replace(file, sha256=file_sha256(tmp_path / "program.pt"))
    found = read_tensors(tmp_path / "program.pt", published)
    assert torch.equal(found["0.weight"], net[0].weight)
    with pytest.raises(UserError, match="was refused"):
        read_tensors(tmp_path / "program.pt", replace(published, sha256=published.sha256[:8]))


def test_published_files_are_those_of_torch_fidelity():
    for extractor, name in (("clip", "clip-vit-l-14-336px"), ("clip-b32", "clip-vit-b-32")):
        file = PUBLISHED[extractor]
        assert file.url == feature_extractor_clip.MODEL_URLS[name]
        assert file.sha256 == feature_extractor_clip.MODEL_METADATA[name]["hash"]
        assert file.file_name == f"{name}-{file.sha256}.pt"
    assert PUBLISHED["inception"].url == feature_extractor_inceptionv3.URL_INCEPTION_V3
    assert PUBLISHED["vgg16"].url == torchvision.models.VGG16_Weights.IMAGENET1K_V1.url
    assert PUBLISHED["vgg16"].sha256 in PUBLISHED["vgg16"].url
    name = feature_extractor_dinov2.MODEL_METADATA["dinov2-vit-l-14"]
    assert PUBLISHED["dinov2"].url.endswith(f"/{name}/{name}_pretrain.pth")
    assert {file.extractor for file in PUBLISHED.values()} == {kind for kind in EXTRACTORS if EXTRACTORS[kind].fetched}


def test_full_size_towers_have_the_shapes_of_the_published_files():
    """On torch's meta device, where tensors have shapes and no numbers; counts as the papers' authors state them."""
    counts = {"vgg16": 138_357_544, "dinov2": 304_368_640 - 1024, "clip": 304_293_888, "clip-b32": 87_849_216}
    for tower in (pretrained.VGG16, pretrained.DINOV2, pretrained.CLIP_L14_336, pretrained.CLIP_B32):
        with torch.device("meta"):
            net = tower.network()
            assert sum(parameter.numel() for parameter in net.parameters()) == counts[tower.name]
            seen = tower.cut(net.eval())(torch.zeros(2, 3, tower.size, tower.size))
        assert seen.shape == (2, tower.feature_dim)
