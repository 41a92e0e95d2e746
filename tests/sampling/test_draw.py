"""Image i is image i: whatever the order, an interruption, a damaged file, or (nearly) the batch size."""

import json

import numpy as np
import pytest
import torch
from support.stopped_sampling import stopped_after

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.data.images import SampleSet
from ltgen_bench.diffusion.draws import generator, image_seed
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.sampling.chunks import Sampling, labels_of, uniform_labels
from ltgen_bench.sampling.draw import sample
from ltgen_bench.sampling.pixel_values import from_uint8, to_uint8
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.sampling.solve import solve

SHAPE = (1, 8, 8)
STEPS = {"ddpm": 5, "ddim": 4, "dpm-solver++": 3}
LABELS_OF_SEED_0 = [3, 0, 4, 0, 4, 7, 3, 3, 1, 8, 3, 4, 5, 1, 8, 1, 1, 6, 2, 5]


@pytest.fixture(scope="module")
def denoiser(make_network):
    return guided(make_network(SHAPE, 3).eval(), Guidance(0.5), 3)


def config(sampler="ddpm", **more):
    return SampleConfig(**{"sampler": sampler, "steps": STEPS[sampler], "images_per_class": 5, "batch_size": 4, **more})


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("images", "labels", "seeds"))


@pytest.fixture(scope="module", params=STEPS)
def undisturbed(request, denoiser, tmp_path_factory):
    """(configuration, samples) of one whole call: 15 images in chunks of 4, 4, 4 and 3."""
    sampling = Sampling(config(request.param), SHAPE, 3)
    return config(request.param), sample(denoiser, sampling, tmp_path_factory.mktemp("whole"), RunContext())


class TestTheSet:
    def test_labels_are_exactly_balanced_and_so_is_every_prefix(self, undisturbed):
        labels = undisturbed[1].labels
        assert labels.tolist() == [0, 1, 2] * 5
        assert np.ptp(np.bincount(labels[:8], minlength=3)) <= 1

    def test_every_image_has_its_own_recorded_seed(self, undisturbed):
        assert undisturbed[1].seeds.tolist() == [image_seed(0, i) for i in range(15)]
        assert len(set(undisturbed[1].seeds.tolist())) == 15

    def test_images_are_bytes_of_the_right_shape_and_all_different(self, undisturbed):
        images = undisturbed[1].images
        assert images.shape == (15, *SHAPE)
        assert images.dtype == np.uint8
        assert len({image.tobytes() for image in images}) == 15

    def test_an_image_can_be_drawn_again_from_its_seed_alone(self, undisturbed, denoiser):
        """The loop written out, one image at a time, with the padding of its chunk left away."""
        settings, samples = undisturbed
        for i in (0, 6, 14):
            scheduler = SAMPLERS[settings.sampler].make(settings.steps)
            own = generator(int(samples.seeds[i]))
            x = torch.randn(SHAPE, generator=own)[None]
            extra = {"generator": [own]} if settings.sampler == "ddpm" else {}
            with torch.no_grad():
                for t in scheduler.timesteps:
                    eps = denoiser(x, t[None], torch.tensor([int(samples.labels[i])]))
                    x = scheduler.step(eps, t, x, **extra).prev_sample
            expected = np.rint((np.clip(x.numpy()[0], -1, 1) + 1) * 127.5)
            assert np.abs(samples.images[i].astype(int) - expected).max() <= 1

    def test_the_seed_of_the_set_makes_other_images(self, undisturbed, denoiser, tmp_path):
        settings = undisturbed[0].model_copy(update={"seed": 1})
        other = sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext())
        assert not (other.images == undisturbed[1].images).all(axis=(1, 2, 3)).any()


class TestLabelsAtRandom:
    def test_the_labels_are_these_whatever_the_version_of_numpy(self):
        assert uniform_labels(10, 20, 0).tolist() == LABELS_OF_SEED_0
        assert uniform_labels(10, 20, 1).tolist() != LABELS_OF_SEED_0

    def test_every_class_is_equally_likely_and_counts_scatter_as_they_should(self):
        counts = np.array([np.bincount(uniform_labels(10, 1000, seed), minlength=10) for seed in range(200)])
        assert counts.sum(axis=1).tolist() == [1000] * 200
        assert np.abs(counts.mean(axis=0) - 100).max() < 4 * 9.49 / np.sqrt(200)  # sqrt(1000 * 0.1 * 0.9)
        assert counts.std() == pytest.approx(9.49, rel=0.05)

    def test_as_many_images_in_all_each_with_the_seed_it_always_has(self, undisturbed, denoiser, tmp_path):
        settings, balanced = undisturbed
        drawn = sample(denoiser, Sampling(settings.model_copy(update={"labels": "uniform"}), SHAPE, 3), tmp_path, RunContext())
        assert drawn.labels.tolist() == uniform_labels(3, 15, 0).tolist()
        assert np.array_equal(drawn.seeds, balanced.seeds)
        same = drawn.labels == balanced.labels
        assert same.any()
        assert not same.all()
        equal_images = (drawn.images == balanced.images).all(axis=(1, 2, 3))
        assert np.array_equal(equal_images, same), "an image depends on its label and its seed alone"

    def test_chunks_of_balanced_labels_are_not_taken_for_these(self, undisturbed, denoiser, tmp_path):
        settings, _ = undisturbed
        TestGoingOn().two_chunks(denoiser, settings, tmp_path)
        drawn = sample(denoiser, Sampling(settings.model_copy(update={"labels": "uniform"}), SHAPE, 3), tmp_path, RunContext())
        assert drawn.labels.tolist() == labels_of(settings.model_copy(update={"labels": "uniform"}), 3).tolist()


class TestGoingOn:
    @pytest.mark.parametrize("order", [(3, 1, 0, 2)])
    def test_chunks_give_the_same_bits_in_any_order(self, undisturbed, denoiser, order):
        settings, whole = undisturbed
        sampling = Sampling(settings, SHAPE, 3)
        assert [len(chunk) for chunk in sampling.chunks] == [4, 4, 4, 3]
        for number in order:
            chunk = sampling.chunks[number]
            assert np.array_equal(sampling.draw(denoiser, chunk, torch.device("cpu")), whole.images[chunk.start:chunk.stop])

    @pytest.mark.parametrize("after", [0, 3])
    def test_an_interrupted_call_goes_on_and_gives_the_same_bits(self, undisturbed, denoiser, tmp_path, told, after):
        settings, whole = undisturbed
        with stopped_after(after):
            sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext())
        assert len(list((tmp_path / "chunks").glob("*.npz"))) == after
        assert not (tmp_path / "samples.npz").exists()
        assert equal(sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext(progress=told)), whole)
        assert told.stages[0]["done"] == 15
        assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.npz", "sampling.json"]

    @pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:len(b) // 2], lambda b: b"text"])
    def test_a_damaged_chunk_is_drawn_again(self, undisturbed, denoiser, tmp_path, damage):
        settings, whole = undisturbed
        self.two_chunks(denoiser, settings, tmp_path)
        chunk = tmp_path / "chunks" / "00000004.npz"
        chunk.write_bytes(damage(chunk.read_bytes()))
        assert equal(sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext()), whole)

    def test_chunks_of_another_batch_size_or_seed_are_not_taken_for_ours(self, undisturbed, denoiser, tmp_path):
        settings, whole = undisturbed
        self.two_chunks(denoiser, settings.model_copy(update={"batch_size": 2}), tmp_path)
        assert equal(sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext()), whole)
        self.two_chunks(denoiser, settings.model_copy(update={"seed": 1}), tmp_path / "b")
        assert equal(sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path / "b", RunContext()), whole)

    def two_chunks(self, denoiser, settings, folder):
        with stopped_after(2):
            sample(denoiser, Sampling(settings, SHAPE, 3), folder, RunContext())

    def test_a_finished_set_is_read_and_not_drawn_again(self, undisturbed, denoiser, tmp_path):
        settings, whole = undisturbed
        sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext())
        (tmp_path / "chunks").mkdir()  # as if the command had been killed before it tidied up

        def never(*args):
            pytest.fail("the network was asked again")

        assert equal(sample(never, Sampling(settings, SHAPE, 3), tmp_path, RunContext()), whole)
        assert not (tmp_path / "chunks").exists()

    def test_the_settings_stand_beside_the_samples(self, denoiser, tmp_path):
        sample(denoiser, Sampling(config(), SHAPE, 3), tmp_path, RunContext())
        stored = json.loads((tmp_path / "sampling.json").read_text())
        assert config().model_dump(mode="json").items() <= stored.items()
        assert stored["threads"] == torch.get_num_threads()

    def test_chunks_of_another_number_of_threads_are_drawn_again(self, undisturbed, denoiser, tmp_path, told):
        settings, whole = undisturbed
        self.two_chunks(denoiser, settings, tmp_path)
        about = tmp_path / "sampling.json"
        about.write_text(about.read_text().replace('"threads": 1', '"threads": 64'))
        assert equal(sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext(progress=told)), whole)
        assert any("number of threads" in message for message in told.messages)
        assert told.stages[-1]["done"] == 15
        assert isinstance(SampleSet.load(tmp_path / "samples.npz"), SampleSet)


    @pytest.mark.parametrize("damage", ["sampling", "chunk", "samples"])
    def test_what_is_damaged_is_told_and_drawn_again(self, undisturbed, denoiser, tmp_path, told, damage):
        settings, whole = undisturbed
        if damage == "samples":
            sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext())
            file = tmp_path / "samples.npz"
        else:
            self.two_chunks(denoiser, settings, tmp_path)
            file = tmp_path / "sampling.json" if damage == "sampling" else sorted((tmp_path / "chunks").iterdir())[0]
        data = bytearray(file.read_bytes())
        if damage == "sampling":
            data[data.index(b'"steps"') + 1] ^= 0x80  # no UTF-8 any more
        else:
            data[data.index(b"PK\x01\x02") + 10] ^= 0x40  # an unknown way of compression in the directory of the zip
        file.write_bytes(data)
        assert equal(sample(denoiser, Sampling(settings, SHAPE, 3), tmp_path, RunContext(progress=told)), whole)
        if damage != "chunk":
            assert any(f"{file.name}" in message and "set aside" in message for message in told.messages)
            assert file.with_name(f"{file.name}.damaged").is_file()


class TestBatchSize:
    @pytest.mark.parametrize("size", [1, 7, 40])
    def test_another_batch_size_changes_no_image_by_more_than_one_grey_level(self, undisturbed, denoiser, tmp_path, size):
        settings, whole = undisturbed
        other = sample(denoiser, Sampling(settings.model_copy(update={"batch_size": size}), SHAPE, 3), tmp_path, RunContext())
        assert np.array_equal(other.seeds, whole.seeds)
        assert np.abs(other.images.astype(int) - whole.images.astype(int)).max() <= 1

    def test_a_short_last_chunk_is_padded_so_that_the_network_sees_one_size(self, tmp_path):
        seen = []

        def denoiser(x_t, t, labels):
            seen.append(len(x_t))
            return torch.zeros_like(x_t)

        sample(denoiser, Sampling(config("ddim"), SHAPE, 3), tmp_path, RunContext())
        assert set(seen) == {4}
        assert len(seen) == 4 * STEPS["ddim"]

    def test_fewer_images_than_a_chunk_are_not_padded(self, tmp_path):
        seen = set()

        def denoiser(x_t, t, labels):
            seen.add(len(x_t))
            return torch.zeros_like(x_t)

        sample(denoiser, Sampling(config("ddim", batch_size=100), SHAPE, 3), tmp_path, RunContext())
        assert seen == {15}


class TestSolving:
    def test_noise_at_every_step_is_each_images_own(self, denoiser):
        """Image 1 is the same whoever stands before it in the batch."""
        labels = torch.tensor([0, 1])
        with torch.no_grad():
            first = solve(denoiser, labels, [11, 22], SHAPE, config(), torch.device("cpu"))
            second = solve(denoiser, labels, [99, 22], SHAPE, config(), torch.device("cpu"))
        assert torch.equal(first[1], second[1])
        assert not torch.allclose(first[0], second[0])

    def test_the_global_generator_is_not_used(self, denoiser, tmp_path):
        before = torch.get_rng_state()
        sample(denoiser, Sampling(config(images_per_class=1), SHAPE, 3), tmp_path, RunContext())
        assert torch.equal(torch.get_rng_state(), before)

    def test_bf16_is_near_float32_but_the_steps_are_float32(self, denoiser, tmp_path):
        exact = sample(denoiser, Sampling(config("ddim"), SHAPE, 3), tmp_path / "a", RunContext())
        rough = sample(denoiser, Sampling(config("ddim", precision="bf16"), SHAPE, 3), tmp_path / "b", RunContext())
        difference = np.abs(exact.images.astype(int) - rough.images.astype(int))
        assert 0 < difference.mean() < 8

    def test_values_that_are_not_finite_stop_the_sampling(self, tmp_path):
        with pytest.raises(MachineError, match="training may have diverged"):
            sample(lambda x, t, labels: x * float("nan"), Sampling(config("ddim"), SHAPE, 3), tmp_path, RunContext())
        assert not (tmp_path / "samples.npz").exists()

    @pytest.mark.parametrize("bad", [{"sampler": "ddmp"}, {"steps": 30}])
    def test_an_unknown_sampler_or_an_impossible_number_of_steps_writes_nothing(self, tmp_path, bad):
        settings = config().model_copy(update=bad)
        with pytest.raises(UserError):
            sample(lambda *a: pytest.fail("asked"), Sampling(settings, SHAPE, 3), tmp_path / "new", RunContext())
        assert not (tmp_path / "new").exists()


class TestBytes:
    def test_bytes_and_floats_are_inverse(self):
        levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
        floats = from_uint8(levels)
        assert (floats.min(), floats.max(), floats.dtype) == (-1, 1, torch.float32)
        assert torch.equal(to_uint8(floats), levels)

    def test_values_are_rounded_and_clipped_at_the_ends(self):
        x = torch.tensor([-3.0, -1.0, -1 + 0.6 / 127.5, 1 - 0.6 / 127.5, 1.0, 7.0]).view(1, 1, 2, 3)
        assert to_uint8(x).flatten().tolist() == [0, 0, 1, 254, 255, 255]
