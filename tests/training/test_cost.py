"""What a training image costs: operations by hand, and coins by their probabilities."""

import pytest
import torch

from ltgen_bench.config.schema import NetworkConfig
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.network import ConditionalUNet, network_shape
from ltgen_bench.training.cost import DecidedDraws, UndecidedError, expectation, flops_per_image, pace, probing

CPU = torch.device("cpu")


def multiplications(config, image_shape, num_classes):
    """Of one forward pass of one image: every convolution, linear layer and product of the attention, by hand."""
    net = ConditionalUNet(config.network, image_shape, num_classes)
    found = []

    def note(module, args, output):
        if isinstance(module, torch.nn.Conv2d):
            found.append(output[0].numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1])
        elif isinstance(module, torch.nn.Linear):
            found.append(output[0].numel() * module.in_features)
        elif type(module).__name__ == "Attention":
            _, channels, height, width = output.shape
            found.append(2 * (height * width) ** 2 * channels)  # queries by keys, and weights by values

    for module in net.modules():
        module.register_forward_hook(note)
    zero = torch.zeros(1, dtype=torch.int64)
    net(torch.zeros(1, *image_shape), zero, zero)
    return sum(found)


class TestOperations:
    def test_a_step_of_ddpm_is_three_forward_passes_but_for_what_needs_no_gradient(self, make_config, tiny_dataset):
        """Forward once; backward one product for the weights and one for the input, which the image itself has not."""
        config = make_config(**{"network.channels": [8, 16]})
        counted = flops_per_image(config, tiny_dataset, CPU)
        _, height, width = tiny_dataset.image_shape
        channels = network_shape(config.network).channels
        once = multiplications(config, tiny_dataset.image_shape, tiny_dataset.num_classes)
        to_image = height * width * 9 * tiny_dataset.image_shape[0] * channels[0]
        to_time = channels[0] * 4 * channels[0]  # the first layer of the time embedding
        assert counted == 2 * (3 * once - to_image - to_time)

    def test_attention_is_counted_and_the_batch_changes_nothing(self, make_config, tiny_dataset):
        plain, attentive = NetworkConfig(preset="digits", channels=(8, 16)), NetworkConfig(preset="digits", channels=(8, 16),
                                                                                            attention=(1,))
        config = make_config()
        counts = [flops_per_image(config.model_copy(update={"network": network}), tiny_dataset, CPU)
                  for network in (plain, attentive)]
        assert counts[0] < counts[1]
        assert flops_per_image(make_config(**{"train.batch_size": 3}), tiny_dataset, CPU) == flops_per_image(
            config, tiny_dataset, CPU)

    @pytest.mark.parametrize(("settings", "times"), [
        ({"label_drop": 0.1}, 1.9), ({"label_drop": 0.25}, 1.75), ({"label_drop": 0.0}, 2.0), ({"label_drop": 1.0}, 1.0),
        ({"label_drop": 0.25, "label_drop_unit": "sample"}, 2.0)])
    def test_a_second_pass_that_a_coin_leaves_out_counts_by_its_probability(self, make_config, tiny_dataset, settings, times):
        base = flops_per_image(make_config(), tiny_dataset, CPU)
        own = {f"method.{key}": value for key, value in settings.items()}
        cbdm = flops_per_image(make_config(**{"method.name": "cbdm", **own}), tiny_dataset, CPU)
        assert cbdm / base == pytest.approx(times, rel=1e-6)

    def test_counting_leaves_the_callers_random_numbers_alone(self, make_config, tiny_dataset):
        before = torch.random.get_rng_state()
        flops_per_image(make_config(), tiny_dataset, CPU)
        assert torch.equal(before, torch.random.get_rng_state())


class TestCoins:
    def test_the_expectation_goes_through_every_way_that_they_can_fall(self):
        def measure(decided):
            draws = DecidedDraws(0, 0, 4, CPU, decided=decided)
            first = draws.coin("first", 0.25)
            return (100.0 if draws.coin("second", 0.5) else 20.0) if first else 8.0

        assert expectation(measure) == pytest.approx(0.25 * (0.5 * 100 + 0.5 * 20) + 0.75 * 8)

    def test_coins_with_one_side_need_no_decision_and_other_draws_are_those_of_training(self):
        decided, drawn = DecidedDraws(3, 16, 4, CPU), Draws(3, 16, 4, CPU)
        assert (decided.coin("sure", 1.0), decided.coin("never", 0.0)) == (True, False)
        with pytest.raises(UndecidedError):
            decided.coin("label-drop", 0.1)
        assert torch.equal(decided.normal("noise", 2), drawn.normal("noise", 2))

    def test_seconds_count_both_sides_by_their_probability(self, make_config, tiny_dataset, monkeypatch):
        config = make_config(**{"method.name": "cbdm", "method.label_drop": 0.25})
        trainer = probing(config, tiny_dataset, CPU, 16)

        def timed(call, device):
            """A second for each coin that fell so that the label stays."""
            call()
            return 4.0 if trainer.draws.keywords["decided"]["label-drop"] else 8.0, 3

        monkeypatch.setattr("ltgen_bench.training.cost.seconds_each", timed)
        found = pace(trainer)
        assert found.seconds_per_image == pytest.approx((0.25 * 4 + 0.75 * 8) / 8), "batches of 8"
        assert found.steps == 6
