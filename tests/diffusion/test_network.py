"""The U-Net: its size, its null label, its middle tap, and the shapes that it refuses."""

import copy
import inspect

import pytest
import torch

from ltgen_bench.config.schema import NetworkConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.diffusion import network
from ltgen_bench.diffusion.network import ConditionalUNet, build_network, check_network, flops_per_image, network_shape

SMALL = NetworkConfig(preset="digits", channels=(8, 16))


@pytest.fixture(scope="module")
def ddpm():
    """DDPM's network for CIFAR-10."""
    return build_network(NetworkConfig(), (3, 32, 32), 10, seed=0)


@pytest.fixture
def inputs():
    x_t = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return x_t, torch.tensor([0, 10, 500, 999]), torch.tensor([0, 1, 2, 3])


class TestDDPMNetwork:
    def test_it_has_35_7_million_parameters(self, ddpm):
        assert ddpm.parameter_count == sum(p.numel() for p in ddpm.parameters())
        # the unconditional network of the DDPM code has 35,746,307; beside it stand 11 labels of 512 numbers
        assert ddpm.parameter_count == 35_746_307 + 11 * 512

    def test_a_forward_pass_costs_about_12_gflop(self, ddpm):
        assert 11.5e9 < flops_per_image(ddpm, (3, 32, 32)) < 13e9

    def test_attention_stands_at_16_x_16_and_in_the_middle_with_one_head(self, ddpm):
        has = [hasattr(block, "attentions") for block in ddpm.unet.down_blocks]
        assert has == [False, True, False, False]
        assert [hasattr(block, "attentions") for block in ddpm.unet.up_blocks] == [False, False, True, False]
        attention = [*ddpm.unet.down_blocks[1].attentions, *ddpm.unet.mid_block.attentions]
        assert [a.heads for a in attention] == [1] * 3
        assert len(ddpm.unet.mid_block.attentions) == 1

    def test_two_blocks_a_level_dropout_a_tenth_and_groups_of_32(self, ddpm):
        assert [len(block.resnets) for block in ddpm.unet.down_blocks] == [2] * 4
        dropouts = {m.p for m in ddpm.modules() if isinstance(m, torch.nn.Dropout)} - {0.0}
        assert dropouts == {0.1}
        assert {m.num_groups for m in ddpm.modules() if isinstance(m, torch.nn.GroupNorm)} == {32}


class TestCondition:
    def test_the_last_layer_starts_near_zero(self):
        net = build_network(SMALL, (1, 8, 8), 3, seed=0)
        assert 0 < net.unet.conv_out.weight.abs().max() < 1e-5
        assert (net.unet.conv_out.bias == 0).all()

    def test_the_null_row_is_zero_and_learns_nothing(self, make_network, inputs):
        net = make_network(num_classes=3)
        assert (net.label_embedding.weight[3] == 0).all()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(*inputs).square().mean().backward()
            assert (net.label_embedding.weight.grad[3] == 0).all()
            assert net.label_embedding.weight.grad[:3].abs().sum() > 0
            optimizer.step()
        assert (net.label_embedding.weight[3] == 0).all()
        assert net.null_label == 3

    def test_the_null_label_adds_nothing_to_the_time_embedding(self, make_network, inputs):
        net = make_network(num_classes=3)
        x_t, t, _ = inputs
        null = net(x_t, t, torch.full((4,), 3))
        bare = net.unet(x_t, t, class_labels=torch.zeros(4, 32), return_dict=False)[0]
        assert torch.equal(null, bare)

    @pytest.mark.parametrize("changed", [0, 1, 2])
    def test_image_time_and_label_all_matter(self, make_network, inputs, changed):
        net = make_network(num_classes=3)
        other = list(inputs)
        other[changed] = other[changed].flip(0)
        assert not torch.allclose(net(*inputs)[0], net(*other)[0])

    def test_samples_do_not_see_each_other(self, make_network, inputs):
        net = make_network(num_classes=3)
        alone = torch.cat([net(*(part[i:i + 1] for part in inputs)) for i in range(4)])
        assert torch.allclose(net(*inputs), alone, atol=1e-5)

    def test_no_augmentation_is_a_vector_of_zeros(self, make_network, inputs):
        net = make_network(num_classes=3, augment_dim=5)
        assert torch.equal(net(*inputs, None), net(*inputs, torch.zeros(4, 5)))
        assert not torch.allclose(net(*inputs, torch.ones(4, 5)), net(*inputs, None))


class TestMiddle:
    def test_the_tap_gives_the_middle_blocks_output_with_gradient(self, make_network, inputs):
        net = make_network()
        eps, middle = net(*inputs, middle=True)
        assert middle.shape == (4, 16, 4, 4)
        assert torch.equal(eps, net(*inputs))
        middle.square().mean().backward()
        assert net.unet.conv_in.weight.grad.abs().sum() > 0
        assert net.unet.conv_out.weight.grad is None

    def test_activations_are_let_go_so_that_a_copy_can_be_made(self, make_network, inputs):
        net = make_network()
        net(*inputs)
        twin = copy.deepcopy(net)
        assert net.unet.mid_block.last_output is None
        with torch.no_grad():
            twin.unet.conv_in.weight.zero_()
        assert net.unet.conv_in.weight.abs().sum() > 0
        assert twin(*inputs, middle=True)[1].shape == (4, 16, 4, 4)  # the tap of the copy is its own
        assert not torch.equal(twin(*inputs), net(*inputs))

    def test_the_answer_is_float32_under_autocast(self, make_network, inputs):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            eps, middle = make_network()(*inputs, middle=True)
        assert eps.dtype == torch.float32
        assert middle.dtype == torch.bfloat16

    @pytest.mark.slow
    def test_through_a_compiled_network_the_tap_is_part_of_the_compiled_pass(self, make_network, inputs, monkeypatch):
        """Whole graphs, without a break: one for each of the two answers, and nothing runs outside of them."""
        # without the type checks of the tests, which cannot be compiled
        monkeypatch.setattr(ConditionalUNet, "forward", inspect.unwrap(ConditionalUNet.forward))
        monkeypatch.setattr(network, "_keep_output", inspect.unwrap(network._keep_output))
        graphs, ran = [], []

        def backend(graph, _):
            graphs.append(graph)

            def run(*args):
                ran.append(len(graphs))
                return graph(*args)

            return run

        net = make_network()
        compiled = torch.compile(net, backend=backend, fullgraph=True)
        for _ in range(3):
            eps, middle = compiled(*inputs, middle=True)
            alone = compiled(*inputs)
        assert len(graphs) == 2
        assert len(ran) == 6
        expected, features = net(*inputs, middle=True)
        assert torch.equal(eps, expected)
        assert torch.equal(middle, features)
        assert torch.equal(alone, expected)
        middle.square().mean().backward()
        assert net.unet.conv_in.weight.grad.abs().sum() > 0


class TestBuilding:
    def test_weights_depend_on_the_seed_alone(self):
        torch.manual_seed(1)
        first = build_network(SMALL, (1, 8, 8), 3, seed=5).state_dict()
        torch.manual_seed(2)
        again = build_network(SMALL, (1, 8, 8), 3, seed=5).state_dict()
        other = build_network(SMALL, (1, 8, 8), 3, seed=6).state_dict()
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["unet.conv_in.weight"], other["unet.conv_in.weight"])

    def test_the_global_generator_is_left_as_it_was(self):
        before = torch.get_rng_state()
        build_network(SMALL, (1, 8, 8), 3, seed=5)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(("preset", "shape"), [("digits", (1, 8, 8)), ("cpu", (3, 32, 32)), ("digits", (3, 10, 6))])
    def test_presets_fit_their_images(self, preset, shape):
        net = build_network(NetworkConfig(preset=preset), shape, 4, seed=0)
        assert net(torch.zeros(2, *shape), torch.tensor([1, 2]), torch.tensor([0, 4])).shape == (2, *shape)

    def test_overrides_lie_over_the_preset(self):
        shape = network_shape(NetworkConfig(preset="cpu", blocks=3, dropout=0.5, attention=()))
        assert (shape.channels, shape.blocks, shape.dropout, shape.attention) == ((32, 64, 64, 64), 3, 0.5, ())

    @pytest.mark.parametrize(("config", "image", "sentence"), [
        (NetworkConfig(), (3, 8, 12), r"4 levels halve the image 3 times, so its sides must be multiples of 8, and the "
                                      r"images are 12 x 8; use fewer levels"),
        (NetworkConfig(preset="digits"), (1, 7, 7), "images are 7 x 7"),
        (NetworkConfig(preset="digits", attention=(2,)), (1, 8, 8), "level 2; levels are 0"),
        (NetworkConfig(preset="digits", attention=(-1,)), (1, 8, 8), "there is no level -1"),
        (NetworkConfig(preset="digits", channels=(12, 24)), (1, 8, 8), "12 is not a multiple of 8"),
        (NetworkConfig(preset="digits", channels=(40, 64)), (1, 8, 8), "40 is not a multiple of 32"),
        (NetworkConfig(preset="digits", channels=(0, 64)), (1, 8, 8), "0 is not a multiple of 8"),
    ])
    def test_shapes_that_do_not_go_together_are_refused(self, config, image, sentence):
        with pytest.raises(UserError, match=sentence):
            build_network(config, image, 4, seed=0)
        with pytest.raises(UserError):
            check_network(network_shape(config), image)
