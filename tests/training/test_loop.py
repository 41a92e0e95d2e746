"""The loop: one step by hand, going on bit for bit, stopping well, and schedules that count images."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from stopped_trainings import final, same, stop_at

from ltgen_bench.core.errors import UserError
from ltgen_bench.diffusion.draws import Draws, derived_seed
from ltgen_bench.diffusion.network import build_network
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Batch, Loss, Method, Settings
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training import loop, session
from ltgen_bench.training.batches import DataOrder
from ltgen_bench.training.checkpoint import checkpoint_path, checkpoints
from ltgen_bench.training.loop import Trainer, build_method, train
from ltgen_bench.training.trainer import resolve_precision

CPU = torch.device("cpu")


class TestOneStep:
    def test_two_steps_equal_two_steps_written_by_hand(self, make_config, tiny_dataset):
        """Adam (Kingma and Ba, algorithm 1), clipping, warm-up and average, with plain tensors in float64 where they add."""
        config = make_config({"train.clip_norm": 0.5, "train.warmup_images": 32, "train.ema_rampup": 0.0})
        method = build_method(config, tiny_dataset, CPU)
        trainer = Trainer(config, tiny_dataset, method, CPU)
        net = build_network(config.network, (1, 8, 8), 3, seed=derived_seed(0, "weights"))
        awake = torch.randn(net.unet.conv_out.weight.shape, generator=torch.Generator().manual_seed(0)) / 10
        for each in (net, trainer.net, trainer.ema.net):  # near zero its gradients are rounding, which Adam makes large
            each.unet.conv_out.weight.data.copy_(awake)
        parameters = list(net.parameters())
        average = [p.detach().clone() for p in parameters]
        m, v = [torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters]
        clear = [torch.ones_like(p, dtype=torch.bool) for p in parameters]
        order = DataOrder(tiny_dataset.train.labels, 0)
        for step in (1, 2):
            draws = Draws(0, 8 * (step - 1), 8, CPU)
            numbers = order.at(8 * (step - 1), 8)
            batch = Batch(torch.from_numpy(tiny_dataset.train.images[numbers]).float() / 127.5 - 1,
                          torch.from_numpy(tiny_dataset.train.labels[numbers]))
            net.zero_grad()
            loss = method.loss(net, batch, draws).total
            loss.backward()
            norm = math.sqrt(sum(p.grad.double().square().sum().item() for p in parameters))
            assert norm > 0.5  # so that clipping is seen
            rate = 2e-3 * min(1, 8 * step / 32)
            d = 0.5 ** (8 / 40)
            with torch.no_grad():
                for i, p in enumerate(parameters):
                    g = p.grad * (0.5 / norm)
                    clear[i] &= g.abs() > 1e-6  # a group norm cancels some biases: Adam makes steps of their rounding
                    m[i] = 0.9 * m[i] + 0.1 * g
                    v[i] = 0.999 * v[i] + 0.001 * g * g
                    p -= rate * (m[i] / (1 - 0.9**step)) / ((v[i] / (1 - 0.999**step)).sqrt() + 1e-8)
                    average[i] = d * average[i] + (1 - d) * p
            assert trainer.step().total.item() == pytest.approx(loss.item(), rel=1e-5)
        assert sum(int(c.sum()) for c in clear) > 0.9 * sum(p.numel() for p in parameters[:-1])
        for (name, p), hand, where in zip(trainer.net.named_parameters(), parameters, clear, strict=True):
            assert torch.allclose(p[where], hand[where], atol=5e-6), name
        for p, mean, where in zip(trainer.ema.net.parameters(), average, clear, strict=True):
            assert torch.allclose(p[where], mean[where], atol=5e-6)

    def test_the_learning_rate_counts_images(self, make_config, tiny_dataset):
        rates = []
        for size in (4, 8, 16):
            config = make_config({"train.batch_size": size, "train.warmup_images": 160, "train.learning_rate": 1.0})
            trainer = Trainer(config, tiny_dataset, build_method(config, tiny_dataset, CPU), CPU)
            rates.append([trainer.learning_rate(seen) for seen in (16, 80, 160, 10_000)])
        assert rates == [[0.1, 0.5, 1.0, 1.0]] * 3

    def test_without_warm_up_the_rate_is_full_from_the_start(self, make_config, tiny_dataset):
        config = make_config({"train.warmup_images": 0})
        trainer = Trainer(config, tiny_dataset, build_method(config, tiny_dataset, CPU), CPU)
        assert trainer.learning_rate(1) == 2e-3
        trainer.step()
        assert trainer.optimizer.param_groups[0]["lr"] == 2e-3

    def test_the_null_row_stays_zero_in_weights_and_average(self, make_config, tiny_dataset, tmp_path):
        train(make_config({"method.name": "cfg", "method.label_drop": 0.5}), tiny_dataset, tmp_path, RunContext())
        tensors, _ = final(tmp_path)
        for prefix in ("net", "ema"):
            assert (tensors[f"{prefix}.label_embedding.weight"][3] == 0).all()
            assert (tensors[f"{prefix}.label_embedding.weight"][:3] != 0).all()


class TestBudget:
    @pytest.mark.parametrize(("budget", "steps"), [(60, 8), (64, 8), (5, 1), (65, 9)])
    def test_it_is_spent_to_the_image_with_a_smaller_last_batch(self, make_config, tiny_dataset, tmp_path, methods,
                                                               budget, steps):
        sizes = note_batches(methods)
        trained = train(make_config({"train.budget_images": budget, "method.name": "noting"}), tiny_dataset, tmp_path,
                        RunContext())
        assert trained.images_seen == budget
        assert sum(sizes) == budget
        assert len(sizes) == steps
        assert sizes[:-1] == [8] * (steps - 1)

    def test_the_bar_goes_to_its_end_and_the_loss_stands_beside_it(self, make_config, tiny_dataset, tmp_path, told):
        train(make_config(), tiny_dataset, tmp_path, RunContext(progress=told))
        [stage] = told.stages
        assert (stage["name"], stage["total"], stage["done"], stage["unit"]) == ("train", 60, 60, "images")
        assert stage["note"].startswith("loss 0.") or stage["note"].startswith("loss 1.")

    def test_a_finished_training_is_read_and_not_repeated(self, make_config, tiny_dataset, tmp_path, methods, told):
        sizes = note_batches(methods)
        config = make_config({"method.name": "noting"})
        first = train(config, tiny_dataset, tmp_path, RunContext())
        sizes.clear()
        again = train(config, tiny_dataset, tmp_path, RunContext(progress=told))
        assert sizes == []
        assert told.stages == []
        assert again.seconds == pytest.approx(first.seconds)
        for a, b in zip(first.net.parameters(), again.net.parameters(), strict=True):
            assert torch.equal(a, b)


def note_batches(methods):
    """Register the method `noting` and give the list in which it notes the sizes of its batches."""
    sizes = []

    class Noting(Method):
        name = "noting"
        summary = source = "test"
        Settings = Settings

        def loss(self, net, batch, draws):
            sizes.append(len(batch.labels))
            x_t, t, noise = self.noised(batch, draws)
            total = (net(x_t, t, batch.labels) - noise).square().mean()
            return Loss(total, {"mse": total.detach()})

    methods.add("noting", Noting)
    return sizes


class TestGoingOn:
    @pytest.mark.parametrize(("method", "precision"), [("ddpm", "float32"), ("cfg", "bf16"), ("cbdm", "float32"),
                                                       ("cbdm", "bf16")])
    def test_interrupted_and_resumed_equals_undisturbed_bit_for_bit(self, make_config, make_dataset, tmp_path, method,
                                                                    precision):
        """60 images in batches of 8: the last one is odd. Dropout is on, images are mirrored."""
        dataset = make_dataset(flip=True)
        config = make_config({"method.name": method, "network.dropout": 0.3, "train.precision": precision})
        train(config, dataset, tmp_path / "whole", RunContext())
        for images in (8, 24, 56):
            error = stop_at(images, config, dataset, tmp_path / "pieces")
            assert f"stopped at {images} of 60 images; the position is saved" in str(error)
            assert final(tmp_path / "pieces")[1] == images
        trained = train(config, dataset, tmp_path / "pieces", RunContext())
        assert trained.exact
        assert same(tmp_path / "whole", tmp_path / "pieces")

    def test_checkpoints_at_every_step_change_nothing(self, make_config, tiny_dataset, tmp_path, monkeypatch):
        train(make_config(), tiny_dataset, tmp_path / "few", RunContext())
        monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)
        monkeypatch.setattr(loop.Session, "due", lambda session: True)
        train(make_config(), tiny_dataset, tmp_path / "many", RunContext())
        assert same(tmp_path / "few", tmp_path / "many")
        assert [path.name for path in checkpoints(tmp_path / "many")] == [
            checkpoint_path(tmp_path, seen).name for seen in (60, 56)]

    def test_the_seed_decides(self, make_config, tiny_dataset, tmp_path):
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            train(make_config(seed=seed), tiny_dataset, tmp_path / name, RunContext())
        assert same(tmp_path / "a", tmp_path / "b")
        assert not same(tmp_path / "a", tmp_path / "c")

    def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(self, make_config, tiny_dataset,
                                                                                  tmp_path, told):
        train(make_config(), tiny_dataset, tmp_path / "whole", RunContext())
        for images in (16, 40):
            stop_at(images, make_config(), tiny_dataset, tmp_path / "pieces")
        newest = checkpoint_path(tmp_path / "pieces", 40)
        newest.write_bytes(newest.read_bytes()[:1000])
        train(make_config(), tiny_dataset, tmp_path / "pieces", RunContext(progress=told))
        assert "going back" in told.messages[0]
        assert told.messages[1] == "continuing at 16 of 60 images"
        assert same(tmp_path / "whole", tmp_path / "pieces")

    @pytest.mark.parametrize("name", ["adam.exp_avg.net.unet.conv_in.weight", "ema.unet.conv_in.weight"])
    def test_one_bit_or_a_missing_tensor_of_the_final_checkpoint_changes_no_result(self, make_config, tiny_dataset, tmp_path,
                                                                                   told, name):
        train(make_config(), tiny_dataset, tmp_path / "whole", RunContext())
        stop_at(16, make_config(), tiny_dataset, tmp_path / "pieces")
        train(make_config(), tiny_dataset, tmp_path / "pieces", RunContext())
        [last, *_] = checkpoints(tmp_path / "pieces")
        with safe_open(last, framework="pt") as file:
            tensors, said = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        value = tensors.pop(name)
        if name.startswith("ema"):
            bits = value.clone().view(torch.int32)
            bits.view(-1)[5] ^= 1
            tensors[name] = bits.view(torch.float32)
        save_file(tensors, last, metadata=said)
        train(make_config(), tiny_dataset, tmp_path / "pieces", RunContext(progress=told))
        assert f"{last.name} is damaged" in told.messages[0]
        assert same(tmp_path / "whole", tmp_path / "pieces")

    def test_a_log_that_is_no_text_is_told_and_goes_on(self, make_config, tiny_dataset, tmp_path, told):
        stop_at(24, make_config(), tiny_dataset, tmp_path)
        log = tmp_path / "log.jsonl"
        log.write_bytes(b"\xff\xfe" + log.read_bytes() + b'[1]\n"text"\n{"images": "8"}\n' + b"[" * 50_000)
        train(make_config(), tiny_dataset, tmp_path, RunContext(progress=told))
        assert "log.jsonl is damaged in 4 of" in "".join(told.messages)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["images"] for line in lines] == [16, 24, 32, 40, 48, 56, 60]

    def test_another_number_of_threads_is_said_aloud(self, make_config, tiny_dataset, tmp_path, told, monkeypatch):
        stop_at(16, make_config(), tiny_dataset, tmp_path)
        now = torch.get_num_threads()
        monkeypatch.setattr(torch, "get_num_threads", lambda: now + 1)
        trained = train(make_config(), tiny_dataset, tmp_path, RunContext(progress=told))
        assert not trained.exact
        assert f"the machine is not what it was (threads {now + 1} instead of {now})" in told.messages[1]

    def test_the_log_is_cut_back_to_the_checkpoint(self, make_config, tiny_dataset, tmp_path):
        stop_at(24, make_config(), tiny_dataset, tmp_path)
        with (tmp_path / "log.jsonl").open("a") as log:
            log.write('{"images": 32, "loss": 1.0}\n{"images": 40, "lo')  # after the checkpoint, and half a line
        train(make_config(), tiny_dataset, tmp_path, RunContext())
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [line["images"] for line in lines] == [8, 16, 24, 32, 40, 48, 56, 60]

    def test_a_log_without_a_checkpoint_is_begun_afresh(self, make_config, tiny_dataset, tmp_path):
        (tmp_path / "log.jsonl").write_text('{"images": 8}\n')
        train(make_config(), tiny_dataset, tmp_path, RunContext())
        assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8

    def test_the_callers_random_numbers_go_on_as_if_nothing_had_happened(self, make_config, tiny_dataset, tmp_path):
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        train(make_config({"network.dropout": 0.3}), tiny_dataset, tmp_path, RunContext())
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


class TestLog:
    def test_each_line_has_images_losses_rate_and_speed(self, make_config, tiny_dataset, tmp_path):
        train(make_config({"method.name": "cbdm"}), tiny_dataset, tmp_path, RunContext())
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        for line in lines:
            assert {"images", "loss", "mse", "learning_rate", "images_per_second", "seconds"} <= set(line)
        assert lines[0]["learning_rate"] == pytest.approx(1e-3)
        assert lines[-1]["learning_rate"] == pytest.approx(2e-3)

    def test_a_line_is_the_mean_over_its_steps_and_of_the_steps_that_have_a_term(self, make_config, tiny_dataset, tmp_path,
                                                                                methods):
        class Counting(METHODS["ddpm"]):
            name = "counting"

            def loss(self, net, batch, draws):
                step = draws.images_seen // 8
                zero = super().loss(net, batch, draws).total * 0
                now_and_then = {"sometimes": torch.tensor(7.0)} if step == 1 else {}
                return Loss(zero + step, {"mse": torch.tensor(1.0), **now_and_then})

        methods.add("counting", Counting)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "LOG_POINTS", 2)
            train(make_config({"method.name": "counting", "train.budget_images": 64}), tiny_dataset, tmp_path, RunContext())
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [(line["images"], line["loss"]) for line in lines] == [(32, 1.5), (64, 5.5)]
        assert lines[0]["sometimes"] == 7.0
        assert "sometimes" not in lines[1]


class TestHooks:
    def test_every_hook_of_a_method_is_used(self, make_config, tiny_dataset, tmp_path, methods):
        used = []

        class Hooked(METHODS["ddpm"]):
            name = "hooked"
            augment_dim = 2

            def prepare(self, trainer):
                used.append(("prepare", trainer.dataset.name))

            def adapt_network(self, net):
                net.added = torch.nn.Linear(2, 2)
                return net

            def extra_modules(self):
                return torch.nn.ModuleDict({"head": torch.nn.Linear(16, 1)})

            def class_weights(self):
                return torch.tensor([0.0, 0.0, 1.0])

            def transform_batch(self, batch, draws):
                return Batch(-batch.x_0, batch.labels, torch.ones(len(batch.labels), 2))

            def loss(self, net, batch, draws):
                used.append(("labels", set(batch.labels.tolist())))
                used.append(("augment", batch.augment.tolist()[0]))
                return super().loss(net, batch, draws)

        methods.add("hooked", Hooked)
        config = make_config({"method.name": "hooked", "train.budget_images": 16})
        train(config, tiny_dataset, tmp_path, RunContext())
        assert used[0] == ("prepare", "tiny")
        assert ("labels", {2}) in used
        assert ("augment", [1.0, 1.0]) in used
        names = set(final(tmp_path)[0])
        assert {"net.added.weight", "ema.added.weight", "extra.head.weight", "net.augment_embedding.weight"} <= names

    def test_fine_tuning_starts_from_the_average_of_another_run(self, make_config, tiny_dataset, tmp_path, methods):
        train(make_config(), tiny_dataset, tmp_path / "first", RunContext())

        class Tuned(METHODS["ddpm"]):
            name = "tuned"

            def initial_weights(self):
                return checkpoints(tmp_path / "first")[0]

        methods.add("tuned", Tuned)
        config = make_config({"method.name": "tuned", "train.budget_images": 100})
        trainer = Trainer(config, tiny_dataset, build_method(config, tiny_dataset, CPU), CPU)
        stored, seen = final(tmp_path / "first")
        for name, value in trainer.net.state_dict().items():
            assert torch.equal(value, stored[f"ema.{name}"])
        assert trainer.images_seen == seen == 60  # which count


def test_precision_is_taken_as_given_and_auto_is_one_of_the_two():
    assert resolve_precision("float32", CPU) == "float32"
    assert resolve_precision("bf16", CPU) == "bf16"
    assert resolve_precision("auto", CPU) in ("float32", "bf16")


def test_a_folder_of_another_training_is_refused(make_config, tiny_dataset, tmp_path):
    train(make_config(), tiny_dataset, tmp_path, RunContext())
    with pytest.raises(UserError, match="data, network, method, training"):
        train(make_config({"train.learning_rate": 1e-3}), tiny_dataset, tmp_path, RunContext())
    with pytest.raises(UserError, match="-s1"):
        train(make_config(seed=1), tiny_dataset, tmp_path, RunContext())
