"""Each augmentation alone, how often ADA switches what on, and that any method can be trained with it."""

import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import stats

from ltgen_bench.config.schema import RunConfig, TrainConfig
from ltgen_bench.core.errors import Interrupted, UserError
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.experiments.recipes import check_names
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import EVIDENCE, Batch
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.augmentation import AUGMENTATIONS
from ltgen_bench.training.augmentation.ada import Parameters, draw
from ltgen_bench.training.augmentation.augmentation import transformed
from ltgen_bench.training.augmentation.warp import warp
from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint
from ltgen_bench.training.loop import Trainer, build_method, train

CPU = torch.device("cpu")
MANY = 20_000


def only(count=1, device="cpu", **on):
    """Parameters of zeros but for those named."""
    return Parameters(**{one.name: torch.full((count,), float(on.get(one.name, 0)), device=device) for one in fields(Parameters)})


def image(height=9, width=9, channels=2):
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(height * width))


def changed(x_0, **on):
    return warp(x_0, *only(len(x_0), **on).sources(*x_0.shape[2:]))


def batch_of(count, shape=(1, 8, 8)):
    x_0 = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(x_0, torch.zeros(count, dtype=torch.int64))


class TestElements:
    @pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 8), (5, 12), (1, 1), (1, 7)])
    def test_nothing_switched_on_leaves_the_image_bit_for_bit_and_the_vector_zero(self, height, width):
        x_0 = image(height, width)
        assert torch.equal(changed(x_0), x_0)
        assert torch.equal(only(3).condition, torch.zeros(3, 9))

    @pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 8), (5, 12), (1, 1)])
    def test_mirroring_is_exact(self, height, width):
        x_0 = image(height, width)
        assert torch.equal(changed(x_0, mirrored=1), x_0.flip(3))
        assert torch.equal(changed(x_0, upturned=1), x_0.flip(2))
        assert torch.equal(changed(x_0, mirrored=1, upturned=1), x_0.flip(2, 3))

    def test_a_shift_by_whole_pixels_is_exact_and_reflects_without_repeating_the_border(self):
        x_0 = image(16, 8)  # an eighth is one pixel to the right, and two down
        right, left, down = changed(x_0, right=1), changed(x_0, right=-1), changed(x_0, down=1)
        assert torch.equal(right[..., 1:], x_0[..., :-1])
        assert torch.equal(right[..., 0], x_0[..., 1])
        assert torch.equal(left[..., :-1], x_0[..., 1:])
        assert torch.equal(left[..., -1], x_0[..., -2])
        assert torch.equal(down[..., 2:, :], x_0[..., :-2, :])
        assert torch.equal(down[..., :2, :], x_0[..., [2, 1], :])

    def test_far_beyond_the_border_the_image_is_there_again(self):
        x_0 = image(8, 8)
        assert torch.equal(changed(x_0, right=14), x_0)  # there and back: 2 (8 - 1) pixels

    @pytest.mark.parametrize("size", [8, 9])
    def test_quarter_turns_go_counter_clockwise(self, size):
        x_0 = image(size, size)
        for quarters in (-2, -1, 1, 2):
            turned = changed(x_0, turned=quarters * math.pi / 2)
            assert torch.allclose(turned, torch.rot90(x_0, quarters, (2, 3)), atol=1e-5)

    def test_scale_is_about_the_centre(self):
        x_0 = image(9, 9)
        assert torch.equal(changed(x_0, enlarged=5)[..., ::2, ::2], x_0[..., 2:7, 2:7])  # 2^(0.2 * 5) = 2
        assert torch.equal(changed(x_0, enlarged=-5)[..., 2:7, 2:7], x_0[..., ::2, ::2])

    def test_stretching_along_the_axis_narrows_across_it(self):
        x_0 = image(9, 9)
        assert torch.equal(changed(x_0, stretched=5)[..., 2:7, ::2], x_0[..., ::2, 2:7])
        upright = changed(x_0, stretched=5, axis=math.pi / 2)[..., ::2, 2:7]
        assert torch.allclose(upright, x_0[..., 2:7, ::2], atol=1e-5)
        x, y = only(stretched=5, axis=math.pi / 4).sources(9, 9)  # right and down: the diagonal is doubled
        places = [(x[0, i, j].item(), y[0, i, j].item()) for i, j in ((8, 8), (4, 4), (2, 6))]
        assert np.allclose(places, [(6, 6), (4, 4), (8, 0)], atol=1e-5)

    def test_an_image_is_shifted_first_and_mirrored_last(self):
        x_0 = image(16, 8)
        assert torch.equal(changed(x_0, right=1, mirrored=1), changed(x_0, right=1).flip(3))
        square = image(8, 8)
        shifted_then_turned = torch.rot90(changed(square, right=1), 1, (2, 3))
        assert torch.allclose(changed(square, right=1, turned=math.pi / 2), shifted_then_turned, atol=1e-5)

    def test_nothing_is_read_back_from_the_device(self):
        """Tensors of the device `meta` have no numbers: whoever asks for one fails."""
        there = only(4, "meta", turned=1)
        result = warp(torch.empty(4, 3, 6, 5, device="meta"), *there.sources(6, 5))
        assert (result.shape, result.device.type, there.condition.shape) == ((4, 3, 6, 5), "meta", (4, 9))


@pytest.fixture(scope="module")
def drawn():
    return {one.name: getattr(draw(Draws(0, 0, MANY, CPU)), one.name).numpy() for one in fields(Parameters)}


class TestDraws:
    @pytest.mark.parametrize(("name", "share"), [("mirrored", 0.5), ("upturned", 0.06), ("enlarged", 0.12), ("turned", 0.12),
                                                 ("axis", 0.12), ("stretched", 0.12), ("right", 0.12), ("down", 0.12)])
    def test_an_element_is_on_this_often(self, drawn, name, share):
        assert stats.binomtest(int((drawn[name] != 0).sum()), MANY, share).pvalue > 1e-3

    def test_two_numbers_of_one_element_go_together_and_elements_do_not(self, drawn):
        on = {name: numbers != 0 for name, numbers in drawn.items()}
        assert (on["axis"] == on["stretched"]).all()
        assert (on["right"] == on["down"]).all()
        several = ["mirrored", "upturned", "enlarged", "turned", "stretched", "right"]
        for number, first in enumerate(several):
            for second in several[:number]:
                table = [[(on[first] == a)[on[second] == b].sum() for a in (True, False)] for b in (True, False)]
                assert stats.chi2_contingency(table).pvalue > 1e-4

    @pytest.mark.parametrize("name", ["enlarged", "stretched", "right", "down"])
    def test_what_is_on_is_standard_normal(self, drawn, name):
        assert stats.kstest(drawn[name][drawn[name] != 0], "norm").pvalue > 1e-3

    @pytest.mark.parametrize("name", ["turned", "axis"])
    def test_angles_are_uniform_over_the_circle(self, drawn, name):
        assert stats.kstest(drawn[name][drawn[name] != 0], stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3

    def test_slices_together_are_the_global_batch(self):
        batch, ada = batch_of(32), AUGMENTATIONS["ada"]
        whole = ada.transform(batch, Draws(0, 64, 32, CPU), True)
        parts = [ada.transform(Batch(batch.x_0[a:b], batch.labels[a:b]), Draws(0, 64, 32, CPU, a, b), True) for a, b in
                 ((0, 5), (5, 32))]
        assert torch.equal(torch.cat([part.x_0 for part in parts]), whole.x_0)
        assert torch.equal(torch.cat([part.augment for part in parts]), whole.augment)

    def test_its_draws_have_names_of_their_own(self):
        names = []

        class Noting(Draws):
            def _generator(self, name, device=None):
                names.append(name)
                return super()._generator(name, device)

        draw(Noting(0, 0, 4, CPU))
        assert len(names) == len(set(names)) == 13
        assert all(name.startswith("ada-") for name in names)


class TestRegistry:
    @pytest.mark.parametrize("name", list(AUGMENTATIONS))
    def test_it_says_what_it_is_and_keeps_shape_labels_and_the_batch_it_was_given(self, name):
        one, batch = AUGMENTATIONS[name], batch_of(8, (3, 4, 6))
        before = batch.x_0.clone()
        assert one.summary and one.source and one.evidence in EVIDENCE  # noqa: PT018
        for flip in (True, False):
            found = one.transform(batch, Draws(0, 0, 8, CPU), flip)
            assert found.x_0.shape == batch.x_0.shape
            assert found.x_0.dtype == torch.float32
            assert torch.equal(found.labels, batch.labels)
            assert (0 if found.augment is None else found.augment.shape[1]) == one.condition_dim
        assert torch.equal(batch.x_0, before)

    def test_flip_mirrors_where_the_draw_named_flip_says_so_and_the_data_allow_it(self):
        batch, draws = batch_of(64), Draws(3, 640, 64, CPU)
        found = AUGMENTATIONS["flip"].transform(batch, draws, True).x_0
        for own, result, number in zip(batch.x_0, found, draws.uniform("flip").tolist(), strict=True):
            assert torch.equal(result, own.flip(2) if number < 0.5 else own)
        assert torch.equal(AUGMENTATIONS["flip"].transform(batch, draws, False).x_0, batch.x_0)
        assert torch.equal(AUGMENTATIONS["none"].transform(batch, draws, True).x_0, batch.x_0)

    def test_ada_does_the_same_whether_or_not_mirrored_images_keep_their_class(self):
        batch, draws = batch_of(64), Draws(3, 640, 64, CPU)
        first, second = (AUGMENTATIONS["ada"].transform(batch, draws, flip) for flip in (True, False))
        assert torch.equal(first.x_0, second.x_0)

    def test_the_default_is_flip_and_changes_no_digest(self):
        plain = RunConfig()
        digests = {augment: RunConfig(train=TrainConfig(augment=augment)).train_digest("data") for augment in AUGMENTATIONS}
        assert digests["flip"] == plain.train_digest("data")
        assert len(set(digests.values())) == 3

    def test_an_unknown_name_is_refused_with_the_near_match(self):
        told = re.escape("unknown augmentation 'adda'. Did you mean 'ada'? Known: ada, flip, none.")
        with pytest.raises(UserError, match=told):
            check_names(RunConfig(train=TrainConfig(augment="adda")))


class Telling(METHODS["ddpm"]):
    """Negates images half of the time, and says so."""

    name = "telling"
    augment_dim = 2
    silent = False

    def transform_batch(self, batch, draws):
        assert batch.augment is None, "what others did is not its matter"
        negated = (draws.uniform("negated") < 0.5).float()
        vector = None if self.silent else torch.stack([negated, -negated], 1)
        return Batch(batch.x_0 * (1 - 2 * negated).view(-1, 1, 1, 1), batch.labels, vector)


class TestWithAMethod:
    def test_its_own_transformation_comes_after_and_its_vector_behind(self, make_problem):
        draws = Draws(0, 0, 16, CPU)
        method = Telling(Telling.Settings(), make_problem())
        augmented = AUGMENTATIONS["ada"].transform(batch_of(16), draws, False)
        both = transformed(method, augmented, draws)
        negated = (draws.uniform("negated") < 0.5).float()
        assert torch.equal(both.x_0, augmented.x_0 * (1 - 2 * negated).view(-1, 1, 1, 1))
        assert torch.equal(both.augment, torch.cat([augmented.augment, torch.stack([negated, -negated], 1)], 1))
        assert torch.equal(transformed(method, batch_of(16), draws).augment, both.augment[:, 9:])

    def test_what_it_does_not_say_is_zero(self, make_problem, monkeypatch):
        monkeypatch.setattr(Telling, "silent", True)
        draws = Draws(0, 0, 16, CPU)
        method = Telling(Telling.Settings(), make_problem())
        both = transformed(method, AUGMENTATIONS["ada"].transform(batch_of(16), draws, False), draws)
        assert torch.equal(both.augment[:, 9:], torch.zeros(16, 2))
        assert transformed(method, batch_of(16), draws).augment is None

    def test_the_network_hears_of_both(self, make_config, tiny_dataset, methods):
        methods.add("telling", Telling)
        for augment, length in (("ada", 11), ("flip", 2)):
            config = make_config({"method.name": "telling", "train.augment": augment})
            trainer = Trainer(config, tiny_dataset, build_method(config, tiny_dataset, CPU), CPU)
            assert trainer.net.augment_embedding.weight.shape[1] == length
            trainer.step()

    def test_both_branches_of_cbdm_get_the_vector_of_their_images(self, make_problem, make_network):
        method = METHODS["cbdm"](METHODS["cbdm"].Settings(label_drop=0.0), make_problem())
        net, heard = make_network(augment_dim=9), []
        net.register_forward_pre_hook(lambda module, args: heard.append(args[3]))
        draws = Draws(0, 0, 32, CPU)
        batch = transformed(method, AUGMENTATIONS["ada"].transform(batch_of(32), draws, False), draws)
        method.loss(net, batch, draws)
        (vectors,) = heard
        assert torch.equal(vectors, torch.cat([batch.augment, batch.augment]))

    def test_the_vector_changes_the_prediction_and_samples_are_drawn_with_zeros(self, make_network):
        net = make_network(augment_dim=9)
        x, t, labels = image(8, 8).movedim(0, 1), torch.tensor([5, 900]), torch.tensor([0, 1])
        with torch.no_grad():
            plain = net(x, t, labels)
            assert torch.equal(plain, net(x, t, labels, torch.zeros(2, 9)))
            assert not torch.allclose(plain, net(x, t, labels, only(2, mirrored=1).condition))

    @pytest.mark.parametrize("method", ["ddpm", "cbdm"])
    @pytest.mark.parametrize("precision", ["float32", "bf16"])
    def test_training_with_ada_learns_and_its_embedding_moves(self, make_config, make_dataset, tmp_path, method, precision):
        config = make_config({"method.name": method, "train.augment": "ada", "train.precision": precision,
                              "train.budget_images": 480, "train.batch_size": 16})
        dataset = make_dataset(shape=(3, 8, 4))
        start = Trainer(config, dataset, build_method(config, dataset, CPU), CPU).net.augment_embedding.weight.clone()
        trained = train(config, dataset, tmp_path, RunContext())
        losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert np.mean(losses[-5:]) < np.mean(losses[:5])
        assert not torch.allclose(trained.net.augment_embedding.weight, start)

    def test_an_interrupted_training_goes_on_bit_for_bit(self, make_config, tiny_dataset, tmp_path, monkeypatch):
        config = make_config({"method.name": "cbdm", "train.augment": "ada"})
        train(config, tiny_dataset, tmp_path / "undisturbed", RunContext())
        stop, step = Interruption(), Trainer.step

        def watched(trainer):
            loss = step(trainer)
            stop.requested = 2 if trainer.images_seen == 32 else None
            return loss

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "step", watched)
            with pytest.raises(Interrupted):
                train(config, tiny_dataset, tmp_path / "stopped", RunContext(interruption=stop))
        train(config, tiny_dataset, tmp_path / "stopped", RunContext())
        first, second = (load_checkpoint(checkpoints(tmp_path / name)[0])[0] for name in ("undisturbed", "stopped"))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_another_augmentation_does_not_continue_a_training(self, make_config, tiny_dataset, tmp_path):
        train(make_config(), tiny_dataset, tmp_path, RunContext())
        with pytest.raises(UserError, match="training or seed differ"):
            train(make_config({"train.augment": "ada"}), tiny_dataset, tmp_path, RunContext())
