import contextlib
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch_fidelity.feature_extractor_inceptionv3 as fidelity
from support.extracting import context_of

from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation.extractors import Extractor
from ltgen_bench.evaluation.extractors import inception as inception_module
from ltgen_bench.evaluation.extractors.inception import FILE, HEAD, inception, read_weights


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine two threads wait for each other far longer than these few images take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def state():
    """The network's own random first weights: right names and shapes, no download."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        state = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict()
    # torch's first weights shrink what passes through them; some forty layers on, denormal numbers make it slow.
    state = {name: tensor * 6 ** 0.5 if name.endswith("conv.weight") else tensor for name, tensor in state.items()}
    random = torch.Generator().manual_seed(0)  # batch norms that do something
    return {name: tensor + 0.4 * (torch.rand(tensor.shape, generator=random) - 0.5) if ".bn." in name and tensor.ndim else tensor
            for name, tensor in state.items()}


@pytest.fixture(scope="module")
def whole(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "whole.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def headless(state, tmp_path_factory):
    """What make_inception_weights.py makes: a head of NaN."""
    path = tmp_path_factory.mktemp("weights") / "headless.pth"
    torch.save(state | {name: torch.full_like(state[name], float("nan")) for name in HEAD}, path)
    return path


@pytest.fixture(scope="module")
def extractor(whole, make_dataset, tmp_path_factory):
    return build(make_dataset(), whole, tmp_path_factory.mktemp("unused"))


def build(dataset, weights, folder, progress=SILENT):
    return inception(dataset, context_of(folder, "inception", weights, progress), None)


def test_features_and_logits_are_torch_fidelitys(extractor, whole, make_images):
    images = make_images((1, 1), (3, 20, 20)).images
    net = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"],
                                               feature_extractor_weights_path=str(whole))
    features, logits = net(torch.from_numpy(images))
    found = extractor(images)
    np.testing.assert_allclose(found.features, features.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logits, logits.numpy(), rtol=1e-4, atol=1e-5)
    assert found.features.shape == (2, extractor.feature_dim)
    assert isinstance(extractor, Extractor)


def test_the_batch_size_changes_no_feature(extractor, make_images):
    images = make_images((2, 2), (3, 20, 20)).images
    one_by_one = np.concatenate([extractor(images[i:i + 1]).features for i in range(4)])
    np.testing.assert_allclose(extractor(images).features, one_by_one, rtol=1e-4, atol=1e-5)


def test_grey_images_are_seen_as_rgb(extractor, make_images):
    grey = make_images((1, 1)).images
    assert np.array_equal(extractor(grey).features, extractor(np.repeat(grey, 3, axis=1)).features)


def test_a_file_without_its_head_has_the_same_features_and_no_logits(extractor, headless, tiny_dataset, tmp_path, told):
    first, second = extractor, build(tiny_dataset, headless, tmp_path, told)
    assert first.weights_id == second.weights_id
    assert (first.has_logits, second.has_logits) == (True, False)
    assert first.logits_id != second.logits_id
    assert first.sha256 != second.sha256
    assert second(tiny_dataset.test.images[:1]).logits is None
    assert "no logits" in told.messages[0]


class Hostile:
    """Unpickling it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_hostile_file_is_refused_and_never_executed(tmp_path, write):
    target, path = tmp_path / "executed", tmp_path / "hostile.pth"
    write({"fc.bias": Hostile(target)}, path)
    with pytest.raises(UserError, match="give weights-inc"):
        read_weights(path)
    assert not target.exists()
    with contextlib.suppress(RuntimeError):  # read carelessly, it is executed before anything else is noticed
        torch.load(path, weights_only=False)
    assert target.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_of_something_else_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"other.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="was refused"):
        read_weights(path)


@pytest.mark.parametrize(("change", "fault"), [
    (lambda state: state.pop("fc.weight"), 'Missing key.*"fc.weight"'),
    (lambda state: state.update(extra=torch.zeros(1)), 'Unexpected key.*"extra"'),
    (lambda state: state.update({"fc.bias": torch.zeros(1000)}), r"size mismatch for fc.bias.*\[1000\].*\[1008\]")])
def test_names_and_shapes_that_do_not_fit_are_listed(state, tmp_path, change, fault):
    changed = dict(state)
    change(changed)
    path = tmp_path / "changed.pth"
    torch.save(changed, path)
    with pytest.raises(UserError, match=rf"(?s)does not fit Inception-v3.*{fault}"):
        read_weights(path)


def test_a_list_of_tensors_or_a_broken_trunk_is_refused(state, tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(UserError, match="no mapping of names to tensors"):
        read_weights(tmp_path / "list.pth")
    name = "Conv2d_1a_3x3.conv.weight"
    torch.save(state | {name: torch.full_like(state[name], float("inf"))}, tmp_path / "broken.pth")
    with pytest.raises(UserError, match=f"not finite, in {name}"):
        read_weights(tmp_path / "broken.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none\.pth"):
        read_weights(tmp_path / "none.pth")


def test_without_network_and_file_the_error_says_what_to_put_where(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(MachineError) as error:
        build(tiny_dataset, None, tmp_path)
    for part in (FILE.file_name, "6726825d", fidelity.URL_INCEPTION_V3, "--extractor-weights inception=FILE"):
        assert part in str(error.value)


def test_an_earlier_download_is_used_when_its_sha_is_right(whole, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(inception_module, "read_weights", lambda path: torch.load(path, weights_only=True))  # tested above
    (tmp_path / FILE.file_name).write_bytes(whole.read_bytes())
    with pytest.raises(MachineError):  # these are not the published weights
        build(tiny_dataset, None, tmp_path)
    (tmp_path / FILE.file_name).write_bytes(whole.read_bytes())
    monkeypatch.setattr(inception_module, "FILE", replace(FILE, sha256=inception_module.file_sha256(whole)[:8]))
    assert build(tiny_dataset, None, tmp_path).sha256 == inception_module.file_sha256(whole)


def test_images_of_two_channels_are_refused(make_dataset, whole, tmp_path):
    with pytest.raises(UserError, match="2 channels"):
        build(make_dataset(shape=(2, 8, 8)), whole, tmp_path)
