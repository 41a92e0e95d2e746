"""Chunks of a size that is found: written down once, then kept, whatever another search would find."""

import json

import numpy as np
import pytest
import torch
from support.stopped_sampling import stopped_after

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.runtime import batch_size
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling import chunks as sampling
from ltgen_bench.sampling.chunks import Sampling, chunk_size
from ltgen_bench.sampling.draw import sample

SHAPE = (1, 8, 8)
AUTO = SampleConfig(sampler="ddim", steps=4, images_per_class=5, batch_size="auto")


@pytest.fixture(scope="module")
def denoiser(make_network):
    return guided(make_network(SHAPE, 3).eval(), Guidance(0.5), 3)


@pytest.fixture
def finding(monkeypatch):
    """`finding(4)`: the search finds 4 from now on; returns the numbers of images that it was allowed, one a search."""
    searches = []

    def find(size):
        def search(call, device, *, largest):
            call(2)  # the network is really asked
            searches.append(largest)
            return size

        monkeypatch.setattr(sampling, "fastest_size", search)
        return searches

    return find


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("images", "labels", "seeds"))


def drawn(folder):
    return sorted(path.name for path in (folder / "chunks").glob("*.npz"))


def test_the_images_are_those_of_a_fixed_batch_size_bit_for_bit(denoiser, finding, tmp_path, told):
    assert finding(4) == []
    found = sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path / "auto", RunContext(progress=told))
    fixed = Sampling(AUTO.model_copy(update={"batch_size": 4}), SHAPE, 3)
    assert equal(found, sample(denoiser, fixed, tmp_path / "fixed", RunContext()))
    assert any("4 images are drawn" in message for message in told.messages)
    stored = json.loads((tmp_path / "auto" / "sampling.json").read_text())
    assert (stored["batch_size"], stored["chunk_images"]) == ("auto", 4)
    assert "chunk_images" not in json.loads((tmp_path / "fixed" / "sampling.json").read_text())


@pytest.mark.parametrize("chunks", [0, 2])
def test_an_interrupted_sampling_goes_on_with_the_same_chunks_and_does_not_search_again(denoiser, finding, tmp_path, chunks):
    finding(4)
    whole = sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path / "whole", RunContext())
    with stopped_after(chunks):
        sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path / "cut", RunContext())
    assert drawn(tmp_path / "cut") == ["00000000.npz", "00000004.npz"][:chunks]
    searches = finding(7)
    del searches[:]
    assert equal(sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path / "cut", RunContext()), whole)
    assert equal(sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path / "cut", RunContext()), whole), "and a finished set is read"
    assert searches == []


def test_on_another_machine_the_number_is_found_again_and_all_chunks_are_drawn_by_it(denoiser, finding, tmp_path, told):
    finding(4)
    with stopped_after(2):
        sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path, RunContext())
    about = tmp_path / "sampling.json"
    about.write_text(about.read_text().replace('"device": "cpu"', '"device": "another"'))
    finding(5)
    with stopped_after(1):
        sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path, RunContext(progress=told))
    assert any("another machine" in message for message in told.messages)
    assert drawn(tmp_path) == ["00000000.npz"]
    assert json.loads(about.read_text())["chunk_images"] == 5


def test_chunks_are_even_and_no_more_than_there_are_images(denoiser, finding):
    searches = finding(11)
    assert chunk_size(denoiser, Sampling(AUTO, SHAPE, 3), torch.device("cpu")) == 8, "15 images in two chunks"
    assert searches == [15]


def test_the_search_asks_the_network_as_sampling_does(monkeypatch):
    """Images, times and labels of one length, inside autocast where that is asked for; nothing is drawn from elsewhere."""
    seen = []

    def network(x_t, t, labels):
        seen.append((x_t.shape, t.shape, labels.tolist(), torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()))
        return x_t

    monkeypatch.setattr(sampling, "fastest_size", lambda call, device, *, largest: call(4) or 4)
    before = torch.get_rng_state()
    chunk_size(network, Sampling(AUTO.model_copy(update={"precision": "bf16"}), SHAPE, 3), torch.device("cpu"))
    assert seen == [((4, *SHAPE), (4,), [0, 1, 2, 0], True, True)]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_real_search_finds_some_number(denoiser, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_size, "SECONDS", 0.2)
    samples = sample(denoiser, Sampling(AUTO, SHAPE, 3), tmp_path, RunContext())
    assert samples.images.shape == (15, *SHAPE)
    assert 1 <= json.loads((tmp_path / "sampling.json").read_text())["chunk_images"] <= 15


def test_several_processes_have_as_many_chunks_each(denoiser, finding):
    sampling, searches = Sampling(AUTO.model_copy(update={"images_per_class": 20}), SHAPE, 5), finding(40)
    sizes = [chunk_size(denoiser, sampling, torch.device("cpu"), processes) for processes in (1, 2, 3)]
    assert searches == [100, 50, 34]
    assert [-(-100 // size) for size in sizes] == [3, 4, 3]
