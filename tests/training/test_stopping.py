"""A training that is stopped, by a signal or by its numbers, and what it leaves behind."""

import signal

import pytest
from stopped_trainings import final, stop_at

from ltgen_bench.core.errors import Interrupted, MachineError, UserError
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Loss
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training import loop
from ltgen_bench.training.loop import train


class TestStopping:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_saves_the_position_and_ends_with_its_code(self, make_config, tiny_dataset, tmp_path, methods,
                                                               number, code):
        class Signalled(METHODS["ddpm"]):
            name = "signalled"

            def loss(self, net, batch, draws):
                if draws.images_seen == 16:
                    signal.raise_signal(number)
                return super().loss(net, batch, draws)

        methods.add("signalled", Signalled)
        with Interruption() as interruption, pytest.raises(Interrupted, match="24 of 60 images") as caught:
            train(make_config({"method.name": "signalled"}), tiny_dataset, tmp_path, RunContext(interruption=interruption))
        assert caught.value.exit_code == code
        assert final(tmp_path)[1] == 24

    def test_a_signal_while_the_last_checkpoint_is_written_is_not_lost(self, make_config, tiny_dataset, tmp_path,
                                                                      monkeypatch):
        save = loop.Session.save

        def signalled(self):
            signal.raise_signal(signal.SIGINT)
            save(self)

        monkeypatch.setattr(loop.Session, "save", signalled)
        with Interruption() as interruption, pytest.raises(Interrupted):
            train(make_config(), tiny_dataset, tmp_path, RunContext(interruption=interruption))
        assert final(tmp_path)[1] == 60

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_loss_that_is_not_finite_names_the_step_and_the_last_checkpoint_stays(
            self, make_config, tiny_dataset, tmp_path, methods, monkeypatch, bad):
        class Diverging(METHODS["ddpm"]):
            name = "diverging"

            def loss(self, net, batch, draws):
                loss = super().loss(net, batch, draws)
                return Loss(loss.total * (bad if draws.images_seen == 32 else 1.0), loss.terms)

        methods.add("diverging", Diverging)
        monkeypatch.setattr(loop.Session, "due", lambda session: True)
        with pytest.raises(MachineError, match=rf"not finite at step 4 \(32 images seen\): loss {bad}\. The last good"):
            train(make_config({"method.name": "diverging"}), tiny_dataset, tmp_path, RunContext())
        tensors, seen = final(tmp_path)
        assert seen == 32
        assert all(tensor.isfinite().all() for tensor in tensors.values())
        with pytest.raises(MachineError, match="at step 4"):  # going on from there names the same step
            train(make_config({"method.name": "diverging"}), tiny_dataset, tmp_path, RunContext())

    def test_a_gradient_that_is_not_finite_under_a_finite_loss_is_never_saved(self, make_config, tiny_dataset, tmp_path,
                                                                             methods, monkeypatch):
        class Steep(METHODS["ddpm"]):
            name = "steep"

            def loss(self, net, batch, draws):
                loss = super().loss(net, batch, draws)
                infinite = (net.unet.conv_in.weight * 0).abs().sqrt().sum()  # 0, with the slope of sqrt at 0
                return Loss(loss.total + (infinite if draws.images_seen == 16 else 0), loss.terms)

        methods.add("steep", Steep)
        monkeypatch.setattr(loop.Session, "due", lambda session: True)
        with pytest.raises(MachineError, match="finite after 24 images seen"):
            train(make_config({"method.name": "steep"}), tiny_dataset, tmp_path, RunContext())
        assert final(tmp_path)[1] == 16

    def test_a_full_disk_leaves_the_earlier_checkpoint_whole(self, make_config, tiny_dataset, tmp_path, monkeypatch):
        stop_at(16, make_config(), tiny_dataset, tmp_path)

        def full(path, write):
            raise MachineError("the disk is full")

        monkeypatch.setattr("ltgen_bench.runtime.tensors_file.write_atomically", full)
        with pytest.raises(MachineError, match="the disk is full"):
            train(make_config(), tiny_dataset, tmp_path, RunContext())
        assert final(tmp_path)[1] == 16

    def test_a_mistake_in_the_methods_settings_is_the_users(self, make_config, tiny_dataset, tmp_path):
        with pytest.raises(UserError, match=r"method\.tua: unknown setting"):
            train(make_config({"method.name": "cbdm", "method.tua": 1}), tiny_dataset, tmp_path / "new", RunContext())
        assert not (tmp_path / "new").exists()
