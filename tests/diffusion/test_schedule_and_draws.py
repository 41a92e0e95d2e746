"""The forward process against its formula in float64, and draws that depend on nothing but seed, position and name."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from ltgen_bench.diffusion.ddpm_process import DDPMProcess
from ltgen_bench.diffusion.draws import Draws, derived_seed, generator, image_seed

SCHEDULE = DDPMProcess()


def formula():
    """beta_t and alphas_bar_t by a plain loop over Python floats."""
    betas = [1e-4 + (0.02 - 1e-4) * t / 999 for t in range(1000)]
    bars, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        bars.append(product)
    return betas, bars


class TestSchedule:
    def test_betas_and_their_products_follow_the_formula(self):
        betas, bars = formula()
        assert SCHEDULE.T == 1000
        assert np.allclose(SCHEDULE.betas.numpy(), betas, rtol=1e-13)
        assert np.allclose(SCHEDULE.alphas_bar.numpy(), bars, rtol=1e-11)

    def test_the_ends_are_those_of_the_paper(self):
        assert SCHEDULE.betas[0] == 1e-4
        assert SCHEDULE.betas[-1].item() == pytest.approx(0.02, rel=1e-15)
        assert SCHEDULE.alphas_bar[-1].item() == pytest.approx(4.0358e-5, rel=1e-4)

    def test_it_is_the_schedule_that_the_samplers_undo(self):
        from ltgen_bench.sampling.samplers import SAMPLERS, samplers_of

        for name in samplers_of("ddpm"):
            assert np.allclose(SAMPLERS[name].make(100).alphas_cumprod, SCHEDULE.alphas_bar, rtol=1e-5)

    def test_noise_is_added_as_the_formula_says(self):
        _, bars = formula()
        x_0, noise = torch.randn(1000, 2, 3, 3, generator=generator(0)), torch.randn(1000, 2, 3, 3, generator=generator(1))
        t = torch.randperm(1000, generator=generator(2))
        x_t = SCHEDULE.add_noise(x_0, t, noise)
        for i in range(0, 1000, 37):
            bar = bars[int(t[i])]
            expected = math.sqrt(bar) * x_0[i].double() + math.sqrt(1 - bar) * noise[i].double()
            assert torch.allclose(x_t[i].double(), expected, atol=1e-6)

    def test_what_a_step_needs_is_float32(self):
        x = torch.ones(2, 1, 2, 2)
        assert SCHEDULE.add_noise(x, torch.tensor([0, 999]), x).dtype == torch.float32


def draws(seed=0, images_seen=640, batch=64, **slices):
    return Draws(seed, images_seen, batch, torch.device("cpu"), **slices)


EVERY_DRAW = {
    "normal": lambda d, name: d.normal(name, 2, 3),
    "uniform": lambda d, name: d.uniform(name),
    "integers": lambda d, name: d.integers(name, 1000),
    "categorical": lambda d, name: d.categorical(name, torch.tensor([5.0, 1.0, 2.0, 9.0])),
}


@pytest.mark.parametrize("draw", EVERY_DRAW.values(), ids=EVERY_DRAW)
class TestEveryDraw:
    def test_it_does_not_depend_on_other_draws(self, draw):
        alone = draw(draws(), "x")
        after = draws()
        for other in EVERY_DRAW.values():
            other(after, "something else")
        after.coin("coin", 0.5)
        assert torch.equal(draw(after, "x"), alone)
        assert torch.equal(draw(after, "x"), alone)  # nor on how often it was made

    @pytest.mark.parametrize("other", [{"seed": 1}, {"images_seen": 704}])
    def test_seed_position_and_name_make_another(self, draw, other):
        assert not torch.equal(draw(draws(**other), "x"), draw(draws(), "x"))
        assert not torch.equal(draw(draws(), "y"), draw(draws(), "x"))

    def test_slices_together_are_the_draw_of_the_global_batch(self, draw):
        borders = [0, 10, 11, 40, 64]
        parts = [draw(draws(start=a, stop=b), "x") for a, b in pairwise(borders)]
        assert torch.equal(torch.cat(parts), draw(draws(), "x"))

    def test_the_global_generator_is_neither_used_nor_changed(self, draw):
        before = torch.get_rng_state()
        first = draw(draws(), "x")
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(3)
        assert torch.equal(draw(draws(), "x"), first)


class TestLaws:
    def test_normal_numbers_are_standard_normal(self):
        drawn = draws(batch=4000).normal("noise", 5).flatten().numpy()
        assert drawn.dtype == np.float32
        assert stats.kstest(drawn, "norm").pvalue > 1e-3

    def test_uniform_numbers_fill_the_unit_interval(self):
        drawn = draws(batch=20000).uniform("u").numpy()
        assert (drawn >= 0).all()
        assert (drawn < 1).all()
        assert stats.kstest(drawn, "uniform").pvalue > 1e-3

    def test_integers_are_equally_frequent_and_reach_both_ends(self):
        drawn = draws(batch=50000).integers("t", 1000)
        assert (drawn.min(), drawn.max()) == (0, 999)
        assert stats.chisquare(torch.bincount(drawn, minlength=1000)).pvalue > 1e-3

    def test_categories_have_the_frequencies_of_their_weights(self):
        weights = torch.tensor([5.0, 0.0, 2.0, 9.0])
        counts = torch.bincount(draws(batch=40000).categorical("c", weights), minlength=4).numpy()
        assert counts[1] == 0
        assert stats.chisquare(counts[[0, 2, 3]], 40000 * np.array([5, 2, 9]) / 16).pvalue > 1e-3

    def test_coins_of_many_steps_fall_as_often_as_asked(self):
        heads = sum(draws(images_seen=64 * step).coin("drop", 0.1) for step in range(3000))
        assert stats.binomtest(heads, 3000, 0.1).pvalue > 1e-3
        assert not any(draws(images_seen=step).coin("drop", 0.0) for step in range(50))
        assert all(draws(images_seen=step).coin("drop", 1.0) for step in range(50))

    def test_two_draws_of_one_step_are_not_correlated(self):
        first, second = draws(batch=20000).uniform("a"), draws(batch=20000).uniform("b")
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


class TestSeeds:
    def test_derived_seeds_stay_what_they_are(self):
        # they decide every number of every run
        assert [derived_seed(0, 0, "t"), derived_seed(0, "weights")] == [4225999247671627326, 8730110008906084551]
        assert image_seed(0, 0) == 3152030177

    def test_derived_seeds_are_below_two_to_the_63rd_and_differ(self):
        seeds = [derived_seed(seed, position, name) for seed in range(5) for position in range(0, 640, 64) for name in "abc"]
        assert len(set(seeds)) == len(seeds)
        assert all(0 <= seed < 2**63 for seed in seeds)
        assert derived_seed(1, 23) != derived_seed(12, 3)

    @pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
    def test_no_two_images_of_a_set_share_a_seed(self, seed):
        seeds = Counter(image_seed(seed, index) for index in range(20_000))
        assert max(seeds.values()) == 1
        assert all(0 <= value < 2**32 for value in seeds)

    def test_sets_of_other_seeds_share_none(self):
        first = {image_seed(0, index) for index in range(10_000)}
        assert not first & {image_seed(1, index) for index in range(10_000)}
